"""Make training sets: of a collection by Blender, image by image, or of a procedural family by the backend."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..backend.actions import problem_python
from ..link.jobs import LATER, Job, Steps
from ..link.session import session
from ..path.actions import own_folder
from ..preferences import configure
from ..scene import gather
from ..scene.apply import problem_object_mode
from ..wire import errors
from ..wire.messages import TrainingSetRequest, TrainingSetResult
from . import renders
from .renders import TrainingSetSettings


def folder_of(context: Any) -> Path:
    """Return the folder of the training set, which may not exist yet."""
    return own_folder(context.scene.lathe.training_set.folder)


def problem_make(context: Any) -> str:
    """Return why no training set can be made, or an empty string."""
    settings = context.scene.lathe.training_set
    if session.jobs.find("training_set"):
        return "A training set is being rendered: wait for it or press Esc"
    if not settings.folder:
        return "Choose the folder of the training set"
    if settings.source == "FAMILY":
        return problem_python(context)
    if settings.collection is None:
        return "Choose the collection of the objects"
    return problem_object_mode(context)


def settings_of(context: Any) -> TrainingSetSettings:
    """Return the panel's settings of a set of a collection. Raises InvalidRequest."""
    given = context.scene.lathe.training_set
    return TrainingSetSettings(
        count=given.count,
        size=given.pixels,
        seed=given.seed,
        azimuth=tuple(given.azimuth),
        elevation=tuple(given.elevation),
        fov=given.fov,
        light=given.light.lower(),
        sun_azimuth=tuple(given.sun_azimuth),
        sun_elevation=tuple(given.sun_elevation),
        sun_strength=tuple(given.sun_strength),
        ambient=given.ambient,
        overwrite=given.overwrite,
    )


def make(context: Any) -> Job:
    """Render the images that are missing. Result: the folder. A set that was cancelled is continued by the next one.

    Raises InvalidRequest.
    """
    problem = problem_make(context)
    if problem:
        raise errors.InvalidRequest(problem)
    training = context.scene.lathe.training
    if not training.folder:  # what was made is what is trained on next
        training.folder = context.scene.lathe.training_set.folder
    return _of_family(context) if context.scene.lathe.training_set.source == "FAMILY" else _of_collection(context)


def _of_collection(context: Any) -> Job:
    folder = folder_of(context)
    collection = context.scene.lathe.training_set.collection
    rendered = renders.render_steps(context.scene, collection, settings_of(context), folder)
    jobs: list[Job] = []

    def steps() -> Steps:
        with contextlib.closing(rendered):
            for step in rendered:
                jobs[0].fraction, jobs[0].text = step.fraction, step.text
                yield LATER

    label = f"Training set {folder.name}"
    jobs.append(session.jobs.start(label, lambda job: str(folder), kind="training_set", prepare=steps()))
    return jobs[0]


def _of_family(context: Any) -> Job:
    configure(context)
    folder = folder_of(context)
    options = gather.option_values(TrainingSetRequest, context.scene.lathe.training_set)
    request = TrainingSetRequest(str(folder.absolute()), **options)

    def work(job: Job) -> str:
        made: TrainingSetResult = job.ask(session.connect(job), request)
        job.text = f"{made.images} images"
        return str(folder)

    return session.jobs.start(f"Training set {folder.name}", work, kind="training_set")
