"""The capture rig: images, passes and cameras against geometry, and the user's scene left as it was."""

from __future__ import annotations

import json
import math
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy: Any = None
lathe: Any = None

POINTS = np.array(((0.5, 0.1, -0.3), (-0.4, 0.45, 0.1), (-0.1, -0.5, 0.4)))


def glow(name: str, color: tuple[float, ...]) -> Any:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    emission = nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = color
    output = next(node for node in nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    material.node_tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return material


def ball(name: str, point: Any, radius: float, color: tuple[float, ...] = (1, 1, 1, 1)) -> Any:
    bpy.ops.mesh.primitive_uv_sphere_add(radius=radius, location=point, segments=64, ring_count=32)
    item = bpy.context.object
    item.name = name
    item.data.materials.append(glow(name, color))
    return item


def prepare(samples: int = 1) -> Any:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = samples, False, False
    scene.view_settings.view_transform = "Standard"
    return scene


def add_camera(**settings: Any) -> Any:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    for name, value in settings.items():
        setattr(camera.data, name, value)
    return camera


def settings(**values: Any) -> Any:
    return lathe.field.capture.CaptureSettings(
        **{"count": 2, "test": 0, "width": 16, "height": 12, "target": "scene", **values}
    )


def document(folder: str) -> Any:
    return json.loads((Path(folder) / "transforms.json").read_text())


def picture(path: Path) -> np.ndarray:
    """Straight RGBA [H, W, 4], top row first, as stored."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    flat = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(flat)
    found = lathe.scene.frames.image_from_pixels(flat, *image.size)
    bpy.data.images.remove(image)
    return found


def projected(frame: Any, points: np.ndarray) -> np.ndarray:
    """Pixels [N, 2] of world points, by what transforms.json says alone."""
    seen = np.linalg.inv(np.array(frame["transform_matrix"])) @ np.append(points, np.ones((len(points), 1)), 1).T
    x, y = seen[0] / -seen[2], seen[1] / -seen[2]
    return np.stack((frame["fl_x"] * x + frame["cx"], frame["cy"] - frame["fl_y"] * y), -1)


LENSES: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    "no camera": ({}, (1, 1)),
    "shift": ({"shift_x": 0.3, "shift_y": -0.2}, (1, 1)),
    "vertical fit, wide pixels": ({"sensor_fit": "VERTICAL", "sensor_height": 20, "shift_x": 0.1}, (1.5, 1)),
    "horizontal fit, tall pixels": ({"sensor_fit": "HORIZONTAL", "sensor_width": 24, "shift_y": 0.15}, (1, 1.7)),
}


@pytest.mark.parametrize("name", LENSES)
def test_images_show_points_where_the_data_set_says(name: str, tmp_path: str) -> None:
    """Red, green and blue balls, all under one rotated, unevenly scaled parent."""
    lens, aspect = LENSES[name]
    scene = prepare(16)
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.collection.objects.link(parent)
    parent.location, parent.rotation_euler, parent.scale = (3, -2, 1), (0.3, 0.5, 1.1), (2.0, 1.5, 1.0)
    for index, point in enumerate(POINTS):
        ball(f"Ball {index}", point, 0.06, (*(float(index == channel) for channel in range(3)), 1.0)).parent = parent
    if lens:
        camera = add_camera(**lens)
        camera.parent, camera.scale = parent, (3, 1, 0.5)
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
    lathe.field.capture.capture(scene, settings(count=2, test=1, width=150, height=100, rig="sphere"), Path(tmp_path))
    bpy.context.view_layer.update()
    world = np.array(parent.matrix_world)
    points = POINTS @ world[:3, :3].T + world[:3, 3]
    found = document(tmp_path)
    ys, xs = np.mgrid[:100, :150] + 0.5
    for frame in found["frames"]:
        seen = picture(Path(tmp_path) / frame["file_path"])
        wanted = projected(frame, points)
        assert (wanted > 0).all() and (wanted < (150, 100)).all(), "the rig has all of the target in the frame"
        for channel in range(3):
            weight = seen[..., channel] * seen[..., 3]
            if weight.sum() < 20:
                continue  # behind another ball
            centre = (weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()
            assert np.allclose(centre, wanted[channel], atol=0.3), (frame["file_path"], channel)
    low, high = np.array(found["aabb"])
    assert (low < points.min(0)).all() and (high > points.max(0)).all()
    assert np.abs(low - points.min(0)).max() < 0.13 and np.abs(high - points.max(0)).max() < 0.13


def hit(matrix: np.ndarray, rays: np.ndarray, centre: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Depths of a ball along a camera's rays (inf beside it), and how well inside they are: 1 in the middle, below 0
    beside it."""
    offset = matrix[:3, 3] - centre
    a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - size**2
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf), root / (a * size**2)


