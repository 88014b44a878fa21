"""The fused kernel of rendering agrees with its stages, for all kinds of rays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from backend.kernels.hash_encoding import HashSpec
from backend.kernels.radiance_mlp import RadianceMlpSpec
from backend.kernels.ray_marching import OccupancyBits, Samples, Steps
from backend.kernels.ray_rendering import Impl, grouped, render_rays
from backend.nerf.hash.field import FAINT, OPAQUE

EVEN = Steps(1 / 50)
FAINTEST = 1e-2
CLOSE = 1e-3
"""Whether a sample is in one group or the next may turn on a bit."""

MLP = {
    1: RadianceMlpSpec(4, 20, 12, 16),
    2: RadianceMlpSpec(8, 16, 16, 16),
    4: RadianceMlpSpec(16, 16, 16, 16),
    8: RadianceMlpSpec(32, 36, 4, 16),
}


def rendered(
    count: int,
    impl: Impl,
    *,
    channels: int = 2,
    steps: Steps = EVEN,
    poisoned: bool = False,
    near: float = 0.0,
    jitter: bool = False,
    dense: float = 8.0,
    threshold: float = 1e-2,
    faintest: float = FAINTEST,
) -> Tensor:
    """Rays through a cloud with holes, every fifth beside it."""
    spec = HashSpec(4, channels, 10, 4, 32)
    random = torch.Generator().manual_seed(0)
    origins = torch.rand(count, 3, generator=random)
    origins[:, 2] = -0.5 - near
    origins[::5, 0] = 3.0
    directions = torch.nn.functional.normalize(
        torch.randn(count, 3, generator=random) * 0.2 + torch.tensor([0, 0, 1.0])
    )
    occupied = OccupancyBits(torch.rand(16, 16, 16, generator=random) < 0.6)
    table = torch.randn(spec.num_entries, spec.num_features, generator=random) * dense
    if poisoned:
        table[:] = torch.nan
    late = torch.rand(count, generator=random) if jitter else None
    mlp = MLP[channels]
    return render_rays(
        origins, directions, torch.full((count,), near), torch.full((count,), near + 2.0), occupied, steps,
        table, mlp.initial(random), spec, mlp, late, threshold=threshold, faintest=faintest, impl=impl,
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 63, 65, 1000])
@pytest.mark.parametrize("impl", ["stages", "fused"])
def test_every_engine_agrees_with_the_reference(count: int, impl: Impl) -> None:
    expected, got = rendered(count, "reference"), rendered(count, impl)
    assert got.shape == (count, 5)
    torch.testing.assert_close(got, expected, rtol=0, atol=CLOSE)
    if count == 1000:
        alpha = got[:, 3]
        assert (alpha[::5] == 0).all() and alpha.max() > 0.98 and ((alpha > 0.1) & (alpha < 0.9)).any()


@pytest.mark.parametrize("faintest", [4e-3, FAINT])
@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_grouping_samples_changes_a_pixel_by_no_more_than_its_bound(impl: Impl, faintest: float) -> None:
    exact = rendered(1000, "reference", threshold=1e-7, faintest=1e-7)[:, :4]
    got = rendered(1000, impl, threshold=OPAQUE, faintest=faintest)[:, :4]
    assert (got - exact).abs().max() < 1.5 * faintest and (got - exact).abs().mean() < 0.25 * faintest
    solid = exact[:, 3] > 0.997
    assert solid.any() and (got[solid, 3] > 0.99999).all()


def packed(thickness: list[list[float]]) -> Samples:
    """Samples of rays, lengths being what they are thick where density is 1."""
    lengths = torch.tensor([x for ray in thickness for x in ray])
    counts = torch.tensor([len(ray) for ray in thickness])
    offsets = torch.cat((torch.zeros(1), counts.cumsum(0))).int()
    rays = torch.repeat_interleave(torch.arange(len(counts)), counts).int()
    return Samples(torch.zeros(len(lengths), 3), torch.arange(len(lengths)).float(), lengths, rays, offsets)


def test_a_group_is_a_part_of_the_light_and_its_geometry_the_mean_over_it() -> None:
    # ray 0 takes 20, 16 and 32 % of the light, ray 1 nothing, ray 2 all of it, as a tenth is no more than the threshold
    samples = packed([[-math.log(0.8)] * 2 + [-math.log(0.5)], [0.0, 0.0], [-math.log(0.5), -math.log(0.2)]])
    geometry = torch.zeros(7, 4)
    geometry[:, 1] = torch.arange(7.0)
    groups = grouped(samples, geometry, threshold=0.1, faintest=0.25)
    assert groups.rays.tolist() == [0, 0, 1, 2, 2]
    torch.testing.assert_close(groups.weights, torch.tensor([0.36, 0.32, 0.0, 0.5, 0.5]))
    torch.testing.assert_close(groups.geometry[:, 1], torch.tensor([0.16 / 0.36, 2.0, 0.0, 5.0, 6.0]))
    torch.testing.assert_close(groups.t, torch.tensor([0.16, 0.64, 0.0, 2.5, 3.0]))


@pytest.mark.parametrize(
    "given",
    [
        {"channels": 1},
        {"channels": 4},
        {"channels": 8},
        {"jitter": True},
        {"steps": Steps(1 / 50, cone=1 / 32)},
        {"steps": Steps(1 / 50, cone=1 / 32, contracted=True)},
        {"steps": Steps(1 / 50, most=7)},
        {"dense": 30.0},
        {"dense": 0.0},
    ],
)
def test_fused_agrees_on_other_fields_and_walks(given: dict[str, object]) -> None:
    expected, got = (rendered(300, impl, **given) for impl in ("reference", "fused"))  # type: ignore[arg-type]
    torch.testing.assert_close(got, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("near", [0.0, -3.0])
def test_no_ray_is_lost_when_many_more_come_than_go_at_a_time(near: float) -> None:
    whole = rendered(5000, "fused", near=near)
    torch.testing.assert_close(whole, rendered(5000, "stages", near=near), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("impl", ["stages", "fused"])
def test_a_ray_that_does_not_move_ends(impl: Impl) -> None:
    spec, mlp = HashSpec(4, 2, 10, 4, 32), MLP[2]
    occupied = torch.zeros(16, 16, 16, dtype=torch.bool)
    occupied[15, 15, 15] = True
    inside, nowhere = torch.full((1, 3), 0.3), torch.zeros(1, 3)
    pixels = render_rays(
        inside, nowhere, torch.zeros(1), torch.full((1,), 2.0), OccupancyBits(occupied), Steps(1 / 50, cone=1e-8),
        torch.zeros(spec.num_entries, 2), mlp.initial(torch.Generator()), spec, mlp, threshold=0.1, faintest=0.1,
        impl=impl,
    )  # fmt: skip
    assert (pixels == 0).all()


def test_the_same_rays_give_the_same_bits() -> None:
    assert torch.equal(rendered(1000, "fused"), rendered(1000, "fused"))


def test_nan_reaches_the_pixel() -> None:
    alpha = rendered(300, "fused", poisoned=True)[:, 3]
    assert alpha.isnan().any() and (alpha[::5] == 0).all()


@pytest.mark.parametrize(
    ("place", "wrong", "said"),
    [
        (1, torch.zeros(2, 2), r"origins and directions must be \[R, 3\], got \[2, 3\], \[2, 2\]"),
        (3, torch.zeros(3), r"near, far and jitter must be \[2\]"),
        (6, torch.zeros(9, 2), r"table must be .*, got \[9, 2\]"),
        (7, torch.zeros(9), r"networks of 8 features and 1216 parameters are wanted, got 8 and \[9\]"),
    ],
)
def test_wrong_shapes_are_refused(place: int, wrong: Tensor, said: str) -> None:
    spec, mlp = HashSpec(4, 2, 10, 4, 32), MLP[2]
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    rays, table = torch.zeros(2, 3), torch.zeros(spec.num_entries, 2)
    given = [rays, rays, rays[:, 0], rays[:, 0], full, Steps(0.1), table, torch.zeros(mlp.num_parameters)]
    given[place] = wrong
    with pytest.raises(ValueError, match=said):
        render_rays(*given, spec, mlp, threshold=0.1, faintest=0.1)  # type: ignore[arg-type]


def test_an_unknown_engine_and_a_network_of_other_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="no engine 'x'"):
        rendered(1, "x")  # type: ignore[arg-type]
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    one, spec, mlp = torch.zeros(1, 3), HashSpec(4, 2, 10, 4, 32), RadianceMlpSpec(8, 16, 16, 12)
    table, networks = torch.zeros(spec.num_entries, 2), torch.zeros(mlp.num_parameters)
    with pytest.raises(ValueError, match="must take 16 harmonics of the direction, not 12 numbers"):
        render_rays(
            one, one, one[:, 0], one[:, 0], full, Steps(0.1), table, networks, spec, mlp, threshold=0.1, faintest=0.1
        )
