"""Commands on the installed models: models, import."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from addon.wire import payload
from addon.wire.errors import InvalidRequest

from .arguments import workspace
from .console import Json, answer, show, write_json


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(models)
    cli.command("import")(import_)


def models(as_json: Json = False) -> None:
    """List the models, and the errors of those that cannot be used."""
    found = workspace().models()
    if as_json:
        write_json(json.loads(payload.to_json(found)))
        return
    table = Table(Column("name", no_wrap=True), "kind", "parameters", "field", "licence", "description")
    for info in found.models:
        table.add_row(
            info.name, info.kind, f"{info.num_parameters / 1e6:.2f} M",
            info.quantity if info.has_surface else "no surface",
            info.licence + (" (non-commercial)" if info.non_commercial else ""), info.description,
        )  # fmt: skip
    for broken in found.broken:
        table.add_row(broken.name, "", "", "", "", escape(broken.error.message), style="red")
    show(table)


def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="An official checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder for the new model.")],
    kind: Annotated[str | None, typer.Option(help="Architecture, if it cannot be detected from the files.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Convert an official checkpoint into a model folder, without running the code in it."""
    from ..checkpoints.convert import import_model

    if (out / "card.json").exists() and not overwrite:
        raise InvalidRequest(f"There is a model in {out} already: give another folder, or --overwrite to replace it.")
    card = import_model(source, out, kind)
    answer(as_json, {"folder": str(out), **{k: v for k, v in dataclasses.asdict(card).items() if k != "card"}})
