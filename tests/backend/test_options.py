"""Options of a command derived from a request. tests/blender/test_options.py compares all of them with the requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from addon.wire.errors import InvalidRequest
from addon.wire.options import Choice, option
from backend.cli.options import check, options_from


@dataclass(frozen=True)
class Bake:
    """Options of all kinds."""

    size: int = field(default=4, metadata=option("Size", "Pixels of the side", minimum=1, maximum=64))
    level: float | None = field(default=None, metadata=option("Level", "Value at the surface"))
    clean: bool = field(default=True, metadata=option("Clean", "Remove noise"))
    mode: Literal["fast", "good"] = field(
        default="fast",
        metadata=option("Mode", "Quality", choices=(Choice("fast", "Fast", "A look"), Choice("good", "Good", "Slow"))),
    )
    unlisted: int = 0


@options_from(Bake, "baking", names={"clean": "denoise"}, defaults={"size": None})
@options_from(Bake, "other", ["level"], names={"level": "other_level"})
def command(out: str, baking: dict[str, Any], other: dict[str, Any], times: int = 1) -> None:
    """Bake."""
    typer.echo(json.dumps([out, baking, other, times]))


@pytest.fixture
def run() -> Any:
    cli = typer.Typer(add_completion=False, rich_markup_mode=None)
    cli.command()(command)
    return lambda *arguments: CliRunner().invoke(cli, [*map(str, arguments)])


def test_a_command_gets_the_values_of_its_options_by_field(run: Any) -> None:
    defaults = {"size": None, "level": None, "clean": True, "mode": "fast"}
    assert json.loads(run("a").output) == ["a", defaults, {"level": None}, 1]
    given = ("--size", 9, "--level", -0.5, "--no-denoise", "--mode", "good", "--other-level", 2, "--times", 3)
    expected = {"size": 9, "level": -0.5, "clean": False, "mode": "good"}
    assert json.loads(run("a", *given).output) == ["a", expected, {"level": 2.0}, 3]


def test_help_has_sentence_choices_and_range(run: Any) -> None:
    shown = " ".join(run("--help").output.split())
    assert "Pixels of the side. From 1 to 64." in shown and "Quality. fast: A look; good: Slow." in shown
    assert "--denoise / --no-denoise" in shown and "--unlisted" not in shown


def test_a_value_that_is_not_a_choice_is_a_usage_error(run: Any) -> None:
    assert run("a", "--mode", "slow").exit_code == 2


def test_values_of_a_request_that_is_not_built_are_checked() -> None:
    check(Bake, {"size": 64})
    with pytest.raises(InvalidRequest, match="--size must be between 1 and 64"):
        check(Bake, {"size": 65})
