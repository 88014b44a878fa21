"""Radiance fields in background Blender, with a fake backend: fit, pause, continue, the field as an object, cameras."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.blender.helpers import press, refusal, settle, until

bpy: Any = None
lathe: Any = None


def data_set(folder: str, name: str = "set") -> Path:
    """Write a data set of two images, whose cameras stand where the fake's answer is 0.1 m away from."""
    place = Path(folder) / name
    (place / "images").mkdir(parents=True)
    frames = []
    for index, image in enumerate(("a.png", "b.png")):
        (place / "images" / image).write_bytes(image.encode())
        matrix = np.diag([1.0, -1.0, -1.0, 1.0])
        matrix[:3, 3] = 0, index, -3
        frames.append({"file_path": f"./images/{image}", "transform_matrix": matrix.tolist()})
    (place / "transforms.json").write_text(json.dumps({"fl_x": 60, "w": 60, "frames": frames}))
    return place


def ready(folder: str, name: str = "set") -> Any:
    """Start, choose a data set, and return the panel's settings."""
    press("lathe.start_backend")
    settings = bpy.context.scene.lathe.field
    settings.source, settings.folder = "FOLDER", str(data_set(folder, name))
    return settings


def fitted(folder: str, name: str = "set") -> Any:
    ready(folder, name)
    return bpy.data.objects[press("lathe.fit").result]


def test_a_fit_puts_its_field_into_the_scene_as_the_box_where_the_images_were_taken(tmp_path: str) -> None:
    item = fitted(tmp_path)
    session = lathe.link.session.session
    assert item.name == "set" and item.type == "EMPTY" and item.empty_display_type == "CUBE"
    assert item.lathe.is_field and item.lathe.model == "set" and "set" in session.models
    assert bpy.context.view_layer.objects.active == item
    bpy.context.view_layer.update()
    corners = [
        item.matrix_world @ lathe.scene.apply.Matrix.Translation(c).translation for c in ((-1, -1, -1), (1, 1, 1))
    ]
    assert np.allclose(corners, ((-1, -2, 0), (1, 2, 3)), atol=1e-6), "the cube is the field's box"
    assert tuple(item.scale) == (1, 1, 1)
    assert np.allclose(lathe.scene.gather.world_from_field(item), np.eye(4), atol=1e-6)
    assert session.warnings == ("The pictures are dark",)


def test_the_field_follows_whatever_is_done_to_its_object(tmp_path: str) -> None:
    from mathutils import Euler, Matrix

    item = fitted(tmp_path)
    before = np.array(item.matrix_world)
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.collection.objects.link(parent)
    parent.rotation_euler, parent.scale, parent.location = (0.3, 0, 1), (2, 2, 2), (1, 0, 0)
    item.parent = parent
    item.rotation_euler, item.scale = Euler((0, 0.5, 0)), (1, 2, 1)
    bpy.context.view_layer.update()
    move = np.array(item.matrix_world) @ np.linalg.inv(before)
    assert np.allclose(lathe.scene.gather.world_from_field(item), move, atol=1e-5)
    chosen = lathe.scene.gather.subject(bpy.context)
    ref = lathe.scene.gather.scene_ref(chosen)
    assert ref.model == "set" and np.allclose(ref.world_from_scene, move, atol=1e-5) and ref.crop is None
    copy = item.copy()
    bpy.context.collection.objects.link(copy)
    copy.matrix_world = Matrix.Translation((9, 0, 0)) @ item.matrix_world
    bpy.context.view_layer.update()
    bpy.context.view_layer.objects.active = copy
    there = lathe.scene.gather.scene_ref(lathe.scene.gather.subject(bpy.context)).world_from_scene
    assert np.allclose(np.array(there)[:3, 3], move[:3, 3] + (9, 0, 0), atol=1e-4)


