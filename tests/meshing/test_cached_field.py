"""Cached values of a field are its values, and another level needs no evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from meshing.cached_field import CachedField
from meshing.errors import LevelOutOfRange
from meshing.grid import extract_surface

BOUNDS = ((-1.0, -0.8, -1.0), (1.0, 0.8, 1.2))


class Ball:
    """A density that falls off from the middle, and counts its points."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        self.count += len(points)
        return 100 * np.exp(-4 * (points**2).sum(-1))


def surface(field: object, level: float):
    return extract_surface(field, BOUNDS, 33, level, inside="positive", cap=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [20.0, 60.0])
def test_the_surface_of_a_cached_field_is_that_of_the_field(level: float) -> None:
    wanted = surface(Ball(), level)
    got = surface(CachedField(Ball(), BOUNDS, 33), level)
    np.testing.assert_array_equal(got.vertices, wanted.vertices)
    np.testing.assert_array_equal(got.faces, wanted.faces)


def test_a_filled_field_is_evaluated_once_at_each_point_and_never_again() -> None:
    ball = Ball()
    cached = CachedField(ball, BOUNDS, 33)
    first = surface(cached, 50.0)
    some = ball.count
    cached.fill(batch_size=1000)
    assert 0 < some < ball.count == np.prod(cached.shape)
    second = surface(cached, 20.0)
    assert ball.count == np.prod(cached.shape)
    assert np.abs(second.vertices).max() > np.abs(first.vertices).max() + 0.1
    with pytest.raises(LevelOutOfRange):
        surface(cached, 1000.0)


def test_an_unfilled_field_is_evaluated_at_no_point_twice() -> None:
    ball = Ball()
    cached = CachedField(ball, BOUNDS, 33)
    surface(cached, 50.0)
    before = ball.count
    surface(cached, 50.0)
    assert ball.count == before
