"""Command `bench`: measurements and their targets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from addon.wire.errors import InvalidRequest

from .. import bench as benches
from .console import Json, show, write_json


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    cli.command()(bench)


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(benches.BENCHES)}.")],
    only: Annotated[
        list[str] | None, typer.Option(metavar="CASE", help="Run only this case of `generators`; repeatable.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of fitted weights for `generators`.")] = None,
    device: Annotated[str | None, typer.Option(help="Device of `nerf`: cpu, cuda or mps; cpu if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Measure, and compare with the targets."""
    if name != "generators" and (only or weights):
        raise InvalidRequest("--only and --weights belong to `bench generators`.")
    if name == "generators" and device is None:
        rows = benches.run_generators(tuple(only or ()), weights)
    else:
        rows = benches.run(name, device)
    if as_json:
        write_json([dataclasses.asdict(row) for row in rows])
        return
    table = Table("measure", "value", "unit", "target", "ok")
    for row in rows:
        target = "" if row.bar is None else f"{row.bar:g}"
        table.add_row(row.measure, f"{row.value:.4g}", row.unit, target, "yes" if row.ok else "NO")
    show(table)