def test_depth_normals_and_mask_are_those_of_the_geometry(tmp_path: str) -> None:
    scene = prepare(32)
    middle, radius = np.array((0.3, -0.2, 0.5)), 0.8
    target = ball("Target", middle, radius)
    bpy.ops.object.shade_smooth()
    beside = middle + np.array((1.3, 0, 0))
    other = ball("Other", beside, 0.4)
    other.select_set(False)
    target.select_set(True)
    add_camera(shift_x=0.1)
    wanted = settings(
        rig="orbit", elevation=0.0, count=7, width=60, height=40, target="selected", depth=True, normal=True, mask=True
    )
    lathe.field.capture.capture(scene, wanted, Path(tmp_path))
    found = document(tmp_path)
    assert np.allclose(found["aabb"], [middle - radius, middle + radius], atol=2e-3)
    assert found["depth_unit_scale_factor"] == 1
    hidden = 0
    for frame in found["frames"]:
        matrix = np.array(frame["transform_matrix"])
        ys, xs = np.mgrid[:40, :60] + 0.5
        rays = np.stack(
            ((xs - frame["cx"]) / frame["fl_x"], -(ys - frame["cy"]) / frame["fl_y"], -np.ones_like(xs)), -1
        )
        rays = rays @ matrix[:3, :3].T  # as long as one metre along the view
        (depth, inside), (blocked, near_other) = hit(matrix, rays, middle, radius), hit(matrix, rays, beside, 0.4)
        normal = (matrix[:3, 3] + rays * np.where(np.isfinite(depth), depth, 0)[..., None] - middle) / radius
        clear = np.abs(near_other) > 0.6  # not at the other ball's border
        mine = (inside > 0.3) & clear & (depth < blocked)
        hidden += int(((inside > 0.3) & clear & (depth > blocked)).sum())
        stored = np.load(Path(tmp_path) / frame["depth_file_path"])
        assert stored.dtype == np.float32 and mine.sum() > 200
        assert np.abs(stored - depth)[mine].max() < 0.03 and np.abs(stored - depth)[mine].mean() < 0.008
        nothing = (inside < -0.3) & (near_other < -0.3)
        assert nothing.any() and (stored[nothing] == 0).all()
        normals = picture(Path(tmp_path) / frame["normal_file_path"])
        assert np.abs(normals[mine][:, :3] * 2 - 1 - normal[mine]).max() < 0.1
        assert (normals[nothing][:, 3] == 0).all()
        mask = picture(Path(tmp_path) / frame["mask_path"])[..., 0]
        assert (mask[mine] == 1).all() and (mask[nothing] == 0).all()
        assert (mask[(blocked < depth) & (near_other > 0.6) & (np.abs(inside) > 0.3)] == 0).all()
    assert hidden > 10, "one picture has the other ball before the target"


def test_splits_have_their_counts_and_the_seed_decides_the_cameras(tmp_path: str) -> None:
    scene = prepare()
    ball("Ball", (0, 0, 0), 1)
    found = []
    for folder, seed in (("a", 4), ("b", 4), ("c", 5)):
        wanted = settings(count=4, val=1, test=2, seed=seed)
        lathe.field.capture.capture(scene, wanted, Path(tmp_path) / folder)
        found.append(document(f"{tmp_path}/{folder}"))
    assert found[0] == found[1] and found[0]["frames"][0] != found[2]["frames"][0]
    assert [len(found[0][f"{split}_filenames"]) for split in ("train", "val", "test")] == [4, 1, 2]
    assert {frame["file_path"] for frame in found[0]["frames"]} == {
        f"images/{path.name}" for path in (Path(tmp_path) / "a" / "images").iterdir()
    }
    assert all(np.array(frame["transform_matrix"])[2, 3] > 0 for frame in found[0]["frames"]), "the upper half"


