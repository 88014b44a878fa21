"""Commands that render images: generate, render."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import Camera, RenderRequest, SceneRef

from ..progress import part
from .arguments import (
    ControlOption,
    Device,
    Model,
    angle,
    field_of_view,
    image_size,
    latent_options,
    scene_ref,
    workspace,
)
from .console import Json, answer, complain, expected_errors, progress_bar
from .options import options_from

if TYPE_CHECKING:
    from ..tasks.workspace import Workspace

Size = Annotated[int | None, typer.Option(help="Pixels of the longer side; the model's own if left out.")]

PATHS = "camera_path.json (nerfstudio), base_cam.json (instant-ngp) or transforms.json"
DataparserTransforms = Annotated[
    Path | None,
    typer.Option(help="nerfstudio's dataparser_transforms.json, for a path drawn in its viewer."),
]

samples_option = options_from(
    RenderRequest, "sampling", ["samples_per_ray"], names={"samples_per_ray": "samples"}
)  # fmt: skip


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(generate)
    cli.command()(render)


@latent_options
@samples_option
def generate(
    model: Model,
    out: Annotated[Path, typer.Option(help="A .png file, or a folder with --camera-path.")],
    latent: dict[str, Any],
    sampling: dict[str, Any],
    control: ControlOption = None,
    yaw: Annotated[float, typer.Option(help="Azimuth of the camera from the model's default view, degrees.")] = 0.0,
    pitch: Annotated[
        float, typer.Option(help="Elevation of the camera above the model's default view, degrees.")
    ] = 0.0,
    roll: Annotated[float, typer.Option(help="Rotation of the camera about its viewing direction, degrees.")] = 0.0,
    fov: Annotated[
        float | None, typer.Option(help="Vertical field of view in degrees; the model's own if left out.")
    ] = None,
    camera_path: Annotated[Path | None, typer.Option(help=f"{PATHS}; writes one image per camera.")] = None,
    dataparser_transforms: DataparserTransforms = None,
    size: Size = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Render an image of a latent, or one for each camera of a path."""
    shared = workspace(device)
    ref = scene_ref(shared, model, latent, control)
    if camera_path is not None:
        render_path(shared, ref, camera_path, dataparser_transforms, out, size, sampling, as_json)
        return
    from ..cameras import orbit

    info = shared.generator(ref.model).info
    prior = info.pose_prior
    camera = orbit(
        info, image_size(size, info.image_size), azimuth=prior.default_azimuth + angle("--yaw", yaw),
        elevation=prior.default_elevation + angle("--pitch", pitch), roll=angle("--roll", roll),
        fov=None if fov is None else field_of_view(fov),
    )  # fmt: skip
    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"--out must end in .png, got {out.name!r}. A folder goes with --camera-path.")
    render_frames(shared, ref, [camera], [out], sampling, as_json)


@latent_options
@samples_option
def render(
    model: Model,
    camera_path: Annotated[Path, typer.Option(help=f"{PATHS}.")],
    out: Annotated[Path, typer.Option(help="Folder for the images, one per frame.")],
    latent: dict[str, Any],
    sampling: dict[str, Any],
    control: ControlOption = None,
    dataparser_transforms: DataparserTransforms = None,
    size: Size = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Render the frames of a camera path to numbered images with alpha."""
    shared = workspace(device)
    ref = scene_ref(shared, model, latent, control)
    render_path(shared, ref, camera_path, dataparser_transforms, out, size, sampling, as_json)


def render_path(
    shared: Workspace,
    ref: SceneRef,
    path: Path,
    dataparser: Path | None,
    out: Path,
    size: int | None,
    sampling: dict[str, Any],
    as_json: bool,
) -> None:
    """Render each camera of a path into the folder `out`."""
    from ..camera_path import in_frame_of_scene, read_camera_path

    x, y, z = shared.card(ref.model).offset or (0.0, 0.0, 0.0)
    cameras = read_camera_path(path, None if size is None else image_size(size, size), offset=(x, y, z))
    cameras, notes = in_frame_of_scene(cameras, path, shared.generator(ref.model).info, dataparser)
    files = [out / f"frame_{number:05d}.png" for number in range(len(cameras))]
    render_frames(shared, ref, cameras, files, sampling, as_json, notes)


def render_frames(
    shared: Workspace,
    ref: SceneRef,
    cameras: list[Camera],
    files: list[Path],
    sampling: dict[str, Any],
    as_json: bool,
    said: Iterable[str] = (),
) -> None:
    """Render cameras to PNG files with alpha."""
    from PIL import Image

    from ..tasks.render import image8
    from ..tasks.render import render as render_task

    started = time.perf_counter()
    notes: dict[str, None] = dict.fromkeys(said)
    with progress_bar() as report, expected_errors():
        for number, (camera, file) in enumerate(zip(cameras, files, strict=True)):
            step = part(report, number / len(files), (number + 1) / len(files))
            result = render_task(RenderRequest(ref, camera, **sampling), step, shared)
            notes.update(dict.fromkeys((result.note,) if result.note else ()))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image8(result.rgba)).save(file, format="PNG")
            except OSError as error:
                raise CannotWrite(f"{file} cannot be written: {error.strerror or error}.") from error
    for note in notes:
        complain(note)
    answer(
        as_json,
        {
            "files": [str(file) for file in files], "width": cameras[0].width, "height": cameras[0].height,
            "model": ref.model, "notes": list(notes), "seconds": round(time.perf_counter() - started, 3),
        },
    )  # fmt: skip
