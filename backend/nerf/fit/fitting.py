"""A fit: from pictures with cameras to a radiance field, one step at a time.

Whoever drives it (tasks/fit.py, a bench, a test) decides when to stop, to look and to save; the methods only differ in
what a step does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from addon.wire.messages import FitOptions

from ...scenes.protocol import Scene


@dataclass(frozen=True)
class StepReport:
    """What one step did. loss: that was lowered; psnr: dB, of the rays drawn, smoothed over the last steps."""

    step: int
    loss: float
    psnr: float
    rays_per_second: float
    samples_per_ray: float


class Fit(Protocol):
    """A radiance field on its way."""

    step: int
    seconds: float  # of fitting, over all sessions
    background: str  # behind rays that nothing stops: white, black, #rrggbb, random or transparent

    def advance(self) -> StepReport:
        """Take one step.

        Raises:
            Diverged: the loss is not a number; the parameters are those before this step.
        """

    def scene(self) -> Scene:
        """The scene as it stands; usable between steps, it shares the parameters of the fit."""

    def poses(self) -> Tensor:
        """world_from_camera [views, 4, 4] of the training views, refined where that was asked for."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on exactly here."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""


def elapsed(options: FitOptions, step: int, seconds: float, usual_steps: float) -> float:
    """Return how much of a fit lies behind, 0..1: of its steps or its seconds, whichever end it first; usual_steps: its
    length where the options give neither."""
    parts = [step / options.steps] if options.steps else []
    parts += [seconds / options.seconds] if options.seconds else []
    return min(max(parts, default=step / usual_steps), 1.0)
