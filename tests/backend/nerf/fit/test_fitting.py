"""Schedule that all fits share."""

from __future__ import annotations

import math

import pytest

from addon.wire.messages import FitOptions
from backend.nerf.fit.fitting import elapsed


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (FitOptions(steps=100), 0.5),
        (FitOptions(seconds=40.0), 0.25),
        (FitOptions(steps=100, seconds=40.0), 0.5),
        (FitOptions(steps=100, seconds=12.5), 0.8),
        (FitOptions(steps=20, seconds=40.0), 1.0),
    ],
)
def test_a_fit_is_as_far_as_what_ends_it_first(options: FitOptions, expected: float) -> None:
    assert elapsed(options, 50, 10.0, math.inf) == pytest.approx(expected)


def test_a_fit_without_an_end_has_the_usual_length() -> None:
    assert elapsed(FitOptions(), 50, 10.0, 200) == pytest.approx(0.25)
