"""Winograd's transforms: both engines agree, and are those of a convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backend.kernels.winograd import from_frequencies, to_frequencies


@pytest.mark.parametrize("channels", [1, 7, 16, 35])
def test_the_engines_agree_in_frequencies(channels: int) -> None:
    image = torch.randn(14, 22, channels)[:, :18]  # rows of a wider image
    found = [torch.empty(36, 12, channels) for _ in range(2)]
    to_frequencies(image, found[0], impl="reference")
    to_frequencies(image, found[1], impl="fused")
    assert torch.allclose(found[0], found[1], atol=2e-5)


@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_engines_agree_in_pixels(channels: int, scale: int, noisy: bool) -> None:
    torch.manual_seed(0)
    frequencies, bias = torch.randn(36, 6, scale * scale * channels), torch.randn(channels)
    height, width = 8 * scale, 12 * scale
    options: dict[str, Any] = {"scale": scale, "slope": 0.2, "clamp": 9.0, "noise_gain": 1.4}
    options["noise"] = torch.randn(height, width) if noisy else None
    found = []
    for impl in ("reference", "fused"):
        frame = torch.zeros(height + 2, width + 2, channels)
        from_frequencies(frequencies, frame[1:-1, 1:-1], bias, impl=impl, **options)  # type: ignore[arg-type]
        found.append(frame)
    assert float(found[0].max()) == 9.0
    assert torch.allclose(found[0], found[1], atol=5e-5)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous rows"):
        to_frequencies(torch.zeros(7, 6, 3), torch.zeros(36, 1, 3))
    with pytest.raises(ValueError, match="frequencies must be"):
        to_frequencies(torch.zeros(6, 6, 3), torch.zeros(36, 2, 3))
    with pytest.raises(ValueError, match="bias must be"):
        from_frequencies(torch.zeros(36, 1, 3), torch.zeros(4, 4, 3), torch.zeros(4))
    with pytest.raises(ValueError, match="noise must be"):
        from_frequencies(torch.zeros(36, 1, 3), torch.zeros(4, 4, 3), torch.zeros(3), noise=torch.zeros(4, 5))
    with pytest.raises(RuntimeError, match="float32"):
        to_frequencies(torch.zeros(6, 6, 3).double(), torch.zeros(36, 1, 3).double(), impl="fused")