def test_the_crop_box_goes_with_images_and_meshes_and_can_be_reset(tmp_path: str) -> None:
    item = fitted(tmp_path)
    assert tuple(item.lathe.crop_min) == (-1, -2, 0) and tuple(item.lathe.crop_max) == (1, 2, 3)
    item.lathe.use_crop, item.lathe.crop_min = True, (-0.5, -1, 0.25)
    wanted = ((-0.5, -1, 0.25), (1, 2, 3))
    assert lathe.scene.gather.scene_ref(lathe.scene.gather.subject(bpy.context)).crop == wanted
    item.location.x += 5
    bpy.context.view_layer.update()
    corners = lathe.field.objects.crop_corners(item)
    assert np.allclose(corners[0], (4.5, -1, 0.25), atol=1e-5) and np.allclose(corners[7], (6, 2, 3), atol=1e-5)
    item.lathe.mesh.resolution = 8
    mesh = bpy.data.objects[press("lathe.generate_mesh").result]
    assert mesh.lathe.use_crop and tuple(mesh.lathe.crop_min) == wanted[0], "the mesh remembers what it is of"
    item.lathe.crop_max = (-1, 2, 3)
    assert "crop box is empty" in refusal("lathe.generate_mesh")
    press("lathe.reset_crop")
    assert not item.lathe.use_crop and tuple(item.lathe.crop_max) == (1, 2, 3)


def test_a_field_has_one_mesh_which_stands_where_the_field_does(tmp_path: str) -> None:
    item = fitted(tmp_path)
    item.lathe.mesh.resolution = 8
    name = press("lathe.generate_mesh").result
    mesh = bpy.data.objects[name]
    assert mesh.name == "set Mesh" and mesh.type == "MESH" and item.type == "EMPTY"
    assert np.allclose(mesh.matrix_world, np.eye(4), atol=1e-6)
    assert bpy.context.view_layer.objects.active == item, "the field stays what the panel shows"
    item.location.y += 2
    item.lathe.mesh.resolution = 12
    bpy.context.view_layer.update()
    assert press("lathe.generate_mesh").result == name
    bpy.context.view_layer.update()
    assert np.allclose(np.array(mesh.matrix_world)[:3, 3], (0, 2, 0), atol=1e-6)
    assert len(mesh.data.polygons) == 4 * 12 * 11 and len(bpy.data.meshes) == 1
    copy = item.copy()
    bpy.context.collection.objects.link(copy)
    bpy.context.view_layer.objects.active = copy
    assert press("lathe.generate_mesh").result != name, "a duplicate of the field gets a mesh of its own"
    bpy.context.collection.objects.unlink(mesh)
    bpy.context.view_layer.objects.active = item
    assert press("lathe.generate_mesh").result != name, "a deleted mesh is made anew"


def test_the_level_slider_goes_through_the_levels_of_the_field(tmp_path: str) -> None:
    item = fitted(tmp_path)
    mesh = item.lathe.mesh
    assert not mesh.use_level and mesh.level == 20
    usual = mesh.level_slider
    assert usual == pytest.approx(np.log(20 / 0.2) / np.log(1000), abs=1e-5)
    mesh.level_slider = 1.0
    assert mesh.use_level and mesh.level == pytest.approx(200)
    mesh.level_slider = 0.5
    assert mesh.level == pytest.approx(0.2 * 1000**0.5, rel=1e-4) and mesh.level_slider == pytest.approx(0.5)
    assert lathe.scene.gather.mesh_request(lathe.scene.gather.subject(bpy.context)).iso_level == mesh.level


def test_the_live_level_meshes_again_bare_while_it_moves_and_whole_when_it_stands(tmp_path: str) -> None:
    item = fitted(tmp_path)
    item.lathe.mesh.resolution = 8
    press("lathe.generate_mesh")
    item.lathe.mesh.live = True
    lathe.preview.live.tick(bpy.context)
    jobs, seen = lathe.link.session.session.jobs, []
    real = lathe.preview.live.generate_mesh

    def watched(context: Any, **how: Any) -> Any:
        seen.append(how)
        return real(context, **how)

    lathe.preview.live.generate_mesh = watched
    try:
        for value in (0.5, 0.6):
            item.lathe.mesh.level_slider = value
            until(lambda: (lathe.preview.live.tick(bpy.context), not jobs.busy)[1])
            item_mesh = lathe.shape.actions.mesh_of_field(item)
            assert not item_mesh.data.color_attributes
        until(lambda: (lathe.preview.live.tick(bpy.context), seen[-1:] == [{"quiet": True}] and not jobs.busy)[1])
    finally:
        lathe.preview.live.generate_mesh = real
    assert seen == [{"draft": True, "quiet": True}] * (len(seen) - 1) + [{"quiet": True}]
    assert item_mesh.data.color_attributes and item_mesh.lathe.mesh.level == item.lathe.mesh.level


