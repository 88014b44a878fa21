"""Train generators on a user's own images: start, pause, resume, stop, and generate from the result.

Which models can be trained is a list of the backend (`session.trainings`). A training does not depend on the open
.blend file: it continues when another file is opened. The backend stores one that was paused or interrupted until it is
stopped; `resume` continues it. Its model is in the list of models from the first sheet on, and stays.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from ..backend.actions import problem_python
from ..field import data_sets
from ..link.client import Client
from ..link.jobs import Job
from ..link.previews import sheets_of
from ..link.session import session
from ..models.actions import choose_model
from ..preferences import configure
from ..preview.actions import preview, problem_preview
from ..scene import apply, gather
from ..translations import translated
from ..wire import errors
from ..wire.messages import (
    DiscardTrainingRequest,
    JobEvent,
    SheetResult,
    StoredTraining,
    Trainable,
    TrainOptions,
    TrainRequest,
    TrainResult,
)
from . import images

SWEEP_IMAGE, CURVES_IMAGE = "Lathe Training", "Lathe Training Curves"
SENDING = 0.05  # share of a training's progress that the upload takes

_to_discard: set[str] = set()  # names of trainings that were stopped rather than paused


# ----------------------------------------------------------------------------------------------------------- settings


def chosen_model(context: Any) -> Trainable | None:
    """Return the model to train: the chosen one, or the first of the backend's list; None if it has none."""
    name = context.scene.lathe.training.model
    return next((model for model in session.trainings if model.name == name), next(iter(session.trainings), None))


def chosen_preset(context: Any) -> str:
    """Return the preset to train with: the chosen one if the model has it, else the model's first."""
    model = chosen_model(context)
    if model is None:
        return ""
    chosen = str(context.scene.lathe.training.preset)
    return chosen if chosen in model.presets else model.presets[0]


def training_name(context: Any) -> str:
    """Return the name of the next training and of its model."""
    settings = context.scene.lathe.training
    if settings.name:
        return str(settings.name)
    model, folder = chosen_model(context), Path(bpy.path.abspath(settings.folder)).name
    given = f"{folder}_{model.name}" if model is not None and folder else folder
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", given).strip("_.-")[:100] or "training"


def stored_trainings() -> list[StoredTraining]:
    """Return the trainings that can be resumed: those of the backend, and the one interrupted when it died."""
    running = session.training if session.jobs.find("train") else ""
    found = [stored for stored in session.stored_trainings if stored.name != running]
    if session.training and not running and session.state in ("died", "failed", "starting"):
        found = [stored for stored in found if stored.name != session.training]
        found.insert(0, StoredTraining(session.training, "", 0, 0, 0.0, False))
    return found


# ------------------------------------------------------------------------------------------------------------- problems


def problem_train(context: Any) -> str:
    """Return why nothing can be trained, or an empty string."""
    problem = problem_python(context)
    if problem:
        return problem
    if session.jobs.find("train"):
        return "A training is running: pause it first"
    if not session.trainings:
        return "No models are known yet: start the backend"
    if not context.scene.lathe.training.folder:
        return "Choose the folder of the images"
    return ""


def problem_resume(context: Any) -> str:
    """Return why no training can be resumed, or an empty string."""
    if session.jobs.find("train"):
        return "A training is running: pause it first"
    return problem_python(context) or ("" if stored_trainings() else "There is no training to continue")


def problem_running(context: Any) -> str:
    """Return why no training can be paused, or an empty string."""
    return "" if session.jobs.find("train") else "No training is running"


def problem_generate(context: Any, name: str) -> str:
    """Return why nothing can be generated from a training, or an empty string."""
    if name not in session.models:
        return "This training has no model yet: wait for its first images"
    return ""


# ------------------------------------------------------------------------------------------------------------- training


