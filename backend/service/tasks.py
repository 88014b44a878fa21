"""Table of tasks, and running one by name with its errors converted."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from addon.wire import messages as m
from addon.wire.errors import LatheError, OutOfMemory, Remedy

from ..progress import Progress
from ..tasks.errors import as_lathe_error


@dataclass(frozen=True)
class TaskSpec:
    """A task: the function of its name in a module of backend/tasks, with its request and result."""

    request: type
    result: type
    module: str = ""  # in backend/tasks; "": as the task is called
    resume: Remedy | None = None  # it saves its state under the `name` of its request; what continues from it
    interleaved: bool = False  # it runs within the progress reports of other tasks, and no other within it


TASKS: dict[str, TaskSpec] = {
    "render": TaskSpec(m.RenderRequest, m.ImageResult, interleaved=True),
    "generate": TaskSpec(m.GenerateRequest, m.SheetResult),
    "mesh": TaskSpec(m.MeshRequest, m.MeshResult),
    "complete": TaskSpec(m.CompleteRequest, m.LatentResult),
    "fit_shape": TaskSpec(m.FitShapeRequest, m.ModelResult),
    "image_to_shape": TaskSpec(m.ImageToShapeRequest, m.ImageToShapeResult),
    "transfer_texture": TaskSpec(m.TransferTextureRequest, m.ImageToShapeResult),
    "invert": TaskSpec(m.InvertRequest, m.InvertResult),
    "fit": TaskSpec(m.FitRequest, m.FitResult, resume=Remedy("resume_fit", "Continue")),
    "discard_fit": TaskSpec(m.DiscardFitRequest, m.ModelResult, module="fit"),
    "sfm": TaskSpec(m.SfmRequest, m.SfmResult),
    "views": TaskSpec(m.ViewsRequest, m.ViewsResult),
    "training_set": TaskSpec(m.TrainingSetRequest, m.TrainingSetResult),
    "import_checkpoint": TaskSpec(m.ImportRequest, m.ModelResult),
    "train": TaskSpec(m.TrainRequest, m.TrainResult, resume=Remedy("resume_training", "Continue")),
    "discard_training": TaskSpec(m.DiscardTrainingRequest, m.ModelResult, module="train"),
}
"""By name. Modules are imported when first used: importing PyTorch takes seconds, and the socket opens before."""


def resume_remedy(task: str, name: str) -> Remedy | None:
    """Return the remedy that continues a task which saves its state, under this name; None for other tasks, and for one
    of a journal that is not known any more."""
    found = TASKS[task].resume if task in TASKS else None
    return found and replace(found, value=name)


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
