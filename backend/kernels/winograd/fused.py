"""Winograd's transforms as loops over the channels of a tile. CPU.

The matrices hold few numbers, most of them 0 or ±1: as sums they take a tenth of the operations of a product. Noise,
bias, activation and clamp happen while a pixel is in registers.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..cpp_snippets import snippet
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

LANES = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
"""Channels that a processor's instruction takes at once."""


def to_frequencies_fused(image: Tensor, frequencies: Tensor) -> None:
    """See `to_frequencies`."""
    rows, columns, channels = (image.shape[0] - 2) // 4, (image.shape[1] - 2) // 4, image.shape[2]
    pointers = [image.data_ptr(), frequencies.data_ptr()]
    wp.launch(_kernels()[0], 1, inputs=[rows, columns, channels, image.stride(0), *pointers], device="cpu")


def from_frequencies_fused(
    frequencies: Tensor,
    image: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    scale: int,
    slope: float,
    clamp: float | None,
) -> None:
    """See `from_frequencies`."""
    rows, columns, channels = image.shape[0] // (4 * scale), image.shape[1] // (4 * scale), image.shape[2]
    if noise is not None:
        noise = noise.contiguous()
    pointers = [frequencies.data_ptr(), image.data_ptr(), bias.data_ptr(), 0 if noise is None else noise.data_ptr()]
    numbers = [rows, columns, channels, image.stride(0), scale, noise_gain, slope, 3e38 if clamp is None else clamp]
    wp.launch(_kernels()[1], 1, inputs=[*numbers, *pointers], device="cpu")


@lru_cache(maxsize=1)
def _kernels() -> tuple[Any, Any]:
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
        rows: int, columns: int, channels: int, row_stride: int, scale: int, noise_gain: float, slope: float,
        clamp: float, frequencies_at: U64, image_at: U64, bias_at: U64, noise_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def from_frequencies(
        rows: int, columns: int, channels: int, row_stride: int, scale: int, noise_gain: float, slope: float,
        clamp: float, frequencies: U64, image: U64, bias: U64, noise: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        back(rows, columns, channels, row_stride, scale, noise_gain, slope, clamp, frequencies, image, bias, noise)

    return to_frequencies, from_frequencies
