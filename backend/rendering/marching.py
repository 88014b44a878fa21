"""Volume rendering that does only the work that shows: the fast path of fields that are slow to evaluate.

Vocabulary. A *field* gives density and features at points, and colour of features: the second is asked only where a
sample's weight shows. *Occupancy* is a coarse grid that knows where density may be positive. A ray is *alive* while its
transmittance is above `OPAQUE`. The result is that of the straightforward path (`weights_from_density` of every sample)
up to what those thresholds leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from . import compositing, sampling

OPAQUE = 1e-3
"""Samples behind this much of the light being left are not evaluated."""

FAINT = 1e-3
"""Samples of less weight than this are not coloured; the others of their ray make up for it."""

SLAB = 6
"""Samples evaluated along all living rays before asking again which rays live."""


class Field(Protocol):
    """A radiance field in two halves."""

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return density, not negative, [n] and features [n, channels] at points [n, 3]."""

    def color(self, features: Tensor, directions: Tensor) -> Tensor:
        """Return colour 0..1 [n, 3] of features [n, channels] seen along unit directions [n, 3]."""


class Occupancy:
    """Where density may be positive: a grid of cells over the cube ±half. Everything outside counts as occupied."""

    def __init__(self, density: Callable[[Tensor], Tensor], half: float, resolution: int, *, like: Tensor):
        """Ask the density [n] of points [n, 3] at the corners of the cells; a cell is empty if it and all its
        neighbours have only corners without density."""
        self.half, self.resolution = half, resolution
        side = torch.linspace(-half, half, resolution + 1).to(like)
        corners = torch.cartesian_prod(side, side, side)
        positive = (density(corners) > 0).to(like).reshape(1, 1, *[resolution + 1] * 3)
        cells = torch.nn.functional.max_pool3d(positive, 2, 1)
        self.cells = torch.nn.functional.max_pool3d(cells, 3, 1, 1).reshape(-1) > 0

    @property
    def share(self) -> float:
        """Return the share of cells that are occupied."""
        return float(self.cells.float().mean())

    def __call__(self, points: Tensor) -> Tensor:
        """Say for points [..., 3] whether density may be positive: [...]."""
        place = ((points + self.half) * (self.resolution / (2 * self.half))).floor()
        outside = ((place < 0) | (place >= self.resolution)).any(-1)
        x, y, z = place.long().clamp(0, self.resolution - 1).unbind(-1)
        return self.cells[(x * self.resolution + y) * self.resolution + z] | outside


@dataclass(frozen=True)
class March:
    """What rays gave. rgb [rays, 3] premultiplied; alpha [rays] Σ w; t [rays] Σ w t, not divided by Σ w."""

    rgb: Tensor
    alpha: Tensor
    t: Tensor


def march(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    *,
    speed: Tensor | None = None,
    seen_along: Tensor | None = None,
    num_fine: int = 0,
    u: Tensor | None = None,
    last_back: bool = False,
    occupied: Callable[[Tensor], Tensor] | None = None,
) -> March:
    """Volume render rays (Eq. 3 of arxiv.org/abs/2003.08934), hierarchically if `num_fine`.

    Args:
        field: what to render.
        origins, directions: [rays, 3]; t multiplies directions.
        t: coarse samples [rays, num_coarse], ascending.
        speed: length of the directions [rays, 1]; None: one.
        seen_along: unit [rays, 3] for the colour; None: directions.
        num_fine: samples drawn by the coarse weights.
        u: [rays, num_fine] in [0, 1) to draw them with; None spaces them evenly.
        last_back: the last sample takes the light that is left.
        occupied: points [..., 3] → [...]; where it is False density is taken to be 0.
    """
    seen_along = directions if seen_along is None else seen_along
    length: Tensor | float = 1.0 if speed is None else speed
    samples = _Samples(field, origins, directions, t, occupied)
    samples.evaluate(length)
    if num_fine:
        weights = compositing.weights_from_density(samples.density, t, speed=length) + 1e-5
        u = sampling.evenly_drawn(num_fine, t) if u is None else u
        drawn = sampling.inverse_cdf(sampling.midpoints(t), weights[..., 1:-1], u, side="left")
        samples = samples.joined(drawn)
        samples.evaluate(length)
    t = samples.t
    weights = compositing.weights_from_density(samples.density, t, speed=length)
    alpha = weights.sum(-1)
    if last_back:
        weights = compositing.with_background_last(weights)
    shown = weights > FAINT
    shown[:, -1] |= last_back & (weights[:, -1] > FAINT)
    samples.require(shown)
    rays, places = shown.nonzero(as_tuple=True)
    color = field.color(samples.features_at(rays, places), seen_along[rays])
    kept = weights[rays, places]
    rgb = torch.zeros_like(origins).index_add_(0, rays, kept[:, None] * color)
    total = torch.zeros_like(alpha).index_add_(0, rays, kept)
    rgb = rgb * (weights.sum(-1) / total.clamp(min=FAINT))[:, None]
    return March(rgb, alpha, (weights * t).sum(-1))


