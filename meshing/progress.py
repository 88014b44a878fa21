"""Progress and cancellation of long steps.

A step calls `progress(fraction, text)` with a fraction from 0 to 1. An exception that it raises passes through:
that is how a user cancels. No step leaves a file or a changed input behind when it is stopped so.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """Progress callback that does nothing."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Progress callback of one part of a longer task, from `start` to `end` of the whole."""
    return lambda fraction, text: progress(start + (end - start) * fraction, text)
