"""Removal of what deleted objects leave behind: pointers to them, meshes, materials and images that nothing uses.

Blender removes unused data only when a file is saved and opened again, and an object that `last_object` or `partner`
points to not at all.
"""

from __future__ import annotations

from typing import Any

import bpy

MARK = "lathe"
"""Custom property of the meshes and materials that the add-on made."""

_counted: tuple[int, ...] = ()


def mark(block: Any) -> None:
    """Mark a mesh or material as the add-on's, which is removed when nothing uses it any more."""
    block[MARK] = True


def is_ours(block: Any) -> bool:
    """Return whether the add-on made a mesh or material."""
    return bool(block.get(MARK))


def look() -> None:
    """Remove leftovers if objects were added, removed or unlinked since the last look."""
    global _counted
    counted = len(bpy.data.objects), *(len(scene.collection.all_objects) for scene in bpy.data.scenes)
    if counted != _counted:
        remove()
        _counted = counted


def remove() -> None:
    """Remove generated objects that are in no collection, and generated data without users."""
    places = [*bpy.data.collections, *(scene.collection for scene in bpy.data.scenes)]
    linked = {item for place in places for item in place.objects}
    gone = [item for item in bpy.data.objects if item not in linked and item.library is None]
    gone = [item for item in gone if item.lathe.is_generated or item.lathe.is_field]
    for scene in bpy.data.scenes:
        if scene.lathe.last_object in gone:
            scene.lathe.last_object = None
    for item in gone:
        partner = item.lathe.partner
        if partner is not None and partner.lathe.partner == item:
            partner.lathe.partner = None
        item.lathe.partner = None
    for item in gone:
        if not item.users:
            bpy.data.objects.remove(item)
    for mesh in [mesh for mesh in bpy.data.meshes if not mesh.users and is_ours(mesh)]:
        remove_mesh(mesh)


def remove_mesh(mesh: Any) -> None:
    """Remove a mesh, and its materials and their images that the add-on made and nothing else uses."""
    materials = [material for material in mesh.materials if material is not None]
    bpy.data.meshes.remove(mesh)
    for material in materials:
        if is_ours(material) and not material.users:
            images = [n.image for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeTexImage" and n.image]
            bpy.data.materials.remove(material)
            for image in images:
                if not image.users:
                    bpy.data.images.remove(image)
