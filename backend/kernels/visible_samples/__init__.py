"""Which samples light reaches, and their features: everything behind what is already opaque is left out.

Density is asked from the front of each ray, and no further than where less than `threshold` of the light is left.

Engines: `reference` (all samples are encoded, then dropped; any device) and `fused` (a ray stops as soon as it may,
16 samples at a time; CPU).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec, hash_encode
from ..radiance_mlp import RadianceMlpSpec, density_mlp
from ..ray_marching import Samples

__all__ = ["Impl", "running_total", "visible_samples"]

Impl = Literal["auto", "reference", "fused"]

SOLID = 40.0
"""Optical thickness of a sample that nothing is seen behind."""


@torch.no_grad()
def visible_samples(
    samples: Samples,
    table: Tensor,
    parameters: Tensor,
    spec: HashSpec,
    mlp: RadianceMlpSpec,
    threshold: float = 1e-2,
    *,
    faintest: float = 0.0,
    impl: Impl = "auto",
) -> tuple[Samples, Tensor]:
    """Return the samples in front of which more than `threshold` of the light is left, and their features
    [N, spec.width]. Not differentiable.

    Args:
        samples: of whole rays; density is per unit of their lengths.
        table, parameters: see `hash_encode` and `radiance_mlp`.
        faintest: for an image. Samples are left out, too, until so much of the light (0..1) has been taken since the
            last one that stays, which stands for them all: its length makes it as thick as they are together. The one
            at which less than `threshold` is left stands for everything behind it.

    Raises:
        ValueError: there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    if impl == "auto":
        impl = "fused" if table.device.type == "cpu" else "reference"
    limit = -math.log(threshold)
    if impl == "reference":
        features = hash_encode(samples.points, table, spec)
        density = density_mlp(features, parameters, mlp)
    elif impl == "fused":
        if table.device.type != "cpu":
            raise RuntimeError(f"visible_samples: the fused engine runs on the CPU, not on {table.device}")
        from .fused import features_until_opaque

        features, density = features_until_opaque(samples, table, parameters, spec, mlp, limit)
    else:
        raise ValueError(f"no engine {impl!r}; there are reference and fused")
    sigma = torch.exp(density.clamp(max=LARGEST_EXPONENT))
    thickness = sigma * samples.lengths
    total = running_total(thickness)
    start = total[samples.offsets.long().to(total.device)].index_select(0, samples.rays.long().to(total.device))
    in_front = (total[:-1] - start).to(table.device, torch.float32)
    keep = ~(in_front >= limit)  # what is not a number stays, to be noticed
    if not faintest:
        kept, places = samples.kept(keep)
        return kept, features.index_select(0, places)
    behind = in_front + thickness
    behind = torch.where(behind >= limit, torch.inf, behind)
    keep &= ~(_steps(in_front, faintest) == _steps(behind, faintest))
    kept, places = samples.kept(keep)
    behind = behind.index_select(0, places)
    before = torch.cat((behind.new_zeros(1), behind))[:-1]
    before[kept.offsets[:-1][kept.offsets.diff() > 0].long()] = 0
    together = (behind - before).clamp(max=SOLID)
    return replace(kept, lengths=together / sigma.index_select(0, places)), features.index_select(0, places)


def _steps(thickness: Tensor, faintest: float) -> Tensor:
    """How often, to the nearest, `faintest` of the light has been taken by what is so thick."""
    return torch.floor(-torch.expm1(-thickness) / faintest + 0.5)


def running_total(x: Tensor) -> Tensor:
    """Return the sums of all rows before each, and of all: [N] -> [N + 1] float64, which over many rays nothing less
    holds. On the CPU where the device knows no such numbers (MPS)."""
    exact = (x.cpu() if x.device.type == "mps" else x).double()
    return torch.cat((exact.new_zeros(1), torch.cumsum(exact, 0)))
