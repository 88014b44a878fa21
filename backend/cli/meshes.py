"""Command `mesh`: the surface of a latent as a file."""

from __future__ import annotations

from typing import Any

import typer

from addon.wire.errors import NotSupported
from addon.wire.messages import MeshRequest

from ..progress import part
from .arguments import (
    ControlOption,
    Device,
    MeshOut,
    Model,
    check_mesh_name,
    latent_options,
    scene_ref,
    workspace,
    write_mesh,
)
from .console import Json, answer, expected_errors, progress_bar
from .options import options_from


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    cli.command()(mesh)


@latent_options
@options_from(MeshRequest, "surface", names={"iso_level": "level"})
def mesh(
    model: Model,
    out: MeshOut,
    latent: dict[str, Any],
    surface: dict[str, Any],
    control: ControlOption = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Extract the mesh of a latent and write it to a file."""
    from ..tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    request = MeshRequest(scene_ref(shared, model, latent, control), **surface)
    with progress_bar() as report, expected_errors():
        try:
            result = make_mesh(request, part(report, 0.0, 0.95), shared)
        except NotSupported as error:
            if error.remedy is None or error.remedy.action != "fit_views":
                raise
            commands = f"`views {model} --out VIEWS`, `fit VIEWS --out SCENE.safetensors`, `mesh SCENE.safetensors`"
            raise NotSupported(f"{error.message} The commands: {commands}.", remedy=error.remedy) from error
        report(0.95, f"Writing {out.name}")
        files = write_mesh(result, out)
    fields: dict[str, Any] = {
        "files": files, "vertices": len(result.vertices), "faces": len(result.faces),
        "iso_level": result.iso_level, "seconds": round(result.seconds, 3),
    }  # fmt: skip
    if offset := shared.card(request.scene.model).offset:  # float32 could not hold the sum
        fields["offset"] = offset
    answer(as_json, fields)
