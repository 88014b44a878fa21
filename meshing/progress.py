"""How a long step tells where it is, and how it is cancelled.

A step calls `progress(fraction, text)` with a fraction from 0 to 1. What the callable raises goes through untouched:
that is how a user cancels. No step leaves a file or a changed input behind when it is stopped so.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """The progress of a caller who does not listen."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of one part of a longer work, which covers `start` to `end` of the whole."""
    return lambda fraction, text: progress(start + (end - start) * fraction, text)
