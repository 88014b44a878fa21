"""Shape of a multiresolution hash table, and the layout of its levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

PRIMES = (1, 2654435761, 805459861)
"""Multipliers of the spatial hash (Eq. 4 of arxiv.org/abs/2201.05989)."""


@dataclass(frozen=True)
class Level:
    """One grid. A corner (x, y, z) of it is entry `offset + index`, with the index dense (x + y·n + z·n²) where the
    grid fits the table, and hashed (x·π₁ ⊕ y·π₂ ⊕ z·π₃) mod size where it does not."""

    scale: float  # a unit-cube coordinate x lies at x·scale + 0.5 cells
    resolution: int  # n: corners along an axis
    offset: int  # first entry
    size: int  # entries
    dense: bool


@dataclass(frozen=True)
class HashSpec:
    """Hyperparameters of arxiv.org/abs/2201.05989, Table 1. The layout of the table is that of tiny-cuda-nn."""

    num_levels: int = 16
    num_features: int = 2  # of each entry
    log2_size: int = 19  # most entries of a level
    coarsest: int = 16  # cells along an axis, first level
    finest: int = 2048  # and last

    def __post_init__(self) -> None:
        if not (
            1 <= self.num_levels <= 32 and 1 <= self.log2_size <= 24 and 2 <= self.coarsest <= self.finest <= 1 << 20
        ):
            raise ValueError(f"a size of the hash table is out of range: {self}")
        if self.num_features not in (1, 2, 4, 8):
            raise ValueError(f"num_features must be 1, 2, 4 or 8, got {self.num_features}")

    @property
    def growth(self) -> float:
        """Factor from each level's resolution to the next (Eq. 3)."""
        if self.num_levels == 1:
            return 1.0
        return math.exp((math.log(self.finest) - math.log(self.coarsest)) / (self.num_levels - 1))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """All levels, coarse to fine."""
        found: list[Level] = []
        offset = 0
        for number in range(self.num_levels):
            scale = self.coarsest * self.growth**number - 1.0
            resolution = math.ceil(scale - 1e-9) + 1
            full = -(-(resolution**3) // 8) * 8
            size = min(full, 2**self.log2_size)
            found.append(Level(scale, resolution, offset, size, resolution**3 <= size))
            offset += size
        return tuple(found)

    @property
    def num_entries(self) -> int:
        """Rows of the table: it is [num_entries, num_features]."""
        last = self.levels[-1]
        return last.offset + last.size

    @property
    def width(self) -> int:
        """Features of a point: num_levels · num_features, level by level."""
        return self.num_levels * self.num_features
