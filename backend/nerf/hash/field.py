"""A radiance field of a hash table and two small networks.

Vocabulary. World is the data set's frame. The *field frame* is world translated and scaled by one factor, so that the
*box*, a cube, is 0..1 along each axis: `low` is the box's corner in world, `side` its edge in metres. The tables live
on the *unit cube* of `kernels.ray_marching`: the box itself, or with `unbounded` all of space, contracted. Density is
per unit of the samples' length: that of the field frame inside the box, contracted beyond it (`metres_per_length`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from addon.wire.messages import Bounds

from ...kernels.compositing import LARGEST_EXPONENT, CompositedRays, composite_packed
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.radiance_mlp import RadianceMlpSpec, density_mlp, radiance_mlp
from ...kernels.ray_marching import OccupancyBits, Samples, Steps, contract, contraction_scale, march_rays
from ...kernels.ray_rendering import CHUNK, Impl, render_rays
from ...kernels.spherical_harmonics import spherical_harmonics
from ...kernels.visible_samples import running_total, visible_samples
from ...rendering.boxes import box_interval

KIND = "hash_field"

OPAQUE = 1 / 256
"""Transmittance below which a ray ends: one step of an 8-bit image."""

FAINT = 1 / 64
"""Share of a ray's light within which samples are grouped and coloured together."""

DIM = 1e-3
"""Transmittance below which the sky behind a traced ray is not evaluated."""

FAR = 1e3
"""Length of an unbounded ray, field units."""

UNIT_BOX: Bounds = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class HashFieldConfig:
    """Placement, shape and sampling of a field: everything but its tensors."""

    low: tuple[float, float, float]
    side: float
    table: HashSpec = field(default_factory=HashSpec)
    hidden: int = 64
    step: float = 1 / 256  # between samples of a ray, field units
    unbounded: bool = False
    sky: bool = False  # light that nothing stops comes from infinity, in the colour that the table has there
    linear: bool = False  # colours are composited as linear light
    bounds: Bounds | None = None  # of the content, world metres; None = the box
    iso_level: float | None = None  # of the surface, 1/metre; None = where one step of a ray is half opaque

    def __post_init__(self) -> None:
        corners = self.bounds or (self.low, self.low)
        numbers = [*self.low, *corners[0], *corners[1], self.side, self.step, self.iso_level or 0.0]
        whole = len(self.low) == 3 and all(len(corner) == 3 for corner in corners)
        if not (whole and all(abs(number) < 1e9 for number in numbers)):
            raise ValueError("a corner has 3 finite numbers, and every number is below 1e9")
        if not (self.side > 1e-9 and 1e-5 <= self.step <= 1 and (self.iso_level or 0.0) >= 0):
            raise ValueError(
                f"side must be above 1e-9, step in 1e-5..1, and level not negative; got {self.side:g}, {self.step:g}, "
                f"{self.iso_level}"
            )

    @property
    def networks(self) -> RadianceMlpSpec:
        """Shape of the networks."""
        return RadianceMlpSpec(inputs=self.table.width, hidden=self.hidden)

    def steps_of(self, step: float | None = None) -> Steps:
        """Ray-marching steps of length `step`, field units; None: the field's own."""
        if self.unbounded:
            return Steps(step or self.step, cone=1 / 512, most=2048, contracted=True)
        return Steps(step or self.step, most=2048)


def at_infinity(directions: Tensor) -> Tensor:
    """Return the points of the unit cube's faces [..., 3] at which rays along directions [..., 3] end, see
    `contract`."""
    return directions / directions.abs().amax(-1, keepdim=True) * 0.5 + 0.5


class Encode(Protocol):
    """Hash encoding of unit-cube points [N, 3]. features: their encoding [N, width] where it is known already."""

    def __call__(self, points: Tensor, features: Tensor | None, /) -> Tensor: ...


@dataclass(frozen=True)
class TracedRays:
    """Differentiable render of rays [R].

    pixels: colours as the field composites them (sRGB, or linear light), t in field units. sky: [R, 3] sRGB of what is
    seen behind them, or None. num_samples: evaluated along all rays.
    """

    pixels: CompositedRays
    sky: Tensor | None
    num_samples: int


