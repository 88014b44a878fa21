"""Every text of the interface has a German translation, and every translation belongs to a text that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import build

bpy: Any = None
lathe: Any = None

ADDON = build.ROOT / "addon"
OPERATOR, ANY = "Operator", "*"  # Blender's contexts of translations: labels of operators, and everything else
DRAWN = {"text", "heading"}
NOT_TRANSLATED = {
    "", " ", "PLY", "OBJ", "GLB", "USD", "Wavefront", "Stanford", "Universal Scene Description", "NeRF", "sRGB", "CPU",
    "CUDA", "ROCm", "CUDA / ROCm", "Apple", "PyTorch", "Python", "Checkpoint", "Name", "Format", "Code", "Linear",
    "R3GAN", "Live", "Maximum", "Minimum", "Port", "Standard",
    "Unique name used in the code and scripting",  # Blender's own, of each property group from 5.1 on
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
    """Go through texts that are drawn, reasons why an operator cannot run, and labels of remedies."""
    for table in (lathe.link.session.STATE_TEXTS, lathe.models.actions.CANNOT):
        yield from ((ANY, text) for text in table.values())
    for path in (*ADDON.rglob("*.py"), *(build.ROOT / "backend").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in calls:
            if name_of(call) == "Remedy" and len(call.args) > 1:
                yield from ((OPERATOR, text) for text in constants(call.args[1]))
        if ADDON not in path.parents or "wire" in path.relative_to(ADDON).parts:
            continue
        buttons = {id(part) for call in calls if name_of(call) == "operator" for part in ast.walk(call)}
        for call in calls:
            if name_of(call) == "translated" and call.args:
                yield from ((ANY, text) for text in constants(call.args[0]))
            context = OPERATOR if name_of(call) == "operator" else ANY
            for keyword in call.keywords:
                if keyword.arg in DRAWN:
                    yield from ((context, text) for text in constants(keyword.value))
        if path.stem == "panels" or path.parent.name == "ui":
            passive = {id(part) for node in ast.walk(tree) for part in not_drawn(node)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and id(node) not in passive | buttons and is_text(node.value):
                    yield ANY, node.value
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.lstrip("_").startswith("problem"):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        yield from ((ANY, text) for text in constants(inner.value))


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def not_drawn(node: ast.AST) -> Iterator[ast.AST]:
    """Go through the constants below a node that are docstrings, parts of f-strings, labels of classes or errors."""
    if isinstance(node, ast.JoinedStr | ast.Raise):
        yield from ast.walk(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    elif isinstance(node, ast.ClassDef):
        yield from (part.value for part in node.body if isinstance(part, ast.Assign))


def is_text(value: object) -> bool:
    """Return whether a constant is written as texts are: capitalised, unlike names of properties and icons."""
    return isinstance(value, str) and re.match(r"[A-Z][a-z]", value) is not None


def constants(node: ast.expr) -> Iterator[str]:
    """Go through the texts that an expression can be; those f-strings are left out."""
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


def test_a_translation_has_the_same_fields_as_its_text() -> None:
    def fields(text: str) -> set[str]:
        return set(re.findall(r"\{.*?\}", text))

    table = lathe.translations.TABLE["de"]
    assert [text for (_, text), german in table.items() if fields(text) != fields(german)] == []
