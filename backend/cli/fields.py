"""Commands on radiance fields from images: sfm, fit, eval."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addon.wire.errors import Cancelled, CannotWrite, InvalidRequest, NotSupported, Remedy, UnreadableFile
from addon.wire.messages import FitOptions, FitResult, SceneRef, SfmRequest

from ..progress import Progress
from .arguments import Device, model_name, workspace
from .console import Json, answer, complain, expected_errors, progress_bar, write_json
from .options import check, options_from

if TYPE_CHECKING:
    import numpy as np

    from ..nerf.datasets import Dataset, View
    from ..nerf.fit.state import FitState

PAUSED = 130  # exit status after Ctrl-C, as shells expect

DataSet = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="A folder with transforms.json (NeRF-synthetic, nerfstudio, instant-ngp) or a COLMAP model.",
    ),
]


class Split(StrEnum):
    """Views that are compared."""

    test = "test"
    val = "val"
    train = "train"


class Appearance(StrEnum):
    """Colour correction of each render before it is compared."""

    none = "none"
    exposure = "exposure"
    color = "color"


class Background(StrEnum):
    """Colour that images with alpha, and renders, are composited over."""

    white = "white"
    black = "black"


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(sfm)
    cli.command()(fit)
    cli.command("eval")(evaluate)


@options_from(FitOptions, "options", names={"use_masks": "masks"})
def fit(
    context: typer.Context,
    dataset: DataSet,
    out: Annotated[Path, typer.Option(help="Scene file, ends in .safetensors.")],
    options: dict[str, Any],
    poses_out: Annotated[
        Path | None,
        typer.Option(help="Write the cameras after the fit to this transforms file, which belongs beside the images."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Resume from the autosave beside --out.")] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Fit a radiance field to images with cameras. Ctrl-C saves; --resume continues, also after a crash."""
    from ..models.scene_file import save_scene
    from ..nerf.datasets import open_dataset
    from ..nerf.fit.state import read_state
    from ..tasks.fit import fit_scene, with_length
    from ..tasks.fit_run import SaveTarget
    from ..tasks.fit_staging import check_memory

    if out.suffix.lower() != ".safetensors":
        raise InvalidRequest(f"--out must end in .safetensors, got {out.name!r}.")
    if poses_out is not None and poses_out.suffix.lower() != ".json":
        raise InvalidRequest(f"--poses-out must end in .json, got {poses_out.name!r}.")
    asked = FitOptions(**options)
    for file in (out, *([] if poses_out is None else [poses_out])):
        check_writable(file)
    state = out.with_name(out.name + ".state")
    if resume:
        if not state.exists():
            raise InvalidRequest(f"There is nothing to resume: {state} does not exist. Leave out --resume to start.")
        stored = read_state(state).options
        if kept := differing(given(context), asked, stored):
            complain(f"The saved fit keeps its options, with {kept}: only --seconds and --steps can change.")
        longer = asked.seconds or asked.steps
        asked = dataclasses.replace(stored, seconds=asked.seconds, steps=asked.steps) if longer else stored
    elif found_there := unfinished(state):
        raise InvalidRequest(
            f"{state} holds a fit of {found_there.seconds:.0f} s that is not finished: continue with --resume, or "
            "remove that file or choose another --out to start again."
        )
    shared = workspace(device)
    started = time.perf_counter()
    place = SaveTarget(out.stem, state, lambda card, tensors: save_scene(out, card, tensors), resume)
    with progress_bar() as report, interruptible(report) as progress, expected_errors():
        found = open_dataset(dataset, flip_axes=asked.flip_axes)
        for warning in found.warnings:
            complain(warning)
        check_memory(found, asked, shared)
        try:
            result: FitResult | None = fit_scene(found, with_length(asked), place, progress, shared)
        except Cancelled:
            result = None
    fields = {"scene": str(out), "state": str(state), "method": asked.method}
    if result is None:
        saved = unfinished(state)
        paused = {"paused": True, "steps": saved.step if saved else 0, "fit_seconds": saved.seconds if saved else 0.0}
        answer(as_json, {**fields, **paused})
        complain("Paused. Continue with --resume." if saved else "Cancelled before anything was fitted.")
        raise typer.Exit(PAUSED)
    if poses_out is not None:
        write_poses(poses_out, found, result)
        fields["poses"] = str(poses_out)
    answer(
        as_json,
        {
            **fields, "paused": False, "steps": result.steps, "fit_seconds": round(result.seconds, 3),
            "seconds": round(time.perf_counter() - started, 3), "psnr": result.psnr, "ssim": result.ssim,
            "views": len(result.view_names), "warnings": list(result.warnings),
        },
    )  # fmt: skip


