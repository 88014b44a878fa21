"""Sparse Adam, one pass over the flags. CPU."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from ...threads import run_on_threads
from ..cpp_snippets import snippet
from ..warp_runtime import wp
from .types import GROUP, AdamState

U64 = wp.uint64  # addresses


def sparse_adam_warp(
    table: Tensor, state: AdamState, rate: float, correction: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """See `sparse_adam`."""
    kernel = _kernel(GROUP * table.shape[1])
    pointers = [x.data_ptr() for x in (table, state.gradient, state.mean, state.square, state.touched)]

    def work(_: int, start: int, end: int) -> None:
        numbers = [rate, correction, beta1, beta2, epsilon]
        wp.launch(kernel, 1, inputs=[start, end, *numbers, *pointers], device="cpu")

    run_on_threads(work, len(state.touched), 1024)


@lru_cache(maxsize=8)
def _kernel(width: int) -> Any:
    @wp.func_native(snippet("sparse_adam/step.inl", WIDTH=width))
    def run(
        start: int, end: int, rate: float, correction: float, beta1: float, beta2: float, epsilon: float,
        table_at: U64, gradient_at: U64, mean_at: U64, square_at: U64, touched_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def adam(
        start: int, end: int, rate: float, correction: float, beta1: float, beta2: float, epsilon: float,
        table: U64, gradient: U64, mean: U64, square: U64, touched: U64,
    ) -> None:  # fmt: skip
        run(start, end, rate, correction, beta1, beta2, epsilon, table, gradient, mean, square, touched)

    return adam
