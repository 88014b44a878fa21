"""Commands that edit: invert."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import InversionOptions, InvertRequest

from .arguments import Device, ImageFile, angle, model_name, workspace
from .console import Json, answer, complain, expected_errors, progress_bar
from .options import options_from


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(invert)


@options_from(InversionOptions, "options")
def invert(
    model: Annotated[str, typer.Argument(help="Name of a model, or its folder.", metavar="MODEL")],
    photo: ImageFile,
    out: Annotated[Path, typer.Option(help="A .png file for photograph and found image, side by side.")],
    options: dict[str, Any],
    mask: Annotated[Path | None, typer.Option(help="Image of the photograph's size, white on the object.")] = None,
    crop: Annotated[str, typer.Option(help="LEFT,TOP,WIDTH,HEIGHT of the part that is used, pixels.")] = "",
    azimuth: Annotated[float | None, typer.Option(help="Of the view to start from, degrees; 0 is in front.")] = None,
    elevation: Annotated[float | None, typer.Option(help="Of the view to start from, degrees.")] = None,
    pose_regressor: Annotated[
        Path | None, typer.Option(help="A pose_regressor.safetensors that `judge` wrote: finds the start view.")
    ] = None,
    perceptual: Annotated[
        Path | None,
        typer.Option(help="The npm package nsfwjs (npm pack nsfwjs@4.4.0): adds a perceptual term by its MobileNetV2."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the tuned model, with --tuning-steps.")] = "",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the latent of a photograph, and the camera that sees it so.

    The latent's code goes into --code of `generate`, `render` and `mesh`. With --tuning-steps, the model's weights are
    adapted, too, and stored as a model of their own, which then makes the image.
    """
    import numpy as np
    from PIL import Image

    from ..editing.inversion.perceptual import read_perceptual_network
    from ..editing.inversion.start_view import estimated_view
    from ..tasks.image_to_shape import read_file
    from ..tasks.invert import invert as invert_task

    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"--out must end in .png, got {out.name!r}.")
    if options["tuning_steps"] and not name:
        raise InvalidRequest("--tuning-steps stores a model: give its --name.")
    if pose_regressor is not None and (azimuth is not None or elevation is not None):
        raise InvalidRequest("Give either --pose-regressor or --azimuth and --elevation, not both.")
    network = None if perceptual is None else read_perceptual_network(perceptual)
    shared = workspace(device)
    known = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        prior = shared.generator(known).info.pose_prior
        data = read_file(photo)
        view: tuple[float, float] | None = None
        if pose_regressor is not None:
            view = estimated_view(pose_regressor, data)
        elif azimuth is not None or elevation is not None:
            view = (
                prior.default_azimuth if azimuth is None else angle("--azimuth", azimuth),
                prior.default_elevation if elevation is None else angle("--elevation", elevation),
            )
        request = InvertRequest(
            known, shared.blobs.put(data), "" if mask is None else shared.blobs.put(read_file(mask)), crop_of(crop),
            view, name, InversionOptions(**options),
        )  # fmt: skip
        found = invert_task(request, report, shared, network)
        try:
            Image.fromarray(np.concatenate((found.seen, found.made), 1)).save(out, format="PNG")
        except OSError as error:
            raise CannotWrite(f"{out} cannot be written: {error.strerror or error}.") from error
    for note in found.notes:
        complain(note)
    answer(
        as_json,
        {
            "files": [str(out)], "model": found.model, "code": found.code, "psnr": round(found.psnr, 2),
            "psnr_before_tuning": round(found.projected_psnr, 2), "azimuth": round(math.degrees(found.view[0]), 2),
            "elevation": round(math.degrees(found.view[1]), 2), "notes": list(found.notes),
            "perceptual": "none" if network is None else network.name, "seconds": round(found.seconds, 3),
        },
    )  # fmt: skip


def crop_of(text: str) -> tuple[int, int, int, int] | None:
    """Return left, top, width and height of --crop, None for an empty text. Raises InvalidRequest."""
    if not text:
        return None
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise InvalidRequest(f"--crop takes LEFT,TOP,WIDTH,HEIGHT in pixels, got {text!r}.") from None
    return left, top, width, height
