"""Tri-plane rendering: the fused engine against the definition, values and gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.kernels.triplane_rendering import TriplaneSpec, decode_points, render_triplanes

SPEC = TriplaneSpec(10, 8, 12, 3, 0.7, ((0, 1), (0, 2), (2, 1)))
SAMPLES = 6


def _inputs(rays: int = 75) -> list[Tensor]:
    """Planes, parameters, and rays that cross the box, leave it, miss it, or have no length."""
    random = torch.Generator().manual_seed(3)
    planes = torch.randn(2, 3, 8, 10, 10, generator=random)
    parameters = torch.randn(SPEC.num_parameters, generator=random)
    directions = F.normalize(torch.randn(2, rays, 3, generator=random), dim=-1)
    middle = torch.rand(2, rays, 3, generator=random) * 1.2 - 0.6
    distances = (
        (2 + torch.linspace(-1, 1, SAMPLES) + 0.1 * torch.rand(2, rays, SAMPLES, generator=random)).sort().values
    )
    distances[:, ::5] = 2.0
    return [planes, parameters, middle - 2 * directions, directions, distances]


def test_the_fused_engine_agrees_with_the_definition_and_its_gradients() -> None:
    inputs = _inputs()
    weights = torch.randn(2, 75, SPEC.features + 2, generator=torch.Generator().manual_seed(4))
    found = {}
    for impl in ("reference", "fused"):
        planes, parameters = (x.clone().requires_grad_() for x in inputs[:2])
        result = render_triplanes(planes, parameters, *inputs[2:], SPEC, impl=impl)  # type: ignore[arg-type]
        found[impl] = (result.detach(), *torch.autograd.grad((result * weights).sum(), (planes, parameters)))
    for expected, fused in zip(found["reference"], found["fused"], strict=True):
        assert float(expected.abs().max()) > 0.1
        assert torch.allclose(fused, expected, atol=2e-5 * float(expected.abs().max()))


def test_a_ray_without_length_shows_nothing_and_weights_are_an_opacity() -> None:
    result = render_triplanes(*_inputs(), SPEC)  # type: ignore[arg-type]
    assert torch.equal(result[:, ::5], torch.zeros(2, 15, SPEC.features + 2))
    opacity = result[:, 1::5, SPEC.features]
    assert float(opacity.min()) > 0 and float(opacity.max()) <= 1 + 1e-6
    assert torch.all(result[:, 1::5, -1] / opacity > 1) and torch.all(result[:, 1::5, -1] / opacity < 3.2)


def test_a_constant_field_is_that_of_the_integral() -> None:
    planes, parameters, origins, directions, distances = _inputs()
    hidden, hidden_bias, out, out_bias = (torch.zeros(shape) for shape in SPEC.shapes)
    out_bias[0] = 1.5
    parameters = SPEC.flat(hidden, hidden_bias, out, out_bias)
    result = render_triplanes(planes, parameters, origins, directions, distances, SPEC, impl="fused")
    expected = 1 - torch.exp(-math.log1p(math.exp(0.5)) * (distances[..., -1] - distances[..., 0]))
    assert torch.allclose(result[..., SPEC.features], expected, atol=1e-6)
    assert torch.allclose(result[..., 0], expected * (0.5 * 1.002 - 0.001), atol=1e-6)


def test_shapes_and_engines_are_checked() -> None:
    planes, parameters, origins, directions, distances = _inputs()
    with pytest.raises(ValueError, match="parameters"):
        render_triplanes(planes, parameters[1:], origins, directions, distances, SPEC)
    with pytest.raises(ValueError, match="origins"):
        render_triplanes(planes, parameters, origins[:, 1:], directions, distances, SPEC)
    with pytest.raises(ValueError, match="no gradient for rays"):
        render_triplanes(planes, parameters, origins.requires_grad_(), directions, distances, SPEC, impl="fused")
    assert render_triplanes(planes, parameters, origins, directions, distances, SPEC).requires_grad


@pytest.mark.parametrize("count", [1, 70])
def test_points_are_decoded_as_the_definition_says_also_outside(count: int) -> None:
    random = torch.Generator().manual_seed(5)
    spec = TriplaneSpec(10, 8, 12, 4, 0.7, ((0, 1), (0, 2), (2, 1)))
    planes = torch.randn(3, 8, 10, 10, generator=random)
    parameters = torch.randn(spec.num_parameters, generator=random)
    points = torch.rand(count, 3, generator=random) * 2 - 1
    expected = decode_points(planes, parameters, points, spec, impl="reference")
    for impl in ("fused", "auto"):
        found = decode_points(planes, parameters, points, spec, impl=impl)  # type: ignore[arg-type]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=2e-5)


def test_decoding_with_gradients_is_left_to_the_definition() -> None:
    spec = TriplaneSpec(10, 8, 12, 4, 0.7, ((0, 1), (0, 2), (2, 1)))
    points = torch.zeros(5, 3, requires_grad=True)
    arguments = (torch.ones(3, 8, 10, 10), torch.ones(spec.num_parameters), points, spec)
    assert decode_points(*arguments)[0].requires_grad
    with pytest.raises(ValueError, match="without gradients"):
        decode_points(*arguments, impl="fused")