class _Samples:
    """Samples along rays, some evaluated: density [rays, samples], and where features of each lie."""

    def __init__(
        self,
        field: Field,
        origins: Tensor,
        directions: Tensor,
        t: Tensor,
        occupied: Callable[[Tensor], Tensor] | None,
    ):
        self.field, self.origins, self.directions, self.t, self.occupied = field, origins, directions, t, occupied
        self.density = torch.zeros_like(t)
        self.slot = torch.full(t.shape, -1, dtype=torch.long, device=t.device)
        self.wanted = self._wanted(t)
        self.features: list[Tensor] = []
        self.count = 0

    def _wanted(self, t: Tensor) -> Tensor:
        if self.occupied is None:
            return torch.ones_like(t, dtype=torch.bool)
        return self.occupied(self.origins[:, None] + self.directions[:, None] * t[..., None])

    def joined(self, t: Tensor) -> _Samples:
        """Return these samples and unevaluated ones at t [rays, n], sorted into one."""
        both, order = sampling.merged(t, self.t)
        result = _Samples.__new__(_Samples)
        result.field, result.origins, result.directions = self.field, self.origins, self.directions
        result.occupied, result.features, result.count = self.occupied, self.features, self.count
        result.t = both
        result.density = torch.cat((torch.zeros_like(t), self.density), -1).gather(-1, order)
        result.slot = torch.cat((torch.full_like(t, -1, dtype=torch.long), self.slot), -1).gather(-1, order)
        result.wanted = torch.cat((self._wanted(t), self.wanted), -1).gather(-1, order)
        return result

    def evaluate(self, speed: Tensor | float) -> None:
        """Evaluate the density of all wanted samples that light still reaches, slab by slab from the front."""
        optical = torch.zeros_like(self.t[:, 0])
        lengths = compositing.interval_lengths(self.t, last=0.0, speed=speed)
        limit = -torch.log(torch.tensor(OPAQUE)).item()
        for start in range(0, self.t.shape[-1], SLAB):
            part = slice(start, start + SLAB)
            mask = torch.zeros_like(self.wanted)
            mask[:, part] = self.wanted[:, part] & (optical < limit)[:, None]
            self.require(mask)
            optical = optical + (self.density[:, part] * lengths[:, part]).sum(-1)

    def require(self, mask: Tensor) -> None:
        """Evaluate the samples in mask [rays, samples] that are not yet."""
        rays, places = (mask & (self.slot < 0)).nonzero(as_tuple=True)
        if not len(rays):
            return
        points = self.origins[rays] + self.directions[rays] * self.t[rays, places, None]
        density, features = self.field.density(points)
        self.density[rays, places] = density
        self.slot[rays, places] = torch.arange(self.count, self.count + len(rays), device=rays.device)
        self.features.append(features)
        self.count += len(rays)

    def features_at(self, rays: Tensor, places: Tensor) -> Tensor:
        """Return the features [n, channels] of evaluated samples."""
        if not self.features:
            return self.field.density(self.origins[:0])[1]
        return torch.cat(self.features)[self.slot[rays, places]]
