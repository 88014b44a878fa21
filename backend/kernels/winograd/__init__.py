"""Transforms of Winograd's minimal filtering F(4 × 4, 3 × 3) (arxiv.org/abs/1509.09308), for channels-last images.

A 3 × 3 convolution makes 4 × 4 pixels of a *tile* of 6 × 6: tile and weights are transformed (to 36 *frequencies*),
multiplied frequency by frequency, summed over the channels, and transformed back. The products are the caller's.

Engines: `reference` (matrix products; any device) and `fused` (loops over channels; CPU).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from .reference import from_frequencies_reference, to_frequencies_reference

__all__ = ["Impl", "from_frequencies", "to_frequencies"]

Impl = Literal["auto", "reference", "fused"]


def to_frequencies(image: Tensor, frequencies: Tensor, *, impl: Impl = "auto") -> None:
    """Write the frequencies [36, tiles, channels] of all tiles, row by row.

    Args:
        image: [height + 2, width + 2, channels]; both sides are multiples of 4; pixels of a row lie one behind the
            other. Tiles begin every fourth pixel and overlap by two.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    height, width, channels = image.shape[0] - 2, image.shape[1] - 2, image.shape[2]
    if height % 4 or width % 4 or image.stride()[1:] != (channels, 1):
        raise ValueError(f"image must be [4 a + 2, 4 b + 2, channels] with contiguous rows, got {list(image.shape)}")
    _check_frequencies(frequencies, height * width // 16, channels)
    if _chosen(impl, image) == "fused":
        from .fused import to_frequencies_fused

        return to_frequencies_fused(image, frequencies)
    return to_frequencies_reference(image, frequencies)


def from_frequencies(
    frequencies: Tensor,
    image: Tensor,
    bias: Tensor,
    *,
    noise: Tensor | None = None,
    noise_gain: float = 1.0,
    scale: int = 1,
    slope: float = 1.0,
    clamp: float | None = None,
    impl: Impl = "auto",
) -> None:
    """Write an image [height, width, channels] of the products' frequencies [36, tiles, scale² · channels].

    Args:
        image: pixels of a row lie one behind the other; sides are multiples of 4 · scale.
        bias: [channels], added; then comes a leaky ReLU of this `slope` below zero, then the bound ±`clamp`.
        noise: [height, width], added, times `noise_gain`, before the activation.
        scale: 2: the four phases of a doubled image, [2 rows, 2 columns, channels] of each of the products.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    height, width, channels = image.shape
    if height % (4 * scale) or width % (4 * scale) or image.stride()[1:] != (channels, 1):
        raise ValueError(f"image must be [{4 * scale} a, {4 * scale} b, channels], got {list(image.shape)}")
    if bias.shape != (channels,):
        raise ValueError(f"bias must be [{channels}], got {list(bias.shape)}")
    if noise is not None and noise.shape != (height, width):
        raise ValueError(f"noise must be [{height}, {width}], got {list(noise.shape)}")
    _check_frequencies(frequencies, height * width // (16 * scale * scale), scale * scale * channels)
    if _chosen(impl, image) == "fused":
        from .fused import from_frequencies_fused as engine
    else:
        engine = from_frequencies_reference
    engine(frequencies, image, bias, noise, noise_gain, scale, slope, clamp)


def _check_frequencies(frequencies: Tensor, tiles: int, channels: int) -> None:
    if frequencies.shape != (36, tiles, channels):
        raise ValueError(f"frequencies must be [36, {tiles}, {channels}], got {list(frequencies.shape)}")


def _chosen(impl: Impl, image: Tensor) -> Impl:
    if impl not in ("auto", "reference", "fused"):
        raise ValueError(f"no engine {impl!r}; there are reference and fused")
    if impl == "auto":
        impl = cast(Impl, fastest_engine("winograd", image.device)) if image.dtype == torch.float32 else "reference"
    if impl == "fused" and (image.device.type != "cpu" or image.dtype != torch.float32):
        raise RuntimeError(f"winograd: the fused engine takes float32 on the CPU, not {image.dtype} on {image.device}")
    return impl
