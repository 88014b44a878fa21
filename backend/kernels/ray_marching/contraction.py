"""Contraction of all of space into the unit cube (Eq. 10 of arxiv.org/abs/2111.12077, with the largest coordinate in
place of the norm, so that a cube is filled)."""

from __future__ import annotations

import torch
from torch import Tensor


def contract(points: Tensor) -> Tensor:
    """Return points [..., 3] of the field's frame, where the inner box is 0..1, in the unit cube: the inner box fills
    its middle half, the rest of space what surrounds it."""
    centered = points * 2.0 - 1.0
    size = centered.abs().amax(-1, keepdim=True)
    outside = size > 1.0
    safe = torch.where(outside, size, torch.ones_like(size))
    return torch.where(outside, (2.0 - 1.0 / safe) * centered / safe, centered) * 0.25 + 0.5


def contraction_scale(points: Tensor) -> Tensor:
    """Return how many times shorter `contract` makes a radial step at points [..., 3] of the field's frame: [...], 1 in
    the inner box, the square of the largest coordinate beyond it."""
    return (points * 2.0 - 1.0).abs().amax(-1).clamp(min=1.0).square()
