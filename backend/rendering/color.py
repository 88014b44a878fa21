"""Colour spaces: sRGB, in which images are stored and compared, and linear light, in which colours add up."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_from_srgb(x: Tensor) -> Tensor:
    """Convert sRGB [...] to linear light (IEC 61966-2-1, inverse). Differentiable."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(x: Tensor) -> Tensor:
    """Convert linear light [...] to sRGB (IEC 61966-2-1). Differentiable."""
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
