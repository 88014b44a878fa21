"""Which engine "auto" is on a device, said once in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

log = logging.getLogger(__name__)

_logged: set[str] = set()


def prefers_tinycudann(
    operation: str, device: torch.device, otherwise: str, why: str, reason_against: Callable[[], str]
) -> bool:
    """Return whether tinycudann is taken: on CUDA, unless there is a reason against it. Log what is taken, and why.

    otherwise, why: the engine in its place, and what speaks for that. reason_against: asked on CUDA alone; nothing if
    there is none.
    """
    taken = False
    if device.type == "cuda":
        against = reason_against()
        taken = not against
        why = "installed, and agrees with the definition" if taken else f"{why}; {against}"
    said = f"{operation}: {'tinycudann' if taken else otherwise} on {device} ({why})"
    if said not in _logged:
        _logged.add(said)
        log.info("%s", said)
    return taken
