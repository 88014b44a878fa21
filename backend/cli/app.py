"""The command line of the backend. Errors are sentences, progress is a bar on stderr, `--json` is for programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from addon.wire.errors import InternalError, LatheError, error_to_dict

from .. import VERSION
from . import (
    bench,
    editing,
    edits,
    fields,
    images,
    judging,
    meshes,
    models,
    serve,
    shapes,
    training,
    training_data,
    views,
)  # fmt: skip
from .console import complain, write_json

cli = typer.Typer(
    name="python -m backend",
    help=f"Latent Lathe {VERSION}: 3D-aware generators and radiance fields; images, animations and meshes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for family in (
    serve, models, images, meshes, shapes, fields, views, bench, training, training_data, judging, editing, edits,
):  # fmt: skip
    family.add_to(cli)


@cli.callback()
def root(
    data: Annotated[Path | None, typer.Option(help="Folder for models, jobs, uploads and logs.")] = None,
) -> None:
    """Set what holds for all commands."""
    if data is not None:
        os.environ["LATENT_LATHE_DATA"] = str(data.resolve())


def main() -> int:
    """Run the command line and return the exit status."""
    try:
        cli(standalone_mode=True)
    except LatheError as error:
        if "--json" in sys.argv:
            write_json({"error": error_to_dict(error)})
        complain(error.message)
        return 1
    except KeyboardInterrupt:
        complain("Cancelled")
        return 130
    except Exception as error:
        if "--json" in sys.argv:  # programs get a document in any case; the traceback goes to stderr
            write_json({"error": error_to_dict(InternalError(f"{type(error).__name__}: {error}"))})
        raise
    return 0
