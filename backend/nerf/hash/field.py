"""A radiance field of a hash table and two small networks.

Vocabulary. World is the data set's frame. The *field frame* is world moved and scaled by one factor, so that the *box*,
a cube, is 0..1 along each axis: `low` is the box's corner in world, `side` its edge in metres. The tables live on the
*unit cube* of `kernels.ray_marching`: the box itself, or with `unbounded` all of space, contracted. Density comes per
unit of the samples' length: that of the field frame in the box, and drawn in beyond it (`size_at`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from addon.wire.messages import Bounds

from ...kernels.compositing import LARGEST_EXPONENT
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.radiance_mlp import RadianceMlpSpec, density_mlp, radiance_mlp
from ...kernels.ray_marching import OccupancyBits, Samples, Steps, contract, contraction_scale, march_rays
from ...kernels.ray_rendering import CHUNK, Impl, render_rays
from ...kernels.spherical_harmonics import spherical_harmonics
from ...kernels.visible_samples import running_total, visible_samples
from ...rendering.boxes import box_interval

KIND = "hash_field"

OPAQUE = 1 / 256
"""Rays with less light left are at their end: a step of a picture of 8 bits."""

FAINT = 1 / 64
"""The part of a ray's light in which samples begin that are coloured together."""

FAR = 1e3
"""Field units after which an unbounded ray ends."""

UNIT_BOX: Bounds = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class HashFieldConfig:
    """What the tensors do not say."""

    low: tuple[float, float, float]
    side: float
    table: HashSpec = field(default_factory=HashSpec)
    hidden: int = 64
    step: float = 1 / 256  # of a ray, field units
    unbounded: bool = False
    sky: bool = False  # rays that nothing stops end at infinity, in the colour that the table has there
    linear: bool = False  # colours are composited as linear light
    bounds: Bounds | None = None  # of what it holds, world metres; None = the box
    iso_level: float | None = None  # of the surface, 1/metre; None = where one step of a ray is half opaque

    def __post_init__(self) -> None:
        corners = self.bounds or (self.low, self.low)
        numbers = [*self.low, *corners[0], *corners[1], self.side, self.step, self.iso_level or 0.0]
        whole = len(self.low) == 3 and all(len(corner) == 3 for corner in corners)
        if not (whole and all(abs(number) < 1e9 for number in numbers)):
            raise ValueError("a corner has 3 finite numbers, and every number is below 1e9")
        if not (self.side > 1e-9 and 1e-5 <= self.step <= 1 and (self.iso_level or 0.0) >= 0):
            raise ValueError(f"side {self.side:g}, step {self.step:g} and level {self.iso_level} are those of no field")

    @property
    def networks(self) -> RadianceMlpSpec:
        """The networks' shape."""
        return RadianceMlpSpec(inputs=self.table.width, hidden=self.hidden)

    def steps_of(self, step: float | None = None) -> Steps:
        """How rays are walked, in steps of the field's own length or another."""
        if self.unbounded:
            return Steps(step or self.step, cone=1 / 512, most=2048, contracted=True)
        return Steps(step or self.step, most=2048)


def at_infinity(directions: Tensor) -> Tensor:
    """Return where in the unit cube directions [..., 3] lead to in the end: points of its faces, see `contract`."""
    return directions / directions.abs().amax(-1, keepdim=True) * 0.5 + 0.5


