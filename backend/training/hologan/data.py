"""Training HoloGAN, the loop of the lecture: a generator that has only ever seen pictures, and none of their poses.

Each step draws a code z and a view at random, renders, and lets a discriminator compare with real pictures
(arxiv.org/abs/1904.01326, Sec. 3). Nothing says where a real picture was taken: that turning the volume must turn the
object is found because it is the only use that rigid motion has. Three losses:

    discriminator   softplus(-D(x)) + softplus(D(G(z, view)))           is it real (the non-saturating GAN loss)
    generator       softplus(-D(G(z, view)))
    identity, both  |F(G(z, view)) - z|²                                the code can be read off every view (Sec. 3.4)

The network that is kept is the running mean of the generator's weights.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import chair_views


def real_images(folder: Path, azimuth: float = math.pi, seeds: range = range(chair_views.NUM_TRAIN)) -> Tensor:
    """Return the pictures of chairs [n, 3, 64, 64] uint8 that were taken within ± azimuth (radians) of the front."""
    views = chair_views.load_views(folder, seeds, ("images", "azimuths"))
    turned = np.abs((views["azimuths"] + math.pi) % (2 * math.pi) - math.pi)
    return torch.from_numpy(views["images"][turned <= azimuth]).permute(0, 3, 1, 2).contiguous()
