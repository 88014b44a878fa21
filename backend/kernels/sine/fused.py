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
    kernel = _kernels()[cosine is not None]
    pointers = [x.data_ptr()] if cosine is None else [x.data_ptr(), cosine.data_ptr()]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers], device="cpu")

    run_on_threads(work, x.numel(), SMALLEST)


@lru_cache(maxsize=1)
def _kernels() -> tuple[Any, Any]:
    @wp.func_native(snippet("sine/sine.inl", BLOCK=BLOCK))
    def run_sine(start: int, end: int, values_at: U64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def sine(start: int, end: int, values: U64):
        run_sine(start, end, values)

    @wp.func_native(snippet("sine/sine.inl", BLOCK=BLOCK, COSINES=1))
    def run_both(start: int, end: int, values_at: U64, cosines_at: U64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def both(start: int, end: int, values: U64, cosines: U64):
        run_both(start, end, values, cosines)

    return sine, both
