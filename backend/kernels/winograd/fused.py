"""Winograd's transforms as loops over the channels of a tile. CPU.

The matrices hold few numbers, most of them 0 or ±1: as sums they take a tenth of the operations of a product. Noise,
bias, activation and clamp happen while a pixel is in registers.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..cpp_snippets import snippet
from ..warp_runtime import wp
from .reference import tiles_across

U64 = wp.uint64  # addresses

LANES = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
"""Channels that a processor's instruction takes at once."""

NO_CLAMP = 3e38


def to_frequencies_fused(image: Tensor, frequencies: Tensor) -> None:
    """See `to_frequencies`."""
    rows, columns, channels = (image.shape[0] - 2) // 4, (image.shape[1] - 2) // 4, image.shape[2]
    pointers = [image.data_ptr(), frequencies.data_ptr()]
    wp.launch(_kernels().to_frequencies, 1, inputs=[rows, columns, channels, image.stride(0), *pointers], device="cpu")


def from_frequencies_fused(
    frequencies: Tensor,
    image: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    slope: float,
    clamp: float | None,
) -> None:
    """See `from_frequencies`."""
    rows, columns, channels = image.shape[0] // 4, image.shape[1] // 4, image.shape[2]
    if noise is not None:
        noise = noise.contiguous()
    pointers = [frequencies.data_ptr(), image.data_ptr(), bias.data_ptr(), 0 if noise is None else noise.data_ptr()]
    numbers = [rows, columns, channels, image.stride(0), noise_gain, slope, NO_CLAMP if clamp is None else clamp]
    wp.launch(_kernels().from_frequencies, 1, inputs=[*numbers, *pointers], device="cpu")


def to_phases_fused(image: Tensor, frequencies: Tensor, first: int, rows: int) -> None:
    """See `to_phases`."""
    height, width, channels = image.shape
    pointers = [image[4 * first].data_ptr(), frequencies.data_ptr()]
    sizes = [rows, tiles_across(image), channels, image.stride(0), height - 1 - 4 * first, width - 1]
    wp.launch(_kernels().to_phases, 1, inputs=[*sizes, *pointers], device="cpu")


def from_phases_fused(frequencies: Tensor, image: Tensor) -> None:
    """See `from_phases`."""
    sizes = [image.shape[0] // 8, image.shape[1] // 8, image.shape[2]]
    wp.launch(_kernels().from_phases, 1, inputs=[*sizes, frequencies.data_ptr(), image.data_ptr()], device="cpu")


def low_pass_fused(
    given: Tensor,
    image: Tensor,
    taps: tuple[float, float, float, float],
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    slope: float,
    clamp: float | None,
) -> None:
    """See `low_pass`."""
    rows, width, channels = image.shape
    if noise is not None:
        noise = noise.contiguous()
    between = image.new_empty(width + 3, channels)
    sizes = [rows, width, channels, given.stride(0), image.stride(0)]
    numbers = [*taps, noise_gain, slope, NO_CLAMP if clamp is None else clamp]
    pointers = [given.data_ptr(), image.data_ptr(), bias.data_ptr(), 0 if noise is None else noise.data_ptr()]
    wp.launch(_kernels().low_pass, 1, inputs=[*sizes, *numbers, *pointers, between.data_ptr()], device="cpu")


class _Kernels(NamedTuple):
    to_frequencies: Any
    from_frequencies: Any
    to_phases: Any
    from_phases: Any
    low_pass: Any


@lru_cache(maxsize=1)
def _kernels() -> _Kernels:
    @wp.func_native(snippet("winograd/to_frequencies.inl", LANES=LANES))
    def forward(
        rows: int, columns: int, channels: int, row_stride: int, image_at: U64, frequencies_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def to_frequencies(
        rows: int, columns: int, channels: int, row_stride: int, image: U64, frequencies: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        forward(rows, columns, channels, row_stride, image, frequencies)

    @wp.func_native(snippet("winograd/from_frequencies.inl", LANES=LANES))
    def back(
        rows: int, columns: int, channels: int, row_stride: int, noise_gain: float, slope: float, clamp: float,
        frequencies_at: U64, image_at: U64, bias_at: U64, noise_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def from_frequencies(
        rows: int, columns: int, channels: int, row_stride: int, noise_gain: float, slope: float, clamp: float,
        frequencies: U64, image: U64, bias: U64, noise: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        back(rows, columns, channels, row_stride, noise_gain, slope, clamp, frequencies, image, bias, noise)

    @wp.func_native(snippet("winograd/to_phases.inl"))
    def forward_phases(
        rows: int, columns: int, channels: int, row_stride: int, last_row: int, last_column: int, image_at: U64,
        frequencies_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def to_phases(
        rows: int, columns: int, channels: int, row_stride: int, last_row: int, last_column: int, image: U64,
        frequencies: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        forward_phases(rows, columns, channels, row_stride, last_row, last_column, image, frequencies)

    @wp.func_native(snippet("winograd/from_phases.inl", LANES=LANES))
    def back_phases(rows: int, columns: int, channels: int, frequencies_at: U64, image_at: U64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def from_phases(rows: int, columns: int, channels: int, frequencies: U64, image: U64):
        back_phases(rows, columns, channels, frequencies, image)

    @wp.func_native(snippet("winograd/low_pass.inl"))
    def filtered(
        rows: int, width: int, channels: int, given_stride: int, row_stride: int, tap0: float, tap1: float,
        tap2: float, tap3: float, noise_gain: float, slope: float, clamp: float, given_at: U64, image_at: U64,
        bias_at: U64, noise_at: U64, between_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def low_pass(
        rows: int, width: int, channels: int, given_stride: int, row_stride: int, tap0: float, tap1: float,
        tap2: float, tap3: float, noise_gain: float, slope: float, clamp: float, given: U64, image: U64,
        bias: U64, noise: U64, between: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        filtered(
            rows, width, channels, given_stride, row_stride, tap0, tap1, tap2, tap3, noise_gain, slope, clamp,
            given, image, bias, noise, between,
        )  # fmt: skip

    return _Kernels(to_frequencies, from_frequencies, to_phases, from_phases, low_pass)
