"""A generator's radiance field of one latent, rendered fast by what `rendering/marching.py` leaves out."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..rendering import marching
from .trace import RayColors
from .volume import Shell

OCCUPANCY_RESOLUTION = 32

WORTH_SKIPPING = 0.9
"""With a larger share of its cells occupied, the grid is not used."""

PROBES = 48
"""Rays that decide which samples may be interpolated."""


class Field(marching.Field, Protocol):
    """A field for marching that also has a differentiable density."""

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3]. Differentiable in points."""


class MarchedField:
    """The fast path of a VolumeScene: its field with an occupancy grid and strides, both made on first use.

    Without gradients: a field is precomputed from `ws` and weights.
    """

    def __init__(
        self,
        field: Field,
        shell: Shell,
        like: Tensor,
        *,
        hierarchical: bool = False,
        last_back: bool = False,
        skips_empty: bool = True,
    ):
        """like: a tensor of the field's type and device. hierarchical: as many fine samples as coarse ones.
        last_back: the last sample takes the light that is left, so that every pixel is opaque. skips_empty: make an
        occupancy grid."""
        self.field, self.shell, self.like = field, shell, like
        self.hierarchical, self.last_back, self.skips_empty = hierarchical, last_back, skips_empty
        self._occupancy: marching.Occupancy | None = None
        self._strides: dict[int, marching.Strides] = {}

    def raw_density(self, points: Tensor) -> Tensor:
        """See volume.FastField."""
        return self.field.raw_density(points)

    @property
    def _occupied(self) -> marching.Occupancy | None:
        """The grid of cells where density may be positive; None where it would leave out too little."""
        if not self.skips_empty:
            return None
        if self._occupancy is None:
            self._occupancy = marching.Occupancy(self.field, self.shell.reach, OCCUPANCY_RESOLUTION, like=self.like)
        return self._occupancy if self._occupancy.share < WORTH_SKIPPING else None

    def _strides_for(self, steps: int) -> marching.Strides:
        if steps not in self._strides:
            self.probe(*chords(self.shell, PROBES, steps, self.like))
        return self._strides[steps]

    def probe(self, origins: Tensor, directions: Tensor, t: Tensor) -> None:
        """Choose the strides for as many samples as t [rays, samples] has by these rays."""
        self._strides[t.shape[-1]] = marching.strides_for(
            self.field,
            origins,
            directions,
            t,
            num_fine=t.shape[-1] if self.hierarchical else 0,
            last_back=self.last_back,
            occupied=self._occupied,
        )

    def march(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> marching.March:
        """Render rays. See VolumeScene.reference_rays."""
        steps = t.shape[-1]
        return marching.march(
            self.field,
            origins,
            directions,
            t,
            num_fine=steps if self.hierarchical else 0,
            u=u,
            last_back=self.last_back,
            occupied=self._occupied,
            strides=self._strides_for(steps),
        )

    def render_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays."""
        result = self.march(origins, directions, t, u)
        return RayColors(result.rgb, torch.ones_like(result.alpha) if self.last_back else result.alpha, result.t)


def chords(shell: Shell, count: int, num_samples: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return origins and directions [count, 3] of random rays across the volume, the same each time, and t
    [count, num_samples]: a sample of the rays of all cameras."""
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    center = (2 * torch.rand(count, 3, generator=generator) - 1) * (shell.half_depth / math.sqrt(3))
    t = torch.linspace(shell.half_depth, 3 * shell.half_depth, num_samples).expand(count, -1)
    return (center - 2 * shell.half_depth * directions).to(like), directions.to(like), t.to(like)
