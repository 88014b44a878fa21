"""Transforms of Winograd's minimal filtering F(4 × 4, 3 × 3) (arxiv.org/abs/1509.09308), for channels-last images.

A 3 × 3 convolution makes 4 × 4 pixels of a *tile* of 6 × 6: tile and weights are transformed (to 36 *frequencies*),
multiplied frequency by frequency, summed over the channels, and transformed back. The products are the caller's.

A doubling convolution (zero insertion, transposed 3 × 3 convolution, low-pass filter) has two *phases* along each side:
even pixels are sums of two of the weights' products, F(4, 2), and odd ones products with the weight in the middle. Of a
tile of 4 × 4 pixels come 8 × 8 by 81 products instead of 144, with 36 matrices of weights. The filter follows.

Engines: `reference` (matrix products; any device) and `fused` (loops over channels; CPU).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from .reference import (
    from_frequencies_reference,
    from_phases_reference,
    low_pass_reference,
    sizes_of_phases,
    tiles_across,
    to_frequencies_reference,
    to_phases_reference,
)

__all__ = [
    "Impl",
    "from_frequencies",
    "from_phases",
    "low_pass",
    "sizes_of_phases",
    "tiles_across",
    "to_frequencies",
    "to_phases",
]

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
    slope: float = 1.0,
    clamp: float | None = None,
    impl: Impl = "auto",
) -> None:
    """Write an image [height, width, channels] of the products' frequencies [36, tiles, channels].

    Args:
        image: pixels of a row lie one behind the other; sides are multiples of 4.
        bias: [channels], added; then comes a leaky ReLU of this `slope` below zero, then the bound ±`clamp`.
        noise: [height, width], added, times `noise_gain`, before the activation.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    height, width, channels = image.shape
    if height % 4 or width % 4:
        raise ValueError(f"image must be [4 a, 4 b, channels], got {list(image.shape)}")
    _check_pixels(image, bias, noise)
    _check_frequencies(frequencies, height * width // 16, channels)
    if _chosen(impl, image) == "fused":
        from .fused import from_frequencies_fused as engine
    else:
        engine = from_frequencies_reference
    engine(frequencies, image, bias, noise, noise_gain, slope, clamp)


def to_phases(image: Tensor, frequencies: Tensor, first: int, rows: int, *, impl: Impl = "auto") -> None:
    """Write the frequencies [n, channels] of `rows` rows of tiles of a doubling convolution, from row `first`.

    Args:
        image: [height + 2, width + 2, channels], with a frame of zeros; both sides are multiples of 4. There are
            height / 4 + 1 rows of tiles, and as many columns by the width, the last of which make one pixel more.
        frequencies: by the phases of rows and columns, one behind the other in the numbers of `sizes_of_phases`:
            even-even [25, tiles], even-odd [5, rows, 4 columns + 1], odd-even [5, rows, 4, columns], odd-odd [rows, 4,
            4 columns].

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    height, width, channels = image.shape[0] - 2, image.shape[1] - 2, image.shape[2]
    if height % 4 or width % 4 or not image.is_contiguous():
        raise ValueError(f"image must be [4 a + 2, 4 b + 2, channels], contiguous, got {list(image.shape)}")
    if not 0 <= first <= first + rows <= height // 4 + 1:
        raise ValueError(f"there are {height // 4 + 1} rows of tiles, not {first + rows}")
    if frequencies.shape != (wanted := (sum(sizes_of_phases(rows, tiles_across(image))), channels)):
        raise ValueError(f"frequencies must be {list(wanted)}, got {list(frequencies.shape)}")
    if _chosen(impl, image) == "fused":
        from .fused import to_phases_fused as engine
    else:
        engine = to_phases_reference
    engine(image, frequencies, first, rows)


def from_phases(frequencies: Tensor, image: Tensor, *, impl: Impl = "auto") -> None:
    """Write the transposed convolution [8 rows, 8 columns, channels] of products [n, channels], see `to_phases`.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    height, width, channels = image.shape
    if height % 8 or width % 8 or not image.is_contiguous():
        raise ValueError(f"image must be [8 a, 8 b, channels], contiguous, got {list(image.shape)}")
    if frequencies.shape != (wanted := (sum(sizes_of_phases(height // 8, width // 8)), channels)):
        raise ValueError(f"frequencies must be {list(wanted)}, got {list(frequencies.shape)}")
    if _chosen(impl, image) == "fused":
        from .fused import from_phases_fused as engine
    else:
        engine = from_phases_reference
    engine(frequencies, image)


def low_pass(
    given: Tensor,
    image: Tensor,
    taps: tuple[float, float, float, float],
    bias: Tensor,
    *,
    noise: Tensor | None = None,
    noise_gain: float = 1.0,
    slope: float = 1.0,
    clamp: float | None = None,
    impl: Impl = "auto",
) -> None:
    """Write an image [rows, width, channels]: given [rows + 3, width + 2 or more, channels] through a separable filter.

    A pixel is a sum over the given ones from one before its place to two behind it, along both sides; the given rows
    begin one before those of the image, the columns with its own (the one before is zero). Other arguments and errors
    are those of `from_frequencies`.
    """
    rows, width, channels = image.shape
    if given.shape[0] != rows + 3 or given.shape[1] < width + 2 or given.shape[2] != channels:
        raise ValueError(f"given must be [{rows + 3}, >= {width + 2}, {channels}], got {list(given.shape)}")
    _check_pixels(given, bias, None)
    _check_pixels(image, bias, noise)
    if _chosen(impl, image) == "fused":
        from .fused import low_pass_fused as engine
    else:
        engine = low_pass_reference
    engine(given, image, taps, bias, noise, noise_gain, slope, clamp)


def _check_pixels(image: Tensor, bias: Tensor, noise: Tensor | None) -> None:
    height, width, channels = image.shape
    if image.stride()[1:] != (channels, 1):
        raise ValueError("pixels of a row must lie one behind the other")
    if bias.shape != (channels,):
        raise ValueError(f"bias must be [{channels}], got {list(bias.shape)}")
    if noise is not None and noise.shape != (height, width):
        raise ValueError(f"noise must be [{height}, {width}], got {list(noise.shape)}")


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
