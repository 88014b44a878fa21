"""Every engine of hash_encode is the reference, forward and backward, and the table lies as tiny-cuda-nn keeps it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backend.kernels.hash_encoding import HashSpec, Impl, hash_encode
from backend.kernels.hash_encoding.warp_engine import add_table_gradient

SPECS = {
    "dense and hashed, two features": HashSpec(4, 2, 10, 4, 32),
    "odd sizes, one feature": HashSpec(3, 1, 8, 3, 21),
    "one level, four features": HashSpec(1, 4, 9, 7, 7),
}
SPEC = SPECS["dense and hashed, two features"]
ENGINES: list[Impl] = ["reference", "warp"]
HUGE = [[torch.nan, 0.3, 0.6], [1e30, -1e30, 0.5], [torch.inf, 0.2, -torch.inf], [0.0, 1.0, 1.0], [2.0, -1.0, 0.4]]


def made(spec: HashSpec, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points [N, 3] and a table."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, generator=random), torch.randn(spec.num_entries, spec.num_features, generator=random)


def gradients(points: Tensor, table: Tensor, spec: HashSpec, impl: Impl) -> tuple[Tensor, Tensor]:
    points, table = points.clone().requires_grad_(), table.clone().requires_grad_()
    features = hash_encode(points, table, spec, impl=impl)
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(7))
    to_points, to_table = torch.autograd.grad((features * weight).sum(), (points, table))
    return to_points, to_table


def naive(point: list[float], table: Tensor, spec: HashSpec) -> list[float]:
    """Sec. 3 of the paper, corner by corner, in Python floats."""
    result = []
    for level in spec.levels:
        at = [x * level.scale + 0.5 for x in point]
        low = [int(x) for x in at]
        sums = [0.0] * spec.num_features
        for corner in range(8):
            cell = [low[axis] + (corner >> axis & 1) for axis in range(3)]
            weight = 1.0
            for axis in range(3):
                part = at[axis] - low[axis]
                weight *= part if corner >> axis & 1 else 1 - part
            if level.dense:
                index = cell[0] + cell[1] * level.resolution + cell[2] * level.resolution**2
            else:
                index = cell[0] ^ (cell[1] * 2654435761 & 0xFFFFFFFF) ^ (cell[2] * 805459861 & 0xFFFFFFFF)
            entry = table[level.offset + index % level.size].tolist()
            sums = [total + weight * value for total, value in zip(sums, entry)]
        result += sums
    return result


@pytest.mark.parametrize("impl", ENGINES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_features_are_the_paper_s_interpolation(spec: HashSpec, impl: Impl) -> None:
    points, table = made(spec, 17)
    points = torch.cat((points, torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.5]])))
    expected = torch.tensor([naive(point, table, spec) for point in points.tolist()])
    torch.testing.assert_close(hash_encode(points, table, spec, impl=impl), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
@pytest.mark.parametrize("count", [0, 1, 15, 17, 1000, 2100])
def test_warp_is_the_reference(spec: HashSpec, count: int) -> None:
    points, table = made(spec, count)
    expected = hash_encode(points, table, spec, impl="reference")
    got = hash_encode(points, table, spec, impl="warp")
    assert got.shape == (count, spec.width)
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)
    for ours, theirs in zip(gradients(points, table, spec, "warp"), gradients(points, table, spec, "reference")):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-3)


def test_points_that_are_far_away_or_nan_agree_and_get_no_gradient_there() -> None:
    points, table = torch.tensor(HUGE), made(SPEC, 0)[1]
    expected = hash_encode(points, table, SPEC, impl="reference")
    got = hash_encode(points, table, SPEC, impl="warp")
    assert got.isfinite().all()
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)
    inside = torch.tensor([[0.0, 0.3, 0.6], [1.0, 0.0, 0.5], [1.0, 0.2, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.4]])
    torch.testing.assert_close(got, hash_encode(inside, table, SPEC, impl="warp"), rtol=0, atol=0)
    ours, theirs = gradients(points, table, SPEC, "warp"), gradients(points, table, SPEC, "reference")
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-4)
    beyond = ~((points >= 0) & (points <= 1))
    assert beyond.any() and (ours[0][beyond] == 0).all() and (ours[0][~beyond] != 0).all()


@pytest.mark.parametrize("impl", ENGINES)
def test_gradient_of_points_is_that_of_finite_differences_within_a_cell(impl: Impl) -> None:
    points, table = made(SPEC, 500)
    points = points * 0.98 + 0.01  # the cube ends, too
    step = 1e-3
    finest = points[:, None] * torch.tensor([level.scale for level in SPEC.levels])[:, None] + 0.5
    near_border = ((finest - finest.round()).abs() < 1.1 * step * 32).any(-1).any(-1)
    points = points[~near_border]
    assert len(points) > 100
    to_points, _ = gradients(points, table, SPEC, impl)
    weight = torch.randn(len(points), SPEC.width, generator=torch.Generator().manual_seed(7))
    for axis in range(3):
        aside = torch.zeros(3)
        aside[axis] = step
        ahead, behind = (hash_encode(points + s * aside, table, SPEC, impl="reference") for s in (1, -1))
        slope = ((ahead - behind) * weight).sum(-1) / (2 * step)
        torch.testing.assert_close(to_points[:, axis], slope, rtol=1e-2, atol=0.2)


def test_the_same_bits_come_back_twice_and_from_any_number_of_threads() -> None:
    points, table = made(SPEC, 5000)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append((hash_encode(points, table, SPEC, impl="warp"), *gradients(points, table, SPEC, "warp")))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_groups_of_entries_with_a_gradient_are_flagged_and_no_others() -> None:
    points, table = made(SPEC, 3)
    total, touched = torch.zeros_like(table), torch.zeros(SPEC.num_entries // 8, dtype=torch.uint8)
    add_table_gradient(total, torch.ones(3, SPEC.width), points, SPEC, touched)
    assert torch.equal(touched.bool(), (total.reshape(len(touched), -1) != 0).any(1))
    assert 0 < touched.sum() <= 3 * 8 * SPEC.num_levels


def test_levels_lie_as_tiny_cuda_nn_keeps_them() -> None:
    # per level: ceil(16 · b^l − 1) + 1 corners along an axis, cubed, rounded up to 8, at most 2^19 entries
    levels = HashSpec(num_levels=16, num_features=2, log2_size=19, coarsest=16, finest=2048).levels
    assert [level.resolution for level in levels[:6]] == [16, 23, 31, 43, 59, 81]
    assert [level.size for level in levels[:6]] == [4096, 12168, 29792, 79512, 205384, 2**19]
    assert [level.dense for level in levels] == [True] * 5 + [False] * 11
    assert [level.offset for level in levels[:4]] == [0, 4096, 4096 + 12168, 4096 + 12168 + 29792]
    # a HashGrid of this configuration is known to have 12 196 240 parameters (tiny-cuda-nn's issue 338)
    spec = HashSpec(16, 2, 19, 16, 2048)
    assert spec.num_entries * spec.num_features == 12_196_240
    assert spec.growth == pytest.approx(1.3819129)


def test_wrong_shapes_are_refused() -> None:
    points, table = made(SPEC, 5)
    with pytest.raises(ValueError, match=r"points must be \[N, 3\], got \[5, 2\]"):
        hash_encode(points[:, :2], table, SPEC)
    with pytest.raises(ValueError, match=r"table must be \[\d+, 2\], got"):
        hash_encode(points, table[:-1], SPEC)
    with pytest.raises(ValueError, match="no engine 'numba'"):
        hash_encode(points, table, SPEC, impl="numba")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not on meta"):
        hash_encode(points.to("meta"), table.to("meta"), SPEC, impl="warp")
    for wrong in ({"num_features": 3}, {"num_levels": 0}, {"coarsest": 64, "finest": 32}, {"log2_size": 60}):
        with pytest.raises(ValueError):
            HashSpec(**wrong)