def test_the_image_and_the_figures_of_a_running_fit_are_shown(tmp_path: str) -> None:
    ready(tmp_path, "hang_on")
    bpy.ops.lathe.fit()
    job = lathe.link.session.session.jobs.all[-1]
    until(lambda: job.figures and "hang_on" in bpy.data.objects)
    assert lathe.field.actions.figures_text(job.figures) == [
        "Step 10, loss 0.0100", "25.0 dB on test images", "100 thousand rays/s", "1:01 left",
    ]  # fmt: skip
    image = bpy.data.images["Lathe Fit"]
    assert tuple(image.size) == (6, 4) and image.pixels[0] == pytest.approx(128 / 255, abs=1e-3)
    assert "pause it first" in refusal("lathe.fit")
    assert "pause the fit first" in refusal("lathe.generate_mesh")
    press("lathe.cancel_all") if bpy.ops.lathe.cancel_all.poll() else None
    assert not job.ended, "Esc does not end a fit"
    press("lathe.pause_fit")
    assert job.state == "cancelled"


def test_a_paused_fit_is_offered_and_goes_on_also_after_a_restart(tmp_path: str) -> None:
    ready(tmp_path, "hang_on")
    bpy.ops.lathe.fit()
    until(lambda: lathe.link.session.session.jobs.all[-1].figures)
    assert lathe.field.actions.stored_fits() == []
    press("lathe.pause_fit")
    (stored,) = lathe.field.actions.stored_fits()
    assert stored.name == "hang_on" and stored.steps == 10 and not stored.finished
    job = press("lathe.continue_fit")
    assert job.state == "done" and bpy.data.objects[job.result].lathe.model == "hang_on"
    (stored,) = lathe.field.actions.stored_fits()
    assert stored.steps == 20 and stored.finished
    bpy.context.scene.lathe.field.more_seconds = 30
    press("lathe.continue_fit", field="hang_on")
    assert lathe.field.actions.stored_fits()[0].seconds == stored.seconds + 30, "a finished one goes further"
    assert len([item for item in bpy.data.objects if item.lathe.is_field]) == 1
    press("lathe.discard_fit", field="hang_on")
    assert lathe.field.actions.stored_fits() == []
    assert "There is no fit to continue" in refusal("lathe.continue_fit")


def test_cancelling_a_fit_leaves_nothing_to_go_on_with(tmp_path: str) -> None:
    ready(tmp_path, "hang_on")
    bpy.ops.lathe.fit()
    until(lambda: lathe.link.session.session.jobs.all[-1].figures)
    job = lathe.link.session.session.jobs.all[-1]
    press("lathe.cancel_fit")
    assert job.state == "cancelled" and lathe.field.actions.stored_fits() == []


def test_a_backend_that_dies_in_the_middle_of_a_fit_leaves_a_button_to_go_on(tmp_path: str) -> None:
    ready(tmp_path, "hang_on")
    bpy.ops.lathe.fit()
    until(lambda: lathe.link.session.session.jobs.all[-1].figures)
    os.kill(lathe.link.session.session.pid, signal.SIGKILL)
    settle()
    job = lathe.link.session.session.jobs.all[-1]
    assert job.state == "failed" and "killed" in job.error.message
    assert [fit.name for fit in lathe.field.actions.stored_fits()] == ["hang_on"]
    # the fake forgets its fits when it dies, so going on ends in its sentence; that it was asked is what counts here
    assert "no fit named 'hang_on'" in press("lathe.continue_fit").error.message
    assert lathe.link.session.session.state == "ready" and lathe.field.actions.stored_fits() == []


def test_refined_cameras_are_shown_as_they_were_and_as_they_are(tmp_path: str) -> None:
    settings = ready(tmp_path)
    settings.refine_poses = True
    press("lathe.fit")
    before, after = (bpy.data.collections[f"set Cameras {when}"] for when in ("Before", "After"))
    bpy.context.view_layer.update()
    for place, shift in ((before, 0.0), (after, 0.1)):
        found = sorted(tuple(item.matrix_world.translation) for item in place.objects)
        assert np.allclose(found, ((shift, shift, shift - 3), (shift, 1 + shift, shift - 3)), atol=1e-5)
        camera = place.objects[0].data
        assert camera.lens / camera.sensor_width == pytest.approx(1.0)
    press("lathe.fit")
    assert len(before.objects) == 2 and len(bpy.data.cameras) == 2, "shown again, not twice"


