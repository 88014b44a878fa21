"""Samples lie where the papers put them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.rendering import sampling


def test_even_samples_reach_both_ends_and_left_edges_leave_out_the_far_one() -> None:
    assert sampling.even(1.0, 3.0, 5).tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert sampling.even(1.0, 3.0, 4, include_far=False).tolist() == [1.0, 1.5, 2.0, 2.5]


def test_samples_even_in_disparity_have_equal_steps_of_one_over_t() -> None:
    steps = (1 / sampling.even(1.0, 8.0, 9, in_disparity=True)).diff()
    assert torch.allclose(steps, steps[:1], atol=1e-6)


def test_stratified_samples_stay_in_their_bins_and_in_order() -> None:
    t = sampling.even(torch.tensor([[2.0], [4.0]]), torch.tensor([[3.0], [9.0]]), 16)
    moved = sampling.stratified(t, torch.rand(t.shape, generator=torch.Generator().manual_seed(1)))
    assert (moved.diff(dim=-1) >= 0).all()
    assert (moved >= t[:, :1]).all() and (moved <= t[:, -1:]).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_inverse_cdf_agrees_with_a_loop(side: str) -> None:
    generator = torch.Generator().manual_seed(2)
    edges = torch.rand(6, 9, generator=generator, dtype=torch.float64).cumsum(-1)
    weights = torch.rand(6, 8, generator=generator, dtype=torch.float64)
    u = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    drawn = sampling.inverse_cdf(edges, weights, u, side=side)  # type: ignore[arg-type]
    for ray in range(6):
        pdf = (weights[ray] + 1e-5).numpy()
        cdf = np.concatenate(([0.0], np.cumsum(pdf / pdf.sum())))
        expected = np.interp(u[ray].numpy(), cdf, edges[ray].numpy())
        assert np.allclose(drawn[ray], expected, atol=1e-9)


def test_an_empty_ray_is_sampled_evenly_and_a_sharp_one_at_its_peak() -> None:
    edges = torch.linspace(0, 1, 11)[None]
    weights = torch.zeros(2, 10)
    weights[1, 3] = 1.0
    drawn = sampling.inverse_cdf(edges, weights, sampling.evenly_drawn(101, weights))
    assert torch.allclose(drawn[0], torch.linspace(0, 1, 101), atol=1e-5)
    assert ((drawn[1] > 0.299) & (drawn[1] < 0.401)).float().mean() > 0.95


def test_merged_samples_are_sorted_and_their_order_sorts_what_belongs_to_them() -> None:
    first, second = torch.rand(4, 3), torch.rand(4, 5)
    both, order = sampling.merged(first, second)
    assert (both.diff(dim=-1) >= 0).all()
    assert torch.equal(torch.cat((first, second), -1).gather(-1, order), both)
