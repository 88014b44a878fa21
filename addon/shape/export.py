"""Export of generated objects with Blender's own exporters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..scene.apply import problem_object_mode
from ..scene.gather import generated_object
from ..wire import errors

EXTENSIONS = {"GLB": ".glb", "OBJ": ".obj", "PLY": ".ply", "USD": ".usdc"}


def problem_export(context: Any) -> str:
    """Return why nothing can be exported, or an empty string."""
    if not exported_objects(context):
        return "Select an object that was generated here"
    return problem_object_mode(context)


def exported_objects(context: Any) -> list[Any]:
    """Return the selected generated objects, or the active one."""
    selected = [item for item in context.view_layer.objects.selected if item.type == "MESH" and item.lathe.is_generated]
    active = generated_object(context)
    return selected or ([active] if active is not None and active.type == "MESH" else [])


def export_path(context: Any) -> str:
    """Return the default file of an export."""
    name = bpy.path.clean_name(exported_objects(context)[0].name)
    folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
    return str(folder / f"{name}{EXTENSIONS[context.scene.lathe.export.format]}")


def export(context: Any, filepath: str, kind: str) -> str:
    """Write the selected generated objects with Blender's own exporter and return the file's path.

    kind: of EXTENSIONS. GLB and OBJ have Y up, PLY and USD keep Z up, as their readers expect.

    Raises:
        InvalidRequest: nothing to export. CannotWrite.
    """
    path = Path(bpy.path.abspath(filepath))
    if path.suffix.lower() != EXTENSIONS[kind] and not (kind == "USD" and path.suffix.lower() in (".usd", ".usda")):
        path = path.with_name(path.name + EXTENSIONS[kind])
    chosen = exported_objects(context)
    if not chosen:
        raise errors.InvalidRequest("Select an object that was generated here")
    layer = context.view_layer
    before, active = list(layer.objects.selected), layer.objects.active
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for item in before:
            item.select_set(False)
        for item in chosen:
            item.select_set(True)
        name = str(path)
        if kind == "GLB":
            if not hasattr(bpy.types, "EXPORT_SCENE_OT_gltf"):
                raise errors.CannotWrite(
                    "Blender's glTF add-on is off: turn on Preferences > Add-ons > glTF 2.0 format, "
                    "or choose another format"
                )
            bpy.ops.export_scene.gltf(filepath=name, export_format="GLB", use_selection=True)
        elif kind == "OBJ":
            bpy.ops.wm.obj_export(filepath=name, export_selected_objects=True, export_colors=True)
        elif kind == "PLY":
            bpy.ops.wm.ply_export(filepath=name, export_selected_objects=True, export_colors="SRGB")
        else:
            bpy.ops.wm.usd_export(filepath=name, selected_objects_only=True)
    except (OSError, RuntimeError) as error:
        raise errors.CannotWrite(f"{path} cannot be written: {error}") from error
    finally:
        for item in layer.objects.selected:
            item.select_set(False)
        for item in before:
            item.select_set(True)
        layer.objects.active = active
    if not path.is_file():
        raise errors.CannotWrite(f"{path} was not written: Blender's exporter says why in the Info editor")
    return str(path)
