"""The Fit protocol: from images with cameras to a radiance field, one training step at a time.

The driver (tasks/fit.py, a benchmark, a test, an edit with a loss of its own) decides when to stop, to evaluate and to
save. Methods differ only in what a step does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from addon.wire.messages import FitOptions

from ...cameras import Rays
from ...scenes.protocol import Scene
from ...scenes.trace import RayColors
from ..datasets import View


@dataclass(frozen=True)
class StepReport:
    """Result of one step. loss: before it; psnr: dB, of the rays drawn, smoothed over the last steps."""

    step: int
    loss: float
    psnr: float
    rays_per_second: float
    samples_per_ray: float


class Fit(Protocol):
    """A radiance field in training.

    `advance` trains on the images. Any other loss of rendered pixels does by

        fit.apply(loss_of(fit.render(rays)))

    which shares schedule, optimisers and occupancy updates with `advance`; both may be mixed.
    """

    step: int
    seconds: float  # of fitting, over all sessions
    background: str  # behind rays that nothing stops: white, black, #rrggbb, random or transparent

    @property
    def views(self) -> Sequence[View]:
        """Training views, with the cameras of the data set."""

    def advance(self) -> StepReport:
        """Take one step of the photometric loss on rays of the training images.

        Raises:
            Diverged: the loss is NaN or infinite; the parameters are those before this step.
        """

    def render(self, rays: Rays) -> RayColors:
        """Render world rays [...] as a training step does, with jitter, over black.

        Differentiable in the parameters of the fit and in the rays; `apply` takes a loss of the result, until the next
        step. Without gradients under `torch.no_grad`.
        """

    def apply(self, loss: Tensor) -> None:
        """Take one optimiser step down the gradient of a scalar loss of pixels that `render` returned.

        Raises:
            Diverged: the loss is NaN or infinite; the parameters are those before this step.
        """

    def replace_image(self, view_index: int, image: Tensor | np.ndarray) -> None:
        """Train on another image of a view from now on.

        image: [H, W, 3] or [H, W, 4] of the view's size, sRGB 0..1, straight alpha. Three channels keep the view's
            alpha; mask and depth always stay. What was derived from the images at the start stays as well: bounds,
            background and visual hull.

        Images are not part of `tensors()`, nor of the data set's fingerprint: a fit that was restored trains on the
        images of its data set until they are replaced again.

        Raises:
            ValueError: the image has another size, or alpha where the images of the fit have none.
        """

    def scene(self) -> Scene:
        """Return the scene as it stands; usable between steps, it shares the parameters of the fit."""

    def poses(self) -> Tensor:
        """Return world_from_camera [views, 4, 4] of the training views, refined where that was asked for."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the state that `restore` needs to continue exactly here."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""


def elapsed(options: FitOptions, step: int, seconds: float, usual_steps: float) -> float:
    """Return the elapsed part of a fit, 0..1: of its steps or its seconds, whichever end it first; usual_steps: its
    length where the options give neither."""
    parts = [step / options.steps] if options.steps else []
    parts += [seconds / options.seconds] if options.seconds else []
    return min(max(parts, default=step / usual_steps), 1.0)
