"""What a shape costs as a dense grid, a hash grid, a tri-plane and a network of distances, at equal surface error.

`python -m backend train representations MESH --out FOLDER` fits one mesh with each of them in several sizes, meshes
what they hold with the same marching cubes, and asks of each resolution of the dense grid: which is the smallest of the
others that comes as near to the true surface, and what does it take in bytes, in seconds of fitting and of asking?

Vocabulary. The mesh is brought to a longest side of 1 about the origin; the `cube` around it is 1.04 wide. A grid of
*resolution* N has N³ lattice points, the faces of the cube included. All hold the signed distance cut to ±0.05
(Eq. 9 of arxiv.org/abs/1901.05103), the grid to ±3 of its cells.

- `DenseGrid`: N³ numbers and trilinear interpolation. Nothing is trained; values are measured near the surface only.
- `HashGrid`: the multiresolution hash encoding of arxiv.org/abs/2201.05989 and a network with one hidden layer.
- `TriPlane`: three planes of features, summed, and the same network (arxiv.org/abs/2112.07945, Sec. 4.1).
- `DistanceNetwork`: eight layers with a skip, as in DeepSDF, on the encoded position (Eq. 4 of
  arxiv.org/abs/2003.08934).

*Surface error*: mean distance of 30,000 points of one surface to the other surface, both ways, averaged, in per cent of
the longest side. Only points on the outside of the true solid count. A part that is missing counts by how far its
points are from what is there, so the error of a coarse grid is mostly what it does not see. Seconds are seconds of
processor time of one thread.

A killed run goes on where it was when it is started again with the same options. The folder gets `figures.json`,
`table.md`, `representations.png` (the meshes) and `representations_memory.png` (memory against error).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from ....kernels.hash_encoding import HashSpec
from .models import DistanceNetwork, HashGrid, TriPlane


@dataclass(frozen=True)
class Recipe:
    """What is built, and how it is trained."""

    resolutions: tuple[int, ...] = (64, 128, 256, 512)  # of dense grids that are filled and meshed
    arithmetic: tuple[int, ...] = (1024,)  # of those that are only computed
    hash_sizes: tuple[int, ...] = (10, 12, 14, 16, 18)  # log2 of the entries of a level
    planes: tuple[tuple[int, int], ...] = ((32, 8), (64, 8), (128, 8))  # pixels a side, features
    widths: tuple[int, ...] = (64, 128)  # of the eight layers
    levels: int = 12  # of the hash grid, from 16 to `finest` cells
    finest: int = 512
    frequencies: int = 8  # of the position, that the distance network is given
    steps: int = 800
    network_steps: int = 2000  # of the distance network, which learns more slowly
    points_per_step: int = 16384
    network_points: int = 4096
    samples: int = 600_000  # distances that training draws from
    mesh_resolution: int = 256  # at which what was trained is meshed for its error
    tile: int = 300  # pixels of each picture
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """One representation in one size."""

    family: str
    name: str
    build: Callable[[], nn.Module]
    steps: int
    points_per_step: int
    rate: float  # of Adam


def candidates(recipe: Recipe) -> list[Candidate]:
    """Everything that is trained, each family from small to large."""
    found = []
    for log2_size in recipe.hash_sizes:
        spec = HashSpec(recipe.levels, 2, log2_size, min(16, recipe.finest), recipe.finest)
        build: Callable[[], nn.Module] = partial(HashGrid, spec)
        found.append(Candidate("hash grid", f"hash 2^{log2_size}", build, recipe.steps, recipe.points_per_step, 5e-3))
    for size, features in recipe.planes:
        build, name = partial(TriPlane, size, features), f"planes {size}² × {features}"
        found.append(Candidate("tri-plane", name, build, recipe.steps, recipe.points_per_step, 5e-3))
    for width in recipe.widths:
        build, name = partial(DistanceNetwork, width, recipe.frequencies), f"8 × {width}"
        found.append(Candidate("SDF network", name, build, recipe.network_steps, recipe.network_points, 1e-3))
    return found
