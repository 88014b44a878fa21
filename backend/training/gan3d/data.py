"""Training data of 3D-GAN: occupancy voxels of the chairs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..data import chair_views

GROWTH = 0.3
"""Voxels by which every surface is moved outwards: bars of these chairs are thinner than a voxel, and would be lost."""


def soft_occupancy(distances: Tensor, cube_half: float) -> Tensor:
    """Return occupancy 0..1 of signed distances [..., side, side, side] in a cube of half side `cube_half`.

    It falls from 1 to 0 over two voxels around the surface, so that its level set ½ is as smooth as the surface.
    """
    voxel = 2 * cube_half / distances.shape[-1]
    return (0.5 - (distances.float() / voxel - GROWTH) / 2).clamp(0, 1)


def load_voxels(views: Path, seeds: range) -> Tensor:
    """Return the occupancy of chairs that data/chair_views.py wrote: [num_shapes, 32, 32, 32], indexed z, y, x.

    Raises:
        UnreadableFile: a chair is missing.
    """
    distances = chair_views.load_views(views, seeds, ("distances",))["distances"]
    return soft_occupancy(torch.from_numpy(distances), chair_views.CUBE_HALF)
