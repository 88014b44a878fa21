"""Sparse Adam for a table of which each step touches a small part: entries without a gradient stay unchanged.

The decay of skipped steps is not caught up, as in tiny-cuda-nn's optimiser for hash tables. Groups of 8 entries are
flagged when the backward pass writes to them, so a step reads one byte for each group without a gradient.

Engines: `reference` (any device) and `warp` (CPU).
"""

from typing import Literal, cast

from torch import Tensor

from ...device import fastest_engine
from .reference import sparse_adam_reference
from .types import GROUP, AdamState

__all__ = ["GROUP", "AdamState", "Impl", "sparse_adam"]

Impl = Literal["auto", "reference", "warp"]


def sparse_adam(
    table: Tensor,
    state: AdamState,
    learning_rate: float,
    step: int,
    *,
    beta1: float = 0.9,
    beta2: float = 0.99,
    epsilon: float = 1e-15,
    impl: Impl = "auto",
) -> None:
    """Move flagged groups of the table [entries, features] by one step of Adam (arxiv.org/abs/1412.6980, Alg. 1), and
    clear the gradient and flags. step counts from 1.

    Raises:
        ValueError: there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    rate = learning_rate / (1.0 - beta1**step)
    correction = 1.0 / (1.0 - beta2**step)
    if impl == "auto":
        impl = cast(Impl, fastest_engine("sparse_adam", table.device))
    if impl == "warp":
        if table.device.type != "cpu":
            raise RuntimeError(f"sparse_adam: the warp engine runs on the CPU, not on {table.device}")
        from .warp_engine import sparse_adam_warp

        sparse_adam_warp(table, state, rate, correction, beta1, beta2, epsilon)
    elif impl == "reference":
        sparse_adam_reference(table, state, rate, correction, beta1, beta2, epsilon)
    else:
        raise ValueError(f"no engine {impl!r}; there are reference and warp")
