"""A fit: from pictures with cameras to a radiance field, one step at a time.

Whoever drives it (tasks/fit.py, a bench, a test) decides when to stop, to look and to save; the methods only differ in
what a step does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from addon.wire.messages import FitOptions

from ..progress import Progress, silent
from ..scene import Scene
from .datasets import Dataset


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


def _hash(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .hash_fit import HashFit

    return HashFit(dataset, options, device, progress)


def _published(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .published_fit import PublishedFit

    return PublishedFit(dataset, options, device, progress)


FITS = {"hash": _hash, "nerf": _published}
"""By FitOptions.method. Each raises UnreadableFile or UnusableDataset where the pictures cannot be used."""
