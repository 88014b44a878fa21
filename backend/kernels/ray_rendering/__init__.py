"""Rays to pixels in one operation: samples in occupied cells, density until the ray is opaque, colour where visible.

The mathematics is that of `ray_marching`, `visible_samples`, `radiance_mlp` with `spherical_harmonics`, and
`compositing`, one after the other; but the colour network is evaluated for groups of samples (`grouping`).

Engines: `reference` (their definitions in PyTorch), `stages` (their fast engines, any device) and `fused` (one kernel
that keeps rays and samples in the cache, CPU).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from ..hash_encoding import HashSpec
from ..radiance_mlp import RadianceMlpSpec, color_mlp, geometry_mlp
from ..ray_marching import OccupancyBits, Steps, check_rays, march_rays
from ..spherical_harmonics import COUNT, spherical_harmonics
from ..visible_samples import visible_samples
from .grouping import grouped

__all__ = ["Impl", "grouped", "render_rays"]

Impl = Literal["auto", "reference", "stages", "fused"]

CHUNK = 4096
"""Rays that go through the stages together: memory for their features is reused rather than allocated anew."""


@torch.no_grad()
def render_rays(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupancy: OccupancyBits,
    steps: Steps,
    table: Tensor,
    parameters: Tensor,
    spec: HashSpec,
    mlp: RadianceMlpSpec,
    jitter: Tensor | None = None,
    *,
    threshold: float,
    faintest: float,
    chunk: int = CHUNK,
    impl: Impl = "auto",
) -> Tensor:
    """Return [R, 5]: colour multiplied by alpha, alpha, Σ w t. Not differentiable.

    Args:
        origins, directions, near, far, occupancy, steps, jitter: see `march_rays`.
        table, parameters, spec, mlp: see `hash_encode` and `radiance_mlp`.
        threshold, faintest: see `grouping`.
        chunk: rays that go through the engines other than `fused` together.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    check_rays(origins, directions, near, far, jitter)
    if table.shape != (spec.num_entries, spec.num_features):
        raise ValueError(f"table must be {[spec.num_entries, spec.num_features]}, got {list(table.shape)}")
    if mlp.inputs != spec.width or parameters.shape != (mlp.num_parameters,):
        raise ValueError(
            f"networks of {spec.width} features and {mlp.num_parameters} parameters are wanted, got {mlp.inputs} and "
            f"{list(parameters.shape)}"
        )
    if mlp.view != COUNT:
        raise ValueError(f"the colour network must take {COUNT} harmonics of the direction, not {mlp.view} numbers")
    if impl == "auto":
        impl = cast(Impl, fastest_engine("render_rays", origins.device))
    if impl == "fused":
        if origins.device.type != "cpu":
            raise RuntimeError(f"render_rays: the fused engine runs on the CPU, not on {origins.device}")
        from .fused import render_rays_fused

        return render_rays_fused(
            origins, directions, near, far, occupancy, steps, table, parameters, spec, mlp, jitter,
            threshold, faintest,
        )  # fmt: skip
    if impl not in ("reference", "stages"):
        raise ValueError(f"no engine {impl!r}; there are reference, stages and fused")
    each: Literal["auto", "reference"] = "reference" if impl == "reference" else "auto"

    def rendered(part: slice) -> Tensor:
        offset = None if jitter is None else jitter[part]
        samples = march_rays(
            origins[part], directions[part], near[part], far[part], occupancy, steps, offset, impl=each
        )  # fmt: skip
        samples, features = visible_samples(samples, table, parameters, spec, mlp, threshold, impl=each)
        groups = grouped(samples, geometry_mlp(features, parameters, mlp, impl=each), threshold, faintest)
        view = spherical_harmonics(directions[part])
        rgb = torch.sigmoid(color_mlp(groups.geometry, view, groups.rays, parameters, mlp, impl=each))
        values = torch.cat((rgb * groups.weights[:, None], groups.weights[:, None], groups.t[:, None]), -1)
        return values.new_zeros(len(view), 5).index_add_(0, groups.rays, values)

    parts = [rendered(slice(at, at + chunk)) for at in range(0, len(origins), chunk)]
    return torch.cat(parts) if parts else origins.new_zeros(0, 5)
