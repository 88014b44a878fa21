"""Cameras: the wire's pixels against Blender's own functions and Blender's own renders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

bpy: Any = None
lathe: Any = None


def wire_pixel(point: Any, camera: Any) -> np.ndarray:
    seen = (np.linalg.inv(np.array(camera.world_from_camera)) @ np.append(point, 1))[:3]
    flat = seen / seen[2] if camera.projection == "perspective" else np.array((seen[0], seen[1], 1.0))
    return (np.array(camera.intrinsics) @ flat)[:2]


def make_camera(**settings: Any) -> Any:
    data = bpy.data.cameras.new("Camera")
    camera = bpy.data.objects.new("Camera", data)
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.location, camera.rotation_euler = (2.0, -3.0, 1.5), (1.1, 0.1, 0.5)
    for name, value in settings.items():
        setattr(data, name, value)
    return camera


CAMERAS: dict[str, tuple[dict[str, Any], tuple[int, int], tuple[float, float]]] = {
    "plain": ({}, (200, 100), (1, 1)),
    "upright": ({}, (100, 200), (1, 1)),
    "horizontal fit": ({"sensor_fit": "HORIZONTAL", "sensor_width": 24}, (100, 200), (1, 1)),
    "vertical fit": ({"sensor_fit": "VERTICAL", "sensor_height": 20}, (200, 100), (1, 1)),
    "shift": ({"shift_x": 0.3, "shift_y": -0.2}, (160, 120), (1, 1)),
    "pixel aspect x": ({"shift_x": 0.1}, (160, 120), (1, 2)),
    "pixel aspect y": ({"shift_y": 0.1, "sensor_fit": "VERTICAL"}, (160, 120), (1.5, 1)),
    "orthographic": ({"type": "ORTHO", "ortho_scale": 4}, (200, 100), (1, 1)),
    "orthographic upright shift": ({"type": "ORTHO", "ortho_scale": 3, "shift_x": 0.2}, (90, 160), (1, 1)),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_a_point_lands_where_blender_says(name: str) -> None:
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    settings, (width, height), aspect = CAMERAS[name]
    camera = make_camera(**settings)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
    for scale in ((1, 1, 1), (2, 0.5, 3)):
        camera.scale = scale
        bpy.context.view_layer.update()
        wire = lathe.scene.gather.scene_camera(scene, bpy.context.evaluated_depsgraph_get(), width, height)
        if scale != (1, 1, 1):
            camera.scale = (1, 1, 1)  # world_to_camera_view itself is wrong for scaled cameras
            bpy.context.view_layer.update()
        for point in ((0, 0, 0), (0.5, 0.4, -0.3), (-0.7, 0.2, 0.6)):
            x, y, _ = world_to_camera_view(scene, camera, Vector(point))
            assert np.allclose(wire_pixel(point, wire), (x * width, (1 - y) * height), atol=1e-3)


@pytest.mark.parametrize("name", ["plain", "shift", "pixel aspect x", "orthographic upright shift"])
def test_a_render_of_blender_shows_points_where_the_wire_says(name: str, tmp_path: str) -> None:
    """Small glowing balls, rendered by Cycles; their centres in the image against the wire camera's pixels."""
    from mathutils import Vector

    settings, (width, height), aspect = CAMERAS[name]
    camera = make_camera(**settings)
    bpy.context.view_layer.update()
    wide = camera.data.ortho_scale if camera.data.type == "ORTHO" else 3.5 * 36 / 50
    middle = Vector((camera.data.shift_x * wide, camera.data.shift_y * wide, -3.5))
    points = [camera.matrix_world @ (middle + Vector(offset)) for offset in ((0.3, 0.2, 0), (-0.3, -0.25, 0.2))]
    camera.scale = (3, 1, 0.5)
    scene = bpy.context.scene
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
    scene.view_settings.view_transform = "Standard"
    scene.render.film_transparent = True
    scene.render.filepath = f"{tmp_path}/out.png"
    for index, (point, color) in enumerate(zip(points, ((1, 0, 0, 1), (0, 1, 0, 1)))):
        material = bpy.data.materials.new(f"Glow {index}")
        material.use_nodes = True
        nodes, links = material.node_tree.nodes, material.node_tree.links
        glow = nodes.new("ShaderNodeEmission")
        glow.inputs["Color"].default_value = color
        output = next(node for node in nodes if node.bl_idname == "ShaderNodeOutputMaterial")
        links.new(glow.outputs[0], output.inputs["Surface"])
        bpy.ops.mesh.primitive_uv_sphere_add(radius=0.08, location=point)
        bpy.context.object.data.materials.append(material)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    picture = lathe.scene.frames.image_from_pixels(flat, width, height)
    wire = lathe.scene.gather.scene_camera(scene, bpy.context.evaluated_depsgraph_get(), width, height)
    ys, xs = np.mgrid[:height, :width] + 0.5
    for channel, point in enumerate(points):
        weight = picture[..., channel] * picture[..., 3]
        assert weight.sum() > 5, (channel, weight.sum(), wire_pixel(point, wire))
        centre = (weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()
        assert np.allclose(centre, wire_pixel(point, wire), atol=0.35), (channel, centre, wire_pixel(point, wire))


def test_the_viewport_matrices_give_the_same_camera() -> None:
    """A region view made from a camera's own matrices is that camera."""
    from types import SimpleNamespace

    camera = make_camera(shift_x=0.2)
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    region = SimpleNamespace(
        view_matrix=camera.matrix_world.inverted(),
        window_matrix=camera.calc_matrix_camera(depsgraph, x=160, y=90),
    )
    seen = lathe.scene.gather.viewport_camera(region, 160, 90)
    wanted = lathe.scene.gather.scene_camera(scene, depsgraph, 160, 90)
    assert np.allclose(seen.world_from_camera, wanted.world_from_camera, atol=1e-5)
    assert np.allclose(seen.intrinsics, wanted.intrinsics, atol=1e-3)


def test_an_animated_parented_camera_is_seen_as_it_stands_at_the_frame() -> None:
    camera = make_camera()
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.collection.objects.link(parent)
    camera.parent = parent
    for frame, angle in ((1, 0.0), (11, math.pi / 2)):
        parent.rotation_euler.z = angle
        parent.keyframe_insert("rotation_euler", frame=frame)
    scene = bpy.context.scene
    scene.frame_set(11)
    wire = lathe.scene.gather.scene_camera(scene, bpy.context.evaluated_depsgraph_get(), 8, 8)
    assert np.allclose(np.array(wire.world_from_camera)[:3, 3], (3.0, 2.0, 1.5), atol=1e-5)


def test_panoramas_and_scenes_without_a_camera_are_refused_with_a_sentence() -> None:
    scene = bpy.context.scene
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for sentence in ("no active camera", "panoramic"):
        try:
            lathe.scene.gather.scene_camera(scene, depsgraph, 8, 8)
        except lathe.scene.gather.InvalidRequest as error:
            assert sentence in error.message
        else:
            raise AssertionError("it must be refused")
        make_camera(type="PANO")


@pytest.mark.parametrize("size", [[200, 100], [100, 200], [100, 100]])
def test_the_models_own_view_shows_the_whole_box(size: list[int]) -> None:
    lathe.link.session.session.jobs.wait_for(lathe.backend.actions.start_backend(bpy.context), 30)
    scene = bpy.context.scene
    scene.cursor.location = (3, 2, 1)
    scene.unit_settings.scale_length = 0.5
    scene.render.resolution_x, scene.render.resolution_y = size
    lathe.preview.actions.add_camera(bpy.context)
    bpy.context.view_layer.update()
    wire = lathe.scene.gather.scene_camera(scene, bpy.context.evaluated_depsgraph_get(), *size)
    world = lathe.scene.gather.placed_at_cursor(scene)
    assert np.allclose(wire_pixel((3, 2, 1), wire), np.array(size) / 2, atol=1e-3)
    top, right = (world @ (0, 0, 0.3, 1))[:3], (world @ (0.3, 0, 0, 1))[:3]
    assert wire_pixel(top, wire)[1] < size[1] / 2 - 5 and wire_pixel(right, wire)[0] > size[0] / 2 + 5
    prior = lathe.link.session.session.models["sphere"].pose_prior
    edge = prior.radius * math.tan(prior.fov / 2)
    corner = wire_pixel((world @ (edge, 0, 0, 1))[:3], wire)[0] - size[0] / 2
    assert abs(corner - min(size) / 2) < 0.01, "the prior's field of view fits the shorter side"
