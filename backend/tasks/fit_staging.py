"""Staging of a fit: uploads laid out as a data set, the stored request, and the check of memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from addon.wire import payload
from addon.wire.errors import BlobMissing, InvalidRequest, LatheError, OutOfMemory, Remedy
from addon.wire.messages import FitOptions, FitRequest

from ..blobs import BlobStore
from ..files import cannot_write, write_atomically
from ..nerf.datasets import Dataset, open_dataset
from ..nerf.fit import state as fit_state
from ..nerf.methods import PRESET_BYTES
from ..progress import Progress, silent
from .workspace import Workspace, gigabytes

BYTES_PER_PIXEL = 24
"""Of an image held in memory: colours, alpha, mask, its index among the sampled pixels, and what reading it takes."""


def read_request(folder: Path) -> FitRequest:
    """Return the request that a fit was started with. Raises InvalidRequest, naming the fits there are."""
    try:
        return fit_state.read_stored(FitRequest, (folder / "request.json").read_bytes())
    except (OSError, LatheError) as error:
        names = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/request.json")))
        raise InvalidRequest(
            f"There is no fit named {folder.name!r} to continue. Fits here: {names or 'none'}.",
            remedy=Remedy("restart_fit", "Start it", folder.name),
        ) from error


def write_request(request: FitRequest, folder: Path) -> None:
    """Store the request that a fit was started with. Raises CannotWrite."""
    try:
        write_atomically(folder / "request.json", payload.to_json(request))
    except OSError as error:
        raise cannot_write("The fit", folder, error) from error


def stage(request: FitRequest, folder: Path, blobs: BlobStore, progress: Progress = silent) -> Dataset:
    """Lay the uploads out as the data set they are, in place of an earlier fit of this name, and open it.

    The earlier fit is deleted only when the new data set is found to be valid.

    Raises:
        BlobMissing, CannotWrite, UnreadableFile, UnusableDataset, Cancelled.
    """
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        stage_files(request.files, fresh / "dataset", blobs, progress)
        open_dataset(fresh / "dataset", flip_axes=request.options.flip_axes)
        write_request(request, fresh)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(fresh, folder)
    except LatheError as error:  # the temporary folder means nothing to the user
        message = error.message.replace(str(fresh / "dataset"), "the data set")
        raise type(error)(message, remedy=error.remedy) from error
    except OSError as error:
        raise cannot_write("The data set", folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return open_dataset(folder / "dataset", flip_axes=request.options.flip_axes)


def stage_files(files: dict[str, str], folder: Path, blobs: BlobStore, progress: Progress = silent) -> None:
    """Give uploads (path -> sha256) their names in a folder. Raises BlobMissing, OSError, Cancelled."""
    for number, (name, sha256) in enumerate(files.items()):
        progress(number / len(files), "Laying out the files")
        _link(blobs, sha256, folder / name)


def _link(blobs: BlobStore, sha256: str, target: Path) -> None:
    """Give an upload a name: a hard link, or a copy where the file system has none."""
    blob = blobs.find_sound(sha256)
    if blob is None:
        raise BlobMissing(
            f"The file {target.name} is not here (any more). Send the files again.",
            remedy=Remedy("upload_again", "Send the files again", sha256),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(blob, target)
    except OSError:
        shutil.copyfile(blob, target)


def check_memory(dataset: Dataset, options: FitOptions, workspace: Workspace) -> None:
    """Refuse a fit that cannot fit into memory, before it starts. Raises OutOfMemory with a preset that would fit."""
    views = dataset.split("train")
    pixels = sum(view.camera.width * view.camera.height for view in views) * BYTES_PER_PIXEL
    free = workspace.free_memory()
    sizes = PRESET_BYTES[options.method]
    needed = pixels + sizes[options.preset]
    if needed <= free:
        return
    what = (
        f"Fitting {len(views)} images by {options.method!r}, preset {options.preset!r}, needs about "
        f"{gigabytes(needed)} of memory and {gigabytes(free)} are free. "
    )
    smaller = next((name for name, size in reversed(sizes.items()) if pixels + size <= free), None)
    if smaller is not None:
        raise OutOfMemory(
            f"{what}The preset {smaller!r} would fit.", remedy=Remedy("use_preset", f"Use {smaller}", smaller)
        )
    raise OutOfMemory(
        f"{what}The images alone take {gigabytes(pixels)}: use fewer or smaller ones, or close other programs.",
        remedy=Remedy("lower_resolution", "Use smaller images"),
    )
