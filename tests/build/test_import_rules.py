"""Who may import what: the rules that keep the rooms apart (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import build

BLENDER = {"bpy", "bl_ext", "bpy_extras", "gpu", "gpu_extras", "mathutils", "blf", "idprop", "addon_utils"}
STDLIB = set(sys.stdlib_module_names)
MESH_LIBRARIES = {"skimage", "scipy", "trimesh", "networkx", "fast_simplification", "xatlas", "PIL"}

ALLOWED = {
    "addon/wire": STDLIB | {"numpy"},
    "addon": STDLIB | {"numpy"} | BLENDER,
    "meshing": STDLIB | {"numpy", "meshing"} | MESH_LIBRARIES,
}
BANNED = {"backend": BLENDER}


def files(room: str) -> Iterator[Path]:
    return (path for path in (build.ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path) -> set[str]:
    """Return the top-level names of all absolute imports of a file, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_nothing_but_what_it_may(room: str) -> None:
    wrong = {str(path.relative_to(build.ROOT)): imported(path) - ALLOWED[room] for path in files(room)}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_only_the_addon_imports_bpy() -> None:
    # Recipes in backend/training make data with Blender in a process of its own, never in the backend's.
    recipes = build.ROOT / "backend" / "training"
    wrong = {str(p): imported(p) & BANNED["backend"] for p in files("backend") if recipes not in p.parents}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_no_relative_import_of_the_addon_leaves_it() -> None:
    """The extension has another name inside Blender, so `addon` reaches nothing outside itself."""
    wrong = [
        f"{path}:{node.lineno}"
        for path in files("addon")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level > len(path.relative_to(build.ROOT / "addon").parts)
    ]
    assert wrong == []


BLOCK = """
import importlib, importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked here")
sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
"""


def modules(room: str) -> list[str]:
    names = (path.relative_to(build.ROOT).with_suffix("").as_posix().replace("/", ".") for path in files(room))
    return sorted(name.removesuffix(".__init__") for name in names if not name.endswith("__main__"))


@pytest.mark.parametrize(
    ("room", "blocked"),
    [
        ("addon/wire", ["bpy", "torch", "scipy", "safetensors", "fastapi", "pydantic"]),
        ("meshing", ["bpy", "torch", "fastapi", "safetensors", "addon", "backend"]),
    ],
)
def test_a_room_can_be_imported_with_the_others_blocked(room: str, blocked: list[str]) -> None:
    program = BLOCK.format(blocked=set(blocked), modules=modules(room))
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=build.ROOT, check=True)


def test_the_backend_can_be_imported_with_blender_blocked() -> None:
    names = [name for name in modules("backend") if not name.startswith("backend.training.")]
    program = BLOCK.format(blocked=BLENDER, modules=names)
    subprocess.run([sys.executable, "-c", program], cwd=build.ROOT, check=True)
