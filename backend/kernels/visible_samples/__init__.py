"""Early ray termination: samples with transmittance > threshold, and their features.

Density is evaluated from the front of each ray until the transmittance is no more than `threshold`.

Engines: `reference` (all samples are encoded, then dropped; any device) and `fused` (a ray stops as soon as it can, a
few samples at a time; CPU).
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec, hash_encode
from ..radiance_mlp import RadianceMlpSpec, density_mlp
from ..ray_marching import Samples

__all__ = ["Impl", "running_total", "thickness_in_front", "visible_samples"]

Impl = Literal["auto", "reference", "fused"]


@torch.no_grad()
def visible_samples(
    samples: Samples,
    table: Tensor,
    parameters: Tensor,
    spec: HashSpec,
    mlp: RadianceMlpSpec,
    threshold: float = 1e-2,
    *,
    impl: Impl = "auto",
) -> tuple[Samples, Tensor]:
    """Return the samples at whose front the transmittance is more than `threshold`, and their features [N, spec.width].
    Not differentiable.

    Args:
        samples: of whole rays; density is per unit of their lengths.
        table, parameters: see `hash_encode` and `radiance_mlp`.

    Raises:
        ValueError: there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    if impl == "auto":
        impl = cast(Impl, fastest_engine("visible_samples", table.device))
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
    thickness = torch.exp(density.clamp(max=LARGEST_EXPONENT)) * samples.lengths
    in_front = thickness_in_front(thickness, samples).to(table.device, torch.float32)
    kept, places = samples.kept(~(in_front >= limit))  # NaN stays, to be noticed
    return kept, features.index_select(0, places)


def thickness_in_front(thickness: Tensor, samples: Samples) -> Tensor:
    """Return the optical thickness in front of each sample, given that of each [N]: [N] float64, on the CPU where the
    device has no float64 (MPS)."""
    total = running_total(thickness)
    start = total.index_select(0, samples.offsets[:-1].long().to(total.device))
    return total[:-1] - start.index_select(0, samples.rays.long().to(total.device))


def running_total(x: Tensor) -> Tensor:
    """Return exclusive prefix sums, and the total at the end: [N] -> [N + 1] float64, as float32 is too coarse over
    many rays. On the CPU where the device has no float64 (MPS)."""
    exact = (x.cpu() if x.device.type == "mps" else x).double()
    return torch.cat((exact.new_zeros(1), torch.cumsum(exact, 0)))
