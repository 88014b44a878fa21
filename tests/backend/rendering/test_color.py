"""sRGB and linear light, there and back."""

from __future__ import annotations

import pytest
import torch

from backend.rendering.color import linear_from_srgb, srgb_from_linear


def test_encodings_are_inverse_and_those_of_the_standard() -> None:
    x = torch.linspace(0, 1, 257, dtype=torch.float64)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(x)), x, rtol=0, atol=1e-7)
    assert float(linear_from_srgb(torch.tensor(0.5))) == pytest.approx(0.2140, abs=1e-4)


def test_black_has_a_gradient() -> None:
    for change in (srgb_from_linear, linear_from_srgb):
        x = torch.zeros(3, requires_grad=True)
        change(x).sum().backward()
        assert x.grad is not None and bool(x.grad.isfinite().all()) and bool((x.grad > 0).all())
