"""Places of new objects: on the ground, in free space beside what is there, and seen in the viewport.

Boxes are axis-aligned, [2, 3] with the lower corner first, in world coordinates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import bpy
import numpy as np

from . import gather

SOLID = {"MESH", "CURVE", "CURVES", "SURFACE", "META", "FONT", "VOLUME", "POINTCLOUD", "GPENCIL", "GREASEPENCIL"}
"""Types of objects that take up space."""
GAP = 0.1
"""Distance to neighbours, in footprints of the new object."""
SURROUNDING_FOOTPRINTS, SURROUNDING_METRES = 8.0, 4.0
"""A box wider than both in x and y is a floor, a room or a sky, which holds the new object instead of blocking it."""
TOUCHING = 0.01
"""Share of the new object's height that a floor may reach up into it."""
SIDEWAYS = 0.1
"""Cosine of the angle to the viewer from which on a place is behind another."""
SEEN_HEIGHT = 0.2
"""Share of the viewport's height that an object takes up if it needs no framing."""
FRAMED = 0.6
"""Share of the viewport's smaller half that a framed object's bounding sphere takes up."""
STEP_SECONDS = 0.006


def moved_box(box: np.ndarray, matrix: Any) -> np.ndarray:
    """Return the box around a box [2, 3] that is transformed by a matrix [4, 4]."""
    corners = np.array([[box[n >> axis & 1][axis] for axis in range(3)] for n in range(8)])
    return _around(corners, matrix)


def _around(corners: Any, matrix: Any) -> np.ndarray:
    world = np.array(matrix, np.float64)
    placed = np.asarray(corners, np.float64) @ world[:3, :3].T + world[:3, 3]
    return np.stack((placed.min(0), placed.max(0)))


def occupied(scene: Callable[[], Any]) -> Generator[Any, None, np.ndarray]:
    """Return the boxes [N, 2, 3] of a scene's visible objects, step by step. scene: returns the scene anew."""
    place = scene()
    names = [item.name for item in place.objects]
    boxes: list[np.ndarray] = []
    begun = time.perf_counter()
    for name in names:
        item = place.objects.get(name)
        if item is not None and _is_visible(item, place):
            boxes += _boxes_of(item)
        if time.perf_counter() - begun > STEP_SECONDS:
            yield
            place, begun = scene(), time.perf_counter()
    return np.array(boxes).reshape(-1, 2, 3)


def _is_visible(item: Any, scene: Any) -> bool:
    here = bpy.context.scene == scene and bpy.context.view_layer is not None
    return bool(item.visible_get(view_layer=bpy.context.view_layer if here else scene.view_layers[0]))


def _boxes_of(item: Any) -> Iterator[np.ndarray]:
    """Yield the box of an object, or those of the collection that it instances."""
    if item.type in SOLID:
        yield _around([corner[:] for corner in item.bound_box], item.matrix_world)
    elif item.instance_collection is not None:
        world = np.array(item.matrix_world)
        world[:3, 3] -= world[:3, :3] @ np.array(item.instance_collection.instance_offset)
        for part in item.instance_collection.all_objects:
            if part.type in SOLID:
                yield _around([corner[:] for corner in part.bound_box], world @ np.array(part.matrix_world))


def towards_viewer() -> np.ndarray | None:
    """Return the direction [3] from what the largest 3D viewport shows to its viewer; None without a viewport."""
    region, view = gather.viewport(bpy.context)
    return None if region is None else np.array(view.view_matrix.inverted())[:3, 2]


