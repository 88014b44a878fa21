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

import torch
from torch import Tensor

from .config import HoloGANTraining


def random_views(config: HoloGANTraining, count: int, random: torch.Generator) -> Tensor:
    """Return views [count, 6], uniform in the trained range."""
    u, v = torch.rand(2, count, generator=random)
    low, high = config.elevation
    return views_at((2 * u - 1) * config.azimuth, low + v * (high - low))


def views_at(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Return views [n, 6] without scaling or translation, angles [n] in radians as the network takes them."""
    view = torch.zeros(len(azimuth), 6)
    view[:, 0], view[:, 1], view[:, 2] = azimuth, elevation, 1.0
    return view
