"""Packed compositing in plain PyTorch: the definition. Rays are padded to the longest."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rendering import compositing
from .types import LARGEST_EXPONENT, CompositedRays


def composite_reference(raw: Tensor, t: Tensor, lengths: Tensor, offsets: Tensor) -> CompositedRays:
    """See `composite_packed`. Differentiable by autograd."""
    offsets = offsets.long()
    counts = offsets[1:] - offsets[:-1]
    longest = int(counts.max()) if len(counts) else 0
    place = offsets[:-1, None] + torch.arange(longest, device=raw.device)
    valid = place < offsets[1:, None]
    place = torch.where(valid, place, 0)
    if not len(raw):
        zero = raw.sum() + torch.zeros(len(counts), device=raw.device)
        return CompositedRays(zero[:, None].expand(-1, 3), zero, zero, zero, raw[:, 0])
    density = torch.exp(raw[:, 0].clamp(max=LARGEST_EXPONENT))
    alpha = torch.where(valid, compositing.opacity(density, lengths)[place], 0.0)
    light = torch.cumprod(torch.cat((torch.ones_like(alpha[:, :1]), 1.0 - alpha), 1), 1)[:, :-1]
    weights = alpha * light
    t_rows = torch.where(valid, t[place], 0.0)
    return CompositedRays(
        compositing.composite(weights, torch.sigmoid(raw[:, 1:])[place]),
        weights.sum(1),
        (weights * t_rows).sum(1),
        compositing.distortion(weights, t_rows, torch.where(valid, lengths[place], 0.0)),
        weights.detach()[valid],
    )
