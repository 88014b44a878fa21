"""Import order of the add-on's rooms: each file imports only what stands before it (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import build

ADDON = build.ROOT / "addon"

FEATURES = (
    ("backend",), ("models",), ("shape",), ("preview", "path"), ("field",),
    ("image", "inversion", "training_set", "training"),
)  # fmt: skip
INTERFACE = ("operators", "panels")
"""Files of a feature that draw and press; what they do is in its other files, which scripts call."""

LAYERS: tuple[tuple[str, ...], ...] = (
    ("wire",),
    ("link",),
    ("scene", "preferences", "translations"),
    *FEATURES,
    ("ui", "properties"),
    *(tuple(f"{name}.interface" for name in group) for group in FEATURES),
    ("registration",),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module below addon/, given as its path without suffix."""
    interface = len(parts) > 1 and parts[1] in INTERFACE
    return f"{parts[0]}.interface" if interface else parts[0]


def modules() -> dict[tuple[str, ...], Path]:
    return {path.relative_to(ADDON).with_suffix("").parts: path for path in ADDON.rglob("*.py")}


def imported(parts: tuple[str, ...], path: Path) -> Iterator[tuple[str, ...]]:
    """Go through the modules that a file of the add-on imports from the add-on, inside functions too."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*parts[: len(parts) - node.level], *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield (*base, alias.name) if (*base, alias.name) in known else base


FILES = {"/".join(parts): (parts, path) for parts, path in modules().items() if parts != ("__init__",)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_its_own_room_and_those_before_it(name: str) -> None:
    parts, path = FILES[name]
    own = room_of(parts)
    later = [
        "/".join(other)
        for other in imported(parts, path)
        if RANK[room_of(other)] > RANK[own] or (RANK[room_of(other)] == RANK[own] and room_of(other) != own)
    ]
    assert later == []


@pytest.mark.parametrize("room", ["wire", "link"])
def test_the_backend_can_be_reached_without_blender(room: str) -> None:
    names = [path.read_text(encoding="utf-8") for path in (ADDON / room).rglob("*.py")]
    assert not [text for text in names if "\nimport bpy" in text]


def test_there_is_no_import_circle() -> None:
    known = modules()
    graph = {parts: set(imported(parts, path)) & set(known) - {parts} for parts, path in known.items()}
    while free := [parts for parts, others in graph.items() if not others & set(graph)]:
        for parts in free:
            del graph[parts]
    assert sorted("/".join(parts) for parts in graph) == []