def test_a_capture_goes_on_where_it_stopped_and_starts_anew_where_it_is_another(tmp_path: str) -> None:
    scene = prepare()
    item = ball("Ball", (0, 0, 0), 1)
    folder = Path(tmp_path)
    capture, wanted = lathe.field.capture.capture, settings(count=3)
    assert capture(scene, wanted, folder) == lathe.field.capture.Captured(folder, 3, 0)
    whole = document(tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    (folder / "images/train_001.png").unlink()
    assert capture(scene, wanted, folder) == lathe.field.capture.Captured(folder, 1, 2)
    again = {path.name: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    assert [name for name in stamps if again[name] != stamps[name]] == ["train_001.png"]
    assert capture(scene, wanted, folder).rendered == 0 and document(tmp_path) == whole
    assert capture(scene, settings(count=3, depth=True), folder).rendered == 3, "there was no depth"
    assert capture(scene, wanted, folder).rendered == 0, "that there is depth does not matter"
    assert capture(scene, settings(count=3, overwrite=True), folder).rendered == 3
    assert capture(scene, settings(count=3, seed=1), folder).rendered == 3
    item.location.x = 0.25
    assert capture(scene, settings(count=3, seed=1), folder).rendered == 3, "the target stands elsewhere"
    (folder / "capture.json").write_text("{")
    assert capture(scene, settings(count=3, seed=1), folder).rendered == 3


def state(block: Any, depth: int = 0) -> Any:
    """All settings of a datablock that Python can see, three levels down."""
    found = {}
    for prop in block.bl_rna.properties:
        if prop.identifier in ("rna_type", "depsgraph", "bl_rna", "tool_settings"):  # reading the last can crash 4.2
            continue
        value = getattr(block, prop.identifier)
        if prop.type == "POINTER":
            if value is not None and not isinstance(value, bpy.types.ID) and depth < 3:
                value = state(value, depth + 1)
            else:
                value = getattr(value, "name", None)
        elif prop.type == "COLLECTION":
            value = [getattr(item, "name", "") for item in value]
        elif getattr(prop, "array_length", 0):
            value = np.array(value).tolist()
        found[prop.identifier] = value if isinstance(value, dict) else repr(value)
    return found


def everything() -> Any:
    scene = bpy.context.scene
    blocks = {
        name: sorted(item.name for item in getattr(bpy.data, name))
        for name in dir(bpy.data)
        if isinstance(getattr(bpy.data, name), type(bpy.data.objects))
    }
    return (
        {key: value for key, value in state(scene).items() if key != "session_uid"},
        [state(layer) for layer in scene.view_layers],
        [state(item) for item in scene.objects],
        [(item.name, item.users) for item in (*bpy.data.objects, *bpy.data.cameras, *bpy.data.collections)],
        blocks,
    )


@pytest.mark.parametrize("how", ["done", "cancelled", "failed", "path", "path cancelled"])
def test_the_users_scene_is_as_it_was_however_a_capture_ends(how: str, tmp_path: str) -> None:
    scene = prepare()
    item = ball("Ball", (0, 0, 0), 1)
    camera = add_camera(shift_x=0.2, lens=35)
    for frame, x in ((1, 2.0), (11, 4.0)):
        camera.location = (x, 0, 5)
        camera.keyframe_insert("location", frame=frame)
        item.rotation_euler.z = x
        item.keyframe_insert("rotation_euler", frame=frame)
    scene.frame_set(7)
    scene.timeline_markers.new("Cut", frame=7).camera = camera
    scene.render.use_border, scene.render.filepath = True, "//mine"
    scene.view_layers[0].use_pass_mist = True
    scene.view_layers.new("Second").use = False
    bpy.context.view_layer.update()
    before = everything()
    wanted = settings(count=3, depth=True, mask=True, rig="path" if "path" in how else "orbit")
    steps = lathe.field.capture.capture_steps(scene, wanted, Path(tmp_path))
    if "cancelled" in how:
        for _ in range(2 if "path" in how else 3):
            next(steps)
        if "path" not in how:
            assert everything() == before, "between two pictures, too"
        steps.close()
    elif how == "failed":
        render = lathe.field.capture.exr.read
        lathe.field.capture.exr.read = None
        try:
            with pytest.raises(TypeError):
                list(steps)
        finally:
            lathe.field.capture.exr.read = render
    else:
        fractions = [step.fraction for step in steps]
        assert fractions == sorted(fractions) and fractions[-1] == 1
    assert everything() == before
    left = sorted(path.name for path in Path(tmp_path).rglob("*") if path.is_file())
    assert not [name for name in left if name.startswith(".")]
    if how == "cancelled":
        assert len(document(tmp_path)["frames"]) == 2, "what was taken is a data set"
        assert lathe.field.capture.capture(scene, wanted, Path(tmp_path)) == lathe.field.capture.Captured(
            Path(tmp_path), 1, 2
        )


def test_the_cameras_own_path_is_followed_and_its_splits_are_spread(tmp_path: str) -> None:
    scene = prepare()
    ball("Ball", (0, 0, 0), 1)
    camera = add_camera()
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.collection.objects.link(parent)
    camera.parent, camera.location, camera.rotation_euler = parent, (0, -6, 0), (math.pi / 2, 0, 0)
    parent.scale = (2, 2, 2)
    for frame, angle, lens in ((1, 0.0, 50.0), (9, math.pi, 70.0)):
        parent.rotation_euler.z, camera.data.lens = angle, lens
        parent.keyframe_insert("rotation_euler", frame=frame)
        camera.data.keyframe_insert("lens", frame=frame)
    scene.frame_start, scene.frame_end = 1, 9
    scene.frame_set(4)
    lathe.field.capture.capture(scene, settings(count=6, test=3, rig="path"), Path(tmp_path))
    found = document(tmp_path)
    assert scene.frame_current == 4
    frames = {frame["file_path"]: frame for frame in found["frames"]}
    assert [frame["file_path"][7:11] for frame in found["frames"]].count("test") == 3
    assert found["frames"][1]["file_path"] == "images/test_000.png"
    first, last = found["frames"][0], found["frames"][-1]
    assert np.allclose(np.array(first["transform_matrix"])[:3, 3], (0, -12, 0), atol=1e-5)
    assert np.allclose(np.array(last["transform_matrix"])[:3, 3], (0, 12, 0), atol=1e-5)
    assert first["fl_x"] == pytest.approx(50 / 36 * 16) and last["fl_x"] == pytest.approx(70 / 36 * 16)
    assert "fl_x" not in found and len(frames) == 9


def test_what_is_rendered_of_the_selection_is_the_target() -> None:
    scene = prepare()
    find = lathe.field.capture.find_target
    bpy.ops.mesh.primitive_cube_add(size=2, location=(1, 2, 3), rotation=(0, 0, math.pi / 4))
    cube = bpy.context.object
    array = cube.modifiers.new("Array", "ARRAY")
    array.count, array.use_relative_offset, array.use_constant_offset = 3, False, True
    array.constant_offset_displace = (0, 0, 4)
    found = find(scene, bpy.context.view_layer, "selected")
    root = math.sqrt(2)
    assert np.allclose((found.low, found.high), ((1 - root, 2 - root, 2), (1 + root, 2 + root, 12)), atol=1e-5)
    assert found.radius == pytest.approx(math.hypot(root, 5), abs=1e-4) and found.names == {"Cube"}

    collection = bpy.data.collections.new("Kit")
    kit = bpy.data.objects.new("Kit", cube.data)
    collection.objects.link(kit)
    bpy.ops.object.collection_instance_add(collection="Kit", location=(20, 0, 0))
    bpy.context.object.scale = (3, 1, 1)
    found = find(scene, bpy.context.view_layer, "selected")
    assert np.allclose((found.low, found.high), ((17, -1, -1), (23, 1, 1)), atol=1e-5) and found.names == {"Kit"}
    whole = find(scene, bpy.context.view_layer, "scene")
    assert whole.names == {"Kit", "Cube"} and whole.high[0] == pytest.approx(23)
    bpy.context.object.hide_render = True
    assert find(scene, bpy.context.view_layer, "scene").names == {"Cube"}
    bpy.ops.object.empty_add()
    cube.parent = bpy.context.object
    assert find(scene, bpy.context.view_layer, "selected").names == {"Cube"}, "what hangs on a selected empty"


def refused(scene: Any, wanted: Any, folder: str) -> Any:
    try:
        lathe.field.capture.capture(scene, wanted, Path(folder))
    except lathe.field.capture.LatheError as error:
        return error
    raise AssertionError("it must be refused")


def test_what_cannot_be_captured_is_refused_with_a_sentence(tmp_path: str) -> None:
    scene = prepare()
    good = f"{tmp_path}/good"
    assert "no surface to capture" in refused(scene, settings(), good).message
    ball("Ball", (0, 0, 0), 1).select_set(False)
    assert "Select the objects" in refused(scene, settings(target="selected"), good).message
    assert "no active camera" in refused(scene, settings(rig="path"), good).message
    camera = add_camera()
    assert "does not move" in refused(scene, settings(rig="path"), good).message
    camera.data.type = "ORTHO"
    assert "Perspective" in refused(scene, settings(), good).message
    bpy.context.scene.camera = None
    assert "Workbench" in refused(scene, settings(engine="BLENDER_WORKBENCH", mask=True), good).message
    Path(f"{tmp_path}/file").write_text("")
    assert refused(scene, settings(), f"{tmp_path}/file/a").code == "cannot_write"
    Path(f"{tmp_path}/other").mkdir()
    Path(f"{tmp_path}/other/transforms.json").write_text("{}")
    assert "not captured here" in refused(scene, settings(), f"{tmp_path}/other").message
    for wrong in ({"count": 0}, {"width": 2}, {"rig": "dome"}, {"fill": 2.0}):
        with pytest.raises(ValueError):
            settings(**wrong)


def test_an_engine_that_cannot_render_is_named(tmp_path: str) -> None:
    scene = prepare()
    ball("Ball", (0, 0, 0), 1)
    before = everything()

    def fail(**_: Any) -> set[str]:
        raise RuntimeError("Error: no display\n")

    real = lathe.field.capture.bpy
    lathe.field.capture.bpy = types.SimpleNamespace(
        data=bpy.data,
        context=bpy.context,
        app=bpy.app,
        ops=types.SimpleNamespace(render=types.SimpleNamespace(render=fail)),
    )
    try:
        error = refused(scene, settings(engine="BLENDER_WORKBENCH"), tmp_path)
    finally:
        lathe.field.capture.bpy = real
    assert error.code == "not_supported" and "Workbench could not render" in error.message
    assert "choose Cycles" in error.message and everything() == before


def test_other_layers_and_collections_that_are_off_stay_off(tmp_path: str) -> None:
    scene = prepare()
    item = ball("Ball", (0, 0, 0), 1)
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    for other in list(item.users_collection):
        other.objects.unlink(item)
    hidden.objects.link(item)
    ball("Small", (0, 0, 0), 0.25, (1, 0, 0, 1))
    bpy.context.view_layer.layer_collection.children["Hidden"].exclude = True
    lathe.field.capture.capture(scene, settings(count=1, fill=0.5, fov=math.radians(60)), Path(tmp_path))
    assert document(tmp_path)["fl_x"] == pytest.approx(8 / math.tan(math.radians(30)), rel=1e-5)
    seen = picture(Path(tmp_path) / "images/train_000.png")
    assert seen[6, 8, 0] > 0.9 and seen[0, 0, 3] == 0 and seen[6, 8, 1] < 0.1


def test_names_have_the_numbers_that_cryptomatte_gives_them() -> None:
    """MurmurHash3's published values."""
    for name, value in (("hello", 0x248BFA47), ("", 0 ^ 1 << 23), ("hello, world", 0x149BBB7F)):
        assert lathe.field.capture._matte_hash(name).view(np.uint32) == value
