"""Early ray termination keeps the same samples in both engines, and those of the definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from backend.kernels.hash_encoding import HashSpec, hash_encode
from backend.kernels.radiance_mlp import RadianceMlpSpec, density_mlp
from backend.kernels.ray_marching import OccupancyBits, Samples, Steps, march_rays
from backend.kernels.visible_samples import visible_samples

SPEC, MLP = HashSpec(4, 2, 10, 4, 32), RadianceMlpSpec(8, 16, 16, 16)


def made(count: int) -> tuple[Samples, Tensor, Tensor]:
    """Rays through a cloud, every fifth beside it."""
    random = torch.Generator().manual_seed(0)
    origins = torch.rand(count, 3, generator=random)
    origins[:, 2] = -0.5
    origins[::5, 0] = 3.0
    directions = torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3).contiguous()
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    near, far = torch.zeros(count), torch.full((count,), 2.0)
    table = torch.randn(SPEC.num_entries, SPEC.num_features, generator=random) * 2
    return march_rays(origins, directions, near, far, full, Steps(1 / 50)), table, MLP.initial(random)


@pytest.mark.parametrize("count", [0, 1, 15, 17, 1000])
def test_fused_keeps_what_the_reference_keeps(count: int) -> None:
    samples, table, networks = made(count)
    found = [
        visible_samples(samples, table, networks, SPEC, MLP, 1e-2, impl=impl)  # type: ignore[arg-type]
        for impl in ("reference", "fused")
    ]
    (expected, theirs), (got, ours) = found
    assert torch.equal(got.offsets, expected.offsets) and torch.equal(got.t, expected.t)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_sample_is_kept_while_light_reaches_it() -> None:
    samples, table, networks = made(40)
    kept, features = visible_samples(samples, table, networks, SPEC, MLP, 1e-2)
    density = torch.exp(density_mlp(hash_encode(samples.points, table, SPEC), networks, MLP)) * samples.lengths
    expected = []
    for ray in range(40):
        thickness = 0.0
        for i in range(int(samples.offsets[ray]), int(samples.offsets[ray + 1])):
            if math.exp(-thickness) <= 1e-2:
                break
            expected.append(i)
            thickness += float(density[i])
    assert torch.equal(kept.t, samples.t[expected]) and torch.equal(kept.rays, samples.rays[expected])
    assert 0 < len(expected) < len(samples.t), "some are seen and some are not"
    torch.testing.assert_close(features, hash_encode(kept.points, table, SPEC), rtol=0, atol=1e-4)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_nan_is_not_left_out(impl: str) -> None:
    samples, table, networks = made(20)
    table[:] = torch.nan
    kept, features = visible_samples(samples, table, networks, SPEC, MLP, impl=impl)  # type: ignore[arg-type]
    assert len(kept.t) == len(samples.t) and features.isnan().any()


def test_an_unknown_engine_is_named() -> None:
    samples, table, networks = made(1)
    with pytest.raises(ValueError, match="no engine 'x'"):
        visible_samples(samples, table, networks, SPEC, MLP, impl="x")  # type: ignore[arg-type]
