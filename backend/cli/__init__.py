"""What the commands of `python -m backend` share: the consoles, the bar, the answer. `fields` has those of fits."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from addon.wire.errors import LatheError, UnknownModel

from ..progress import Progress as Report

if TYPE_CHECKING:
    from ..tasks.workspace import Workspace

stdout, stderr = Console(), Console(stderr=True)
FIGURES = {
    "step": "step {:.0f}",
    "loss": "loss {:.5f}",
    "psnr": "PSNR of views held back {:.1f} dB",
    "rays_per_second": "{:.0f} rays/s",
}
"""Of those that progress carries, what the bar shows."""

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, for programs.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. The fastest one if left out.")]


def workspace(device: str | None = None) -> Workspace:
    """Return the shared state of one command."""
    from ..tasks.workspace import Workspace

    return Workspace(device)


def model_name(shared: Workspace, model: str) -> str:
    """Return the name of a model that is given by its name, its folder, or as a scene file.

    Raises:
        UnknownModel: it looks like a path, and no model lies there.
    """
    path = Path(model)
    if path.name != model and not ((path / "card.json").is_file() or is_scene_file(path)):
        from ..models.store import find_models

        raise UnknownModel(f"There is no such folder or model: {model}. Models here: {', '.join(find_models())}.")
    return shared.add_folder(path) if (path / "card.json").is_file() or is_scene_file(path) else model


def is_scene_file(path: Path) -> bool:
    """Whether a path is a file that `fit` may have written."""
    return path.suffix.lower() == ".safetensors" and path.is_file()


def show(table: Table) -> None:
    """Write a table to stdout."""
    stdout.print(table)


def complain(message: str) -> None:
    """Write a sentence about what went wrong to stderr."""
    stderr.print(f"[red]{escape(message)}[/red]", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar() -> Iterator[Report]:
    """Show a bar on stderr, where a terminal is; yields a Progress."""
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
    """Turn what is to be expected (out of memory, no surface, a full disk) into the tree's errors."""
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
    """Write a command's outcome: JSON, or a line each. Notes only as JSON: people were told by `complain`."""
    if as_json:
        write_json(fields)
        return
    for name, value in fields.items():
        if name == "notes":
            continue
        if isinstance(value, list) and len(value) > 3:
            value = f"{value[0]} … {value[-1]} ({len(value)})"
        stdout.print(f"{name}: {escape(str(value))}", highlight=False, soft_wrap=True)


def write_json(data: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(data, indent=1) + "\n")