class HashField:
    """Parameters and how they are evaluated. table [entries, features]; networks flat; occupied bool [n, n, n]; solid
    bool [n, n, n]: cells within something, see `survey`; clip: rays are followed in this box of the world alone."""

    def __init__(
        self,
        config: HashFieldConfig,
        table: Tensor,
        networks: Tensor,
        occupied: Tensor,
        solid: Tensor | None = None,
        clip: Bounds | None = None,
    ) -> None:
        self.config, self.clip = config, clip
        self.table, self.networks = table, networks
        self.solid = torch.zeros_like(occupied) if solid is None else solid
        self.occupancy = OccupancyBits(occupied)
        self._mlp = config.networks

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.table.device

    # The field frame

    def from_world(self, points: Tensor) -> Tensor:
        """World [..., 3] to the field frame."""
        low = torch.tensor(self.config.low, dtype=points.dtype, device=points.device)
        return (points - low) / self.config.side

    def unit(self, points: Tensor) -> Tensor:
        """The field frame [..., 3] to the unit cube of the tables."""
        return contract(points) if self.config.unbounded else points

    def sky(self, directions: Tensor) -> Tensor:
        """Return the colours at infinity along unit directions [R, 3]: [R, 3], sRGB. Not differentiable."""
        features = hash_encode(at_infinity(directions), self.table, self.config.table)
        rows = torch.arange(len(directions), dtype=torch.int32, device=directions.device)
        view = spherical_harmonics(directions)
        return torch.sigmoid(radiance_mlp(features, view, rows, self.networks, self._mlp)[:, 1:])

    def density_raw(self, unit: Tensor) -> Tensor:
        """Density before its activation at unit-cube points [N, 3]: [N]. Differentiable."""
        return density_mlp(hash_encode(unit, self.table, self.config.table), self.networks, self._mlp)

    def size_at(self, points: Tensor) -> Tensor | float:
        """How many metres a unit of length of samples is at points [N, 3] of the field frame."""
        scale = contraction_scale(points) if self.config.unbounded else 1.0
        return self.config.side * scale

    def density(self, unit: Tensor) -> Tensor:
        """Density per unit of the samples' length at unit-cube points [N, 3]: [N]. Differentiable."""
        return torch.exp(self.density_raw(unit).clamp(max=LARGEST_EXPONENT))

    # Rays

    def spans(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """near and far [R] of rays in the field frame: where they are in the box; nothing is behind the origin."""
        near, far = torch.full_like(origins[:, 0], 0.01), torch.full_like(origins[:, 0], FAR)
        if not self.config.unbounded:
            near, far = box_interval(origins, directions, UNIT_BOX)
        if self.clip is not None:
            low, high = (self.from_world(torch.tensor(corner)).tolist() for corner in self.clip)
            first, last = box_interval(origins, directions, (tuple(low), tuple(high)))
            near, far = torch.maximum(near, first), torch.minimum(far, last)
        return near, far

    def march(
        self, origins: Tensor, directions: Tensor, jitter: Tensor | None = None, *, step: float | None = None
    ) -> Samples:
        """Samples of rays [R, 3] in the field frame, unit directions. step: None is the field's own."""
        near, far = self.spans(origins, directions)
        return march_rays(origins, directions, near, far, self.occupancy, self.config.steps_of(step), jitter)

    def render_rays(
        self,
        origins: Tensor,
        directions: Tensor,
        jitter: Tensor | None = None,
        *,
        step: float | None = None,
        chunk: int = CHUNK,
        impl: Impl = "auto",
    ) -> Tensor:
        """Return [R, 5]: premultiplied colour as it is composited, alpha, Σ w t. Field frame, unit directions. step:
        None is the field's own. chunk, impl: see `kernels.ray_rendering`."""
        near, far = self.spans(origins, directions)
        config = self.config
        return render_rays(
            origins, directions, near, far, self.occupancy, config.steps_of(step),
            self.table, self.networks, config.table, self._mlp, jitter, threshold=OPAQUE, faintest=FAINT, impl=impl,
            chunk=chunk,
        )  # fmt: skip

    @torch.no_grad()
    def median_depth(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Follow rays to where half of their light is left; field frame, unit directions.

        Returns:
            The samples on the way there [N, 3]; of the rays that come to it, where that is [H, 3], and the density
            there per field unit [H]. Points in the unit cube.
        """
        samples = self.march(origins, directions)
        samples, features = visible_samples(samples, self.table, self.networks, self.config.table, self._mlp, 0.5)
        density = torch.exp(density_mlp(features, self.networks, self._mlp).clamp(max=LARGEST_EXPONENT))
        passed = running_total(density * samples.lengths)
        ends = samples.offsets[1:].long()
        total = passed[samples.offsets.long().to(passed.device)].diff()
        met = (total >= math.log(2.0)).nonzero(as_tuple=True)[0]
        excess = (total[met] - math.log(2.0)).to(density)  # within the last sample of the ray
        met = met.to(ends.device)
        last = ends[met] - 1
        t = samples.t[last] + 0.5 * samples.lengths[last] - excess / density[last]
        return samples.points, self.unit(origins[met] + t[:, None] * directions[met]), density[last]
