"""From the name of a task to its work, and from whatever goes wrong to the one tree of errors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from addon.wire.errors import LatheError, OutOfMemory
from addon.wire.messages import Request

from ..progress import Progress
from ..tasks.errors import as_lathe_error

TASKS: dict[str, str] = {
    **{name: name for name in ("render", "generate", "mesh", "complete", "fit_shape", "fit", "sfm", "views")},
    "discard_fit": "fit",
    "image_to_shape": "image_to_shape",
    "transfer_texture": "transfer_texture",
    "import_checkpoint": "import_checkpoint",
}
"""Name of a task -> the module in backend/tasks with a function of the task's name. Imported when first wanted, because
PyTorch takes seconds to import and the socket should be open before."""


def run(task: str, request: Request, progress: Progress, workspace: Any) -> Any:
    """Do the work on the calling thread. Raises LatheError and nothing else, save for faults of ours."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"backend.tasks.{TASKS[task]}"), task)
    try:
        return function(request, progress, workspace)
    except LatheError:
        raise
    except Exception as error:
        expected = as_lathe_error(error, request)
        if expected is None:
            raise
        if isinstance(expected, OutOfMemory):
            workspace.unload()
        raise expected from error
