"""Task `fit`: a radiance field of a data set, as a job that can be paused, killed and taken up again.

Pausing, cancelling and being killed are one mechanism: the state is saved every AUTOSAVE_SECONDS and before Cancelled
is let through, and `resume` goes on from what was saved. While it runs, the scene as it stands is what its name means
to waiting renders (`Workspace.live`), and a small part of the time goes to pictures of it and to views held back.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from addon.wire import payload
from addon.wire.errors import (
    BlobMissing,
    Cancelled,
    Diverged,
    InvalidRequest,
    LatheError,
    OutOfMemory,
    Remedy,
    UnreadableFile,
)
from addon.wire.messages import Camera, DiscardFitRequest, FitOptions, FitRequest, FitResult, ModelResult

from ..blobs import BlobStore, cannot_write
from ..camera_path import resized
from ..cameras import from_wire
from ..folders import user_models
from ..models import card as cards
from ..models import store
from ..models.card import ModelCard
from ..nerf.cameras.alignment import aligned, moved
from ..nerf.cameras.poses import motion_of_all
from ..nerf.datasets import Dataset, Pixels, View, open_dataset
from ..nerf.evaluate import (
    Evaluation,
    background_of,
    camera_of,
    color_corrected,
    composited,
    evaluate,
    photograph,
    psnr,
    stride_for,
    strided,
    strided_view,
)
from ..nerf.fit import state as fit_state
from ..nerf.fit.background_color import background_color
from ..nerf.fit.fitting import elapsed
from ..nerf.fit.state import FitState
from ..progress import Progress, part, silent
from ..scenes.protocol import Image, Scene
from .render import image8, render_scene, rgba
from .workspace import Workspace

if TYPE_CHECKING:
    from ..nerf.fit.fitting import Fit

log = logging.getLogger(__name__)

AUTOSAVE_SECONDS = float(os.environ.get("LATENT_LATHE_AUTOSAVE_SECONDS", 30.0))
FIRST_SAVE_SECONDS = 3.0
"""A new fit is saved this early, because what was saved once is a model, which a viewport can show."""
WATCH_SHARE = 0.06  # of the time of fitting that may go to pictures and views held back
WATCH_SECONDS = 1.0  # between two of them, at least; the interval grows with the time
WATCHED_VIEWS = 4
JUDGED_VIEWS = 8  # at the end, at full size
PICTURE_SIZE = 160  # pixels of the longer side

PRESET_SECONDS = {"draft": 60.0, "standard": 300.0, "fine": 900.0}
PRESET_BYTES = {
    "hash": {"draft": 300 << 20, "standard": 900 << 20, "fine": 1500 << 20},
    "nerf": {"draft": 500 << 20, "standard": 3500 << 20, "fine": 3500 << 20},
}
"""Memory of the field, its optimiser and a batch, beside the pictures. Of `nerf` autograd keeps every layer of a step's
samples: 463 and 3369 MiB, measured."""
BYTES_PER_PIXEL = 24
"""Of a picture held in memory: colours, alpha, mask, its place among those drawn, and what reading it takes."""


def fit(request: FitRequest, progress: Progress, workspace: Workspace) -> FitResult:
    """Fit a field and keep it as a model; go on with an earlier fit where `resume` says so.

    Raises:
        InvalidRequest: the name belongs to another model, or there is nothing to resume.
        BlobMissing: a file of the data set was not uploaded.
        UnreadableFile, UnusableDataset: see `open_dataset`.
        OutOfMemory: before the start, with what would fit.
        Diverged: the parameters became NaN; the last autosave is kept.
        Cancelled: paused; saved.
    """
    check_name(request.name)
    folder = fit_state.fits_folder() / request.name
    if request.resume:
        stored = read_request(folder)
        options = (
            replace(stored.options, seconds=request.options.seconds, steps=request.options.steps)
            if (request.options.seconds or request.options.steps)
            else stored.options
        )
        request = replace(stored, options=options, preview=request.preview or stored.preview)
        write_request(request, folder)
        dataset = open_dataset(folder / "dataset", flip_axes=request.options.flip_axes)
    else:
        dataset = lay_out(request, folder, workspace.blobs, part(progress, 0.0, 0.02))
    check_memory(dataset, request.options, workspace)

    def keep(card: ModelCard, tensors: dict[str, Tensor]) -> None:
        store.save_model(user_models() / request.name, card, tensors)

    place = SaveTarget(request.name, folder / fit_state.STATE_NAME, keep)
    return fit_scene(dataset, request.options, place, progress, workspace, preview=request.preview)


def discard_fit(request: DiscardFitRequest, progress: Progress, workspace: Workspace) -> ModelResult:
    """Throw away what a fit needs to go on. Raises InvalidRequest where there is no such fit, CannotWrite."""
    folder = fit_state.fits_folder() / request.name
    read_request(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cannot_write(f"The fit {request.name}", folder, error) from error
    return ModelResult(request.name)


# ------------------------------------------------------------------------------------------------------------ the fit


@dataclass(frozen=True)
class SaveTarget:
    """Where a fit is saved."""

    name: str
    state: Path
    keep: Callable[[ModelCard, dict[str, Tensor]], None]  # stores the scene
    resume: bool = True  # go on from the state if there is one; else it stays until the first save takes its place


def fit_scene(
    dataset: Dataset,
    options: FitOptions,
    place: SaveTarget,
    progress: Progress,
    workspace: Workspace,
    *,
    preview: Camera | None = None,
) -> FitResult:
    """Fit, from the state saved at the place if there is one and it is to be resumed; see `fit`."""
    from ..nerf.methods import FITS

    options = with_length(options)
    if not options.use_masks:
        dataset = dataset.without_masks()
    state = FitState(options, fit_state.fingerprint(dataset))
    saved = fit_state.read_state(place.state) if place.resume and place.state.exists() else None
    if saved is not None and saved.views != state.views:
        raise InvalidRequest(
            f"The pictures of {place.name} are not those that it was fitted to before. Start the fit again.",
            remedy=Remedy("restart_fit", "Start again", place.name),
        )
    made: Fit = FITS[options.method](dataset, options, workspace.device, part(progress, 0.02, 0.05))
    if saved is not None:
        try:
            made.restore(fit_state.read_tensors(place.state))
        except (KeyError, RuntimeError, ValueError) as error:
            raise UnreadableFile(
                f"What was saved of {place.name} does not fit this version ({error}). Start the fit again.",
                remedy=Remedy("restart_fit", "Start again", place.name),
            ) from error
        state = replace(saved, options=options, finished=False)
    session = Session(made, state, dataset, place)
    watch = EvalMonitor(dataset, preview, options, workspace.device)
    with workspace.live(place.name, made.scene):
        session.advance(part(progress, 0.05, 0.95), watch)
        found = session.judge(part(progress, 0.95, 1.0), workspace.device)
    poses = made.poses().detach().float().cpu().numpy()
    names = tuple(view.name for view in dataset.split("train"))
    return FitResult(place.name, made.step, poses, names, found.psnr, found.ssim, made.seconds, dataset.warnings)


class Session:
    """A fit on its way, and what was saved of it."""

    def __init__(self, made: Fit, state: FitState, dataset: Dataset, place: SaveTarget) -> None:
        self.made, self.state, self.dataset, self.place = made, state, dataset, place
        self.saved_step: int | None = made.step if made.step else None
        self._started_step, self._started_seconds = made.step, made.seconds

    def advance(self, progress: Progress, watch: EvalMonitor) -> None:
        """Step until the seconds or steps are over, and save on the way and at every end but a bad one.

        Raises:
            Diverged, Cancelled: see `fit`.
        """
        made, options = self.made, self.state.options
        saved_at = time.monotonic()
        if self.saved_step is None:
            saved_at -= max(AUTOSAVE_SECONDS - FIRST_SAVE_SECONDS, 0.0)
        try:
            try:
                while (fraction := self.fraction()) < 1:
                    report = made.advance()
                    figures = {
                        "step": float(made.step), "loss": report.loss, "train_psnr": report.psnr,
                        "rays_per_second": report.rays_per_second, "seconds": made.seconds,
                        "seconds_left": self.seconds_left(),
                    }  # fmt: skip
                    picture = watch.picture(made, lambda *_, **__: progress(fraction, "Fitting"))
                    if watch.psnr is not None:
                        figures["psnr"] = watch.psnr
                        self.state = replace(self.state, psnr=watch.psnr)
                    progress(min(fraction, 1.0), "Fitting", picture, figures=figures)
                    if time.monotonic() - saved_at >= AUTOSAVE_SECONDS:
                        self.save()
                        saved_at = time.monotonic()
            except Cancelled:
                self.save()
                raise
            self.state = replace(self.state, finished=True)
            self.save()
        except Diverged as error:
            raise self.diverged() from error
        log.info("%s: %d steps, %.1f s, %s", self.place.name, made.step, made.seconds, options)

    def fraction(self) -> float:
        """Return how much of the fit is over: by steps or by seconds, whichever is nearer to its end."""
        return elapsed(self.state.options, self.made.step, self.made.seconds, math.inf)

    def seconds_left(self) -> float:
        """Return the seconds until the end, at the speed of this session."""
        made, options = self.made, self.state.options
        left = [options.seconds - made.seconds] if options.seconds else []
        if options.steps:
            pace = (made.seconds - self._started_seconds) / max(made.step - self._started_step, 1)
            left.append((options.steps - made.step) * pace)
        return max(min(left), 0.0)

    def save(self) -> None:
        """Save the state and the scene. Raises Diverged rather than save what is not finite; CannotWrite."""
        started = time.perf_counter()
        made = self.made
        if made.step == 0:
            return
        self.state = replace(self.state, step=made.step, seconds=made.seconds)
        fit_state.write_state(self.place.state, self.state, made.tensors())
        self.saved_step = made.step
        self._keep(Evaluation(self.state.psnr, None, ()))
        log.info("%s: saved step %d in %.2f s", self.place.name, made.step, time.perf_counter() - started)

    def judge(self, progress: Progress, device: torch.device) -> Evaluation:
        """Compare with views held back at full size, and store the scene with what was found."""
        progress(0.0, "Comparing with the views held back")
        views = spread(self.dataset.split("test"), JUDGED_VIEWS)
        refined = self.state.options.refine_poses
        if refined:
            given = torch.stack([view.camera.world_from_camera for view in self.dataset.split("train")])
            views = moved(views, motion_of_all(given, self.made.poses().detach().cpu()))
        found = evaluate(
            self.made.scene(),
            self.dataset,
            views,
            device,
            background_color=background_color(self.made.background),
            refine_poses=refined,
            appearance=self.state.options.appearance,
            progress=progress,
        )
        self._keep(found)
        progress(1.0, "Done")
        return found

    def diverged(self) -> Diverged:
        """Return the sentence for a fit that became NaN."""
        what = f"The fit became unstable at step {self.made.step} (a value was not finite) and was stopped. "
        if self.saved_step is None:
            return Diverged(what + "Nothing had been saved yet. Start it again, with the draft preset or another seed.",
                            remedy=Remedy("restart_fit", "Start again", self.place.name))  # fmt: skip
        return Diverged(
            what + f"What was saved at step {self.saved_step} is kept: look at it, or go on from there.",
            remedy=Remedy("resume_fit", f"Go on from step {self.saved_step}", self.place.name),
        )

    def _keep(self, found: Evaluation) -> None:
        scene: Any = self.made.scene()  # a Scene that can be stored: rendering knows nothing of that
        kind, constructor, tensors = scene.tensors()
        state, views = self.state, self.dataset.split("train")
        figures = "" if found.psnr is None else f" PSNR of views held back {found.psnr:.2f} dB"
        figures += "" if found.ssim is None else f", SSIM {found.ssim:.4f} (mean of {len(found.views)})"
        card = ModelCard(
            kind=kind,
            label=self.place.name,
            description=f"A radiance field of {len(views)} pictures, fitted for {state.seconds:.0f} s",
            licence="as the pictures it was fitted to",
            non_commercial=False,
            constructor=constructor,
            source="trained",
            pose_prior=usual_view(views, scene),
            background=background_color(self.made.background),
            card=f"Method {state.options.method}, {state.step} steps, {state.seconds:.1f} s of fitting, preset "
            f"{state.options.preset}, seed {state.options.seed}.{figures}.\n",
        )
        self.place.keep(card, tensors)


class EvalMonitor:
    """Looks at the scene now and then, at a small part of the fit's time: from `preview`, and at views held back."""

    def __init__(self, dataset: Dataset, preview: Camera | None, options: FitOptions, device: torch.device) -> None:
        """Views held back are compared as the options say that the fit sees its own: with cameras that follow it, and
        colours of their own."""
        self._dataset, self._device = dataset, device
        self._views = spread(dataset.split("test"), WATCHED_VIEWS)
        self._camera = None if preview is None else from_wire(resized(preview, PICTURE_SIZE), device)
        self._truths: dict[str, tuple[Pixels, np.ndarray, np.ndarray]] = {}
        self._align, self._appearance = options.refine_poses, options.appearance
        self._aligned: dict[str, View] = {}
        self._scores: dict[str, float] = {}
        self._count, self._spent, self._last_cost = 0, 0.0, 0.0
        self._last: float | None = None  # when, in seconds of the fit
        self._first: float | None = None

    @property
    def psnr(self) -> float | None:
        """The mean of the newest figure of each view looked at, dB."""
        return float(np.mean(list(self._scores.values()))) if self._scores else None

    def picture(self, made: Fit, progress: Progress) -> np.ndarray | None:
        """Return a picture, uint8 [H, W, 4], if it is time for one."""
        self._first = made.seconds if self._first is None else self._first
        interval = max(WATCH_SECONDS, 0.02 * made.seconds)
        too_early = made.seconds - (self._first if self._last is None else self._last) < interval
        too_dear = self._spent + self._last_cost > WATCH_SHARE * (made.seconds - self._first)
        if too_early or (too_dear and self._count) or not (self._views or self._camera):
            return None
        started, scene = time.perf_counter(), made.scene()
        if self._camera is not None and (self._count % 2 == 0 or not self._views):
            image = render_scene(scene, self._camera, progress, quality="draft")
        else:
            number = self._count // 2 if self._camera is not None else self._count
            view = self._views[number % len(self._views)]
            image = self._compare(scene, view, background_color(made.background), progress)
        cost = time.perf_counter() - started
        if self._count:  # the first one may have compiled kernels
            self._spent, self._last_cost = self._spent + cost, cost
        self._last, self._count = made.seconds, self._count + 1
        return image8(rgba(image))

    def _compare(self, scene: Scene, view: View, background_color: str, progress: Progress) -> Image:
        stride = stride_for(view, PICTURE_SIZE)
        if view.name not in self._truths:
            pixels = strided(self._dataset.load(view), stride)
            behind = background_of(pixels, "white", background_color)
            self._truths[view.name] = pixels, photograph(pixels, behind), behind
        pixels, truth, behind = self._truths[view.name]
        small = self._aligned.get(view.name) or strided_view(view, stride)
        if self._align:
            small = self._aligned[view.name] = aligned(scene, small, pixels, self._device, background=behind)
        image = render_scene(scene, camera_of(small).to(self._device), progress)
        own = color_corrected(image, truth, behind, self._appearance, pixels.mask)
        self._scores[view.name] = psnr(composited(own, behind), truth, pixels.mask)
        return image


