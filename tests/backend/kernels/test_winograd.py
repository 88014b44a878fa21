"""Winograd's transforms: both engines agree, and are those of a convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backend.kernels.winograd import (
    Impl,
    from_frequencies,
    from_phases,
    low_pass,
    sizes_of_phases,
    to_frequencies,
    to_phases,
)

ENGINES: tuple[Impl, ...] = ("reference", "fused")


@pytest.mark.parametrize("channels", [1, 7, 16, 35])
def test_the_engines_agree_in_frequencies(channels: int) -> None:
    image = torch.randn(14, 22, channels)[:, :18]  # rows of a wider image
    found = [torch.empty(36, 12, channels) for _ in range(2)]
    to_frequencies(image, found[0], impl="reference")
    to_frequencies(image, found[1], impl="fused")
    assert torch.allclose(found[0], found[1], atol=2e-5)


@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_engines_agree_in_pixels(channels: int, noisy: bool) -> None:
    torch.manual_seed(0)
    frequencies, bias = torch.randn(36, 6, channels), torch.randn(channels)
    options = finish(8, 12, noisy)
    found = []
    for impl in ENGINES:
        frame = torch.zeros(10, 14, channels)
        from_frequencies(frequencies, frame[1:-1, 1:-1], bias, impl=impl, **options)
        found.append(frame)
    assert float(found[0].max()) == 9.0
    assert torch.allclose(found[0], found[1], atol=5e-5)


@pytest.mark.parametrize("channels", [3, 16, 21])
def test_the_engines_agree_in_phases(channels: int) -> None:
    torch.manual_seed(0)
    image = torch.randn(14, 10, channels)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        edge.zero_()
    for first, rows in ((0, 2), (1, 3), (3, 1)):
        data = [torch.empty(sum(sizes_of_phases(rows, 3)), channels) for _ in ENGINES]
        pixels = [torch.empty(8 * rows, 24, channels) for _ in ENGINES]
        for impl, frequencies, made in zip(ENGINES, data, pixels, strict=True):
            to_phases(image, frequencies, first, rows, impl=impl)
            from_phases(frequencies, made, impl=impl)
        assert torch.allclose(*data, atol=2e-5) and torch.allclose(*pixels, atol=2e-4)


@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_engines_agree_in_filtered_pixels(channels: int, noisy: bool) -> None:
    torch.manual_seed(0)
    given, bias = 3 * torch.randn(9, 24, channels), torch.randn(channels)
    options, found = finish(6, 16, noisy), []
    for impl in ENGINES:
        frame = torch.zeros(8, 18, channels)
        low_pass(given, frame[1:-1, 1:-1], (0.25, 0.75, 0.7, 0.3), bias, impl=impl, **options)
        found.append(frame)
    assert float(found[0].max()) == 9.0
    assert torch.allclose(found[0], found[1], atol=5e-5)


def finish(height: int, width: int, noisy: bool) -> dict[str, Any]:
    """Options of what follows a convolution."""
    noise = torch.randn(height, width) if noisy else None
    return {"slope": 0.2, "clamp": 9.0, "noise_gain": 1.4, "noise": noise}


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous rows"):
        to_frequencies(torch.zeros(7, 6, 3), torch.zeros(36, 1, 3))
    with pytest.raises(ValueError, match="frequencies must be"):
        to_frequencies(torch.zeros(6, 6, 3), torch.zeros(36, 2, 3))
    with pytest.raises(ValueError, match="bias must be"):
        from_frequencies(torch.zeros(36, 1, 3), torch.zeros(4, 4, 3), torch.zeros(4))
    with pytest.raises(ValueError, match="noise must be"):
        from_frequencies(torch.zeros(36, 1, 3), torch.zeros(4, 4, 3), torch.zeros(3), noise=torch.zeros(4, 5))
    with pytest.raises(ValueError, match="2 rows of tiles, not 3"):
        to_phases(torch.zeros(6, 6, 3), torch.zeros(1, 3), 0, 3)
    with pytest.raises(ValueError, match="given must be"):
        low_pass(torch.zeros(7, 5, 3), torch.zeros(4, 4, 3), (0, 1, 1, 0), torch.zeros(3))
    with pytest.raises(RuntimeError, match="float32"):
        to_frequencies(torch.zeros(6, 6, 3).double(), torch.zeros(36, 1, 3).double(), impl="fused")
