"""Extent of the surface of a fitted field, found along the rays of its training images.

A density says where light stops. Behind that, and where no camera looked, images do not determine it: a mesh of the
density alone has caves behind its surface, holes into them, and floaters below an object that was seen from above. So
the training rays are traced to the depth of transmittance one half, their *hits*. The cells in front of those are
*seen*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .field import HashField

RAYS_PER_FACE = 8
"""Rays for each cell of a face of the grid: about five of them end in each cell of a surface."""

FEWEST_HITS = 12
"""Hits in a cell of the surface and its 26 neighbours, 9 of them of the same surface. Rays that slip through it end
alone."""

STRAY = 1e-4
"""Share of the hits that may lie beyond the box, on each side."""

THINNEST = 4
"""Least thickness of the box in cells: a mesh needs some on both sides of its faces."""

FLOATER = 0.01
"""Size of a cluster of cells, relative to the largest one, below which it is a floater."""

SOFTEST = 0.1
"""Share of the surface that may have a lower density than the level of its mesh."""


@dataclass(frozen=True)
class SurfaceExtent:
    """Seen cells and surface points of a field.

    seen: bool [n, n, n], cells of the unit cube where some ray has a transmittance above one half. hits: [H, 3], points
    of the unit cube where rays fall to that. density: [H], there, per field unit.
    """

    seen: Tensor
    hits: Tensor
    density: Tensor

    @staticmethod
    def of(model: HashField, rays: Iterable[tuple[Tensor, Tensor]]) -> SurfaceExtent:
        """Trace batches of rays: origins and unit directions [R, 3], field frame."""
        n = model.occupancy.resolution
        seen = torch.zeros(n**3, dtype=torch.bool, device=model.device)
        hits, density = [], []
        for origins, directions in rays:
            reached, met, dense = model.median_depth(origins, directions)
            if model.config.unbounded:  # no mesh is made of what lies beyond the box
                within = ((met - 0.5).abs() <= 0.25).all(-1)
                met, dense = met[within], dense[within]
            seen[_cells(reached, n)] = True
            hits.append(met)
            density.append(dense)
        return SurfaceExtent(seen.reshape(n, n, n), torch.cat(hits), torch.cat(density))

    @property
    def level(self) -> float | None:
        """Density of nearly all of the surface, per field unit; None where hardly any ray met one."""
        if len(self.density) < 64:
            return None
        return float(torch.quantile(self.density[:: 1 + len(self.density) // 1_000_000], SOFTEST))

    @property
    def box(self) -> tuple[Tensor, Tensor] | None:
        """Lowest and highest corner [3] of the surface in the unit cube, without floaters; None where there is none."""
        n = self.seen.shape[0]
        cells = _cells(self.hits, n).cpu()
        count = torch.bincount(cells, minlength=n**3).reshape(n, n, n).float().numpy()
        around = 27 * ndimage.uniform_filter(count, 3, mode="constant")
        clusters, _ = ndimage.label((count > 0) & (around > FEWEST_HITS - 0.5), np.ones((3, 3, 3)))
        sizes = np.bincount(clusters.reshape(-1))
        sizes[0] = 0
        kept = torch.from_numpy((sizes > FLOATER * sizes.max())[clusters].reshape(-1))[cells]
        if not kept.any():
            return None
        hits = self.hits.cpu()[kept].sort(0).values
        beyond = int(STRAY * len(hits))
        low, high = hits[beyond], hits[-1 - beyond]
        room = (THINNEST / n - (high - low)).clamp(min=0) / 2
        return low - room, high + room

    def solid(self, occupied: Tensor) -> Tensor:
        """Return the solid cells, bool [n, n, n]: occupied ones that no ray reaches, and empty ones that those
        enclose."""
        seen = self.seen.cpu().numpy()
        clusters, count = ndimage.label(seen | ~occupied.cpu().numpy())
        outside = np.zeros(count + 1, bool)
        outside[clusters[seen]] = True
        for axis in range(3):
            outside[clusters.take((0, -1), axis)] = True
        outside[0] = False
        return torch.from_numpy(~outside[clusters]).to(occupied.device)


def _cells(points: Tensor, n: int) -> Tensor:
    """Return the cells [N] of a grid of n³ that points [N, 3] of the unit cube lie in."""
    x, y, z = (points * n).long().clamp(0, n - 1).unbind(-1)
    return (x * n + y) * n + z
