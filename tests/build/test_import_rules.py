"""Who may import what: the rules that keep the rooms apart (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
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


# ---- circles


def module_graph(rooms: Iterable[str]) -> dict[str, set[str]]:
    """Return module → the modules of these rooms that it imports: at the top and inside functions, but not for type
    checking alone. `from package import name` is an import of package.name where that is a module."""
    paths: dict[str, Path] = {}
    for room in rooms:
        for path in files(room):
            name = path.relative_to(build.ROOT).with_suffix("").as_posix().replace("/", ".")
            paths[name.removesuffix(".__init__")] = path
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        found = set()
        for node in imports_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
                continue
            package = node.module or ""
            if node.level:
                parents = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                package = ".".join([*parents, package] if package else parents)
            found |= {name if (name := f"{package}.{alias.name}") in paths else package for alias in node.names}
        graph[module] = found & paths.keys() - {module}
    return graph


def imports_at_run_time(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports below a node, without those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.orelse:
                yield from imports_at_run_time(ast.Module([statement], []))
        else:
            yield from imports_at_run_time(child)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of more than one module, by Kosaraju's algorithm."""
    finished: list[str] = []
    seen: set[str] = set()

    def visit(start: str, edges: dict[str, set[str]], order: list[str]) -> None:
        pending = [(start, iter(sorted(edges[start])))]
        seen.add(start)
        while pending:
            _, ahead = pending[-1]
            after = next((name for name in ahead if name not in seen), None)
            if after is None:
                order.append(pending.pop()[0])
            else:
                seen.add(after)
                pending.append((after, iter(sorted(edges[after]))))

    for module in graph:
        if module not in seen:
            visit(module, graph, finished)
    backwards: dict[str, set[str]] = {module: set() for module in graph}
    for module, imports in graph.items():
        for name in imports:
            backwards[name].add(module)
    seen.clear()
    found = []
    for module in reversed(finished):
        if module not in seen:
            component: list[str] = []
            visit(module, backwards, component)
            found.append(set(component))
    return [component for component in found if len(component) > 1]


def test_modules_import_each_other_in_no_circle() -> None:
    found = circles(module_graph(["addon", "backend", "meshing"]))
    assert [sorted(circle) for circle in found] == []


def test_a_circle_is_found_through_functions_and_packages_but_not_through_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    sources = {
        "__init__.py": "from . import a",
        "a.py": "def later():\n    from .b import thing",
        "b.py": "from typing import TYPE_CHECKING\nfrom room import c\nif TYPE_CHECKING:\n    from . import d",
        "c.py": "import room.a",
        "d.py": "from .a import later",
    }
    for name, source in sources.items():
        (room / name).write_text(source)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert circles(module_graph(["room"])) == [{"room.a", "room.b", "room.c"}]
