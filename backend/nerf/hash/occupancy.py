"""OccupancyGrid grid: the cells that training and rendering do not skip, learnt during a fit.

Vocabulary: the *unit cube* is that of `kernels.ray_marching`. `peak` is the density that each cell was last seen with,
decaying (Sec. 5.4 and appendix C of arxiv.org/abs/2201.05989). `possible` cells are those not ruled out for good.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...kernels.ray_marching import OccupancyBits

DECAY = 0.9
UNSEEN = 1e6


class OccupancyGrid:
    """A grid over the unit cube. Cells start as occupied and fade as the field turns out to be empty there."""

    def __init__(self, resolution: int, device: torch.device) -> None:
        self.resolution = resolution
        self.peak = torch.full((resolution,) * 3, UNSEEN, device=device)
        self.possible = torch.ones((resolution,) * 3, dtype=torch.bool, device=device)
        self.bits = OccupancyBits(self.possible.clone())

    def restrict(self, possible: Tensor) -> None:
        """Rule cells out for good: bool [n, n, n], false where nothing can be."""
        self.possible &= possible
        self.bits = OccupancyBits(self.bits.occupied & self.possible)

    def restore(self, bits: Tensor) -> None:
        """Restore occupied cells from `OccupancyBits.bits` of an earlier grid."""
        self.bits = OccupancyBits.from_bits(bits.to(self.peak.device))

    @property
    def occupied_fraction(self) -> float:
        """Fraction of the cells that are occupied."""
        return float(self.bits.occupied.float().mean())

    @torch.no_grad()
    def update(
        self, density: Callable[[Tensor], Tensor], count: int, generator: torch.Generator, *, occupied: int = 0
    ) -> None:
        """Evaluate the density [N] (per unit of the samples' length) at a random point of up to `count` possible cells,
        points [N, 3], and of up to `occupied` cells among those taken for occupied."""
        cells = self.possible.reshape(-1).nonzero(as_tuple=True)[0]
        if not len(cells):
            return
        cells = _subset(cells, count, generator)
        if occupied:
            known = self.bits.occupied.reshape(-1).nonzero(as_tuple=True)[0]
            cells = torch.cat((cells, _subset(known, occupied, generator)))
        n = self.resolution
        corner = torch.stack((cells // (n * n), cells // n % n, cells % n), -1)
        points = (corner + torch.rand(corner.shape, generator=generator).to(cells.device)) / n
        peak = self.peak.reshape(-1)
        old = peak[cells]
        old = torch.where(old >= UNSEEN, torch.zeros_like(old), old * DECAY)
        peak[cells] = torch.maximum(old, density(points))

    def threshold(self, threshold: float) -> None:
        """Mark as occupied the cells above a density, and those not evaluated yet."""
        self.bits = OccupancyBits((self.peak > threshold) & self.possible)


def _subset(cells: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return up to `count` of these, drawn at random where there are more."""
    if count >= len(cells):
        return cells
    return cells[torch.randint(len(cells), (count,), generator=generator).to(cells.device)]
