"""How work reports itself, and how it is told to stop."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Progress(Protocol):
    """Called by long work, several times a second at least; raises Cancelled when the work is no longer wanted."""

    def __call__(
        self,
        fraction: float,
        text: str = "",
        preview: np.ndarray | None = None,
        *,
        figures: dict[str, float] | None = None,
    ) -> None:
        """Report `fraction` (0..1) done, what is going on, and perhaps a picture (uint8 [H, W, 4], sRGB) and figures
        (see messages.JobEvent).

        In the backend, a waiting job of a view may be run meanwhile on this thread, so call it only where others may
        use the device and the models in memory.

        Raises:
            Cancelled: let it pass through; leave nothing half written.
        """


def silent(
    fraction: float,
    text: str = "",
    preview: np.ndarray | None = None,
    *,
    figures: dict[str, float] | None = None,
) -> None:
    """A Progress that reports to nobody and never cancels."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """Return a Progress whose 0..1 is `start`..`end` of `progress`."""

    def report(
        fraction: float,
        text: str = "",
        preview: np.ndarray | None = None,
        *,
        figures: dict[str, float] | None = None,
    ) -> None:
        progress(start + (end - start) * fraction, text, preview, figures=figures)

    return report
