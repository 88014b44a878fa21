"""Training sets of collections and families: viewpoints, lights, resuming, and the user's scene left as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.blender import test_capture

bpy: Any = None
lathe: Any = None

COLORS = {"Blue": (0, 0, 1, 1), "Green": (0, 1, 0, 1), "Red": (1, 0, 0, 1)}


def prepare() -> tuple[Any, Any]:
    """A scene with a collection of three balls of one colour each, far apart and of several sizes."""
    test_capture.bpy, test_capture.lathe = bpy, lathe
    scene = test_capture.prepare()
    collection = bpy.data.collections.new("Balls")
    scene.collection.children.link(collection)
    for index, (name, color) in enumerate(COLORS.items()):
        item = test_capture.ball(name, (10 * index, 3, -2), 0.5 + index, color)
        for other in list(item.users_collection):
            other.objects.unlink(item)
        if name == "Red":  # as a child collection
            child = bpy.data.collections.new("Red")
            collection.children.link(child)
            child.objects.link(item)
        else:
            collection.objects.link(item)
    bpy.context.view_layer.update()
    return scene, collection


def settings(**values: Any) -> Any:
    return lathe.training_set.renders.TrainingSetSettings(**{"count": 6, "size": 16, **values})


def color_of(path: Path) -> str:
    """The ball that an image shows, from its middle."""
    middle = test_capture.picture(path)[7:9, 7:9].mean((0, 1))
    assert middle[3] > 0.9
    return min(COLORS, key=lambda name: float(np.abs(middle[:3] - COLORS[name][:3]).sum()))


def test_each_image_shows_one_object_that_fills_it(tmp_path: str) -> None:
    scene, collection = prepare()
    folder = Path(tmp_path)
    before = test_capture.everything()
    made = lathe.training_set.renders.render_set(scene, collection, settings(light="scene"), folder)
    assert made == lathe.training_set.renders.TrainingSet(folder, 6, 0)
    assert test_capture.everything() == before
    written = test_capture.document(tmp_path)
    assert [frame["object"] for frame in written["frames"]] == ["Blue", "Green", "Red"] * 2
    for frame in written["frames"]:
        assert color_of(folder / frame["file_path"]) == frame["object"]
        covered = test_capture.picture(folder / frame["file_path"])[..., 3].mean()
        # the ball's points lie on the sphere of radius 1 in an image of half-width 1.03
        assert covered == pytest.approx(math.pi / 4 / 1.03**2, abs=0.08)


def test_the_cameras_of_the_set_project_points_where_blender_shows_them(tmp_path: str) -> None:
    """One small red ball on a large blue one, seen from several sides."""
    test_capture.bpy, test_capture.lathe = bpy, lathe
    scene = test_capture.prepare()
    collection = bpy.data.collections.new("One")
    scene.collection.children.link(collection)
    body = test_capture.ball("Body", (4, 5, 6), 2.0, (0, 0, 1, 1))
    spot = test_capture.ball("Spot", (4, 5 - 2, 6), 0.3, (1, 0, 0, 1))
    spot.parent = body
    spot.matrix_parent_inverse = body.matrix_world.inverted()
    collection.objects.link(body)
    bpy.context.view_layer.update()
    wanted = settings(count=5, size=64, light="scene", azimuth=(-0.9, 0.9), elevation=(-0.3, 0.6))
    lathe.training_set.renders.render_set(scene, collection, wanted, Path(tmp_path))
    # Bounds: x and z ± 2, y from 5 − 2.3 to 5 + 2 → centre y 4.85; the farthest points are near the body's far side.
    low, high = np.array((2, 2.7, 4)), np.array((6, 7, 8))
    center = (low + high) / 2
    radius = np.linalg.norm(np.array((4, 7, 6)) - center)
    for frame in test_capture.document(tmp_path)["frames"]:
        frame |= {key: test_capture.document(tmp_path)[key] for key in ("fl_x", "fl_y", "cx", "cy")}
        image = test_capture.picture(Path(tmp_path) / frame["file_path"])
        red = (image[..., 0] > 0.6) & (image[..., 2] < 0.4) & (image[..., 3] > 0.9)
        rows, columns = np.nonzero(red)
        expected = test_capture.projected(frame, ((np.array((4, 2.9, 6)) - center) / radius)[None])[0]
        assert np.hypot(columns.mean() + 0.5 - expected[0], rows.mean() + 0.5 - expected[1]) < 2.0


def test_a_set_is_continued_extended_and_not_mixed_with_another(tmp_path: str) -> None:
    scene, collection = prepare()
    folder, renders = Path(tmp_path), lathe.training_set.renders
    steps = renders.render_steps(scene, collection, settings(), folder)
    for _ in range(4):
        next(steps)
    steps.close()
    assert len(test_capture.document(tmp_path)["frames"]) == 3
    kept = (folder / "images/000001.png").stat().st_mtime_ns
    assert renders.render_set(scene, collection, settings(), folder).rendered == 3
    assert renders.render_set(scene, collection, settings(count=8), folder).rendered == 2
    assert (folder / "images/000001.png").stat().st_mtime_ns == kept
    with pytest.raises(lathe.wire.errors.InvalidRequest, match=r"other settings \(elevation_degrees\)"):
        renders.render_set(scene, collection, settings(elevation=(0.1, 0.2)), folder)
    made = renders.render_set(scene, collection, settings(elevation=(0.1, 0.2), overwrite=True), folder)
    assert made.rendered == 6
    (folder / "transforms.json").write_text("{}")
    with pytest.raises(lathe.wire.errors.InvalidRequest, match="not made here"):
        renders.render_set(scene, collection, settings(overwrite=True), folder)


def test_viewpoints_and_suns_stay_in_their_ranges_and_fill_them() -> None:
    renders = lathe.training_set.renders
    wanted = settings(azimuth=(-0.5, 1.0), elevation=(0.2, 0.4), sun_strength=(2.0, 2.0), sun_azimuth=(1.0, -1.0))
    drawn = [renders.draw(wanted, index) for index in range(400)]
    for name, (low, high) in {"azimuth": (-0.5, 1.0), "elevation": (0.2, 0.4), "sun_azimuth": (-1.0, 1.0)}.items():
        values = np.array([getattr(each, name) for each in drawn])
        assert low <= values.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < values.max() <= high
    assert {each.sun_strength for each in drawn} == {2.0}
    for each in drawn[:20]:
        camera = renders.camera_of(wanted, each)
        eye = np.array(camera.world_from_camera)[:3, 3]
        assert math.atan2(eye[0], -eye[1]) == pytest.approx(each.azimuth)
        assert eye @ eye == pytest.approx(wanted.distance**2)


def test_the_sun_lights_the_side_it_is_on(tmp_path: str) -> None:
    test_capture.bpy, test_capture.lathe = bpy, lathe
    scene = test_capture.prepare(16)
    collection = bpy.data.collections.new("One")
    scene.collection.children.link(collection)
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16)
    collection.objects.link(bpy.context.object)
    wanted = settings(
        count=2,
        size=32,
        azimuth=(0, 0),
        elevation=(0, 0),
        sun_azimuth=(1.2, 1.2),
        sun_elevation=(0.1, 0.1),
        ambient=0.1,
    )
    lathe.training_set.renders.render_set(scene, collection, wanted, Path(tmp_path))
    image = test_capture.picture(Path(tmp_path) / "images/000000.png")
    assert image[12:20, 22:26, :3].mean() > 2 * image[12:20, 6:10, :3].mean()  # the sun is on the +X side, to the right
    light = test_capture.document(tmp_path)["frames"][0]["light"]
    np.testing.assert_allclose(light["direction"], lathe.training_set.renders.direction(1.2, 0.1), atol=1e-5)
    assert not [world for world in bpy.data.worlds if world.name.startswith("Lathe")]


def test_the_button_makes_a_set_and_says_what_is_missing(tmp_path: str) -> None:
    scene, collection = prepare()
    given = scene.lathe.training_set
    given.folder, given.count, given.pixels = str(Path(tmp_path) / "mine"), 3, 16
    assert lathe.training_set.actions.problem_make(bpy.context) == "Choose the collection of the objects"
    given.collection = collection
    assert bpy.ops.lathe.make_training_set() == {"FINISHED"}
    job = lathe.link.session.session.jobs.find("training_set")
    lathe.link.session.session.jobs.wait_for(job, 60)
    assert scene.lathe.training.folder == given.folder
    assert job.result == given.folder and len(list(Path(given.folder).glob("images/*.png"))) == 3
    given.collection = bpy.data.collections.new("Empty")
    with pytest.raises(RuntimeError, match="has no objects to render"):
        bpy.ops.lathe.make_training_set()


def test_a_family_is_rendered_by_the_backend(tmp_path: str) -> None:
    given = bpy.context.scene.lathe.training_set
    given.source, given.family, given.objects, given.views = "FAMILY", "ANIMALS", 5, 2
    given.folder = tmp_path
    job = lathe.training_set.actions.make(bpy.context)
    lathe.link.session.session.jobs.wait_for(job, 60)
    assert job.result == tmp_path and job.text == "10 images"


def test_a_transforms_file_holds_the_whole_distribution(tmp_path: str) -> None:
    scene, collection = prepare()
    lathe.training_set.renders.render_set(scene, collection, settings(count=1, seed=4), Path(tmp_path))
    stored = json.loads((Path(tmp_path) / "transforms.json").read_text())["distribution"]
    assert stored["azimuth_degrees"] == [-180, 180] and stored["elevation_degrees"] == [-10, 45]
    assert (
        stored["seed"] == 4 and stored["sun_strength"] == [2.5, 3.5] and stored["objects"] == ["Blue", "Green", "Red"]
    )
