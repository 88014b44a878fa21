"""Tasks `train` and `discard_training`: a generator learned from images, as a job that can be paused and resumed.

Which models can be trained, and how, is data: the recipes of `backend.training.adversarial.command`. Pausing,
cancelling and being killed are one mechanism, as with fits: the run saves a checkpoint on the way and before Cancelled
passes on, and `resume` continues from it. From its first sheet on, and at each later one, the training is stored as a
model of its name, so it is looked at as any other while it trains.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from addon.wire.errors import Diverged, InvalidRequest, LatheError, Remedy
from addon.wire.messages import DiscardTrainingRequest, ModelResult, TrainRequest, TrainResult
from meshing.images import open_image

from ..files import cannot_write, replacing
from ..folders import user_models
from ..generators import trainings
from ..models import card as cards
from ..models import store
from ..progress import Progress, part
from ..training.adversarial.command import recipe
from ..training.adversarial.config import AdversarialTraining
from ..training.adversarial.run import RunOptions
from ..training.adversarial.stored import read_request, trainings_folder, write_request
from ..training.curves import draw_curves, read_losses
from ..training.data.image_folder import read_images
from ..training.data.training_images import TrainingImages
from ..training.runs import CHECKPOINT, saved_of
from .fit_staging import stage_files
from .workspace import Workspace

log = logging.getLogger(__name__)

AUTOSAVE_SECONDS = float(os.environ.get("LATENT_LATHE_AUTOSAVE_SECONDS", 60.0))
FIRST_SHEET_SECONDS = 20.0
SHEET_SECONDS = 300.0
PREVIEW_SIDE = 640  # pixels of the longer side
READING = 0.05  # share of the progress that laying out and reading the images takes


def train(request: TrainRequest, progress: Progress, workspace: Workspace) -> TrainResult:
    """Train a generator and keep it as a model; continue an earlier training where `resume` is set.

    Raises:
        InvalidRequest: no such model or preset, the name belongs to another model, or there is nothing to resume.
        BlobMissing: an image was not uploaded.
        UnreadableFile, UnusableDataset: see `read_images`.
        Diverged: the loss became NaN; the last checkpoint is kept.
        Cancelled: paused; saved.
    """
    check_name(request.name)
    folder = trainings_folder() / request.name
    reading = part(progress, 0.0, READING)
    if request.resume:
        stored = read_request(folder)
        hours = request.options.hours or stored.options.hours
        steps = request.options.steps or stored.options.steps
        request = replace(stored, options=replace(stored.options, hours=hours, steps=steps))
        write_request(request, folder)
        images = _read(request, folder, reading)
    else:
        images = _stage(request, folder, workspace, reading)
    config, out = configuration(request), folder / "run"
    report = _Report(request, out, config.steps, part(progress, READING, 1.0))
    options = RunOptions(
        device=workspace.device, hours=report.hours_left, progress=lambda _, text, *details: log.info("%s", text),
        report_steps=20, checkpoint_seconds=AUTOSAVE_SECONDS, watch_seconds=SHEET_SECONDS,
        first_watch_seconds=FIRST_SHEET_SECONDS, each_step=report,
    )  # fmt: skip
    try:
        if options.hours is None or options.hours > 0:
            recipe(request.model).train(config, images, out, options)
    except Diverged as error:
        raise Diverged(error.message, remedy=Remedy("resume_training", "Continue", request.name)) from error
    finally:
        report.publish()
    report.end()
    saved = saved_of(out / CHECKPOINT)
    return TrainResult(request.name, saved.step, saved.seconds, tuple(str(images.report).splitlines()))


def discard_training(request: DiscardTrainingRequest, progress: Progress, workspace: Workspace) -> ModelResult:
    """Delete the saved state of a training. Raises InvalidRequest where there is no such training, CannotWrite."""
    folder = trainings_folder() / request.name
    read_request(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cannot_write(f"The training {request.name}", folder, error) from error
    return ModelResult(request.name)


def check_name(name: str) -> None:
    """Refuse the name of a model that was not made by a training. Raises InvalidRequest."""
    folder = store.find_models().get(name)
    if folder is None:
        return
    card = cards.read_card(folder)
    if card.source != "trained" or card.kind not in trainings():  # a training has the name of its kind
        raise InvalidRequest(
            f"There is a model named {name!r} already that was not made by a training. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )


def configuration(request: TrainRequest) -> AdversarialTraining:
    """Return the configuration that a request asks for. Raises InvalidRequest."""
    options = request.options
    found: AdversarialTraining = recipe(request.model).configuration(
        request.preset or None, steps=options.steps or None, batch=options.batch or None, seed=options.seed,
        loss=None if options.loss == "preset" else options.loss,
    )  # fmt: skip
    return found


def _stage(request: TrainRequest, folder: Path, workspace: Workspace, progress: Progress) -> TrainingImages:
    """Lay the uploads out in place of an earlier training of this name, and return the images.

    The earlier training is deleted only when the new images are found to be usable.
    """
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        stage_files(request.files, fresh / request.name, workspace.blobs, part(progress, 0.0, 0.3))
        images = _read(request, fresh, part(progress, 0.3, 1.0))
        write_request(request, fresh)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    except LatheError as error:  # the temporary folder means nothing to the user
        message = error.message.replace(str(fresh / request.name), "the images")
        raise type(error)(message, remedy=error.remedy) from error
    except OSError as error:
        raise cannot_write("The images", folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return images


def _read(request: TrainRequest, folder: Path, progress: Progress) -> TrainingImages:
    """Return the images of a training; their folder has its name, which messages and the model's label show."""
    chosen = recipe(request.model)
    side = chosen.side(configuration(request))
    return read_images(folder / request.name, side, chosen.needs_poses, progress=progress)