def test_photographs_become_cameras_points_and_a_data_set(tmp_path: str) -> None:
    press("lathe.start_backend")
    photos = Path(tmp_path) / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (photos / name).write_bytes(name.encode())
    settings = bpy.context.scene.lathe.field
    settings.source, settings.photos, settings.data_sets = "PHOTOS", str(photos), f"{tmp_path}/sets"
    assert "Press Find Cameras first" in refusal("lathe.fit")
    job = press("lathe.find_cameras")
    assert job.result == f"{tmp_path}/sets/photos"
    assert (
        Path(job.result, "images", "c.jpg").read_bytes() == b"c.jpg" and Path(job.result, "transforms.json").is_file()
    )
    items = list(bpy.data.collections["photos Cameras"].objects)
    cameras = [item for item in items if item.type == "CAMERA"]
    (points,) = (item for item in items if item.type == "MESH")
    assert len(cameras) == 2 and len(points.data.vertices) == 4
    assert points.data.color_attributes[0].data[0].color[0] == pytest.approx(1)
    data = cameras[0].data
    assert (data.sensor_fit, data.lens / data.sensor_width) == ("HORIZONTAL", pytest.approx(50 / 60))
    assert cameras[0].matrix_world.translation.z == pytest.approx(-3)
    assert lathe.field.actions.report_lines() == ["2 of 3 images placed, 4 points, error 0.50 pixels", "Take more"]
    assert press("lathe.fit").state == "done"


def test_a_camera_of_photographs_sees_points_where_its_intrinsics_say(tmp_path: str) -> None:
    scene = bpy.context.scene
    matrix = np.array(((70.0, 0, 25.0), (0, 70.0, 33.0), (0, 0, 1)))
    pose = np.eye(4)
    pose[:3, :3] = np.array(bpy.context.scene.cursor.matrix)[:3, :3]
    lens = lathe.field.objects.lens_of(matrix, 64, 48)
    handle = lathe.scene.apply.Handle.of("scenes", scene)
    for _ in lathe.field.objects.put_cameras(handle, "Shots", pose[None], [lens], ["shot"]):
        pass
    scene.camera = bpy.data.collections["Shots"].objects[0]
    bpy.context.view_layer.update()
    seen = lathe.scene.gather.scene_camera(scene, bpy.context.evaluated_depsgraph_get(), 64, 48)
    assert np.allclose(seen.intrinsics, matrix, atol=1e-3)
    assert np.allclose(seen.world_from_camera, pose, atol=1e-6)


def test_what_is_missing_is_said_before_and_during_a_fit(tmp_path: str) -> None:
    press("lathe.start_backend")
    settings = bpy.context.scene.lathe.field
    settings.source = "FOLDER"
    assert "Choose the folder" in refusal("lathe.fit")
    settings.folder = f"{tmp_path}/nowhere"
    assert "There is no folder" in press("lathe.fit").error.message
    settings.folder = tmp_path
    assert "holds no cameras" in press("lathe.fit").error.message
    settings.source = "PHOTOS"
    assert "Choose a folder of photographs" in refusal("lathe.find_cameras")
    settings.photos = tmp_path
    assert "no photographs" in press("lathe.find_cameras").error.message
    settings.source = "SCENE"
    assert "Press Capture first" in refusal("lathe.fit")
    assert "Select the objects to capture" in refusal("lathe.capture")


def test_a_capture_goes_image_by_image_can_be_ended_and_goes_on(tmp_path: str) -> None:
    bpy.ops.mesh.primitive_cube_add(size=1)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = 200, 100
    settings, field = scene.lathe.capture, scene.lathe.field
    settings.count, settings.test, settings.size, settings.rig = 3, 1, 16, "ORBIT"
    field.data_sets, field.name = f"{tmp_path}/sets", "cube"
    bpy.ops.lathe.capture()
    job = lathe.link.session.session.jobs.all[-1]
    images = Path(tmp_path, "sets", "cube", "images")
    until(lambda: images.is_dir() and len(list(images.glob("*.png"))) == 2)
    assert job.state == "preparing" and "of 4" in job.text
    bpy.ops.lathe.cancel_all()
    settle()
    assert job.state == "cancelled"
    first = {path.name: path.stat().st_mtime_ns for path in images.glob("*.png")}
    assert len(first) < 4
    job = press("lathe.capture")
    assert job.state == "done" and job.result == f"{tmp_path}/sets/cube"
    assert len(list(images.glob("*.png"))) == 4
    assert all((images / name).stat().st_mtime_ns == when for name, when in first.items()), "what was there is kept"
    assert len(lathe.field.data_sets.files_of(images.parent)) == 5
    press("lathe.start_backend")
    assert press("lathe.fit").state == "done" and "cube" in bpy.data.objects
