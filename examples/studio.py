"""A small photo studio in Blender for generated shapes: a platter, soft light, and an orbiting camera.

Plain Blender, nothing of Latent Lathe: use it for your own images.
"""

from __future__ import annotations

import colorsys
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import bpy
from mathutils import Vector

PLATTER_RADIUS = 2.35  # metres
PLATTER_HEIGHT = 0.12
RING_RADIUS = 1.9
HERO_RADIUS = 0.62
BACKDROP = (0.62, 0.66, 0.72)


def run(script: Callable[[], None]) -> NoReturn:
    """Run a script and end the process with its exit status, since leaving bpy in another way can hang."""
    code = 0
    try:
        script()
    except SystemExit as stopped:  # from argparse, or with a message
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def clear() -> None:
    """Remove Blender's default cube, lamp and camera."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)


def place(item: bpy.types.Object, angle: float, radius: float, height: float) -> None:
    """Place an object on the platter, facing outward, scaled to a height in metres.

    angle: radians about +Z from -Y, where a model's front looks.
    """
    corners = [Vector(corner) for corner in item.bound_box]
    low = min(corner.z for corner in corners)
    scale = height / (max(corner.z for corner in corners) - low)
    item.scale = (scale, scale, scale)
    item.rotation_euler = (0.0, 0.0, angle)
    item.location = (radius * math.sin(angle), -radius * math.cos(angle), PLATTER_HEIGHT - scale * low)


def paint(item: bpy.types.Object, hue: float, *, saturation: float = 0.5, value: float = 0.8) -> None:
    """Give an object a satin material of its own."""
    material = bpy.data.materials.new(f"{item.name} paint")
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    color = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    shader.inputs["Base Color"].default_value = (*(channel**2.2 for channel in color), 1.0)
    shader.inputs["Roughness"].default_value = 0.38
    item.data.materials.clear()
    item.data.materials.append(material)
    material.diffuse_color = (*color, 1.0)


def build() -> None:
    """Add platter, floor and light."""
    floor = _disc("Floor", 40.0, 0.0)
    paint(floor, 0.6, saturation=0.10, value=0.80)
    platter = _disc("Platter", PLATTER_RADIUS, PLATTER_HEIGHT)
    paint(platter, 0.08, saturation=0.10, value=0.93)
    bevel = platter.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments = 0.03, 3

    world = bpy.data.worlds.new("Studio")
    world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (*(channel**2.2 for channel in BACKDROP), 1.0)
    background.inputs["Strength"].default_value = 0.9
    bpy.context.scene.world = world

    _lamp("Key", location=(-3.2, -3.8, 5.2), size=2.6, watts=620.0, color=(1.0, 0.95, 0.88))
    _lamp("Rim", location=(3.8, 3.4, 3.6), size=1.6, watts=420.0, color=(0.82, 0.90, 1.0))


def add_camera(frames: int, *, distance: float = 6.9, height: float = 3.0, lens: float = 50.0) -> bpy.types.Object:
    """Add a camera that orbits the platter once in `frames` frames, and make it the active one."""
    scene = bpy.context.scene
    target = bpy.data.objects.new("Turntable", None)
    target.location = (0.0, 0.0, 0.3)
    scene.collection.objects.link(target)
    data = bpy.data.cameras.new("Camera")
    data.lens = lens
    camera = bpy.data.objects.new("Camera", data)
    camera.parent = target
    camera.location = (0.0, -distance, height)
    camera.rotation_euler = (math.pi / 2 - math.atan2(height, distance), 0.0, 0.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.frame_start, scene.frame_end = 1, frames
    for frame, angle in ((1, 0.0), (frames + 1, 2 * math.pi)):
        target.rotation_euler[2] = angle
        target.keyframe_insert("rotation_euler", index=2, frame=frame)
    for curve in target.animation_data.action.fcurves:
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
    scene.frame_set(1)
    return camera


def use_cycles(*, samples: int) -> None:
    """Use Cycles on the processor, which needs no display and gives the same result everywhere."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold = 0.08
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 4
    scene.cycles.diffuse_bounces = 2
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"


@contextmanager
def even_light() -> Iterator[None]:
    """Light the scene evenly from all sides and render colours unchanged, within the block."""
    scene = bpy.context.scene
    lamps = [item for item in scene.objects if item.type == "LIGHT" and not item.hide_render]
    world, view = scene.world, scene.view_settings
    before = view.view_transform, view.look
    scene.world = bpy.data.worlds.new("Even")
    scene.world.color = (1.0, 1.0, 1.0)
    view.view_transform, view.look = "Standard", "None"
    for lamp in lamps:
        lamp.hide_render = True
    yield
    for lamp in lamps:
        lamp.hide_render = False
    view.view_transform, view.look = before
    bpy.data.worlds.remove(scene.world)
    scene.world = world


def render(path: Path, width: int, height: int, *, animation: bool = False) -> None:
    """Render the active camera to PNG: one image, or frame_####.png for the frame range."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(path)
    bpy.ops.render.render(animation=animation, write_still=not animation)


def _disc(name: str, radius: float, top: float) -> bpy.types.Object:
    """A round slab whose top is at z = `top`."""
    depth = max(top, 0.02)
    bpy.ops.mesh.primitive_cylinder_add(vertices=128, radius=radius, depth=depth, location=(0, 0, top - depth / 2))
    item = bpy.context.object
    item.name = name
    for polygon in item.data.polygons:
        polygon.use_smooth = len(polygon.vertices) == 4
    return item


def _lamp(
    name: str,
    *,
    location: tuple[float, float, float],
    size: float,
    watts: float,
    color: tuple[float, float, float],
) -> None:
    data = bpy.data.lights.new(name, "AREA")
    data.size, data.energy, data.color = size, watts, color
    lamp = bpy.data.objects.new(name, data)
    lamp.location = location
    lamp.rotation_euler = (Vector((0, 0, 0.4)) - Vector(location)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(lamp)
