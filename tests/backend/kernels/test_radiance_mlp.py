"""Every engine of the two small networks is the reference, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend.kernels.radiance_mlp import RadianceMlpSpec, color_mlp, density_mlp, geometry_mlp, radiance_mlp

SPECS = {"usual, small": RadianceMlpSpec(8, 16, 16, 16), "odd multiples of four": RadianceMlpSpec(12, 20, 4, 8)}
SPEC = SPECS["usual, small"]
RAYS = 7


def made(spec: RadianceMlpSpec, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(count)
    rays = torch.randint(RAYS, (count,), generator=random).sort().values.int()
    features, view = (torch.randn(n, w, generator=random) for n, w in ((count, spec.inputs), (RAYS, spec.view)))
    return features, view, rays, spec.initial(random)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("count", [0, 1, 15, 17, 1000, 3000])
def test_fused_is_the_reference(spec: RadianceMlpSpec, count: int) -> None:
    features, view, rays, parameters = made(spec, count)
    weight = torch.randn(count, 4, generator=torch.Generator().manual_seed(1))
    results = []
    for impl in ("reference", "fused"):
        leaves = [x.clone().requires_grad_() for x in (features, view, parameters)]
        raw = radiance_mlp(leaves[0], leaves[1], rays, leaves[2], spec, impl=impl)  # type: ignore[arg-type]
        density = density_mlp(features, parameters, spec, impl=impl)  # type: ignore[arg-type]
        results.append((raw.detach(), density, *torch.autograd.grad((raw * weight).sum(), leaves)))
    assert results[1][0].shape == (count, 4) and results[1][1].shape == (count,)
    for got, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * max(1.0, count / 50))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("count", [0, 17])
def test_one_network_after_the_other_is_both(spec: RadianceMlpSpec, count: int) -> None:
    features, view, rays, parameters = made(spec, count)
    geometry = geometry_mlp(features, parameters, spec)
    assert geometry.shape == (count, spec.geometry)
    rgb = color_mlp(geometry, view, rays, parameters, spec)
    both = radiance_mlp(features, view, rays, parameters, spec)
    torch.testing.assert_close(torch.cat((geometry[:, :1], rgb), -1), both, rtol=1e-4, atol=1e-4)


def test_the_padding_of_the_colour_stays_out_of_it() -> None:
    features, view, rays, parameters = made(SPEC, 9)
    changed = parameters.clone()
    SPEC.matrices(changed)[-1][:, 3] = 5.0
    for impl in ("reference", "fused"):
        before, after = (radiance_mlp(features, view, rays, p, SPEC, impl=impl) for p in (parameters, changed))  # type: ignore[arg-type]
        assert torch.equal(before, after)


def test_nan_stays_in_its_sample_and_is_kept() -> None:
    features, view, rays, parameters = made(SPEC, 40)
    features[11, 3] = torch.nan
    expected = radiance_mlp(features, view, rays, parameters, SPEC, impl="reference")
    got = radiance_mlp(features, view, rays, parameters, SPEC, impl="fused")
    assert expected[11].isnan().all()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    density = density_mlp(features, parameters, SPEC, impl="fused")
    assert density.isnan().nonzero().tolist() == [[11]]


def test_the_same_bits_come_back_twice_and_threads_change_a_sum_by_its_rounding() -> None:
    features, view, rays, parameters = made(SPEC, 5000)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 1, 2, 2):
            torch.set_num_threads(threads)
            leaf = parameters.clone().requires_grad_()
            raw = radiance_mlp(features, view, rays, leaf, SPEC, impl="fused")
            results.append((raw.detach(), torch.autograd.grad(raw.square().sum(), leaf)[0]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][0], other[0]) for other in results)
    assert torch.equal(results[0][1], results[1][1]) and torch.equal(results[2][1], results[3][1])
    torch.testing.assert_close(results[0][1], results[2][1], rtol=1e-4, atol=1e-2)


def test_density_with_a_gradient_comes_from_an_engine_that_has_one() -> None:
    features, _, _, parameters = made(SPEC, 33)
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(density_mlp(features, parameters, SPEC).sum(), features)
    assert gradient.abs().sum() > 0


def test_wrong_shapes_are_refused() -> None:
    features, view, rays, parameters = made(SPEC, 5)
    wrong: dict[str, Callable[[], Tensor]] = {
        r"features must be \[N, 8\], got \[5, 7\]": lambda: radiance_mlp(features[:, 1:], view, rays, parameters, SPEC),
        r"view must be \[R, 16\]": lambda: radiance_mlp(features, view[:, 1:], rays, parameters, SPEC),
        r"rays must be \[5\], got \[4\]": lambda: radiance_mlp(features, view, rays[1:], parameters, SPEC),
        r"parameters must be \[\d+\]": lambda: density_mlp(features, parameters[1:], SPEC),
        "no engine 'fused' for one network alone": lambda: geometry_mlp(features, parameters, SPEC, impl="fused"),
        "no engine 'warp'": lambda: density_mlp(features, parameters, SPEC, impl="warp"),  # type: ignore[arg-type]
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(RuntimeError, match="not on meta"):
        density_mlp(features.to("meta"), parameters.to("meta"), SPEC, impl="fused")
    for sizes in ({"hidden": 30}, {"inputs": 0}, {"view": 512}):
        with pytest.raises(ValueError, match="multiple of 4"):
            RadianceMlpSpec(**sizes)
