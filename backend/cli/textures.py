"""The command that takes a texture from a picture: transfer-texture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import Latent, RenderRequest, SceneRef, TransferTextureRequest

from ..progress import part
from . import Device, Json, answer, complain, expected_errors, model_name, progress_bar, workspace


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    cli.command("transfer-texture")(transfer_texture)


def transfer_texture(
    model: Annotated[str, typer.Argument(help="Name of a model, or its folder.", metavar="MODEL")],
    picture: Annotated[Path, typer.Argument(help="A picture of one object; its alpha, if any, is the mask.")],
    out: Annotated[Path, typer.Option(help="The dressed shape: a .png file.")],
    seed: Annotated[int, typer.Option(help="Seed of the shape.")] = 0,
    yaw: Annotated[float, typer.Option(help="Degrees round the model, from its usual view.")] = 0.0,
    size: Annotated[int, typer.Option(min=0, max=8192, help="Pixels of the image's side; 0 is the model's own.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Dress a shape in the texture that a picture shows."""
    from PIL import Image

    from ..cameras import orbit
    from ..tasks.image_to_shape import read_file
    from ..tasks.render import image8, render
    from ..tasks.transfer_texture import transfer_texture as transfer

    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"--out must end in .png, got {out.name!r}.")
    shared = workspace(device)
    name = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        blob = shared.blobs.put(read_file(picture))
        found = transfer(TransferTextureRequest(name, Latent(seed), blob), part(report, 0.0, 0.4), shared)
        info = shared.generator(name).info
        camera = orbit(
            info, size or info.image_size, azimuth=info.pose_prior.default_azimuth + math.radians(yaw)
        )  # fmt: skip
        request = RenderRequest(SceneRef(name, Latent(code=found.code)), camera)
        result = render(request, part(report, 0.4, 1.0), shared)
        try:
            Image.fromarray(image8(result.rgba)).save(out, format="PNG")
        except OSError as error:
            raise CannotWrite(f"{out} cannot be written: {error.strerror or error}.") from error
    for note in (*found.notes, result.note):
        if note:
            complain(note)
    answer(as_json, {"files": [str(out)], "code": found.code, "seconds": round(found.seconds, 3)})
