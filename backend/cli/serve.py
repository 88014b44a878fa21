"""Command `serve`: the service that the add-on starts."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import folders
from .arguments import Device


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    cli.command()(serve)


def serve(
    stay: Annotated[bool, typer.Option(help="Keep serving when the parent process or stdin ends.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 lets the system choose.")] = 0,
    parent: Annotated[int | None, typer.Option(help="Process whose end also ends the service.")] = None,
    device: Device = None,
) -> None:
    """Serve on 127.0.0.1 for the add-on: one line with port and token on stdout, the log on stderr."""
    from ..service.serve import serve as run_service

    run_service(folders.data_folder(), device=device, port=port, stay=stay, parent=parent)
