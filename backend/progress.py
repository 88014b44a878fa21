"""Progress reports of long work, and its cancellation."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Progress(Protocol):
    """Callback of long work, called several times a second; raises Cancelled when the work is to stop."""

    def __call__(
        self,
        fraction: float,
        text: str = "",
        preview: np.ndarray | None = None,
        *,
        figures: dict[str, float] | None = None,
    ) -> None:
        """Report `fraction` (0..1) done, the current step, and optionally a preview (uint8 [H, W, 4], sRGB, or
        several [n, H, W, 4]) and figures (see messages.JobEvent).

        In the backend a waiting render may run within the call, on this thread, so call it only where other work may
        use the device and the models in memory.

        Raises:
            Cancelled: let it propagate; leave nothing half written.
        """


def silent(
    fraction: float,
    text: str = "",
    preview: np.ndarray | None = None,
    *,
    figures: dict[str, float] | None = None,
) -> None:
    """Progress that reports nothing and never cancels."""


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
