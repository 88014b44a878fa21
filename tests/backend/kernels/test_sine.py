"""Both engines of the sine agree, with their cosines."""

from __future__ import annotations

import math

import pytest
import torch

from backend.kernels.sine import sine_


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("largest", [2.0, 1000.0])
def test_sine_and_cosine_are_those_of_the_definition(count: int, largest: float) -> None:
    x = (2 * torch.rand(3, count, generator=torch.Generator().manual_seed(0)) - 1) * largest
    alone, sine, cosine = x.clone(), x.clone(), torch.zeros(3, count + 5)[:, 2 : count + 2]  # rows of a wider tensor
    assert sine_(alone, impl="fused") is alone
    sine_(sine, cosine, impl="fused")
    assert torch.equal(alone, sine)
    assert torch.allclose(sine.double(), x.double().sin(), rtol=0, atol=2e-7)
    assert torch.allclose(cosine.double(), x.double().cos(), rtol=0, atol=2e-7)


def test_a_value_that_is_no_number_stays_none() -> None:
    assert sine_(torch.tensor([math.nan, 0.5]), impl="fused").isnan().tolist() == [True, False]


def test_what_the_fused_engine_does_not_take_goes_to_the_reference() -> None:
    x = torch.rand(4, 6, dtype=torch.float64)
    assert torch.equal(sine_(x.clone()), x.sin())
    columns = torch.rand(4, 6).T
    assert torch.allclose(sine_(columns.clone(memory_format=torch.preserve_format)), columns.sin())
    with pytest.raises(RuntimeError, match="float32"):
        sine_(x, impl="fused")
    with pytest.raises(ValueError, match="cosine must be"):
        sine_(torch.rand(3), torch.rand(4))
