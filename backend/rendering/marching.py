"""Adaptive ray marching: the fast path of fields that are slow to evaluate.

Vocabulary. A *field* gives raw density and features at points, and colours of features; colours are evaluated only at
samples with a visible weight. *Occupancy* is a coarse grid of where density may be positive. A ray is *alive* while its
transmittance is above `OPAQUE`. A sample is *known* if it was evaluated or lies in empty space; the others are
interpolated *between* two known ones: raw density along the ray, and colour by passing their weight to those
neighbours. Which samples may be interpolated is found by halving strides: the curvature of the known samples around
bounds the error of linear interpolation, and with it the share of light that depends on it.

The result is that of the reference path (`weights_from_density` of every sample) up to those thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..threads import num_threads_on, run_on_torch_threads
from . import compositing, sampling

OPAQUE = 1e-3
"""Transmittance behind which samples are not evaluated."""

FAINT = 1e-3
"""Weight below which samples are not coloured; the other samples of the ray are scaled up instead."""

TOLERANCE = 4e-3
"""Share of a ray's light that may depend on the error of an interpolated sample."""

NEGLIGIBLE = 1e-3
"""Optical depth of all of a ray below which a cell counts as empty."""

SLAB = 3
"""Samples evaluated along all living rays before rays are terminated again."""

PROBE_DECIBELS = 50.0
"""Least PSNR of chosen strides against evaluating every sample, on the probed rays."""

POINTS_AT_ONCE = 2048
"""Points whose activations stay in the processor's cache."""


