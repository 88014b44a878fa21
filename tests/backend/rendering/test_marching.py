"""The march gives the picture of evaluating every sample, with less work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backend.rendering import compositing, sampling
from backend.rendering.marching import Occupancy, march


class Ball:
    """A solid ball of radius 0.5 whose colour is its position; counts how often it is asked."""

    def __init__(self, sharpness: float = 60.0):
        self.sharpness, self.asked = sharpness, 0

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.asked += len(points)
        return torch.relu((0.5 - points.norm(dim=-1)) * self.sharpness) * 4, points

    def color(self, features: Tensor, directions: Tensor) -> Tensor:
        return (features + 1) / 2


def _rays(size: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    y, x = torch.meshgrid(torch.linspace(-0.3, 0.3, size), torch.linspace(-0.3, 0.3, size), indexing="ij")
    directions = torch.nn.functional.normalize(torch.stack((x, y, torch.ones_like(x)), -1).reshape(-1, 3), dim=-1)
    origins = torch.tensor([0.0, 0.0, -3.0]).expand_as(directions)
    return origins, directions, torch.linspace(2, 4, 48).expand(len(directions), 48)


def _everything(field: Ball, origins: Tensor, directions: Tensor, t: Tensor, num_fine: int) -> tuple[Tensor, Tensor]:
    def evaluate(t: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, None] + directions[:, None] * t[..., None]
        density, features = field.density(points.reshape(-1, 3))
        return density.reshape(t.shape), field.color(features, features).reshape(*t.shape, 3)

    if num_fine:
        weights = compositing.weights_from_density(evaluate(t)[0], t) + 1e-5
        u = sampling.evenly_drawn(num_fine, t)
        drawn = sampling.inverse_cdf(sampling.midpoints(t), weights[:, 1:-1], u, side="left")
        t = sampling.merged(drawn, t)[0]
    density, color = evaluate(t)
    weights = compositing.weights_from_density(density, t)
    return compositing.composite(weights, color), weights.sum(-1)


@pytest.mark.parametrize("num_fine", [0, 48])
def test_march_gives_the_picture_of_evaluating_every_sample_with_a_third_of_the_work(num_fine: int) -> None:
    everything, sparse = Ball(), Ball()
    origins, directions, t = _rays()
    rgb, alpha = _everything(everything, origins, directions, t, num_fine)
    occupied = Occupancy(lambda points: sparse.density(points)[0], 1.0, 16, like=t)
    sparse.asked = 0
    result = march(sparse, origins, directions, t, num_fine=num_fine, occupied=occupied)
    assert float((result.rgb - rgb).square().mean()) < 1e-5
    assert float((result.alpha - alpha).abs().max()) < 2e-3
    assert sparse.asked < everything.asked / 3


def test_occupancy_holds_every_point_with_density() -> None:
    ball = Ball()
    occupied = Occupancy(lambda points: ball.density(points)[0], 1.0, 12, like=torch.zeros(1))
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    dense = ball.density(points)[0] > 0
    assert occupied(points)[dense].all()
    assert occupied.share < 0.6
    assert occupied(torch.tensor([[5.0, 0.0, 0.0]])).all()


def test_rays_that_meet_nothing_are_transparent() -> None:
    origins, directions, t = _rays(4)
    result = march(Ball(), origins + 10, directions, t, num_fine=8)
    assert (result.alpha == 0).all() and (result.rgb == 0).all()
