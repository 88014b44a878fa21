"""Commands on the data of trainings: training-set, training-data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import TrainingSetRequest

from .console import Json, answer, expected_errors, progress_bar, stdout
from .options import options_from


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command("training-set")(training_set)
    cli.command("training-data")(training_data)


@options_from(TrainingSetRequest, "options")
def training_set(
    out: Annotated[Path, typer.Argument(help="Folder for transforms.json and images/; a set in it is continued.")],
    options: dict[str, Any],
    part: Annotated[int, typer.Option(help="Number of this part, for several processes.")] = 0,
    parts: Annotated[int, typer.Option(help="Number of parts.")] = 1,
    as_json: Json = False,
) -> None:
    """Render the objects of a procedural family from random viewpoints, to train a generator on."""
    from ..training.data.family_views import write_set

    if not 0 <= part < parts:
        raise InvalidRequest(f"--part must be between 0 and {parts - 1}, got {part}.")
    started = time.perf_counter()
    request = TrainingSetRequest(str(out.resolve()), **options)
    with progress_bar() as report, expected_errors():
        try:
            rendered = write_set(request, out, report, part=part, parts=parts)
        except OSError as error:
            raise CannotWrite(f"The images cannot be written to {out}: {error.strerror or error}.") from error
    seconds = round(time.perf_counter() - started, 1)
    answer(as_json, {"folder": str(out), "rendered": rendered, "seconds": seconds})


def training_data(
    folder: Annotated[Path, typer.Argument(help="Images with transforms.json, with EG3D's dataset.json, or alone.")],
    side: Annotated[int, typer.Option(help="Pixels of the images' side in the training.")] = 64,
    picture: Annotated[Path | None, typer.Option(help="A .png file for the poses and some of the images.")] = None,
    as_json: Json = False,
) -> None:
    """Report what a training would read from a folder: counts, sizes, duplicates, broken files, poses."""
    from ..training.data.image_folder import read_images
    from ..training.data.report import report_of

    if not 8 <= side <= 1024:
        raise InvalidRequest(f"--side must be between 8 and 1024 pixels, got {side}.")
    if picture is not None and picture.suffix.lower() != ".png":
        raise InvalidRequest(f"--picture must end in .png, got {picture.name!r}.")
    with progress_bar() as progress, expected_errors():
        found = read_images(folder, side, min_images=1, progress=progress)
    report = report_of(found)
    if picture is not None:
        report.write_picture(picture, found.images.permute(0, 2, 3, 1).numpy())
    if as_json:
        answer(True, report.to_json())
    else:
        stdout.print("\n".join(report.lines()), highlight=False, soft_wrap=True, markup=False)
