"""Trainings of the backend: which models can be trained, and the saved trainings that can be continued."""

from __future__ import annotations

import logging
from pathlib import Path

from safetensors import SafetensorError

from addon.wire import payload
from addon.wire.errors import InvalidRequest, LatheError, Remedy
from addon.wire.messages import StoredTraining, Trainable, TrainRequest

from ...files import cannot_write, write_atomically
from ...folders import data_folder
from ...generators import trainings
from ..runs import CHECKPOINT, saved_of
from .command import recipe

log = logging.getLogger(__name__)


def trainable_models() -> tuple[Trainable, ...]:
    """Return the models that can be trained, for the panel."""
    found = (recipe(name) for name in trainings())
    return tuple(Trainable(r.name, r.label, r.description, tuple(r.presets), r.needs_poses) for r in found)


def trainings_folder() -> Path:
    """Return the folder of the trainings that can be continued, with a folder for each name."""
    return data_folder() / "trainings"


def stored_trainings() -> tuple[StoredTraining, ...]:
    """Return the trainings of the backend that can be continued; damaged ones are left out. Any thread."""
    found = []
    for path in sorted(trainings_folder().glob(f"*/run/{CHECKPOINT}")):
        folder = path.parents[1]
        try:
            request, saved = read_request(folder), saved_of(path)
            steps = int(saved.config["steps"])
        except (OSError, SafetensorError, LatheError, ValueError, KeyError) as error:
            log.warning("the training %s cannot be read: %s", folder.name, error)
            continue
        enough = 0 < 3600 * request.options.hours <= saved.seconds
        finished = saved.step >= steps or enough
        found.append(StoredTraining(folder.name, request.model, saved.step, steps, saved.seconds, finished))
    return tuple(found)


def read_request(folder: Path) -> TrainRequest:
    """Return the request that a training was started with. Raises InvalidRequest, naming the trainings there are."""
    try:
        return payload.from_json(TrainRequest, (folder / "request.json").read_bytes())
    except (OSError, LatheError) as error:
        names = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/request.json")))
        raise InvalidRequest(
            f"There is no training named {folder.name!r} to continue. Trainings here: {names or 'none'}.",
            remedy=Remedy("restart_training", "Start it", folder.name),
        ) from error


def write_request(request: TrainRequest, folder: Path) -> None:
    """Store the request that a training was started with. Raises CannotWrite."""
    try:
        write_atomically(folder / "request.json", payload.to_json(request))
    except OSError as error:
        raise cannot_write("The training", folder, error) from error
