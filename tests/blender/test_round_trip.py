"""There and back: an object in Blender, images of it, a radiance field of those, a mesh of that, in the same place.

The real backend, with a real fit of a few seconds. Everything that could move or stretch the result is on purpose in
the way: a turned, scaled parent, lens shift, pixels that are not square, an image that is not square either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import build
from tests.blender.helpers import done

bpy: Any = None
lathe: Any = None


def placed_object() -> Any:
    """Add a coloured torus with a rotated, unevenly scaled parent."""
    bpy.ops.mesh.primitive_torus_add(major_radius=0.5, minor_radius=0.2, major_segments=64, minor_segments=24)
    item = bpy.context.object
    material = bpy.data.materials.new("Checks")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, glow, checks = (nodes.new(f"ShaderNode{kind}") for kind in ("OutputMaterial", "Emission", "TexChecker"))
    place = nodes.new("ShaderNodeTexCoord")
    checks.inputs["Scale"].default_value = 4
    checks.inputs["Color1"].default_value, checks.inputs["Color2"].default_value = (
        (0.8, 0.2, 0.1, 1),
        (0.1, 0.3, 0.8, 1),
    )
    links.new(place.outputs["Generated"], checks.inputs["Vector"])
    links.new(checks.outputs["Color"], glow.inputs["Color"])
    links.new(glow.outputs[0], output.inputs["Surface"])
    item.data.materials.append(material)
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.collection.objects.link(parent)
    item.parent = parent
    parent.location, parent.rotation_euler, parent.scale = (2.0, -1.0, 0.5), (0.4, 0.3, 1.0), (1.5, 0.8, 1.2)
    item.location, item.rotation_euler = (0.1, 0.0, 0.2), (0.5, 0.0, 0.0)
    bpy.context.view_layer.update()
    return item


def add_camera() -> None:
    """A camera with a shifted lens, and images of pixels that are not square."""
    data = bpy.data.cameras.new("Camera")
    data.lens, data.shift_x, data.shift_y = 60, 0.1, -0.05
    item = bpy.data.objects.new("Camera", data)
    bpy.context.collection.objects.link(item)
    scene = bpy.context.scene
    scene.camera = item
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = 160, 120
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = 1.0, 1.3


def box(item: Any) -> np.ndarray:
    """Return the bounds [2, 3] of a mesh object in the world."""
    points = np.array([item.matrix_world @ vertex.co for vertex in item.data.vertices])
    return np.stack((points.min(0), points.max(0)))


def surface(item: Any) -> Any:
    """Return an object's surface in the world, to ask for the nearest point of."""
    from mathutils.bvhtree import BVHTree

    points = [item.matrix_world @ vertex.co for vertex in item.data.vertices]
    return BVHTree.FromPolygons(points, [tuple(polygon.vertices) for polygon in item.data.polygons])


def test_an_object_comes_back_to_where_it_was(tmp_path: str) -> None:
    lathe.preferences.extension_root = lambda: build.ROOT
    bpy.context.preferences.addons[lathe.preferences.PACKAGE].preferences.data = f"{tmp_path}/data"
    item = placed_object()
    add_camera()
    scene = bpy.context.scene
    capture, field = scene.lathe.capture, scene.lathe.field
    capture.rig, capture.count, capture.test, capture.size = "SPHERE", 28, 2, 96
    field.data_sets, field.name, field.preset, field.steps = f"{tmp_path}/sets", "ring", "DRAFT", 250
    done("lathe.capture")
    fitted = bpy.data.objects[done("lathe.fit")]
    fitted.lathe.mesh.resolution, fitted.lathe.mesh.color = 96, "NONE"
    made = bpy.data.objects[done("lathe.generate_mesh")]
    bpy.context.view_layer.update()

    wanted, got = box(item), box(made)
    size = (wanted[1] - wanted[0]).max()
    there, back = surface(item), surface(made)
    from_source = [back.find_nearest(item.matrix_world @ vertex.co)[3] for vertex in item.data.vertices]
    nearest = [
        (made.matrix_world @ vertex.co, there.find_nearest(made.matrix_world @ vertex.co))
        for vertex in made.data.vertices
    ]
    outside = [found[3] for point, found in nearest if (point - found[0]).dot(found[1]) > 0]
    assert np.abs(got - wanted).max() < 0.01 * size, (wanted, got)
    assert np.mean(from_source) < 0.01 * size, "the surface is where the object's is"
    assert np.mean(outside) < 0.01 * size, "and nothing stands far off it"
