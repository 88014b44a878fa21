"""The march gives the picture of evaluating every sample, with less work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backend.rendering import compositing, sampling
from backend.rendering.marching import EVERY_SAMPLE, STRIDES, TOLERANCE, Occupancy, Strides, march, strides_for


class Ball:
    """A solid ball of radius 0.5 whose colour is its position; counts how often it is asked."""

    num_features = 3

    def __init__(self, sharpness: float = 240.0):
        self.sharpness, self.asked = sharpness, 0

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        self.asked += len(points)
        features.copy_(points)
        return (0.5 - points.norm(dim=-1)) * self.sharpness

    def positive(self, raw: Tensor) -> Tensor:
        return torch.relu(raw)

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        assert torch.allclose(features, points, atol=1e-5)
        return (features + 1) / 2

    def pixels(self, values: Tensor) -> Tensor:
        return values


def _rays(size: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    y, x = torch.meshgrid(torch.linspace(-0.3, 0.3, size), torch.linspace(-0.3, 0.3, size), indexing="ij")
    directions = torch.nn.functional.normalize(torch.stack((x, y, torch.ones_like(x)), -1).reshape(-1, 3), dim=-1)
    origins = torch.tensor([0.0, 0.0, -3.0]).expand_as(directions)
    return origins, directions, torch.linspace(2, 4, 48).expand(len(directions), 48)


def _everything(field: Ball, origins: Tensor, directions: Tensor, t: Tensor, num_fine: int) -> tuple[Tensor, Tensor]:
    def evaluate(t: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, None] + directions[:, None] * t[..., None]
        features = torch.empty(points.numel() // 3, 3)
        density = field.positive(field.density(points.reshape(-1, 3), features))
        return density.reshape(t.shape), field.values(features, features, features).reshape(*t.shape, 3)

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
    occupied = Occupancy(sparse, 1.0, 16, like=t)
    sparse.asked = 0
    result = march(sparse, origins, directions, t, num_fine=num_fine, occupied=occupied, strides=Strides(1, 8))
    assert float((result.rgb - rgb).square().mean()) < 1e-5
    assert float((result.alpha - alpha).abs().max()) < TOLERANCE
    assert sparse.asked < everything.asked / 3


class Waves(Ball):
    """Density that is nowhere zero for long and nowhere opaque, and colours in waves of their own."""

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        self.asked += len(points)
        features.copy_(points)
        return torch.sin(9 * points[:, 0]) * torch.sin(8 * points[:, 1] + 1) * torch.sin(10 * points[:, 2]) * 6

    def color(self, features: Tensor, directions: Tensor) -> Tensor:
        return 0.5 + 0.5 * torch.sin(11 * features.roll(1, -1))


@pytest.mark.parametrize("num_fine", [0, 48])
def test_what_lies_between_evaluated_samples_is_interpolated_where_nothing_is_empty(num_fine: int) -> None:
    everything, sparse = Waves(), Waves()
    origins, directions, t = _rays()
    rgb, alpha = _everything(everything, origins, directions, t, num_fine)
    result = march(sparse, origins, directions, t, num_fine=num_fine, strides=Strides(2, 8))
    assert float(alpha.mean()) > 0.3
    assert float((result.rgb - rgb).square().mean()) < 1e-5
    assert float((result.alpha - alpha).abs().max()) < 2 * TOLERANCE
    assert result.evaluated == sparse.asked < 0.8 * everything.asked


class Noise(Ball):
    """Density that has nothing to do with that of the sample next to it."""

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        features.copy_(points)
        return torch.sin(4e4 * points.sum(-1)) * 2


def test_strides_are_those_that_the_field_allows() -> None:
    origins, directions, t = _rays(8)
    assert strides_for(Waves(), origins, directions, t, num_fine=48) == STRIDES[0]
    ball = Ball()
    assert strides_for(ball, origins, directions, t, num_fine=48, occupied=Occupancy(ball, 1.0, 16, like=t)).coarse == 1
    assert strides_for(Noise(), origins, directions, t, num_fine=48) == EVERY_SAMPLE
    field = Waves()
    assert march(field, origins, directions, t, num_fine=8).evaluated == field.asked == t.shape[0] * 56


def test_occupancy_holds_every_point_with_density() -> None:
    ball = Ball()
    occupied = Occupancy(ball, 1.0, 12, like=torch.zeros(1))
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    dense = ball.density(points, torch.empty_like(points)) > 0
    assert occupied(points)[dense].all()
    assert occupied.share < 0.6
    assert occupied(torch.tensor([[5.0, 0.0, 0.0]])).all()


def test_rays_that_meet_nothing_are_transparent() -> None:
    origins, directions, t = _rays(4)
    result = march(Ball(), origins + 10, directions, t, num_fine=8)
    assert (result.alpha == 0).all() and (result.rgb == 0).all()