class _Report:
    """Called after each step of a run: its progress, the newest sheet, and the model as it stands."""

    def __init__(self, request: TrainRequest, out: Path, steps: int, progress: Progress) -> None:
        """steps: of the whole training."""
        self.name, self.out, self.steps, self.progress = request.name, out, steps, progress
        self.seconds_in_all = 3600 * request.options.hours
        self._before, self._started, self._first = saved_of(out / CHECKPOINT).seconds, time.monotonic(), -1
        self._sheet, self._model = _changed(out / "progress.png"), 0

    @property
    def seconds(self) -> float:
        """Of training so far, over all sessions."""
        return self._before + time.monotonic() - self._started

    @property
    def hours_left(self) -> float | None:
        """None if the steps alone end the training."""
        return max(self.seconds_in_all - self._before, 0.0) / 3600 if self.seconds_in_all else None

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        """Report a step. Raises Cancelled."""
        if self._first < 0:
            self._first, self._started = step, time.monotonic()
        left = (self.steps - step) * (time.monotonic() - self._started) / max(step - self._first, 1)
        fraction = step / self.steps
        if self.seconds_in_all:
            fraction = max(fraction, self.seconds / self.seconds_in_all)
            left = min(left, self.seconds_in_all - self.seconds)
        figures = {
            "step": float(step), "steps": float(self.steps), "seconds": self.seconds, "seconds_left": max(left, 0.0),
            **losses,
        }  # fmt: skip
        self.progress(min(fraction, 1.0), "Training", self._new_sheet(), figures=figures)

    def end(self) -> None:
        """Report the last sheet, which is drawn after the last step. Raises Cancelled."""
        self.progress(1.0, "Trained", self._new_sheet())

    def _new_sheet(self) -> np.ndarray | None:
        """Return sweep and curves, uint8 [2, H, W, 4], if the run has drawn another sheet; store the model with it."""
        path = self.out / "progress.png"
        changed = _changed(path)
        if changed == self._sheet:
            return None
        self._sheet = changed
        self.publish()
        with open_image(path) as drawn:
            sweep = drawn.convert("RGBA")
        scale = PREVIEW_SIDE / max(sweep.size)
        sweep = sweep.resize((round(scale * sweep.width), round(scale * sweep.height)))
        curves = draw_curves(read_losses(self.out / "losses.jsonl"), sweep.size).convert("RGBA")
        return np.stack((np.asarray(sweep), np.asarray(curves)))

    def publish(self) -> None:
        """Store the model that the run has exported as the model of the training's name. Raises CannotWrite."""
        made, target = self.out / "model", user_models() / self.name
        changed = _changed(made / "card.json")
        if changed == self._model:
            return
        try:
            target.mkdir(parents=True, exist_ok=True)
            for name in ("model.safetensors", "card.json"):
                with replacing(target / name) as partial:
                    shutil.copyfile(made / name, partial)
        except OSError as error:
            raise cannot_write(f"The model {self.name}", target, error) from error
        self._model = changed


def _changed(path: Path) -> int:
    """Return when a file was written, nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0
