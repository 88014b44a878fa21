"""Task `training_set`: renders of a procedural family, to train a generator on."""

from __future__ import annotations

import time
from pathlib import Path

from addon.wire.errors import InvalidRequest, Remedy
from addon.wire.messages import TrainingSetRequest, TrainingSetResult

from ..files import cannot_write
from ..progress import Progress
from ..training.data.family_views import write_set
from .workspace import Workspace


def training_set(request: TrainingSetRequest, progress: Progress, workspace: Workspace | None) -> TrainingSetResult:
    """Render the images that are missing in the folder.

    Raises:
        InvalidRequest: the folder is not absolute, or holds another set.
        CannotWrite: no disk space or no permission.
        Cancelled: the images so far stay, and the same request goes on.
    """
    started = time.perf_counter()
    folder = Path(request.folder)
    if not folder.is_absolute():
        raise InvalidRequest(
            f"{request.folder} is not an absolute path: choose a folder.",
            remedy=Remedy("choose_folder", "Choose Folder"),
        )
    try:
        rendered = write_set(request, folder, progress)
    except OSError as error:
        raise cannot_write("The training set", folder, error) from error
    return TrainingSetResult(request.objects * request.views, rendered, time.perf_counter() - started)
