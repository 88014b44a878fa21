"""Data of ray marching: the occupancy grid, the rule for steps, and packed samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

BLOCK = 4
"""Cells along the edge of a block."""

FARTHEST = 8
"""Blocks that a ray may skip at once."""


@dataclass(frozen=True)
class Steps:
    """Step sizes along a ray: max(`smallest` · s, t · `cone`), at most `most` samples; t in units of directions.

    cone: 0 for even steps; 1/256 and the like for exponential ones (Sec. 5.4, appendix E.1 of
    arxiv.org/abs/2201.05989). s: with `contracted`, the `contraction_scale` where a step begins, so that a ray to or
    from the box takes even steps in the unit cube; else 1.
    """

    smallest: float
    cone: float = 0.0
    most: int = 1024
    contracted: bool = False

    def __post_init__(self) -> None:
        if not (self.smallest > 0 and self.cone >= 0 and self.most > 0):
            raise ValueError(f"smallest and most must be positive and cone not negative, got {self}")


@dataclass(frozen=True)
class Samples:
    """Packed samples: points [N, 3] in the unit cube; t, lengths [N] position and length of each interval; rays int32
    [N]; offsets int32 [R + 1]."""

    points: Tensor
    t: Tensor
    lengths: Tensor
    rays: Tensor
    offsets: Tensor

    def kept(self, keep: Tensor) -> tuple[Samples, Tensor]:
        """Return the samples where keep [N] is true, and their indices [M]."""
        places = keep.nonzero(as_tuple=True)[0]
        counts = torch.zeros(len(keep) + 1, dtype=torch.int32, device=keep.device)
        torch.cumsum(keep, 0, dtype=torch.int32, out=counts[1:])
        return Samples(
            self.points.index_select(0, places),
            self.t.index_select(0, places),
            self.lengths.index_select(0, places),
            self.rays.index_select(0, places),
            counts.index_select(0, self.offsets.long()),
        ), places


@dataclass(frozen=True, eq=False)
class OccupancyBits:
    """Occupancy grid, occupied: bool [n, n, n] (x, y, z), n a multiple of 8; packed for the engines: a bit for each
    cell and a byte for each block of cells."""

    occupied: Tensor

    def __post_init__(self) -> None:
        n = self.occupied.shape[0]
        if self.occupied.shape != (n, n, n) or n % 8 or self.occupied.dtype != torch.bool:
            raise ValueError(f"occupied must be bool [n, n, n] with n a multiple of 8, got {list(self.occupied.shape)}")

    @staticmethod
    def from_bits(bits: Tensor) -> OccupancyBits:
        """Return the grid that has these `bits`."""
        n = round((bits.numel() * 8) ** (1 / 3))
        places = torch.arange(8, dtype=torch.uint8, device=bits.device)
        return OccupancyBits(((bits[:, None] >> places) & 1).bool().reshape(n, n, n))

    @property
    def resolution(self) -> int:
        """Cells along an axis."""
        return int(self.occupied.shape[0])

    @cached_property
    def bits(self) -> Tensor:
        """uint8 [n³ / 8]: bit z & 7 of byte (x·n + y)·n/8 + z/8."""
        powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=self.occupied.device)
        return (self.occupied.reshape(-1, 8) * powers).sum(-1, dtype=torch.uint8)

    @cached_property
    def empty(self) -> Tensor:
        """uint8 [(n / BLOCK)³]: Chebyshev distance in blocks to the nearest block with an occupied cell, up to
        FARTHEST; 0 for such a block itself."""
        m = self.resolution // BLOCK
        near = self.occupied.reshape(m, BLOCK, m, BLOCK, m, BLOCK).any(5).any(3).any(1)
        empty = torch.zeros(m, m, m, dtype=torch.uint8, device=self.occupied.device)
        for _ in range(FARTHEST):
            empty += ~near
            for axis in range(3):
                grown = near.clone()
                grown.narrow(axis, 1, m - 1).logical_or_(near.narrow(axis, 0, m - 1))
                grown.narrow(axis, 0, m - 1).logical_or_(near.narrow(axis, 1, m - 1))
                near = grown
        return empty.reshape(-1)
