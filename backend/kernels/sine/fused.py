"""Sines by vector instructions (sine.inl). CPU."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from ...threads import run_on_threads
from ..cpp_snippets import snippet
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

BLOCK = 64
"""Values computed together: enough that no step waits for the one before."""

SMALLEST = 1 << 17
"""Fewest values for which another thread is worth its start."""


def sine_fused(x: Tensor, cosine: Tensor | None) -> None:
    """See `sine_`."""
    width = x.shape[-1] if x.ndim else 1
    rows = x.numel() // max(width, 1)
    kernel = _kernels()[cosine is not None]
    last = [x.data_ptr()] if cosine is None else [x.data_ptr(), cosine.data_ptr(), cosine.stride(0)]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, width, *last], device="cpu")

    run_on_threads(work, rows, max(SMALLEST // max(width, 1), 1))


@lru_cache(maxsize=1)
def _kernels() -> tuple[Any, Any]:
    @wp.func_native(snippet("sine/sine.inl", BLOCK=BLOCK))
    def run_sine(start: int, end: int, width: int, values_at: U64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def sine(start: int, end: int, width: int, values: U64):
        run_sine(start, end, width, values)

    @wp.func_native(snippet("sine/sine.inl", BLOCK=BLOCK, COSINES=1))
    def run_both(start: int, end: int, width: int, values_at: U64, cosines_at: U64, stride: int): ...

    @wp.kernel(enable_backward=False, module="unique")
    def both(start: int, end: int, width: int, values: U64, cosines: U64, stride: int):
        run_both(start, end, width, values, cosines, stride)

    return sine, both
