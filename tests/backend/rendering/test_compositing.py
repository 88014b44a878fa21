"""Compositing is the quadrature of Eq. 3, and agrees with integrals known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from backend.rendering import compositing


def test_weights_agree_with_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(7, 12, generator=generator, dtype=torch.float64) * 5
    t = torch.rand(7, 12, generator=generator, dtype=torch.float64).cumsum(-1)
    weights = compositing.weights_from_density(density, t, last=0.3)
    for ray in range(7):
        left = 1.0
        for i in range(12):
            length = float(t[ray, i + 1] - t[ray, i]) if i < 11 else 0.3
            alpha = 1 - math.exp(-float(density[ray, i]) * length)
            assert abs(float(weights[ray, i]) - left * alpha) < 1e-8
            left *= 1 - alpha


@pytest.mark.parametrize("density", [0.1, 1.0, 10.0])
def test_constant_density_gives_the_opacity_of_beer_and_lambert(density: float) -> None:
    t = torch.linspace(0, 2, 201, dtype=torch.float64)[None]
    weights = compositing.weights_from_density(torch.full_like(t, density), t, last=0.0)
    assert abs(float(weights.sum()) - (1 - math.exp(-2 * density))) < 1e-6


def test_an_endless_last_interval_is_opaque_where_there_is_any_density() -> None:
    t = torch.tensor([[1.0, 2.0]])
    assert float(compositing.weights_from_density(torch.tensor([[0.0, 1e-3]]), t).sum()) == 1.0
    assert float(compositing.weights_from_density(torch.zeros(1, 2), t).sum()) == 0.0


def test_background_last_makes_every_ray_opaque_and_straight_undoes_alpha() -> None:
    weights = torch.rand(5, 4) / 8
    assert torch.allclose(compositing.with_background_last(weights).sum(-1), torch.ones(5))
    color = torch.rand(5, 3)
    alpha = torch.tensor([1.0, 0.5, 0.1, 0.0, 1e-6])
    back = compositing.unpremultiply(color * alpha[:, None], alpha)
    assert torch.allclose(back[:3], color[:3], atol=1e-5)
    assert (back[3:] == 0).all()


def test_gradients_survive_an_opaque_sample_in_front() -> None:
    density = torch.tensor([[1e6, 1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    weights = compositing.weights_from_density(density, torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    weights[0, 1].backward()
    assert density.grad is not None and density.grad.isfinite().all()


def test_distortion_is_the_double_sum() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(5, 9, generator=generator, dtype=torch.float64)
    lengths = torch.rand(5, 9, generator=generator, dtype=torch.float64)
    t = lengths.cumsum(-1) - lengths / 2
    apart = (t[:, :, None] - t[:, None, :]).abs()
    expected = (weights[:, :, None] * weights[:, None, :] * apart).sum((1, 2)) + (weights**2 * lengths).sum(1) / 3
    torch.testing.assert_close(compositing.distortion(weights, t, lengths), expected)
    assert compositing.distortion(weights[:, :0], t[:, :0], lengths[:, :0]).tolist() == [0.0] * 5
