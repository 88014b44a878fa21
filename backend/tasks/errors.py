"""Conversion of a task's exceptions to the error tree (addon/wire/errors.py)."""

from __future__ import annotations

import errno

from addon.wire.errors import (
    CannotWrite,
    InternalError,
    InvalidRequest,
    LatheError,
    OutOfMemory,
    Remedy,
    remedy_from_dict,
)
from addon.wire.messages import (
    FitRequest,
    GenerateRequest,
    InvertRequest,
    MeshRequest,
    RenderRequest,
    Request,
    TrainRequest,
)


def as_lathe_error(error: Exception, request: Request | None = None) -> LatheError | None:
    """Return the user's error for an exception that a task is expected to raise, or None for a bug."""
    import torch

    from meshing import errors as meshing

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return _out_of_memory(request)
    if isinstance(error, meshing.MeshingError):
        kind = next((ours for theirs, ours in _meshing_errors().items() if isinstance(error, theirs)), InternalError)
        return kind(error.message, remedy=remedy_from_dict(error.remedy))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        where = f" ({error.filename})" if error.filename else ""
        return CannotWrite(f"The result could not be written{where}: {error.strerror}. Free some space and try again.")
    return None


def _meshing_errors() -> dict[type[Exception], type[LatheError]]:
    from addon.wire.errors import NoSurface, NotSupported, UnreadableFile
    from meshing import errors as meshing

    return {
        meshing.LevelOutOfRange: NoSurface,
        meshing.EmptySurface: NoSurface,
        meshing.InvalidGrid: InvalidRequest,
        meshing.InvalidMesh: UnreadableFile,
        meshing.UnknownFormat: InvalidRequest,
        meshing.CannotWrite: CannotWrite,
        meshing.CannotRead: UnreadableFile,
        meshing.InvalidField: NotSupported,
    }


def _out_of_memory(request: Request | None) -> OutOfMemory:
    match request:
        case RenderRequest():
            size = max(request.camera.width, request.camera.height)
        case GenerateRequest():
            size = request.size
        case MeshRequest():
            size = request.resolution
        case FitRequest():
            return OutOfMemory(
                "There is too little memory for this fit. Use the preset 'draft', or fewer or smaller images.",
                remedy=Remedy("use_preset", "Use draft", "draft"),
            )
        case TrainRequest():
            return OutOfMemory(
                "There is too little memory for this training. Use a smaller batch, or the preset 'small'."
            )
        case InvertRequest():
            return OutOfMemory(
                "There is too little memory to fit this model to a photograph; nothing was changed. Close other "
                "programs, or choose a smaller model."
            )
        case _:
            return OutOfMemory("There is too little memory for this. Close other programs and try again.")
    half = max(size // 2, 8)
    return OutOfMemory(
        f"There is too little memory for a size of {size}. Try {half}.",
        remedy=Remedy("lower_resolution", f"Use {half}", half),
    )
