"""The ways to fit a field to images, by FitOptions.method."""

from __future__ import annotations

import torch

from addon.wire.messages import FitOptions

from ..progress import Progress, silent
from .datasets import Dataset
from .fit.fitting import Fit


def _hash(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .hash.trainer import HashTrainer

    return HashTrainer(dataset, options, device, progress)


def _published(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .mlp.trainer import NeRFTrainer

    return NeRFTrainer(dataset, options, device, progress)


FITS = {"hash": _hash, "nerf": _published}
"""By FitOptions.method. Each raises UnreadableFile or UnusableDataset where the pictures cannot be used."""
