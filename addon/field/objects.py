"""Objects of radiance fields in Blender: empties with the field's box, cameras, points, crop boxes.

A field is an empty displayed as a cube. The cube's half extents are its delta scale, so that its own scale stays 1 and
any transform of the object (also by parents and duplicates) is a transform of the field: `gather.world_from_field`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix

from ..scene import apply, frames, gather
from ..scene.apply import Handle
from ..wire.messages import ModelInfo

STEP_SECONDS = 0.006
POINTS = "Points"
CUBE_EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1)
CROP_COLOR = (1.0, 0.6, 0.1, 1.0)


def fields_of(scene: Any, model: str) -> list[Any]:
    """Return the objects of a field in a scene."""
    return [item for item in scene.objects if gather.is_field_object(item) and item.lathe.model == model]


def put_field(scene: Any, info: ModelInfo) -> Any:
    """Return the field's object in the scene, added where its images were taken if there is none.

    Existing ones keep their transform and get the field's current box.
    """
    found = fields_of(scene, info.name)
    for item in found:
        if (tuple(item.lathe.box_min), tuple(item.lathe.box_max)) != _floats(info.bounds):
            world = gather.world_from_field(item)
            _set_box(item, info)
            item.matrix_world = Matrix((world @ _field_from_cube(info)).tolist())
    if found:
        return found[0]
    item = bpy.data.objects.new(info.label, None)
    item.empty_display_type, item.empty_display_size = "CUBE", 1.0
    item.lathe.is_field, item.lathe.model = True, info.name
    _set_box(item, info)
    item.location = _field_from_cube(info)[:3, 3]
    apply.collection_of(scene).objects.link(item)
    return item


def _floats(bounds: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(np.float32(value)) for value in corner) for corner in bounds)


def _field_from_cube(info: ModelInfo) -> np.ndarray:
    low, high = np.array(info.bounds)
    matrix = np.diag([*(high - low) / 2, 1.0])
    matrix[:3, 3] = (low + high) / 2
    return matrix


def _set_box(item: Any, info: ModelInfo) -> None:
    low, high = info.bounds
    item.delta_scale = (np.array(high) - np.array(low)) / 2
    item.lathe.box_min, item.lathe.box_max = low, high
    if not item.lathe.use_crop:
        item.lathe.crop_min, item.lathe.crop_max = low, high


# -------------------------------------------------------------------------------------------------------------- cameras


def put_cameras(
    scene: Handle,
    name: str,
    world_from_camera: np.ndarray,
    lenses: Sequence[tuple[float, float, float]],
    names: Sequence[str],
    points: np.ndarray | None = None,
    colors: np.ndarray | None = None,
) -> Iterator[Any]:
    """Add cameras, and optionally points, to a collection of this name step by step, replacing its contents.

    Args:
        world_from_camera: [N, 4, 4], OpenCV axes.
        lenses: of each camera (focal length over width, shift_x, shift_y) in Blender's units, from `lens_of`.
        points: [P, 3]; colors: uint8 [P, 3] sRGB.
    """
    place = bpy.data.collections.get(name) or bpy.data.collections.new(name)
    if place.name not in scene.get().collection.children:
        scene.get().collection.children.link(place)
    handle = Handle.of("collections", place)
    _empty(place)
    yield
    size = 0.05 * _spread(world_from_camera[:, :3, 3])
    data: dict[tuple[float, float, float], str] = {}
    begun = time.perf_counter()
    for pose, lens, label in zip(world_from_camera, lenses, names):
        place = handle.get()
        if lens not in data:
            made = bpy.data.cameras.new(name)
            made.sensor_fit = "HORIZONTAL"
            made.lens = lens[0] * made.sensor_width
            made.shift_x, made.shift_y = lens[1:]
            made.display_size = max(size, 1e-3)
            data[lens] = made.name
        item = bpy.data.objects.new(label, bpy.data.cameras[data[lens]])
        item.matrix_world = Matrix((np.asarray(pose, np.float64) @ frames.CAMERA_FLIP).tolist())
        place.objects.link(item)
        if time.perf_counter() - begun > STEP_SECONDS:
            yield
            begun = time.perf_counter()
    if points is not None and len(points):
        mesh = bpy.data.meshes.new(f"{name} {POINTS}")
        mesh.vertices.add(len(points))
        mesh.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(points, np.float32).ravel())
        if colors is not None:
            rgba = np.ones((len(points), 4), np.float32)
            rgba[:, :3] = frames.linear_from_srgb(np.asarray(colors, np.float32) / 255)
            layer = mesh.color_attributes.new(apply.COLOR_ATTRIBUTE, "FLOAT_COLOR", "POINT")
            layer.data.foreach_set("color", rgba.ravel())
        handle.get().objects.link(bpy.data.objects.new(mesh.name, mesh))
    yield


def lens_of(intrinsics: np.ndarray, width: int, height: int) -> tuple[float, float, float]:
    """Return (focal length over width, shift_x, shift_y) of intrinsics [3, 3], for a horizontal sensor fit.

    Blender's shift moves the view, opposite to the principal point, and both shifts are in units of the width.
    """
    cx, cy = float(intrinsics[0][2]), float(intrinsics[1][2])
    return float(intrinsics[0][0]) / width, (width / 2 - cx) / width, (cy - height / 2) / width


def _spread(centres: np.ndarray) -> float:
    """Return the mean distance of camera centres [N, 3] from their centroid."""
    return float(np.linalg.norm(centres - centres.mean(0), axis=1).mean()) if len(centres) > 1 else 1.0


def _empty(place: Any) -> None:
    """Remove the objects of a collection with their data."""
    for item in list(place.objects):
        data = item.data
        bpy.data.objects.remove(item)
        if data is not None and not data.users:
            (bpy.data.cameras if isinstance(data, bpy.types.Camera) else bpy.data.meshes).remove(data)


# ----------------------------------------------------------------------------------------------------------- crop boxes

_drawing: Any = None


def crop_corners(item: Any) -> np.ndarray:
    """Return the corners [8, 3] of a field's crop box in world coordinates."""
    low, high = np.array(item.lathe.crop_min), np.array(item.lathe.crop_max)
    corners = np.array([[(low, high)[n >> axis & 1][axis] for axis in range(3)] for n in range(8)])
    world = gather.world_from_field(item)
    return corners @ world[:3, :3].T + world[:3, 3]


def _draw() -> None:
    """Draw the crop boxes of the selected fields in a 3D viewport."""
    chosen = [item for item in bpy.context.selected_objects if gather.is_field_object(item) and item.lathe.use_crop]
    if not chosen:
        return
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", CROP_COLOR)
    for item in chosen:
        positions = [tuple(corner) for corner in crop_corners(item)]
        batch_for_shader(shader, "LINES", {"pos": positions}, indices=CUBE_EDGES).draw(shader)


def register() -> None:
    """Start drawing crop boxes, except in background Blender."""
    global _drawing
    if not bpy.app.background:
        _drawing = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    """Stop drawing crop boxes."""
    global _drawing
    if _drawing is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_drawing, "WINDOW")
        _drawing = None
