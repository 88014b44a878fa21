"""Choice of the engine behind "auto" on a device, logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

log = logging.getLogger(__name__)

_logged: set[str] = set()


def prefers_tinycudann(
    operation: str, device: torch.device, otherwise: str, why: str, reason_against: Callable[[], str]
) -> bool:
    """Return whether to use tinycudann: on CUDA, unless there is a reason against it. Log the choice and its reason.

    otherwise, why: the engine in its place, and the reason for it. reason_against: called on CUDA alone; returns "" if
    there is no reason.
    """
    taken = False
    if device.type == "cuda":
        against = reason_against()
        taken = not against
        why = "installed, and agrees with the definition" if taken else f"{why}; {against}"
    line = f"{operation}: {'tinycudann' if taken else otherwise} on {device} ({why})"
    if line not in _logged:
        _logged.add(line)
        log.info("%s", line)
    return taken
