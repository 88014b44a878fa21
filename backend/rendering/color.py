"""The two encodings of colour: sRGB, in which pictures are stored and compared, and linear, in which light adds up."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_from_srgb(x: Tensor) -> Tensor:
    """IEC 61966-2-1, inverse."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(x: Tensor) -> Tensor:
    """IEC 61966-2-1."""
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
