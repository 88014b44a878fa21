"""Training data of HoloGAN: images of the chairs without poses, and random views."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import chair_views
from .config import HoloGANTraining


def real_images(folder: Path, azimuth: float = math.pi, seeds: range = range(chair_views.NUM_TRAIN)) -> Tensor:
    """Return the images of chairs [n, 3, 64, 64] uint8 taken within ± azimuth (radians) of the front.

    Raises:
        UnreadableFile: a chair is missing.
    """
    views = chair_views.load_views(folder, seeds, ("images", "azimuths"))
    offset = np.abs((views["azimuths"] + math.pi) % (2 * math.pi) - math.pi)
    return torch.from_numpy(views["images"][offset <= azimuth]).permute(0, 3, 1, 2).contiguous()


def random_views(config: HoloGANTraining, count: int, random: torch.Generator) -> Tensor:
    """Return views [count, 6], uniform in the trained range."""
    u, v = torch.rand(2, count, generator=random)
    low, high = config.elevation
    return views_at((2 * u - 1) * config.azimuth, low + v * (high - low))


def views_at(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Return views [n, 6] without scaling or translation; angles [n] in radians, in the network's own convention."""
    view = torch.zeros(len(azimuth), 6)
    view[:, 0], view[:, 1], view[:, 2] = azimuth, elevation, 1.0
    return view
