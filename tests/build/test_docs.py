"""The documentation names files, commands and options that exist, and its index names every page."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

import build
from backend.cli.app import cli
from backend.cli.training import commands

PAGES = [build.ROOT / "README.md", build.ROOT / "CONTRIBUTING.md", *sorted((build.ROOT / "docs").rglob("*.md"))]

COMMANDS: dict[str, Any] = typer.main.get_command(cli).commands  # type: ignore[attr-defined]


def commands_of(page: Path) -> list[list[str]]:
    """Return the arguments of each indented line of a page that runs `python -m backend`, without its comment."""
    lines = re.findall(r"^    (?:\S*/)?python -m backend (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


COMMAND_LINES = [(page.name, arguments) for page in PAGES for arguments in commands_of(page)]


class Parsed(Exception):
    """Raised in place of running a recipe or an experiment whose arguments were accepted."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_links_and_images_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_anchors_that_a_page_links_to_are_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    found = [(target, anchor) for target, anchor in links if "://" not in target]
    headings = {target: anchors_of(page.parent / target if target else page) for target, _ in found}
    assert [(target, anchor) for target, anchor in found if anchor not in headings[target]] == []


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_paths_of_code_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:addon|backend|meshing|tests|examples|docs)/[\w/.]*)`", text)
    assert [path for path in named if not (build.ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("page", "arguments"), COMMAND_LINES, ids=[f"{page}: {' '.join(arguments)}" for page, arguments in COMMAND_LINES]
)
def test_commands_and_options_of_a_page_exist(page: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments[0] in COMMANDS, page
    if arguments[0] == "train":
        _parse_train(arguments[1:], monkeypatch)
        return
    command = COMMANDS[arguments[0]]
    values, surplus, _ = command.make_parser(command.context_class(command)).parse_args(args=arguments[1:])
    assert surplus == [], "arguments that the command does not take"
    missing = [parameter.name for parameter in command.params if parameter.required and not values[parameter.name]]
    assert missing == []


def _parse_train(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the arguments of a recipe or an experiment without running it. An error exits, which fails the test."""
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(self: argparse.ArgumentParser, *given: Any) -> None:
        parse(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    with pytest.raises(Parsed):
        commands()[arguments[0]](arguments[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_commands_of_the_build_script_that_a_page_names_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = re.findall(r"python build\.py ([a-z]+)([^`#\n]*)", page.read_text(encoding="utf-8"))
    for command, rest in named:
        with pytest.raises(SystemExit) as ended:
            build.main([command, "--help"])
        assert ended.value.code == 0
        known = capsys.readouterr().out
        assert [option for option in re.findall(r"--[a-z]+", rest) if option not in known] == []


def test_the_page_of_the_command_line_names_every_command() -> None:
    page = build.ROOT / "docs" / "command-line.md"
    assert set(COMMANDS) == {arguments[0] for arguments in commands_of(page)}
    text = page.read_text(encoding="utf-8")
    assert [name for name in commands() if f"`{name}`" not in text] == []


def test_the_index_names_every_page() -> None:
    index = (build.ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (build.ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_every_image_is_shown_somewhere() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    cards = "".join(path.read_text(encoding="utf-8") for path in (build.ROOT / "backend").rglob("*.md"))
    images = [path.name for path in (build.ROOT / "docs" / "pictures").iterdir()]
    assert [name for name in images if name not in shown + cards] == []
