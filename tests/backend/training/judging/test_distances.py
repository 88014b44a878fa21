"""Distances of features: closed forms, and no dependence on the number of images where none is promised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from backend.training.judging.distances import (
    frechet_distance,
    kernel_distance,
    kernel_distance_error,
    nearest_neighbours,
    share_of_copies,
    spread,
)
from backend.training.judging.sampling import like_poses


def _gaussian(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_the_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    a, b = _gaussian(20_000, 3, 0), _gaussian(20_000, 3, 1) * 2 + torch.tensor([1.0, 0.0, 0.0])
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(1 + 3 * (2 - 1) ** 2, rel=0.03)


@pytest.mark.parametrize("size", [5, 40])
def test_the_frechet_distance_is_that_of_a_matrix_square_root_for_few_images_too(size: int) -> None:
    a, b = _gaussian(16, size, 0), _gaussian(12, size, 1) * 1.5 + 0.2
    x, y = a.double().numpy(), b.double().numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    overlap = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    if size < 12:  # covariances of full rank
        assert np.trace(sqrtm(first @ second)).real == pytest.approx(overlap, rel=1e-6)


def test_kid_is_the_mean_over_pairs_of_different_images() -> None:
    a, b = _gaussian(5, 4, 0), _gaussian(6, 4, 1) + 0.5

    def mean(x: Tensor, y: Tensor, same: bool) -> float:
        values = [(float(x[i] @ y[j]) / 4 + 1) ** 3 for i in range(len(x)) for j in range(len(y)) if not same or i != j]
        return float(np.mean(values))

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_kid_of_equal_distributions_is_zero_for_few_and_many_images_and_frechet_is_not() -> None:
    found = {n: [kernel_distance(_gaussian(n, 8, s), _gaussian(n, 8, 1000 + s)) for s in range(60)] for n in (8, 64)}
    for values in found.values():
        assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5
    few, many = (frechet_distance(_gaussian(n, 8, 0), _gaussian(n, 8, 1)) for n in (16, 256))
    assert few > 3 * many


def test_the_error_of_kid_is_the_scatter_of_repetitions() -> None:
    values, errors = [], []
    for seed in range(40):
        a, b = _gaussian(64, 8, seed), _gaussian(64, 8, 1000 + seed) + 0.3
        values.append(kernel_distance(a, b))
        errors.append(kernel_distance_error(a, b))
    assert 0.5 < np.mean(errors) / np.std(values) < 2


def test_the_nearest_allowed_image_is_found_and_copies_are_counted() -> None:
    training = torch.nn.functional.normalize(_gaussian(200, 16, 0), dim=-1)
    copies, new = training[:50] + 0.01 * _gaussian(50, 16, 1), _gaussian(450, 16, 2)
    found = nearest_neighbours(torch.cat((copies, new)), training)
    assert found.index[:50].tolist() == list(range(50))
    real = nearest_neighbours(_gaussian(400, 16, 3), training).distance
    assert share_of_copies(found.distance, real) == pytest.approx(0.1 + 0.9 * 0.05, abs=0.04)
    same = torch.eye(50, 200, dtype=torch.bool)
    assert (nearest_neighbours(copies, training, same).index != torch.arange(50)).all()


def test_spread_is_the_mean_over_pairs_of_different_objects_at_like_poses() -> None:
    angles = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.05, 0.1], [3.1, 0.0], [-3.1, 0.0]])
    objects = torch.tensor([0, 0, 1, 2, 3])
    pairs = {tuple(pair) for pair in like_poses(angles, objects).tolist()}
    assert pairs == {(0, 2), (1, 2), (3, 4)}  # ±180° is one direction
    features = torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 0], [1, 0]])
    assert spread(features, torch.tensor(sorted(pairs))) == pytest.approx(2 / 3)
