"""Images to shapes and shapes to images, by buttons, with the fake backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.addon.fake_backend import CAR
from tests.blender.helpers import pixels, press, refusal
from tests.blender.test_panels import draw_all

bpy: Any = None
lathe: Any = None


def started(model: str = "sphere") -> Any:
    press("lathe.start_backend")
    press("lathe.choose_model", model=model)
    scene = bpy.context.scene.lathe
    scene.mesh.resolution = 8
    return scene


def drawn() -> dict[str, list[str]]:
    from tests.blender import test_panels

    test_panels.bpy, test_panels.lathe = bpy, lathe
    return draw_all()


def written(path: Path) -> Path:
    lathe.scene.png.write(path, np.ones((5, 7, 4), np.float32))
    return path


def test_an_image_becomes_a_mesh_that_carries_its_latent(tmp_path: str) -> None:
    scene = started()
    scene.latent.mix_geometry = scene.latent.mix_appearance = 0.5
    bpy.context.scene.cursor.location = (1, 2, 3)
    job = press("lathe.image_to_shape", filepath=str(written(Path(tmp_path) / "chair.png")))
    item = bpy.data.objects[job.result]
    assert item.name == "Sphere chair" and np.allclose(item.location, (1, 2, 3.5), atol=1e-6), "it stands there"
    assert len(item.lathe.latent.code) == 64 and item.lathe.latent.code_data
    assert item.lathe.latent.mix_geometry == item.lathe.latent.mix_appearance == 0, "seed B has no part in it"
    assert tuple(bpy.data.images["Lathe Picture"].size) == (8, 8)
    assert "Its alpha was taken as the mask" in drawn()["LATHE_PT_picture"]
    scene.target = "OBJECT"
    press("lathe.restart_backend")  # a backend that knows nothing of the code
    assert press("lathe.generate_mesh").state == "done"


def test_what_is_not_an_image_is_named(tmp_path: str) -> None:
    started()
    assert "There is no image" in refusal("lathe.image_to_shape", filepath=str(Path(tmp_path) / "gone.png"))
    path = Path(tmp_path) / "text.png"
    path.write_text("hello")
    job = press("lathe.image_to_shape", filepath=str(path))
    assert job.state == "failed" and "cannot be read" in job.error.message
    assert not [item for item in bpy.data.objects if item.lathe.is_generated]


def test_models_that_read_no_images_say_so() -> None:
    started("flat")
    assert "LATHE_PT_picture" not in drawn()
    assert "cannot turn images into shapes" in refusal("lathe.image_to_shape", filepath="a.png")


def test_the_texture_of_an_image_is_put_on_the_shape_and_shown(tmp_path: str) -> None:
    started()
    info = lathe.link.session.session.models["car"] = CAR
    scene = bpy.context.scene.lathe
    lathe.scene.settings.set_model(scene, info)
    scene.preview.source, scene.preview.size = "SLIDERS", 16
    assert scene.latent.mix_appearance == 1
    panel = drawn()["LATHE_PT_picture"]
    assert "lathe.take_texture" in panel and "lathe.image_to_shape" not in panel
    press("lathe.preview")
    before = pixels("Lathe Preview")
    picture = str(written(Path(tmp_path) / "wood.png"))
    assert press("lathe.take_texture", filepath=picture).label == "Preview", "what it looks like is shown at once"
    assert len(scene.latent.code) == 64 and scene.latent.code_data
    assert scene.latent.mix_geometry == scene.latent.mix_appearance == 0, "seed B has no part in it"
    assert (pixels("Lathe Preview") != before).any()
    assert "Its alpha was taken as the mask" in drawn()["LATHE_PT_picture"]
    press("lathe.restart_backend")  # a backend that knows nothing of the code, and of this model
    lathe.link.session.session.models["car"] = CAR
    assert press("lathe.take_texture", filepath=picture).state == "done"
    press("lathe.choose_model", model="flat")
    assert "cannot take textures" in refusal("lathe.take_texture", filepath=picture)


def test_a_model_without_a_surface_gets_a_field_of_its_views_that_can_be_meshed() -> None:
    scene = started("flat")
    texts = drawn()["LATHE_PT_mesh"]
    assert "This model has pictures only" in texts and "lathe.fit_views" in texts
    scene.latent.seed_a, scene.field.views = 7, 12
    job = press("lathe.fit_views")
    assert job.state == "done", job.error
    field = bpy.data.objects[job.result]
    assert field.lathe.is_field and field.lathe.model == "flat_7_views"
    assert bpy.context.view_layer.objects.active == field
    made = bpy.data.objects[press("lathe.generate_mesh").result]
    assert made.type == "MESH" and made.lathe.is_generated


def test_the_options_of_a_fit_to_views_are_those_of_the_panel_and_the_models_background() -> None:
    scene = started("flat")
    scene.field.steps, scene.field.preset = 33, "DRAFT"
    asked = []
    jobs = lathe.link.jobs.Job
    before = jobs.ask
    jobs.ask = lambda self, client, request, **options: (
        asked.append(request) or before(self, client, request, **options)
    )
    try:
        press("lathe.fit_views")
        scene.field.background = "WHITE"
        bpy.context.view_layer.objects.active = None
        press("lathe.fit_views")
    finally:
        jobs.ask = before
    views, fit, _, again = asked
    assert (views.scene.model, views.count) == ("flat", 60)
    assert len(fit.files) == 61 and (fit.options.steps, fit.options.preset) == (33, "draft")
    assert (fit.options.background, again.options.background) == ("black", "white")


def test_depth_and_silhouette_are_shown_beside_the_image() -> None:
    scene = started()
    scene.preview.source = "SLIDERS"
    scene.preview.size = 32
    press("lathe.preview")
    assert "Lathe Depth" not in bpy.data.images
    scene.preview.sketch = True
    assert press("lathe.preview").result == "Lathe Preview"
    silhouette = pixels("Lathe Silhouette")
    assert (silhouette[:, 0, :3] == 0).all() and (silhouette[:, 1:, :3] == 1).all()
    depth = pixels("Lathe Depth")
    assert (depth[:16, :, 3] == 0).all() and (depth[16:, :, 0] > 0.9).all()
    assert drawn()["LATHE_PT_preview"].count("icon") == 3


def seen_sphere(camera: Any, size: int) -> np.ndarray:
    """The depth image of a sphere of 0.5 m about the origin."""
    y, x = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5, indexing="ij")
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(np.array(camera.intrinsics)).T
    matrix = np.array(camera.world_from_camera)
    rays, origin = rays @ matrix[:3, :3].T, matrix[:3, 3]
    a, b, c = (rays**2).sum(-1), rays @ origin, origin @ origin - 0.25
    inside = b**2 - a * c
    return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf).astype(np.float32)


def test_the_points_of_a_depth_image_lie_where_the_surface_is(tmp_path: str) -> None:
    started()
    lathe.preview.actions.add_camera(bpy.context)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera = lathe.scene.gather.scene_camera(bpy.context.scene, depsgraph, 40, 40)
    depth = seen_sphere(camera, 40)
    assert np.isfinite(depth).sum() > 100
    scan = lathe.image.actions.scan_of_depth(depth, camera, np.eye(4))
    assert np.abs(np.linalg.norm(scan.points, axis=1) - 0.5).max() < 1e-4
    assert np.abs(scan.origins - np.array(camera.world_from_camera)[:3, 3]).max() < 1e-4


def test_a_depth_image_is_completed(tmp_path: str) -> None:
    started()
    path = Path(tmp_path) / "seen.npy"
    assert "no active camera" in refusal("lathe.complete_depth", filepath=str(path))
    lathe.preview.actions.add_camera(bpy.context)
    bpy.context.view_layer.update()
    assert "cannot be read" in refusal("lathe.complete_depth", filepath=str(path))
    np.save(path, np.full((8, 8), np.inf, np.float32))
    assert "empty" in refusal("lathe.complete_depth", filepath=str(path))
    np.save(path, np.full((8, 8, 2), 1.0, np.float32))
    assert "[height, width]" in refusal("lathe.complete_depth", filepath=str(path))
    camera = lathe.scene.gather.scene_camera(bpy.context.scene, bpy.context.evaluated_depsgraph_get(), 40, 40)
    np.save(path, seen_sphere(camera, 40))
    item = bpy.data.objects[press("lathe.complete_depth", filepath=str(path)).result]
    assert item.name == "seen completed" and len(item.lathe.latent.code) == 64
