"""Intersections of rays with axis-aligned boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from addon.wire.messages import Bounds


def box_interval(origins: Tensor, directions: Tensor, box: Bounds) -> tuple[Tensor, Tensor]:
    """Return the distances [n] at which rays [n, 3] enter and leave a box (slab method).

    A ray that misses it leaves before it enters. Inside the box the entry is at 0.
    """
    low, high = (torch.tensor(corner).to(origins) for corner in box)
    safe = torch.where(directions.abs() < 1e-12, 1e-12, directions)
    one, other = (low - origins) / safe, (high - origins) / safe
    near = torch.minimum(one, other).amax(-1).clamp(min=0)
    return near, torch.maximum(one, other).amin(-1)
