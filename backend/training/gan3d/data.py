"""Training a 3D-GAN, the loop of the lecture (Wu et al., arxiv.org/abs/1610.07584): a generator of voxels G learns from
a discriminator D that is learning to tell its shapes from real ones (Eq. 1):

    min_G max_D  log D(x)  +  log(1 - D(G(z)))

D learns faster than G in three dimensions. The paper slows it down: its rate is a fraction of G's, and a batch that it
tells apart too well does not teach it (`accuracy_gate`). `published()` is that. With a few hundred shapes D still
learns them by heart; `small()` limits what D can be instead: weights of largest singular value 1, the hinge loss of
Miyato et al. (arxiv.org/abs/1802.05957), batches moved by a voxel or two so that no shape is seen twice, and a slowly
following average of G as the result.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..data import chair_views

GROWTH = 0.3
"""Voxels by which every surface is moved outwards: bars of these chairs are thinner than a voxel, and would be lost."""


def soft_occupancy(distances: Tensor, cube_half: float) -> Tensor:
    """Occupancy 0..1 of signed distances [..., side, side, side] in a cube: it falls from 1 to 0 over two voxels about
    the surface, so that the level one half between the voxels is as smooth as the surface is."""
    voxel = 2 * cube_half / distances.shape[-1]
    return (0.5 - (distances.float() / voxel - GROWTH) / 2).clamp(0, 1)


def load_voxels(views: Path, seeds: range) -> Tensor:
    """Occupancy of chairs that chair_views.py wrote. [num_shapes, 32, 32, 32], indexed z, y, x"""
    distances = chair_views.load_views(views, seeds, ("distances",))["distances"]
    return soft_occupancy(torch.from_numpy(distances), chair_views.CUBE_HALF)
