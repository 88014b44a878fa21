"""Task `fit`: a radiance field fitted to a data set, as a job that can be paused, killed and resumed.

Pausing, cancelling and being killed are one mechanism: the state is saved every AUTOSAVE_SECONDS and before Cancelled
passes on, and `resume` continues from the saved state. While a fit runs, its name means the scene as it stands
(`Workspace.live`), so that renders can interleave.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from addon.wire.errors import InvalidRequest, Remedy, UnreadableFile
from addon.wire.messages import Camera, DiscardFitRequest, FitOptions, FitRequest, FitResult, ModelResult

from ..files import cannot_write
from ..folders import user_models
from ..models import card as cards
from ..models import store
from ..models.card import ModelCard
from ..nerf.datasets import Dataset, open_dataset
from ..nerf.fit import state as fit_state
from ..nerf.fit.state import FitState
from ..nerf.methods import FITS, KINDS
from ..progress import Progress, part
from .fit_run import EvalMonitor, FitRun, SaveTarget
from .fit_staging import check_memory, read_request, stage, write_request
from .workspace import Workspace

if TYPE_CHECKING:
    from ..nerf.fit.fitting import Fit

PRESET_SECONDS = {"draft": 60.0, "standard": 300.0, "fine": 900.0}


def fit(request: FitRequest, progress: Progress, workspace: Workspace) -> FitResult:
    """Fit a field and keep it as a model; continue an earlier fit where `resume` is set.

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
        dataset = stage(request, folder, workspace.blobs, part(progress, 0.0, 0.02))
    check_memory(dataset, request.options, workspace)

    def keep(card: ModelCard, tensors: dict[str, Tensor]) -> None:
        store.save_model(user_models() / request.name, card, tensors)

    place = SaveTarget(request.name, folder / fit_state.STATE_NAME, keep)
    return fit_scene(dataset, request.options, place, progress, workspace, preview=request.preview)


def discard_fit(request: DiscardFitRequest, progress: Progress, workspace: Workspace) -> ModelResult:
    """Delete the saved state of a fit. Raises InvalidRequest where there is no such fit, CannotWrite."""
    folder = fit_state.fits_folder() / request.name
    read_request(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cannot_write(f"The fit {request.name}", folder, error) from error
    return ModelResult(request.name)


def fit_scene(
    dataset: Dataset,
    options: FitOptions,
    place: SaveTarget,
    progress: Progress,
    workspace: Workspace,
    *,
    preview: Camera | None = None,
) -> FitResult:
    """Fit, from the state saved at the place if there is one and the place allows it; see `fit`."""
    options = with_length(options)
    if not options.use_masks:
        dataset = dataset.without_masks()
    if not options.depth_weight:
        dataset = dataset.without_depth()
    state = FitState(options, fit_state.fingerprint(dataset))
    saved = fit_state.read_state(place.state) if place.resume and place.state.exists() else None
    if saved is not None and saved.views != state.views:
        raise InvalidRequest(
            f"The images of {place.name} are not those that it was fitted to before. Start the fit again.",
            remedy=Remedy("restart_fit", "Start again", place.name),
        )
    made: Fit = FITS[options.method](dataset, options, workspace.device, part(progress, 0.02, 0.05))
    if saved is not None:
        try:
            made.restore(fit_state.read_tensors(place.state))
        except (KeyError, RuntimeError, ValueError) as error:
            raise UnreadableFile(
                f"The saved state of {place.name} does not fit this version ({error}). Start the fit again.",
                remedy=Remedy("restart_fit", "Start again", place.name),
            ) from error
        state = replace(saved, options=options, finished=False)
    run = FitRun(made, state, dataset, place)
    monitor = EvalMonitor(dataset, preview, options, workspace.device)
    with workspace.live(place.name, made.scene):
        run.advance(part(progress, 0.05, 0.95), monitor)
        found = run.evaluate(part(progress, 0.95, 1.0), workspace.device)
    poses = made.poses().detach().float().cpu().numpy()
    names = tuple(view.name for view in dataset.split("train"))
    return FitResult(place.name, made.step, poses, names, found.psnr, found.ssim, made.seconds, dataset.warnings)


def with_length(options: FitOptions) -> FitOptions:
    """Return options with a duration: the preset's seconds, unless seconds or steps are given."""
    if options.seconds or options.steps:
        return options
    return replace(options, seconds=PRESET_SECONDS[options.preset])


def check_name(name: str) -> None:
    """Refuse the name of a model that was not made by a fit. Raises InvalidRequest."""
    folder = store.find_models().get(name)
    if folder is None:
        return
    card = cards.read_card(folder)
    if card.source != "trained" or card.kind not in KINDS.values():
        raise InvalidRequest(
            f"There is a model named {name!r} already that was not made by fitting images. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )
