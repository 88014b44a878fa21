"""Sparse Adam in plain PyTorch: the definition. Any device."""

from __future__ import annotations

from torch import Tensor

from .types import GROUP, AdamState


def sparse_adam_reference(
    table: Tensor, state: AdamState, rate: float, correction: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """See `sparse_adam`. rate: the learning rate over the correction of the mean; correction: that of the square."""
    entries = state.touched.bool().repeat_interleave(GROUP).nonzero(as_tuple=True)[0]
    gradient = state.gradient[entries]
    mean = beta1 * state.mean[entries] + (1 - beta1) * gradient
    square = beta2 * state.square[entries] + (1 - beta2) * gradient**2
    state.mean[entries], state.square[entries] = mean, square
    table[entries] -= rate * mean / ((square * correction).sqrt() + epsilon)
    state.gradient[entries] = 0.0
    state.touched.zero_()
