"""Positional encoding of coordinates; for directions see also `kernels.spherical_harmonics`."""

from __future__ import annotations

import torch
from torch import Tensor


def positional_encoding(p: Tensor, num_frequencies: int) -> Tensor:
    """Return (p, sin 2⁰p, cos 2⁰p, …, sin 2^{L−1}p, cos 2^{L−1}p): [..., d] -> [..., d + 2 d L].

    Eq. 4 of arxiv.org/abs/2003.08934, in the form that the released weights expect: with p itself in front, and without
    the factor π of the equation. num_frequencies 0 is p itself: the network without positional encoding.
    """
    frequencies = 2.0 ** torch.arange(num_frequencies, dtype=p.dtype, device=p.device)
    angles = p[..., None, :] * frequencies[:, None]  # [..., L, d]
    waves = torch.stack((torch.sin(angles), torch.cos(angles)), -2)  # [..., L, 2, d]
    return torch.cat((p, waves.flatten(-3)), -1)


def feature_weights(weights: Tensor) -> Tensor:
    """Return the weight of each feature of a 3D `positional_encoding` [3 + 6 L], from those of its octaves [L]."""
    return torch.cat((weights.new_ones(3), weights.repeat_interleave(6)))
