"""Saved state of a fit in one file: safetensors, with its options and progress in the metadata.

Written atomically, so that a process killed at any time leaves the last whole state behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from addon.wire import payload
from addon.wire.errors import Diverged, LatheError, MalformedPayload, UnreadableFile
from addon.wire.messages import FitOptions, StoredFit

from ...files import cannot_write
from ...folders import data_folder
from ...models import store
from ...models.scene_file import write_safetensors
from ..datasets import Dataset

log = logging.getLogger(__name__)

T = TypeVar("T")

FORMAT = "latent_lathe.fit.1"
STATE_NAME = "state.safetensors"


@dataclass(frozen=True)
class FitState:
    """Options and progress of a fit."""

    options: FitOptions  # with the seconds or steps that were asked for
    views: str  # fingerprint of the data set
    step: int = 0
    seconds: float = 0.0  # of fitting, over all sessions
    finished: bool = False  # the end that was asked for was reached
    psnr: float | None = None  # of held-out images, dB


def fits_folder() -> Path:
    """Return the folder of the fits that can be continued, with a folder for each name."""
    return data_folder() / "fits"


def fingerprint(dataset: Dataset) -> str:
    """Return a hash of the data set that a state belongs to: names, splits and sizes of the views, not their pixels."""
    views = [[view.name, view.split, view.camera.width, view.camera.height] for view in dataset.views]
    return hashlib.sha256(json.dumps(views).encode()).hexdigest()


def read_stored(kind: type[T], data: bytes | str) -> T:
    """Parse JSON that holds the options of a fit, also those of earlier versions.

    Raises:
        MalformedPayload, InvalidRequest: see `payload.from_json`.
    """
    try:
        plain = json.loads(data)
    except ValueError as error:
        raise MalformedPayload(f"not JSON: {error}") from error
    options = plain.get("options") if isinstance(plain, dict) else None
    if isinstance(options, dict) and "exposure" in options:  # was a switch before there was more than one choice
        options["appearance"] = "exposure" if options.pop("exposure") else "none"
    return payload.from_plain(kind, plain)


def write_state(path: Path, state: FitState, tensors: dict[str, Tensor]) -> None:
    """Save a fit; an earlier file stays where this fails.

    Raises:
        Diverged: a tensor holds values that are not finite.
        CannotWrite: no space, no permission.
    """
    for name, tensor in tensors.items():
        # a sum is finite if all values are, unless it overflows; then they are tested one by one
        if tensor.is_floating_point() and not (math.isfinite(float(tensor.sum())) or bool(tensor.isfinite().all())):
            raise Diverged(f"The fit became unstable: {name} became NaN or infinite.")
    metadata = {"format": FORMAT, "state": json.dumps(asdict(state))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, tensors, metadata)
    except OSError as error:
        raise cannot_write("The fit", path.parent, error) from error


def read_state(path: Path) -> FitState:
    """Return options and progress of a saved fit, from the file's header. Raises UnreadableFile."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError("it is not the saved state of a fit, or one of another version")
        return read_stored(FitState, metadata.get("state", ""))
    except (OSError, SafetensorError, ValueError, LatheError) as error:
        raise _unreadable(path, error) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a saved fit, on the CPU: other devices lack float64. Raises UnreadableFile."""
    try:
        return store.read_tensors(path, "cpu")
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(f"The saved fit {path} cannot be read ({error}). Start the fit again.")


def stored_fits() -> tuple[StoredFit, ...]:
    """Return the fits of the backend that can be continued; damaged ones are left out. Any thread."""
    found = []
    for path in sorted(fits_folder().glob(f"*/{STATE_NAME}")):
        try:
            state = read_state(path)
        except UnreadableFile as error:
            log.warning("%s", error)
            continue
        name = path.parent.name
        found.append(StoredFit(name, state.options.method, state.step, state.seconds, state.finished, state.psnr))
    return tuple(found)
