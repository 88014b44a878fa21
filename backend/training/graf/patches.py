"""GRAF's patches: K × K pixels spread over a random part of an image (section 3.2.2 of arxiv.org/abs/2007.02442).

A patch has a scale s and an offset: its pixels lie at s · [−1, 1]² + offset, where −1 and 1 are the centres of the
outer pixels of the image, so that scale 1 sees the whole image coarsely and a small scale a part of it finely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_AT_FIRST = 0.9
"""Bound of the smallest scale, also while annealing has not begun."""


@dataclass(frozen=True)
class PatchScales:
    """Range of the scales, which widens during training: coarse structure is learned first."""

    smallest: float = 0.25
    largest: float = 1.0
    anneal: float = 0.0025
    """Exponent of the decay of the smallest scale, for each third of `interval` steps; 0 uses the whole range."""
    interval: int = 1000

    def smallest_at(self, step: int) -> float:
        """Return the smallest scale at a step; it changes once in `interval` steps."""
        decayed = self.largest * math.exp(-self.anneal * 3 * (step // self.interval)) if self.anneal else 0.0
        return min(SMALLEST_AT_FIRST, max(self.smallest, decayed))


def patch_places(side: int, scale: Tensor, offsets: Tensor) -> Tensor:
    """Return the places [patches, side, side, 2] of the pixels of patches as (x, y), −1…1 in the image.

    Args:
        scale: [patches].
        offsets: [patches, 2] as (x, y), within ±1; ±1 moves the patch to the edges of the image.
    """
    line = torch.linspace(-1, 1, side).to(scale)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack((x, y), -1) * scale[:, None, None, None]
    return grid + (offsets * (1 - scale[:, None]))[:, None, None]


def patches_at(images: Tensor, places: Tensor) -> Tensor:
    """Return the colours [batch, 3, side, side] of images [batch, 3, height, width] at places [batch, side, side, 2],
    interpolated between pixel centres."""
    return F.grid_sample(images, places, mode="bilinear", align_corners=True)