class HashField:
    """Parameters of a field, and their evaluation.

    table: [entries, features]. matrices: of the networks, see `RadianceMlpSpec.shapes`; they share the memory of the
    flat `networks`. All are frozen until `requires_grad_(True)`. float64 parameters are traced by the kernels'
    reference engines, which alone have that precision.
    """

    def __init__(
        self,
        config: HashFieldConfig,
        table: Tensor,
        networks: Tensor,
        occupied: Tensor,
        solid: Tensor | None = None,
        clip: Bounds | None = None,
    ) -> None:
        """networks: flat. occupied: bool [n, n, n], cells of the unit cube where rays are sampled. solid: bool
        [n, n, n], cells inside of something, see `surface_extent`. clip: world box that rays are cut to."""
        self.config, self.clip = config, clip
        self.table = nn.Parameter(table.detach(), requires_grad=False)
        self._networks = networks.detach()
        self.matrices = [nn.Parameter(x, requires_grad=False) for x in config.networks.matrices(self._networks)]
        self.solid = torch.zeros_like(occupied) if solid is None else solid
        self.occupancy = OccupancyBits(occupied)
        self._mlp = config.networks

    def __deepcopy__(self, memo: dict[int, object]) -> HashField:
        """Return a copy whose `matrices`, too, share the memory of its `networks`."""
        grids = self.occupancy.occupied.clone(), self.solid.clone()
        made = HashField(self.config, self.table.clone(), self._networks.clone(), *grids, self.clip)
        for mine, new in zip((self.table, *self.matrices), (made.table, *made.matrices), strict=True):
            new.requires_grad_(mine.requires_grad)
        return made

    @property
    def networks(self) -> Tensor:
        """Flat parameters of the networks; differentiable in those `matrices` that require gradients."""
        if torch.is_grad_enabled() and any(matrix.requires_grad for matrix in self.matrices):
            return torch.cat([matrix.reshape(-1) for matrix in self.matrices])
        return self._networks

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.table.device

    # The field frame

    def from_world(self, points: Tensor) -> Tensor:
        """Transform world points [..., 3] to the field frame."""
        low = torch.tensor(self.config.low, dtype=points.dtype, device=points.device)
        return (points - low) / self.config.side

    def unit(self, points: Tensor) -> Tensor:
        """Map points [..., 3] of the field frame to the unit cube of the tables."""
        return contract(points) if self.config.unbounded else points

    def encode(self, points: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the features [N, width] of unit-cube points [N, 3]. Differentiable in points and table."""
        return hash_encode(points, self.table, self.config.table, impl=self._impl)

    @property
    def _impl(self) -> Literal["auto", "reference"]:
        return "reference" if self.table.dtype == torch.float64 else "auto"

    def sky(self, directions: Tensor, *, encode: Encode | None = None, networks: Tensor | None = None) -> Tensor:
        """Return the colours at infinity along unit directions [R, 3]: [R, 3], sRGB. Differentiable.

        encode, networks: see `trace`.
        """
        features = (encode or self.encode)(at_infinity(directions), None)
        rows = torch.arange(len(directions), dtype=torch.int32, device=directions.device)
        networks = self.networks if networks is None else networks
        raw = radiance_mlp(features, spherical_harmonics(directions), rows, networks, self._mlp, impl=self._impl)
        return torch.sigmoid(raw[:, 1:])

    def density_raw(self, unit: Tensor) -> Tensor:
        """Density before its activation at unit-cube points [N, 3]: [N]. Differentiable."""
        return density_mlp(hash_encode(unit, self.table, self.config.table), self.networks, self._mlp)

    def metres_per_length(self, points: Tensor) -> Tensor | float:
        """Metres of a unit of the samples' length at points [N, 3] of the field frame."""
        return self.config.side * (contraction_scale(points) if self.config.unbounded else 1.0)

    def density(self, unit: Tensor) -> Tensor:
        """Density per unit of the samples' length at unit-cube points [N, 3]: [N]. Differentiable."""
        return torch.exp(self.density_raw(unit).clamp(max=LARGEST_EXPONENT))

    # Rays

    def spans(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return near and far [R] of rays [R, 3] in the field frame: inside the box, in front of the origin."""
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
        """Return the samples of rays [R, 3] in occupied cells; field frame, unit directions. Not differentiable.

        jitter: [R] in 0..1, offset of the first sample in steps; None: half. step: None is the field's own.
        """
        near, far = self.spans(origins, directions)
        steps = self.config.steps_of(step)
        return march_rays(origins, directions, near, far, self.occupancy, steps, jitter, impl=self._impl)

    def trace(
        self,
        origins: Tensor,
        directions: Tensor,
        jitter: Tensor | None = None,
        *,
        step: float | None = None,
        threshold: float = OPAQUE,
        encode: Encode | None = None,
        networks: Tensor | None = None,
    ) -> TracedRays:
        """Render rays [R, 3] differentiably in the parameters and in the rays; field frame, unit directions.

        Sample positions t are constants (where to sample is not trained): a sample moves with its ray as
        origin + t · direction.

        Args:
            jitter, step: see `march`.
            threshold: transmittance behind which samples are left out (the reference engines evaluate all).
            encode, networks: used instead of the field's own; the values must be the same.
        """
        networks = self.networks if networks is None else networks
        encode = encode or self.encode
        spec, known = self.config.table, None
        samples = self.march(origins.detach(), directions.detach(), jitter, step=step)
        if self._impl == "auto":
            fixed = self.table.detach(), networks.detach()
            samples, known = visible_samples(samples, *fixed, spec, self._mlp, threshold)
        points = samples.points
        if origins.requires_grad or directions.requires_grad:
            rays = samples.rays.long()
            points = self.unit(origins[rays] + samples.t[:, None] * directions[rays])
        features = encode(points, known)
        view = spherical_harmonics(directions)
        raw = radiance_mlp(features, view, samples.rays, networks, self._mlp, impl=self._impl)
        pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets, impl=self._impl)
        sky = None
        if self.config.sky and self.clip is None:
            lit = (pixels.alpha.detach() < 1 - DIM).nonzero(as_tuple=True)[0]
            colors = self.sky(directions[lit], encode=encode, networks=networks)
            sky = colors.new_zeros(len(directions), 3).index_copy(0, lit, colors)
        return TracedRays(pixels, sky, len(samples.t))

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
        """Return [R, 5]: premultiplied colour as it is composited, alpha, Σ w t. Field frame, unit directions.

        The fast path, not differentiable. step: None is the field's own. chunk, impl: see `kernels.ray_rendering`.
        """
        near, far = self.spans(origins, directions)
        config = self.config
        return render_rays(
            origins, directions, near, far, self.occupancy, config.steps_of(step),
            self.table, self.networks, config.table, self._mlp, jitter, threshold=OPAQUE, faintest=FAINT, impl=impl,
            chunk=chunk,
        )  # fmt: skip

    @torch.no_grad()
    def median_depth(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find where the transmittance of rays falls to one half; field frame, unit directions.

        Returns:
            The samples in front of it [N, 3]; of the H rays that get there, that point [H, 3], and the density there
            per field unit [H]. Points in the unit cube.
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