class Field(Protocol):
    """A radiance field in two halves, for one latent."""

    @property
    def num_features(self) -> int:
        """Return the length of the features."""

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """Return raw density [n] at points [n, 3], and write features [n, num_features]."""

    def positive(self, raw: Tensor) -> Tensor:
        """Return raw density made non-negative: a function that never falls."""

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Return what is summed along rays [n, channels] of features [n, num_features] at points [n, 3] seen along unit
        directions [n, 3]: colour 0..1, and whatever else `pixels` needs."""

    def pixels(self, values: Tensor) -> Tensor:
        """Return premultiplied colour [rays, 3] of sums Σ w v [rays, channels]."""


class Occupancy:
    """Grid of cells over the cube ±half where density may be positive. Everything outside counts as occupied."""

    def __init__(self, field: Field, half: float, resolution: int, *, like: Tensor):
        """Evaluate the density at the corners of the cells; a cell is empty if neither it nor a neighbour has a corner
        with density."""
        self.half, self.resolution = half, resolution
        side = torch.linspace(-half, half, resolution + 1).to(like)
        corners = torch.cartesian_prod(side, side, side)
        raw = like.new_empty(len(corners))

        def some(_: int, start: int, end: int) -> None:
            scratch = like.new_empty(POINTS_AT_ONCE, field.num_features)
            for first in range(start, end, POINTS_AT_ONCE):
                points = corners[first : min(first + POINTS_AT_ONCE, end)]
                raw[first : first + len(points)] = field.density(points, scratch[: len(points)])

        run_on_torch_threads(some, len(corners), like.device)
        dense = field.positive(raw) > NEGLIGIBLE / (2 * half)
        cells = F.max_pool3d(dense.to(like).reshape(1, 1, *[resolution + 1] * 3), 2, 1)
        self.cells = F.max_pool3d(cells, 3, 1, 1).reshape(-1) > 0

    @property
    def share(self) -> float:
        """Return the share of cells that are occupied."""
        return float(self.cells.float().mean())

    def __call__(self, points: Tensor) -> Tensor:
        """Return whether density may be positive at points [..., 3]: bool [...]."""
        place = ((points + self.half) * (self.resolution / (2 * self.half))).floor()
        outside = ((place < 0) | (place >= self.resolution)).any(-1)
        x, y, z = place.long().clamp(0, self.resolution - 1).unbind(-1)
        return self.cells[(x * self.resolution + y) * self.resolution + z] | outside


@dataclass(frozen=True)
class Strides:
    """The first strides. coarse: one of how many coarse samples is evaluated whatever its neighbours say; 1: all that
    light reaches. fine: at which distances samples between known ones are first looked at; 0: all are evaluated."""

    coarse: int
    fine: int


EVERY_SAMPLE = Strides(1, 0)
STRIDES = (Strides(2, 8), Strides(1, 8))
"""Strides that are tried for a field, fastest first."""


@dataclass(frozen=True)
class March:
    """Result of marched rays. rgb [rays, 3] premultiplied; values [rays, channels] Σ w v; alpha [rays] Σ w before any
    background; t [rays] Σ w t, not divided by Σ w; evaluated: number of samples."""

    rgb: Tensor
    values: Tensor
    alpha: Tensor
    t: Tensor
    evaluated: int

    @staticmethod
    def joined(parts: Sequence[March]) -> March:
        """Return the rays of all parts in a row."""
        return March(
            torch.cat([part.rgb for part in parts]),
            torch.cat([part.values for part in parts]),
            torch.cat([part.alpha for part in parts]),
            torch.cat([part.t for part in parts]),
            sum(part.evaluated for part in parts),
        )


def march(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    *,
    num_fine: int = 0,
    u: Tensor | None = None,
    last_back: bool = False,
    occupied: Callable[[Tensor], Tensor] | None = None,
    strides: Strides = EVERY_SAMPLE,
) -> March:
    """Volume render rays (Eq. 3 of arxiv.org/abs/2003.08934), hierarchically if `num_fine`.

    Args:
        field: what to render.
        origins, directions: [rays, 3], directions of unit length.
        t: coarse samples [rays, num_coarse], ascending.
        num_fine: samples drawn by the coarse weights.
        u: [rays, num_fine] in [0, 1) to draw them with; None spaces them evenly.
        last_back: the last sample takes the light that is left.
        occupied: points [..., 3] → [...]; where it is False density is taken to be 0.
        strides: which samples are evaluated first; see `strides_for`.
    """
    parts: list[March | None] = [None] * num_threads_on(t.device)

    def some(number: int, start: int, end: int) -> None:
        rays = slice(start, end)
        drawn = None if u is None else u[rays]
        samples = _Samples(field, origins[rays], directions[rays], t[rays], occupied, t.shape[-1] + num_fine)
        parts[number] = _marched(samples, num_fine, drawn, last_back, strides)

    run_on_torch_threads(some, len(t), t.device)
    return March.joined([part for part in parts if part is not None])


def _marched(samples: _Samples, num_fine: int, u: Tensor | None, last_back: bool, strides: Strides) -> March:
    t = samples.t
    samples.march_in(strides.coarse)
    samples.halve(strides.coarse // 2)
    if num_fine:
        weights = compositing.weights_from_density(samples.density(samples.between()), t) + 1e-5
        u = sampling.evenly_drawn(num_fine, t) if u is None else u
        samples.join(sampling.inverse_cdf(sampling.midpoints(t), weights[..., 1:-1], u, side="left"))
        if strides.fine:
            samples.halve(strides.fine)
        else:
            samples.march_in(1)
    between = samples.between()
    weights = compositing.weights_from_density(samples.density(between), samples.t)
    alpha = weights.sum(-1)
    if last_back:
        weights = compositing.with_background_last(weights)
    values = samples.composited(weights, between)
    return March(samples.field.pixels(values), values, alpha, (weights * samples.t).sum(-1), samples.count)


def strides_for(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    *,
    num_fine: int = 0,
    last_back: bool = False,
    occupied: Callable[[Tensor], Tensor] | None = None,
) -> Strides:
    """Return the fastest strides that give a few rays the colours of evaluating every sample. Arguments: `march`.

    A field that varies from each sample to the next cannot be interpolated; whether it does depends on its weights, its
    latent and the distance between samples.
    """

    def colors(strides: Strides) -> Tensor:
        options = {"num_fine": num_fine, "last_back": last_back, "occupied": occupied, "strides": strides}
        result = march(field, origins, directions, t, **options)  # type: ignore[arg-type]
        return torch.cat((result.rgb, result.alpha[:, None]), -1)

    # Where most is empty, skipped coarse samples save little, and a corner of a surface may lie between the others.
    tried = [strides for strides in STRIDES if occupied is None or strides.coarse == 1]
    expected = colors(EVERY_SAMPLE)
    largest_error = 10 ** (-PROBE_DECIBELS / 10)
    fitting = (strides for strides in tried if (colors(strides) - expected).square().mean() < largest_error)
    return next(fitting, EVERY_SAMPLE)


@dataclass(frozen=True)
class _Between:
    """Each sample [rays, samples] as a mixture of known ones: the places before and after it, the share of the latter,
    and the raw density that follows. A known sample is before and after itself. Before the first known sample and
    behind the last, both are that one."""

    before: Tensor
    after: Tensor
    share: Tensor
    raw: Tensor


class _Samples:
    """Samples along rays, some known: raw density [rays, samples], and where features of each lie (−1: nowhere)."""

    def __init__(
        self,
        field: Field,
        origins: Tensor,
        directions: Tensor,
        t: Tensor,
        occupied: Callable[[Tensor], Tensor] | None,
        most: int,
    ):
        self.field, self.origins, self.directions, self.t, self.occupied = field, origins, directions, t, occupied
        self.raw = torch.zeros_like(t)
        self.slot = torch.full(t.shape, -1, dtype=torch.long, device=t.device)
        self.empty = self._empty(t)
        # memory that is never written is never allocated
        self.features = t.new_empty(most * len(t), field.num_features)
        self.count = 0

    def _empty(self, t: Tensor) -> Tensor:
        if self.occupied is None:
            return torch.zeros_like(t, dtype=torch.bool)
        return ~self.occupied(self.origins[:, None] + self.directions[:, None] * t[..., None])

    def join(self, t: Tensor) -> None:
        """Sort samples at t [rays, n] in."""
        self.t, order = sampling.merged(t, self.t)
        self.raw = torch.cat((torch.zeros_like(t), self.raw), -1).gather(-1, order)
        self.slot = torch.cat((torch.full_like(t, -1, dtype=torch.long), self.slot), -1).gather(-1, order)
        self.empty = torch.cat((self._empty(t), self.empty), -1).gather(-1, order)

    def march_in(self, stride: int) -> None:
        """Evaluate every stride-th sample and the last that light reaches, slab by slab from the front."""
        places = torch.arange(self.t.shape[-1], device=self.t.device)
        chosen = places[(places % stride == 0) | (places == places[-1])]
        optical = torch.zeros_like(self.t[:, 0])
        limit = -math.log(OPAQUE)
        before = 0
        for part in chosen.split(SLAB):
            mask = torch.zeros_like(self.empty)
            mask[:, part] = (optical < limit)[:, None]
            self.evaluate(mask & ~self.empty & (self.slot < 0))
            # from the last sample of the slab before to the last of this one
            path = torch.cat((part.new_tensor([before]), part)) if part[0] > 0 else part
            density = self.field.positive(self.raw[:, path]) * ~self.empty[:, path]
            lengths = self.t[:, path].diff(dim=-1)
            optical = optical + (torch.minimum(density[:, 1:], density[:, :-1]) * lengths).sum(-1)
            before = int(part[-1])

    def halve(self, stride: int) -> None:
        """Evaluate the samples that must not be interpolated, with strides halved down to one."""
        places = torch.arange(self.t.shape[-1], device=self.t.device)
        while stride >= 1:
            self.evaluate(self._uncertain() & (places % stride == 0))
            stride //= 2

    def between(self) -> _Between:
        """Return for each sample the known ones that it lies between."""
        known = (self.slot >= 0) | self.empty
        count = known.shape[-1]
        places = torch.arange(count, device=known.device)
        before = torch.where(known, places, -1).cummax(-1).values
        after = torch.where(known, places, count).flip(-1).cummin(-1).values.flip(-1)
        none_before, none_after = before < 0, after >= count
        after = torch.where(none_after, before, after).clamp(min=0)
        before = torch.where(none_before, after, before)
        t_before, raw_before = self.t.gather(-1, before), self.raw.gather(-1, before)
        gap = self.t.gather(-1, after) - t_before
        share = torch.where(gap > 0, (self.t - t_before) / gap.clamp(min=1e-9), torch.zeros_like(gap))
        share = share.clamp_(0, 1)
        return _Between(before, after, share, torch.lerp(raw_before, self.raw.gather(-1, after), share))

    def density(self, between: _Between) -> Tensor:
        """Return density [rays, samples], partly interpolated."""
        return self.field.positive(between.raw) * ~self.empty

    def _uncertain(self) -> Tensor:
        """Return the unknown samples on whose interpolation error more than `TOLERANCE` of the light depends."""
        b = self.between()
        last = self.t.shape[-1] - 1
        far_before = b.before.gather(-1, (b.before - 1).clamp(min=0))
        far_after = b.after.gather(-1, (b.after + 1).clamp(max=last))
        t0, t1, t2, t3 = (self.t.gather(-1, place) for place in (far_before, b.before, b.after, far_after))
        raw0, raw1, raw2, raw3 = (self.raw.gather(-1, place) for place in (far_before, b.before, b.after, far_after))

        def slope(raw: Tensor, t: Tensor) -> Tensor:
            return raw / t.clamp(min=1e-9)

        middle = slope(raw2 - raw1, t2 - t1)
        # half the second derivative on either side, times (t − t1)(t2 − t)
        bend_before = torch.where(t1 > t0, (middle - slope(raw1 - raw0, t1 - t0)).abs() / (t2 - t0).clamp(min=1e-9), 0)
        bend_after = torch.where(t3 > t2, (slope(raw3 - raw2, t3 - t2) - middle).abs() / (t3 - t1).clamp(min=1e-9), 0)
        off = torch.maximum(bend_before, bend_after) * ((self.t - t1) * (t2 - self.t)).clamp(min=0)
        optical = self.density(b)[:, :-1] * self.t.diff(dim=-1)
        left = torch.exp(-F.pad(optical.cumsum(-1), (1, 0)))
        gap = t2 - t1
        least, most = self.field.positive(b.raw - off) * gap, self.field.positive(b.raw + off) * gap
        depends = left.gather(-1, b.before) * (torch.exp(-least) - torch.exp(-most))
        uncertain = (depends > TOLERANCE) | ((b.before == b.after) & (left > OPAQUE))
        return uncertain & (self.slot < 0) & ~self.empty

    def evaluate(self, mask: Tensor) -> None:
        """Evaluate the samples in mask [rays, samples], all of them unknown."""
        rays, places = mask.nonzero(as_tuple=True)
        if not len(rays):
            return
        points = self.origins[rays] + self.directions[rays] * self.t[rays, places, None]
        rows = self.features[self.count : self.count + len(rays)]
        raw = [
            self.field.density(some, into)
            for some, into in zip(points.split(POINTS_AT_ONCE), rows.split(POINTS_AT_ONCE), strict=True)
        ]
        self.raw[rays, places] = torch.cat(raw)
        self.slot[rays, places] = torch.arange(self.count, self.count + len(rays), device=rays.device)
        self.count += len(rays)

    def composited(self, weights: Tensor, between: _Between) -> Tensor:
        """Return Σ w v [rays, channels] for weights [rays, samples]."""
        # Empty samples have no colour: the other neighbour gets all of the weight.
        featured = self.slot >= 0
        before, after = featured.gather(-1, between.before), featured.gather(-1, between.after)
        share = torch.where(before & after, between.share, (~before & after).to(weights))
        moved = torch.zeros_like(weights)
        moved.scatter_add_(-1, between.before, weights * (1 - share))
        moved.scatter_add_(-1, between.after, weights * share)
        shown = moved > FAINT
        self.evaluate(shown & ~featured)
        rays, places = shown.nonzero(as_tuple=True)
        kept, slots = moved[rays, places], self.slot[rays, places]
        t, values = self.t[rays, places], weights.new_zeros(0)
        for some, ray, at, weight in zip(*(x.split(POINTS_AT_ONCE) for x in (slots, rays, t, kept)), strict=True):
            origins, directions = self.origins[ray], self.directions[ray]
            found = self.field.values(self.features[some], origins + directions * at[:, None], directions)
            if not len(values):
                values = found.new_zeros(len(weights), found.shape[-1])
            values.index_add_(0, ray, weight[:, None] * found)
        total = torch.zeros_like(weights[:, 0]).index_add_(0, rays, kept)
        return values * (weights.sum(-1) / total.clamp(min=FAINT))[:, None]
