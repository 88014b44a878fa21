"""Table of tasks, and running one by name with its errors converted."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from addon.wire import messages as m
from addon.wire.errors import LatheError, OutOfMemory

from ..progress import Progress
from ..tasks.errors import as_lathe_error


@dataclass(frozen=True)
class TaskSpec:
    """A task: the function of its name in a module of backend/tasks, with its request and result."""

    request: type
    result: type
    module: str = ""  # in backend/tasks; "": as the task is called
    resumable: bool = False  # it saves its state under the `name` of its request, and continues from it
    interleaved: bool = False  # it runs within the progress reports of other tasks, and no other within it


TASKS: dict[str, TaskSpec] = {
    "render": TaskSpec(m.RenderRequest, m.ImageResult, interleaved=True),
    "generate": TaskSpec(m.GenerateRequest, m.SheetResult),
    "mesh": TaskSpec(m.MeshRequest, m.MeshResult),
    "complete": TaskSpec(m.CompleteRequest, m.LatentResult),
    "fit_shape": TaskSpec(m.FitShapeRequest, m.ModelResult),
    "image_to_shape": TaskSpec(m.ImageToShapeRequest, m.ImageToShapeResult),
    "transfer_texture": TaskSpec(m.TransferTextureRequest, m.ImageToShapeResult),
    "fit": TaskSpec(m.FitRequest, m.FitResult, resumable=True),
    "discard_fit": TaskSpec(m.DiscardFitRequest, m.ModelResult, module="fit"),
    "sfm": TaskSpec(m.SfmRequest, m.SfmResult),
    "views": TaskSpec(m.ViewsRequest, m.ViewsResult),
    "training_set": TaskSpec(m.TrainingSetRequest, m.TrainingSetResult),
    "import_checkpoint": TaskSpec(m.ImportRequest, m.ModelResult),
}
"""By name. Modules are imported when first used: importing PyTorch takes seconds, and the socket opens before."""


def is_resumable(task: str) -> bool:
    """Return whether a task saves its state; False for one of a journal that is not known any more."""
    return task in TASKS and TASKS[task].resumable


def is_interleaved(task: str) -> bool:
    """Return whether a task runs within the progress reports of others."""
    return task in TASKS and TASKS[task].interleaved


def function_of(task: str) -> Callable[[Any, Progress, Any], Any]:
    """Return the function that does the work of a task: (request, progress, workspace) → result."""
    module = importlib.import_module(f"backend.tasks.{TASKS[task].module or task}")
    function: Callable[[Any, Progress, Any], Any] = getattr(module, task)
    return function


def run(task: str, request: m.Request, progress: Progress, workspace: Any) -> Any:
    """Run a task on the calling thread. Raises LatheError for all that is to be expected."""
    try:
        return function_of(task)(request, progress, workspace)
    except LatheError:
        raise
    except Exception as error:
        expected = as_lathe_error(error, request)
        if expected is None:
            raise
        if isinstance(expected, OutOfMemory):
            workspace.unload()
        raise expected from error
