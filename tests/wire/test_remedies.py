"""The register of remedies holds exactly the actions that are raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import build
from addon.wire.errors import ACTIONS, Remedy, error_from_dict, remedy_from_dict

DYNAMIC = {"addon/wire/errors.py"}  # rebuilds remedies that were raised elsewhere


def raised() -> Iterator[tuple[str, str | None]]:
    """Yield each place where a remedy is made, with its action; None where that is not a plain string."""
    for room in ("addon", "backend", "meshing"):
        for path in sorted((build.ROOT / room).rglob("*.py")):
            if path.relative_to(build.ROOT).as_posix() not in DYNAMIC:
                yield from ((f"{path}:{line}", action) for line, action in actions_in(path))


def actions_in(path: Path) -> Iterator[tuple[int, str | None]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Remedy":
            yield node.lineno, string(node.args[0] if node.args else None)
        elif isinstance(node, ast.Dict):  # meshing does not import the wire
            entries = {string(key): value for key, value in zip(node.keys, node.values)}
            if {"action", "label", "value"} <= entries.keys():
                yield node.lineno, string(entries["action"])


def string(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_each_action_that_is_raised_is_registered() -> None:
    assert {place: action for place, action in raised() if action not in ACTIONS} == {}


def test_each_registered_action_is_raised_somewhere() -> None:
    assert set(ACTIONS) - {action for _, action in raised()} == set()


def test_an_action_of_another_version_leaves_the_sentence_without_a_button() -> None:
    error = error_from_dict(
        {"code": "no_surface", "message": "Nothing", "remedy": {"action": "dance", "label": "Dance"}}
    )
    assert error.message == "Nothing" and error.remedy is None
    assert remedy_from_dict({"action": "set_level", "value": 0.5}) == Remedy("set_level", "", 0.5)