# ------------------------------------------------------------------------------------------------------- preparations


def with_length(options: FitOptions) -> FitOptions:
    """Return options that say how long: the preset's seconds unless seconds or steps are given."""
    if options.seconds or options.steps:
        return options
    return replace(options, seconds=PRESET_SECONDS[options.preset])


def spread(views: tuple[View, ...], count: int) -> tuple[View, ...]:
    """Return at most `count` views at equal distances."""
    if len(views) <= count:
        return views
    return tuple(views[round(index * (len(views) - 1) / (count - 1))] for index in range(count))


def usual_view(views: tuple[View, ...], scene: Scene) -> dict[str, float]:
    """Return the fields of a PosePrior for the middle of the training cameras: where the panel looks from first."""
    low, high = (np.array(corner) for corner in scene.info.bounds)
    poses = np.stack([view.camera.world_from_camera.double().cpu().numpy() for view in views])
    offsets = poses[:, :3, 3] - (low + high) / 2
    radii = np.linalg.norm(offsets, axis=1)
    first = offsets[int(np.argsort(offsets[:, 2])[len(offsets) // 2])]  # of a middling height
    camera = views[0].camera
    return {
        "radius": float(np.median(radii)),
        "fov": 2 * math.atan(camera.height / 2 / float(camera.intrinsics[1, 1])),
        "default_azimuth": float(math.atan2(first[0], -first[1])),
        "default_elevation": float(math.atan2(first[2], math.hypot(first[0], first[1]))),
    }


def check_name(name: str) -> None:
    """Refuse the name of a model that was not made by a fit. Raises InvalidRequest."""
    folder = store.find_models().get(name)
    if folder is None:
        return
    card = cards.read_card(folder)
    if card.source != "trained" or card.kind not in ("hash_field", "nerf"):
        raise InvalidRequest(
            f"There is a model named {name!r} already that was not made by fitting images. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )


def read_request(folder: Path) -> FitRequest:
    """Return the request that a fit was started with. Raises InvalidRequest, naming the fits there are."""
    try:
        return fit_state.read_stored(FitRequest, (folder / "request.json").read_bytes())
    except (OSError, LatheError) as error:
        names = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/request.json")))
        raise InvalidRequest(
            f"There is no fit named {folder.name!r} to go on with. Fits here: {names or 'none'}.",
            remedy=Remedy("restart_fit", "Start it", folder.name),
        ) from error


def write_request(request: FitRequest, folder: Path) -> None:
    """Keep what a fit was started with. Raises CannotWrite."""
    try:
        store.write_atomically(folder / "request.json", payload.to_json(request))
    except OSError as error:
        raise cannot_write("The fit", folder, error) from error


def lay_out(request: FitRequest, folder: Path, blobs: BlobStore, progress: Progress = silent) -> Dataset:
    """Lay the uploads out as the data set they are, in place of an earlier fit of this name, and open it.

    The earlier fit goes only when the new data set was found to be sound.

    Raises:
        BlobMissing, CannotWrite, UnreadableFile, UnusableDataset, Cancelled.
    """
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        lay_out_files(request.files, fresh / "dataset", blobs, progress)
        open_dataset(fresh / "dataset", flip_axes=request.options.flip_axes)
        write_request(request, fresh)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    except LatheError as error:  # where the files lie in between means nothing to the user
        sentence = error.message.replace(str(fresh / "dataset"), "the data set")
        raise type(error)(sentence, remedy=error.remedy) from error
    except OSError as error:
        raise cannot_write("The data set", folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return open_dataset(folder / "dataset", flip_axes=request.options.flip_axes)


def lay_out_files(files: dict[str, str], folder: Path, blobs: BlobStore, progress: Progress = silent) -> None:
    """Give uploads (path -> sha256) their names in a folder. Raises BlobMissing, OSError, Cancelled."""
    for number, (name, sha256) in enumerate(files.items()):
        progress(number / len(files), "Laying out the files")
        _link(blobs, sha256, folder / name)


def _link(blobs: BlobStore, sha256: str, target: Path) -> None:
    """Give an upload a name: a hard link, or a copy where the file system knows none."""
    blob = blobs.find(sha256)
    if blob is None:
        raise BlobMissing(
            f"The file {target.name} is not here (any more). Send the files again.",
            remedy=Remedy("upload_again", "Send the files again", sha256),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(blob, target)
    except OSError:
        shutil.copyfile(blob, target)


def check_memory(dataset: Dataset, options: FitOptions, workspace: Workspace) -> None:
    """Refuse a fit that cannot fit into memory, before it starts. Raises OutOfMemory with what would."""
    views = dataset.split("train")
    pixels = sum(view.camera.width * view.camera.height for view in views) * BYTES_PER_PIXEL
    free = workspace.free_memory()
    sizes = PRESET_BYTES[options.method]
    needed = pixels + sizes[options.preset]
    if needed <= free:
        return
    what = (
        f"Fitting {len(views)} pictures by {options.method!r}, preset {options.preset!r}, needs about "
        f"{_gigabytes(needed)} of memory and {_gigabytes(free)} are free. "
    )
    smaller = next((name for name, size in reversed(sizes.items()) if pixels + size <= free), None)
    if smaller is not None:
        raise OutOfMemory(
            f"{what}The preset {smaller!r} would fit.", remedy=Remedy("use_preset", f"Use {smaller}", smaller)
        )
    raise OutOfMemory(
        f"{what}The pictures alone take {_gigabytes(pixels)}: use fewer or smaller ones, or close other programs.",
        remedy=Remedy("lower_resolution", "Use smaller pictures"),
    )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB"
