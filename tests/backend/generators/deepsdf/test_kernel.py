"""Every engine of sdf_mlp is the reference, forward and backward."""

from __future__ import annotations

import pytest
import torch

from backend.generators.deepsdf.model import Decoder, DecoderSpec
from backend.kernels.sdf_mlp import sdf_mlp

SPECS = {
    "weight norm": DecoderSpec(7, (24,) * 5, (2,), norm_layers=(0, 1, 2, 3, 4)),
    "layer norm, xyz in all, two skips": DecoderSpec(
        5, (20,) * 6, (2, 4), xyz_in_all=True, norm_layers=(1, 2, 5), weight_norm=False, use_tanh=True
    ),
    "no code": DecoderSpec(0, (16,) * 4, (2,), norm_layers=()),
}
TOLERANCE = 2e-6


def _decoder(spec: DecoderSpec) -> Decoder:
    torch.manual_seed(0)
    return Decoder(spec)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("batch", [(), (3,), (1, 2)], ids=str)
@pytest.mark.parametrize("num_points", [0, 1, 37, 4099])
def test_folded_is_the_reference(spec: DecoderSpec, batch: tuple[int, ...], num_points: int) -> None:
    weights = _decoder(spec).weights()
    points, codes = torch.randn(*batch, num_points, 3), 0.3 * torch.randn(*batch, spec.latent_size)
    with torch.no_grad():
        expected = sdf_mlp(points, codes, weights, impl="reference")
        got = sdf_mlp(points, codes, weights, impl="folded")
    assert got.shape == expected.shape == (*batch, num_points)
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_gradients_of_folded_are_those_of_the_reference(spec: DecoderSpec) -> None:
    decoder = _decoder(spec)
    gradients = []
    for impl in ("reference", "folded"):
        torch.manual_seed(1)
        points = torch.randn(2, 33, 3).requires_grad_()
        codes = (0.3 * torch.randn(2, spec.latent_size)).requires_grad_()
        value = decoder(points, codes, impl=impl)
        wanted = [points, *decoder.parameters()] + ([codes] if spec.latent_size else [])
        gradients.append(torch.autograd.grad(value.square().sum(), wanted))
    for got, expected in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_chunk_border_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = _decoder(SPECS["weight norm"]).weights()
    points, code = torch.randn(101, 3), torch.randn(7)
    with torch.no_grad():
        whole = sdf_mlp(points, code, weights)
        monkeypatch.setattr("backend.kernels.sdf_mlp.folded.CHUNK", 10)
        torch.testing.assert_close(sdf_mlp(points, code, weights), whole, rtol=0, atol=TOLERANCE)


def test_shapes_that_do_not_fit_are_named() -> None:
    weights = _decoder(SPECS["weight norm"]).weights()
    with pytest.raises(ValueError, match=r"points must be \[\.\.\., num_points, 3\], got \[4, 2\]"):
        sdf_mlp(torch.zeros(4, 2), torch.zeros(7), weights)
    with pytest.raises(ValueError, match=r"codes must be \[7\].*got \[6\]"):
        sdf_mlp(torch.zeros(4, 3), torch.zeros(6), weights)
    with pytest.raises(ValueError, match="no engine 'warp'"):
        sdf_mlp(torch.zeros(4, 3), torch.zeros(7), weights, impl="warp")  # type: ignore[arg-type]
