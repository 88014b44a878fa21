"""Command `bench`: measurements and their targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

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
    device: Annotated[
        str | None, typer.Option(help="Device of `nerf` and `generators`: cpu, cuda or mps; cpu if left out.")
    ] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Small sizes of `nerf` and `generators`, to try the command.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure, and compare with the targets."""
    rows = benches.run(name, device, only=tuple(only or ()), weights=weights, tiny=tiny)
    if as_json:
        write_json([row.to_dict() for row in rows])
        return
    table = Table("measure", "value", "unit", "target", "ok")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g}"
        table.add_row(row.measure, f"{row.value:.4g}", row.unit, target, "yes" if row.ok else "NO")
    show(table)
