"""Commands that judge trained generators: judge, estimate-poses."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from addon.wire.errors import CannotWrite, InvalidRequest

from ..progress import part
from .arguments import Device, model_name, workspace
from .console import Json, answer, expected_errors, progress_bar, show, stdout, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

Model = Annotated[str, typer.Argument(help="Name of a model, or its folder.", metavar="MODEL")]


class Network(StrEnum):
    """Feature networks of the package."""

    mobilenet = "mobilenet"
    mobilenet224 = "mobilenet224"
    inception = "inception"
    inception299 = "inception299"


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(judge)
    cli.command()(estimate_poses)


def judge(
    model: Model,
    data: Annotated[Path, typer.Option(help="Folder of the images that the model was trained on.")],
    held_out: Annotated[Path | None, typer.Option(help="Folder of images of other objects, to compare with.")] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="The npm package nsfwjs, got by: npm pack nsfwjs@4.4.0. Else, a network is trained."),
    ] = None,
    network: Annotated[Network, typer.Option(help="Network of the package.")] = Network.mobilenet,
    shapes: Annotated[
        Path | None,
        typer.Option(help="Folder of held-out meshes; of rendered families, left out, those of --held-out."),
    ] = None,
    images: Annotated[int, typer.Option(help="Images to generate, and real ones to compare them with.")] = 256,
    regressor: Annotated[Path | None, typer.Option(help="A pose_regressor.safetensors in place of a new one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for figures.json, table.md, sheets and trained networks.")] = (
        Path("judged")
    ),
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a generator against images: KID- and FID-like distances, variety, copies, poses, consistency, shapes."""
    from ..training.data.image_folder import read_images
    from ..training.judging import kept
    from ..training.judging.feature_networks import package_network
    from ..training.judging.judge import Judge, JudgeSettings
    from ..training.judging.pose_regressor import load_regressor
    from ..training.judging.shapes import read_shapes

    if not 32 <= images <= 50_000:
        raise InvalidRequest(f"--images must be between 32 and 50000, got {images}")
    chosen = None if features is None else package_network(features, network.value)
    known = None if regressor is None else load_regressor(regressor)
    shared = workspace(device)
    generator = shared.generator(model_name(shared, model))
    if generator.info.num_ws == 0:
        raise InvalidRequest(f"{generator.info.label} is one fitted scene: `eval` compares it with images.")
    side = generator.info.image_size
    with progress_bar() as report, expected_errors():
        training = read_images(data, side, progress=part(report, 0.0, 0.1))
        others = None if held_out is None else read_images(held_out, side, progress=part(report, 0.1, 0.12))
        try:
            if chosen is None:
                chosen = kept.feature_network(training, out, part(report, 0.12, 0.2))
            if known is None:
                known = kept.pose_regressor(training, out, device=shared.device, progress=part(report, 0.2, 0.3))
            settings = JudgeSettings(images=images)
            real_shapes, training_shapes = [], []
            if generator.info.has_surface and (source := shapes or held_out) is not None:
                real_shapes = read_shapes(source, 2 * settings.shapes)
                training_shapes = read_shapes(data, settings.training_shapes)
            found = Judge(
                training, chosen, held_out=others, regressor=known, shapes=real_shapes,
                training_shapes=training_shapes, settings=settings,
            )(generator, part(report, 0.3, 1.0))  # fmt: skip
            files = _write(out, found.figures, found.markdown, found.sheets)
        except OSError as error:
            raise CannotWrite(f"{out} cannot be written: {error.strerror or error}.") from error
    if as_json:
        write_json(found.figures | {"files": files})
        return
    table = Table(Column("measure"), Column("generated", no_wrap=True), "real", "wanted")
    for row in found.rows:
        table.add_row(row.measure, row.generated, row.real, row.wanted)
    show(table)
    stdout.print(found.note, highlight=False)
    answer(False, {"files": ", ".join(files)})


def _write(folder: Path, figures: dict[str, Any], table: str, sheets: dict[str, Image]) -> list[str]:
    from ..files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "figures.json", (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / "table.md", table.encode())
    for name, sheet in sheets.items():
        sheet.save(folder / f"{name}.png")
    return [str(folder / name) for name in ("figures.json", "table.md", *(f"{name}.png" for name in sheets))]


def estimate_poses(
    images: Annotated[Path, typer.Argument(help="Folder of photographs, one object of the class in each.")],
    like: Annotated[
        Path | None, typer.Option(help="Folder of images of the class with cameras, to learn from.")
    ] = None,
    regressor: Annotated[Path | None, typer.Option(help="A pose_regressor.safetensors that `judge` wrote.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the cameras in the folder.")] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Estimate the cameras of photographs of one class of objects, and write them to transforms.json beside them.

    Each photograph shows one upright object in its middle, about as large as in the images that were learnt from.
    """
    from ..training.data.image_folder import read_images
    from ..training.judging.photographs import write_poses
    from ..training.judging.pose_regressor import load_regressor, train_pose_regressor

    if (like is None) == (regressor is None):
        raise InvalidRequest("Give either --like, a folder of images with cameras, or --regressor, a trained file.")
    if (images / "transforms.json").exists() and not overwrite:
        raise InvalidRequest(f"{images} has cameras already, in transforms.json: --overwrite replaces them.")
    started = time.perf_counter()
    shared = workspace(device)
    with progress_bar() as report, expected_errors():
        if regressor is not None:
            known = load_regressor(regressor)
        else:
            assert like is not None
            posed = read_images(like, 64, needs_poses=True, progress=part(report, 0.0, 0.2))
            assert posed.world_from_camera is not None
            known = train_pose_regressor(
                posed.images, posed.world_from_camera, posed.objects, fov=posed.prior.fov, device=shared.device,
                progress=part(report, 0.2, 0.9),
            )  # fmt: skip
        try:
            path, count = write_poses(images, known, part(report, 0.9, 1.0))
        except OSError as error:
            raise CannotWrite(f"{images} cannot be written: {error.strerror or error}.") from error
    errors = known.held_out
    answer(
        as_json,
        {
            "file": str(path), "images": count, "azimuth_error_median_degrees": round(errors.azimuth_median, 1),
            "azimuth_error_rms_degrees": round(errors.azimuth_rms, 1),
            "elevation_error_rms_degrees": round(errors.elevation_rms, 1), "errors_measured_on": errors.images,
            "seconds": round(time.perf_counter() - started, 1),
        },
    )  # fmt: skip
