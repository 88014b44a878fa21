"""Sparse Adam is Adam where a gradient came, and leaves the rest alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backend.kernels.sparse_adam import GROUP, AdamState, sparse_adam


def made(groups: int, features: int) -> tuple[Tensor, AdamState]:
    random = torch.Generator().manual_seed(0)
    table = torch.randn(groups * GROUP, features, generator=random)
    state = AdamState.zeros(table)
    state.touched.copy_(torch.rand(groups, generator=random) < 0.5)
    state.gradient.copy_(torch.randn(table.shape, generator=random))
    state.gradient[~state.touched.bool().repeat_interleave(GROUP)] = 0.0
    return table, state


@pytest.mark.parametrize("features", [1, 2, 4])
@pytest.mark.parametrize("groups", [0, 1, 3000])
def test_warp_is_the_reference_over_steps(groups: int, features: int) -> None:
    results = []
    for impl in ("reference", "warp"):
        table, state = made(groups, features)
        gradient, touched = state.gradient.clone(), state.touched.clone()
        for step in range(1, 4):
            state.gradient.copy_(gradient * step)
            state.touched.copy_(touched)
            sparse_adam(table, state, 1e-2, step, impl=impl)  # type: ignore[arg-type]
        assert not state.gradient.any() and not state.touched.any()
        results.append((table, state.mean, state.square))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("impl", ["reference", "warp"])
def test_flagged_groups_move_as_by_torch_adam_and_others_stay(impl: str) -> None:
    table, state = made(20, 2)
    before = table.clone()
    moved = state.touched.bool().repeat_interleave(GROUP)
    leaf = torch.nn.Parameter(table[moved].clone())
    leaf.grad = state.gradient[moved].clone()
    torch.optim.Adam([leaf], lr=1e-2, betas=(0.9, 0.99), eps=1e-15).step()
    sparse_adam(table, state, 1e-2, 1, impl=impl)  # type: ignore[arg-type]
    torch.testing.assert_close(table[moved], leaf.data, rtol=1e-5, atol=1e-6)
    assert torch.equal(table[~moved], before[~moved]) and moved.any() and not moved.all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8 entries, got 12"):
        AdamState.zeros(torch.zeros(12, 2))
    table, state = made(1, 2)
    with pytest.raises(ValueError, match="no engine 'x'"):
        sparse_adam(table, state, 1e-2, 1, impl="x")  # type: ignore[arg-type]
