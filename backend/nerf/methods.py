"""Methods that fit a field to images: their trainers, memory and kinds of model, by FitOptions.method."""

from __future__ import annotations

import torch

from addon.wire.messages import FitOptions

from ..progress import Progress, silent
from .datasets import Dataset
from .fit.fitting import Fit


def _hash(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .hash.trainer import HashTrainer

    return HashTrainer(dataset, options, device, progress)


def _vanilla_nerf(dataset: Dataset, options: FitOptions, device: torch.device, progress: Progress = silent) -> Fit:
    from .mlp.trainer import NeRFTrainer

    return NeRFTrainer(dataset, options, device, progress)


FITS = {"hash": _hash, "nerf": _vanilla_nerf}
"""By FitOptions.method. Each raises UnreadableFile or UnusableDataset where the images cannot be used."""

KINDS = {"hash": "hash_field", "nerf": "nerf"}
"""By FitOptions.method: kind of the model that a fit becomes."""

PRESET_BYTES = {
    "hash": {"draft": 300 << 20, "standard": 900 << 20, "fine": 1500 << 20},
    "nerf": {"draft": 500 << 20, "standard": 3500 << 20, "fine": 3500 << 20},
}
"""By FitOptions.method and preset: memory of the field, its optimiser and a batch, besides the images. For
`nerf`, autograd keeps every layer of a step's samples: 463 and 3369 MiB, measured."""
