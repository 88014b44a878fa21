"""Multiresolution hash encoding in plain PyTorch: the definition (Sec. 3 of arxiv.org/abs/2201.05989)."""

from __future__ import annotations

import torch
from torch import Tensor

from .spec import PRIMES, HashSpec, Level


def hash_encode_reference(points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
    """See `hash_encode`. Differentiable in points and table by autograd."""
    points = torch.nan_to_num(points, nan=0.0).clamp(0.0, 1.0)
    return torch.cat([_level(points, table[at.offset : at.offset + at.size], at) for at in spec.levels], -1)


def _level(points: Tensor, entries: Tensor, level: Level) -> Tensor:
    position = points * level.scale + 0.5
    low = position.detach().floor()
    fraction = position - low
    low = low.long()
    result: Tensor | None = None
    for corner in range(8):
        offsets = [corner >> axis & 1 for axis in range(3)]
        weight = torch.ones_like(fraction[:, 0])
        for axis, offset in enumerate(offsets):
            weight = weight * (fraction[:, axis] if offset else 1.0 - fraction[:, axis])
        index = _index(low + torch.tensor(offsets, device=low.device), level)
        part = weight[:, None] * entries.index_select(0, index)
        result = part if result is None else result + part
    assert result is not None
    return result


def _index(corner: Tensor, level: Level) -> Tensor:
    x, y, z = corner.unbind(-1)
    if level.dense:
        return (x + level.resolution * (y + level.resolution * z)) % level.size
    mask = 0xFFFFFFFF
    return ((x * PRIMES[0] & mask) ^ (y * PRIMES[1] & mask) ^ (z * PRIMES[2] & mask)) % level.size
