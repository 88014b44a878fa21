"""Every text of the interface has a German translation, and every translation belongs to a text that exists."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import build

bpy: Any = None
lathe: Any = None

ADDON = build.ROOT / "addon"
OPERATOR, ANY = "Operator", "*"  # Blender's contexts of translations: labels of operators, and everything else
DRAWN = {"text", "heading", "text_lines"}
NOT_TRANSLATED = {
    "", " ", "PLY", "OBJ", "GLB", "USD", "Wavefront", "Stanford", "Universal Scene Description", "NeRF", "sRGB", "CPU",
    "CUDA", "ROCm", "CUDA / ROCm", "Apple", "PyTorch", "Python", "Checkpoint", "Name", "Format", "Code", "Linear",
    "Live", "Maximum", "Minimum", "Port", "Standard",
}  # fmt: skip
"""Names that are the same in German, or that Blender translates itself."""


def of_classes() -> Iterator[tuple[str, str]]:
    """Go through labels and tooltips of operators, panels, menus and properties."""
    registration, properties = lathe.registration, lathe.properties
    for cls in registration.CLASSES:
        context = OPERATOR if issubclass(cls, bpy.types.Operator) else ANY
        if hasattr(cls, "bl_label"):
            yield context, cls.bl_label
        if issubclass(cls, bpy.types.Operator):
            group, name = cls.bl_idname.split(".")
            rna = getattr(getattr(bpy.ops, group), name).get_rna_type()
            yield ANY, rna.description
            yield from of_properties(rna)
        elif cls.__doc__ and issubclass(cls, bpy.types.Panel):
            yield ANY, cls.bl_rna.description
    for cls in (*properties.CLASSES, lathe.preferences.LathePreferences):
        yield from of_properties(cls.bl_rna)


def of_properties(rna: Any) -> Iterator[tuple[str, str]]:
    """Go through names and descriptions of properties, and of the items of enums."""
    inherited = {(item.identifier, item.description) for item in rna.base.properties} if rna.base else set()
    for item in rna.properties:
        if (item.identifier, item.description) in inherited or item.type == "POINTER" or item.is_hidden:
            continue
        yield ANY, item.name
        yield ANY, item.description
        if item.type == "ENUM":
            for choice in item.enum_items:
                yield ANY, choice.name
                yield ANY, choice.description


def of_files() -> Iterator[tuple[str, str]]:
    """Go through the texts that are drawn, and the reasons why an operator cannot run."""
    for path in ADDON.rglob("*.py"):
        if "wire" in path.relative_to(ADDON).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                context = OPERATOR if name == "operator" else ANY
                for keyword in node.keywords:
                    if keyword.arg in DRAWN:
                        yield from ((context, text) for text in constants(keyword.value))
                if name == "text_lines" and len(node.args) > 1:
                    yield from ((ANY, text) for text in constants(node.args[1]))
            elif isinstance(node, ast.FunctionDef) and node.name.lstrip("_").startswith("problem"):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        yield from ((ANY, text) for text in constants(inner.value))


def constants(node: ast.expr) -> Iterator[str]:
    """Go through the texts that an expression can be; those with values in them are left out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from constants(value)


def texts() -> set[tuple[str, str]]:
    found = {*of_classes(), *of_files()}
    return {(context, text) for context, text in found if text not in NOT_TRANSLATED}


def test_every_text_of_the_interface_is_translated() -> None:
    known = lathe.translations.TABLE["de"]
    missing = sorted(texts() - set(known))
    assert not missing, "\n".join(map(repr, missing))


def test_every_translation_belongs_to_a_text_of_the_interface() -> None:
    dead = sorted(set(lathe.translations.TABLE["de"]) - texts())
    assert not dead, "\n".join(map(repr, dead))
