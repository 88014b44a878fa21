"""Official checkpoints in background Blender with the real backend: imported by the button, then every slider."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

import build
from tests.blender.helpers import press
from tests.shared import CHECKPOINTS

bpy: Any = None
lathe: Any = None

EG3D = CHECKPOINTS / "eg3d_network-snapshot-000000.pkl"


def picture() -> np.ndarray:
    """Render the preview and return it."""
    job = press("lathe.preview")
    assert job.error is None, job.error
    image = bpy.data.images["Lathe Preview"]
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    return lathe.scene.frames.image_from_pixels(flat, *image.size)


def test_an_official_checkpoint_by_buttons_alone(tmp_path: str) -> None:
    """One test, because a backend takes seconds to start."""
    lathe.preferences.extension_root = lambda: build.ROOT
    lathe.preferences.preferences(bpy.context).data = f"{tmp_path}/data"
    scene = bpy.context.scene.lathe

    refuse_what_is_no_checkpoint(Path(tmp_path))
    job = press("lathe.import_checkpoint", filepath=str(EG3D), name="faces")
    assert job.error is None, job.error
    info = lathe.link.session.session.models["faces"]
    assert (scene.model, scene.preview.source, info.pose_conditioned, info.num_ws > 4) == (
        "faces",
        "SLIDERS",
        True,
        True,
    )
    scene.preview.size = 32

    each_slider_shows(scene)
    a_mesh_stands_upright_with_its_colours(info)
    the_same_frame_has_the_same_pixels(Path(tmp_path))


def refuse_what_is_no_checkpoint(folder: Path) -> None:
    for name, data, sentence in (
        ("other.pkl", pickle.dumps({"weights": 1}), "of an unknown architecture"),
        ("half.pkl", EG3D.read_bytes()[:100_000], "half.pkl"),
    ):
        (folder / name).write_bytes(data)
        job = press("lathe.import_checkpoint", filepath=str(folder / name))
        assert job.state == "failed" and sentence in job.error.message, job.error
        assert str(folder) not in job.error.message
    assert not {"other", "half"} & set(lathe.link.session.session.models)
    assert not list((folder / "data").glob(".import*")), "nothing is left behind"


def each_slider_shows(scene: Any) -> None:
    scene.latent.seed_b = 9
    seen = [picture()]
    assert seen[0].shape == (32, 32, 4) and (picture() == seen[0]).all()

    def different(what: str) -> None:
        now = picture()
        assert all((now != before).any() for before in seen), what
        seen.append(now)

    scene.latent.use_condition = True
    for owner, name, value in (
        (scene.latent, "seed_a", 3), (scene.latent, "mix_geometry", 0.5), (scene.latent, "mix_appearance", 0.5),
        (scene.latent, "truncation", 0.3), (scene.view, "yaw", 0.3), (scene.view, "pitch", 0.2),
        (scene.view, "roll", 0.5), (scene.view, "fov", 0.5), (scene.latent, "condition_yaw", 0.4),
        (scene.latent, "condition_pitch", 0.2),
    ):  # fmt: skip
        setattr(owner, name, value)
        different(name)
    scene.latent.mix_geometry = scene.latent.mix_appearance = 0.0
    different("no mix")
    for layer in (0, lathe.scene.gather.subject(bpy.context).info.num_ws - 1):
        scene.latent.style_layers[layer] = True
        different(f"layer {layer}")
    press("lathe.variants", count=3)
    assert len({item.thumbnail for item in scene.variants}) == 3
    press("lathe.clear_layers")


def a_mesh_stands_upright_with_its_colours(info: Any) -> None:
    scene = bpy.context.scene.lathe
    scene.mesh.resolution = 24
    low, high = info.iso_range
    scene.mesh.use_level, scene.mesh.level = True, float(np.sqrt(low * high))
    job = press("lathe.generate_mesh")
    if job.error is not None and job.error.remedy is not None:  # random weights need not reach the model's own level
        press("lathe.apply_remedy", action=job.error.remedy.action, value=str(job.error.remedy.value))
        job = press("lathe.generate_mesh")
    assert job.error is None, job.error
    item = bpy.data.objects[job.result]
    points = np.empty(len(item.data.vertices) * 3, np.float32)
    item.data.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    bounds = np.array(info.bounds)
    assert (points >= bounds[0] - 1e-4).all() and (points <= bounds[1] + 1e-4).all(), "in the model's box, in metres"
    assert item.data.color_attributes.active_color.name == "Color"
    scene.target = "OBJECT"


def the_same_frame_has_the_same_pixels(folder: Path) -> None:
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.frame_start, scene.frame_end, scene.frame_step = 1, 24, 1
    scene.lathe.path.source, scene.lathe.path.directory = "SLIDERS", str(folder / "frames")
    scene.lathe.walk.seeds, scene.lathe.walk.frames = "1, 4", 23
    press("lathe.keyframe_walk")
    assert press("lathe.render_path").error is None
    first = {path.name: path.read_bytes() for path in (folder / "frames").glob("*.png")}
    assert len(first) == 24 and len(set(first.values())) == 24
    scene.lathe.path.directory, scene.frame_start, scene.frame_step = str(folder / "again"), 5, 9
    press("lathe.render_path")
    again = {path.name: path.read_bytes() for path in (folder / "again").glob("*.png")}
    assert len(again) == 3 and all(first[name] == data for name, data in again.items())