def standing(box: np.ndarray, ground: float, others: np.ndarray, viewer: np.ndarray | None = None) -> np.ndarray:
    """Return the translation [3] that puts a box on the ground, in the nearest free place on either side.

    Args:
        ground: height of the ground.
        others: boxes [N, 2, 3] that must not be intersected. The box is moved along x or y alone.
        viewer: direction [3] to the viewer, who shall see it: it is never moved behind what is there.
    """
    shift = np.array((0.0, 0.0, ground - box[0, 2]))
    low, high = box + shift
    footprint = float((high - low)[:2].max())
    wide = (others[:, 1, :2] - others[:, 0, :2] > max(SURROUNDING_FOOTPRINTS * footprint, SURROUNDING_METRES)).all(1)
    height = TOUCHING * (high - low)[2]
    level = (others[:, 0, 2] < high[2] - height) & (others[:, 1, 2] > low[2] + height)
    blocking, gap = others[level & ~wide], GAP * footprint
    ways = []
    for axis in (0, 1):
        across = 1 - axis
        beside = (blocking[:, 0, across] < high[across]) & (blocking[:, 1, across] > low[across])
        blocked = np.stack((blocking[:, 0, axis] - high[axis] - gap, blocking[:, 1, axis] - low[axis] + gap), -1)[
            beside
        ]
        for sign, free in ((1, _first_free(blocked)), (-1, _first_free(-blocked[:, ::-1]))):
            if viewer is None or sign * viewer[axis] > -SIDEWAYS:
                ways.append((sign * free, axis))
    distance, axis = min(ways, key=lambda way: abs(way[0]))  # the first of equals: to the right
    shift[axis] += distance
    return shift


def _first_free(blocked: np.ndarray) -> float:
    """Return the smallest number from 0 up that lies in none of the open intervals [N, 2]."""
    free = 0.0
    for low, high in blocked[np.argsort(blocked[:, 0])]:
        if low < free < high:
            free = float(high)
    return free


# -------------------------------------------------------------------------------------------------------- the viewport


def show(box: np.ndarray) -> None:
    """Turn the largest 3D viewport to a box that is out of sight or small there. Camera views stay as they are."""
    region, view = gather.viewport(bpy.context)
    if region is None or view.view_perspective == "CAMERA":
        return
    ndc = _in_view(box, view.perspective_matrix)
    if ndc is not None and np.abs(ndc).max() < 1 and np.ptp(ndc[:, 1]) > 2 * SEEN_HEIGHT:
        return
    view.view_distance = framing_distance(box, view.window_matrix, view.view_distance)
    view.view_location = box.mean(0).tolist()


def _in_view(box: np.ndarray, perspective: Any) -> np.ndarray | None:
    """Return the corners of a box [8, 2] in the viewport, ±1 at its edges; None if one is behind the viewer."""
    corners = np.array([(*(box[n >> axis & 1][axis] for axis in range(3)), 1.0) for n in range(8)])
    clip = corners @ np.array(perspective).T
    return None if (clip[:, 3] <= 0).any() else clip[:, :2] / clip[:, 3:]


def framing_distance(box: np.ndarray, window_matrix: Any, distance: float) -> float:
    """Return the view distance at which a box fills FRAMED of the viewport's smaller half.

    window_matrix: [4, 4] projection of the viewport at the view distance `distance`, on which an orthographic one
    depends.
    """
    projection = np.array(window_matrix)
    focal = max(projection[0, 0], projection[1, 1])
    radius = float(np.linalg.norm(box[1] - box[0])) / 2
    if projection[3, 3] == 0:  # perspective: the sphere's outline, seen at sin(angle) = radius / distance
        return radius * float(np.sqrt(1 + (focal / FRAMED) ** 2))
    return distance * radius * focal / FRAMED


def show_colors(color_type: str) -> None:
    """Show colours of materials as they are in Solid shading of the largest 3D viewport.

    color_type: "VERTEX" or "TEXTURE". Left alone where the user chose anything but Blender's default.
    """
    region, _ = gather.viewport(bpy.context)
    manager = bpy.context.window_manager
    for window in manager.windows if manager and region is not None else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D" and region in area.regions[:]:
                shading = area.spaces.active.shading
                if shading.color_type == "MATERIAL":
                    shading.color_type = color_type