@options_from(FitOptions, "reading", ["flip_axes"])
def evaluate(
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="A scene file, or the name of a fitted scene.")],
    dataset: DataSet,
    reading: dict[str, Any],
    split: Annotated[
        Split, typer.Option(help="Views of the data set's split; without splits every 8th is held out.")
    ] = Split.test,
    background: Annotated[
        Background, typer.Option(help="Colour behind images with alpha and behind renders.")
    ] = Background.white,
    out: Annotated[Path | None, typer.Option(help="Folder for images: ground truth and render side by side.")] = None,
    refine_poses: Annotated[
        bool, typer.Option(help="Align each camera with its image first, for scenes fitted with --refine-poses.")
    ] = False,
    appearance: Annotated[
        Appearance,
        typer.Option(help="Match each render to its image's exposure or color first, for scenes fitted with the same."),
    ] = Appearance.none,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Compare a scene with held-out images: PSNR and SSIM of each view, and their means."""
    from ..nerf.datasets import open_dataset
    from ..nerf.evaluate import evaluate as compare

    shared = workspace(device)
    started = time.perf_counter()
    with progress_bar() as report, expected_errors():
        name = model_name(shared, scene)
        info = shared.generator(name).info
        if info.quantity != "density":
            raise NotSupported(f"{info.label} is not a radiance field: there are no photographs to compare it with.")
        found = open_dataset(dataset, **reading).without_depth()
        views = found.split(split.value)
        if not views:
            raise InvalidRequest(
                f"The data set {dataset} has no views of the split {split.value!r}: it holds none out.",
                remedy=Remedy("set_value", "Compare with the training views", "train"),
            )
        show = None if out is None else pair_writer(out)
        result = compare(
            shared.scene(SceneRef(name)), found, views, shared.device,
            background=background.value, background_color=shared.card(name).background,
            refine_poses=refine_poses, appearance=appearance.value, progress=report, show=show,
        )  # fmt: skip
    fields: dict[str, Any] = {
        "scene": scene, "dataset": str(dataset), "split": split.value, "background": background.value,
        "refined_poses": refine_poses, "appearance": appearance.value,
        "psnr": result.psnr, "ssim": result.ssim, "views": [dataclasses.asdict(view) for view in result.views],
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    if as_json:
        write_json(fields)
        return
    lines = {view.name: f"PSNR {view.psnr:.2f} dB, SSIM {view.ssim:.4f}" for view in result.views}
    answer(False, {**lines, "mean": f"PSNR {result.psnr:.2f} dB, SSIM {result.ssim:.4f} over {background.value}"})


@options_from(SfmRequest, "limits")
def sfm(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photographs, or a video.")],
    out: Annotated[Path, typer.Option(help="Folder for the new data set.")],
    limits: dict[str, Any],
    as_json: Json = False,
) -> None:
    """Find the cameras of photographs or of a video, and write a data set for `fit`."""
    from ..nerf.sfm.options import SfmOptions
    from ..nerf.sfm.reconstruction import reconstruct

    check(SfmRequest, limits)
    with progress_bar() as report, expected_errors():
        made = reconstruct(photos, out, SfmOptions(**limits), report)
    fields = {"dataset": str(out), "format": made.dataset.format, **made.report.to_dict()}
    if not as_json:
        fields.pop("per_image")
        fields.pop("warnings")  # among the advice
    answer(as_json, fields)


# ------------------------------------------------------------------------------------------------------------- helpers


def check_writable(path: Path) -> None:
    """Check that a file can be written, without leaving anything behind. Raises CannotWrite."""
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written ({error.strerror}): choose another place for it.") from error


def unfinished(state: Path) -> FitState | None:
    """Return the saved fit if it is not finished; None if there is none that can be read."""
    from ..nerf.fit.state import read_state

    try:
        found = read_state(state)
    except UnreadableFile:
        return None
    return None if found.finished else found


def given(context: typer.Context) -> list[str]:
    """Return the names of the parameters given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def differing(names: list[str], asked: FitOptions, stored: FitOptions) -> str:
    """Return the stored options that differ from those given by these parameters, except the length."""
    fields = {"use_masks" if name == "masks" else name for name in names} - {"seconds", "steps"}
    kept = {field: getattr(stored, field) for field in sorted(fields) if hasattr(stored, field)}
    return ", ".join(f"{field} = {value}" for field, value in kept.items() if value != getattr(asked, field))


def write_poses(path: Path, dataset: Dataset, result: FitResult) -> None:
    """Write the cameras of a data set after a fit; held-out cameras are moved with the others.

    Raises CannotWrite, InvalidRequest.
    """
    import torch

    from ..nerf.cameras.alignment import at_pose, moved
    from ..nerf.cameras.poses import motion_of_all
    from ..nerf.datasets import write_transforms

    found = torch.from_numpy(result.world_from_camera)
    train = dataset.split("train")
    given = torch.stack([view.camera.world_from_camera for view in train])
    after = {view.name: at_pose(view, pose) for view, pose in zip(train, found, strict=True)}
    held_back = moved(dataset.views, motion_of_all(given, found))
    views = [after.get(view.name, other) for view, other in zip(dataset.views, held_back, strict=True)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_transforms(dataset.folder, views, bounds=dataset.bounds, path=path, offset=dataset.offset)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror or error}.") from error
    except ValueError as error:
        raise InvalidRequest(f"The cameras cannot be written as a transforms file: {error}.") from error


@contextlib.contextmanager
def interruptible(progress: Progress) -> Iterator[Progress]:
    """Yield a Progress that raises Cancelled after Ctrl-C or SIGTERM, between steps, so that the fit can be saved.

    A second Ctrl-C ends the process at once.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    def report(
        fraction: float, text: str = "", preview: np.ndarray | None = None, *, figures: dict[str, float] | None = None
    ) -> None:
        if stopped:
            raise Cancelled
        progress(fraction, text, preview, figures=figures)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield report
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pair_writer(folder: Path) -> Callable[[View, np.ndarray, np.ndarray], None]:
    """Return a function that writes ground truth and render of a view side by side."""
    import numpy as np
    from PIL import Image

    from ..tasks.render import image8

    def write(view: View, rendered: np.ndarray, truth: np.ndarray) -> None:
        name = "_".join(PurePosixPath(view.name).parts).removesuffix(view.image.suffix)
        file = folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image8(np.concatenate((truth, rendered), 1))).save(file)
        except OSError as error:
            raise CannotWrite(f"{file} cannot be written: {error.strerror or error}.") from error

    return write