def train(context: Any) -> Job:
    """Train the chosen model on the images of the folder, from the start. Result: the name of the model.

    Raises InvalidRequest.
    """
    problem = problem_train(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    settings = context.scene.lathe.training
    name, folder, model = training_name(context), Path(bpy.path.abspath(settings.folder)), chosen_model(context)
    assert model is not None
    options = TrainOptions(**gather.option_values(TrainOptions, settings))
    made = TrainRequest(name, model.name, chosen_preset(context), {"-": "0" * 64}, options)  # checks the names

    def request(job: Job, client: Client) -> TrainRequest:
        names = images.files_of(folder)
        sent = data_sets.upload(client, folder, names, job.check, lambda part, text: job.report(part * SENDING, text))
        return TrainRequest(name, made.model, made.preset, sent, options)

    return _run(name, request)


def resume(context: Any, name: str) -> Job:
    """Resume a stored training, or extend one whose hours are over by those of the panel. Result: the model's name.

    Raises InvalidRequest.
    """
    problem = problem_resume(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    more = context.scene.lathe.training.hours

    def request(job: Job, client: Client) -> TrainRequest:
        stored = next((found for found in session.stored_trainings if found.name == name), None)
        finished = stored is not None and stored.finished
        if stored is not None and stored.steps and stored.steps >= stored.total_steps:
            raise errors.InvalidRequest(
                f"{name} has done all its {stored.total_steps} steps: start a training with more steps"
            )
        hours = stored.seconds / 3600 + more if stored is not None and finished else 0.0
        return TrainRequest(name, options=TrainOptions(hours=hours), resume=True)

    return _run(name, request)


def _run(name: str, make: Callable[[Job, Client], TrainRequest]) -> Job:
    """Start the job of a training. make: returns the request, on the job's thread."""

    def run(job: Job, client: Client) -> TrainResult:
        request = make(job, client)
        try:
            return job.ask(client, request, start=SENDING, seen=_watcher(client, name))
        except errors.Cancelled:
            if name in _to_discard:
                client.run(DiscardTrainingRequest(name))
            raise
        finally:
            _to_discard.discard(name)
            with contextlib.suppress(errors.LatheError):  # a backend that died lists its trainings when it is back
                session.refresh_models(client)

    def then(result: TrainResult) -> str:
        session.training_report = result.report
        return name

    _to_discard.discard(name)
    session.training, session.training_report = name, ()
    return session.start(f"Train {name}", run, then, kind="train", survives_load=True)


def _watcher(client: Client, name: str) -> Callable[[JobEvent], None]:
    """Return a callback for the events of a training, which shows its sweep and curves and lists its model."""

    def show(sheet: SheetResult) -> None:
        for image_name, pixels in zip((SWEEP_IMAGE, CURVES_IMAGE), sheet.images):
            prepared = apply.prepare_sheet(SheetResult(pixels[None]))
            session.jobs.call(partial(_show, image_name, prepared))  # one a tick: each takes milliseconds

    new_sheet = sheets_of(client, show)

    def seen(event: JobEvent) -> None:
        if new_sheet(event):
            session.refresh_models(client)  # each sheet comes with a new model

    return seen


def _show(name: str, image: apply.PreparedImage) -> None:
    apply.put_image(name, image)


def pause(context: Any) -> None:
    """Stop the running training. The backend stores its state."""
    job = session.jobs.find("train")
    if job is not None:
        job.cancel()


def stop(context: Any) -> None:
    """End the running training and delete its state. The model stays as it is then."""
    job = session.jobs.find("train")
    if job is not None:
        _to_discard.add(session.training)
        job.cancel()


def discard(context: Any, name: str) -> Job:
    """Delete the state of a stored training. Its model stays. Result: its name."""
    configure(context)

    def run(job: Job, client: Client) -> str:
        job.ask(client, DiscardTrainingRequest(name))
        if session.training == name:
            session.training = ""
        session.refresh_models(client)
        return name

    return session.start(f"Discard {name}", run, kind="discard", survives_load=True)


def generate(context: Any, name: str) -> None:
    """Choose the model of a training for new shapes, and render its preview. Raises InvalidRequest."""
    problem = problem_generate(context, name)
    if problem:
        raise errors.InvalidRequest(problem)
    context.scene.lathe.target = "NEW"
    choose_model(context, name)
    if not problem_preview(context):
        preview(context)


def figures_text(figures: dict[str, float]) -> list[str]:
    """Return the figures of a running training as lines for the panel."""
    lines = []
    if "step" in figures:
        total = figures.get("steps", 0)
        lines.append(translated("Step {step:.0f} of {steps:.0f}", step=figures["step"], steps=total))
    if "seconds_left" in figures:
        hours, minutes = divmod(round(max(figures["seconds_left"], 0) / 60), 60)
        lines.append(translated("{hours}:{minutes:02d} hours left", hours=hours, minutes=minutes))
    losses = [f"{key.removeprefix('loss_')} {value:.3g}" for key, value in figures.items() if key.startswith("loss")]
    if losses:
        lines.append(translated("Losses: {losses}", losses=", ".join(losses)))
    return lines
