"""Configuration of the comparison: sizes and training of each representation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from ....kernels.hash_encoding import HashSpec
from .models import DistanceNetwork, HashGrid, TriPlane


@dataclass(frozen=True)
class Recipe:
    """Sizes of the representations, and their training."""

    resolutions: tuple[int, ...] = (64, 128, 256, 512)  # of dense grids that are computed and meshed
    arithmetic: tuple[int, ...] = (1024,)  # of dense grids whose cost is only extrapolated
    hash_sizes: tuple[int, ...] = (10, 12, 14, 16, 18)  # log2 of the entries of a level
    planes: tuple[tuple[int, int], ...] = ((32, 8), (64, 8), (128, 8))  # pixels a side, features
    widths: tuple[int, ...] = (64, 128)  # of the eight layers
    levels: int = 12  # of the hash grid, from 16 to `finest` cells
    finest: int = 512
    frequencies: int = 8  # of the distance network's positional encoding
    steps: int = 800
    network_steps: int = 2000  # of the distance network, which converges more slowly
    points_per_step: int = 16384
    network_points: int = 4096
    samples: int = 600_000  # distances in the training set
    mesh_resolution: int = 256  # at which trained representations are meshed for their error
    tile: int = 300  # pixels of each render
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
    """Return all trained representations, each family from small to large."""
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
