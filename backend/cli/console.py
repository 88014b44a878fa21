"""Output of the commands: consoles, progress bar, answers, and errors as sentences."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from addon.wire.errors import LatheError, printable

from ..progress import Progress as Report

stdout, stderr = Console(), Console(stderr=True)
FIGURES = {
    "step": "step {:.0f}",
    "loss": "loss {:.5f}",
    "psnr": "PSNR of held-out views {:.1f} dB",
    "rays_per_second": "{:.0f} rays/s",
}
"""Figures of a progress report that the bar shows, and their format."""

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, for programs.")]


def show(table: Table) -> None:
    """Write a table to stdout."""
    stdout.print(table)


def complain(message: str) -> None:
    """Write an error or a warning to stderr."""
    stderr.print(f"[red]{escape(printable(message))}[/red]", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar() -> Iterator[Report]:
    """Show a bar on stderr if it is a terminal; yields a Progress."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def report(
            fraction: float, text: str = "", preview: Any = None, *, figures: dict[str, float] | None = None
        ) -> None:
            if figures:
                text += ": " + ", ".join(shown.format(figures[key]) for key, shown in FIGURES.items() if key in figures)
            bar.update(task, completed=fraction, description=escape(text) if text else None)

        yield report


@contextlib.contextmanager
def expected_errors() -> Iterator[None]:
    """Turn expected failures (out of memory, no surface, a full disk) into LatheErrors."""
    from ..tasks.errors import as_lathe_error

    try:
        yield
    except LatheError:
        raise
    except Exception as error:
        expected = as_lathe_error(error)
        if expected is None:
            raise
        raise expected from error


def answer(as_json: bool, fields: dict[str, Any]) -> None:
    """Write a command's result: JSON, or a line each. Notes go only into JSON: `complain` shows them to people."""
    if as_json:
        write_json(fields)
        return
    for name, value in fields.items():
        if name == "notes":
            continue
        if isinstance(value, list) and len(value) > 3:
            value = f"{value[0]} … {value[-1]} ({len(value)})"
        stdout.print(f"{name}: {escape(printable(str(value)))}", highlight=False, soft_wrap=True)


def write_json(data: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(data, indent=1) + "\n")
