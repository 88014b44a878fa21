"""Every engine of march_rays finds the samples of the reference, and those of the definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from backend.kernels.ray_marching import BLOCK, FARTHEST, Impl, OccupancyBits, Samples, Steps, contract, march_rays

ENGINES: list[Impl] = ["reference", "warp"]


def grid(share: float, n: int = 32, seed: int = 0) -> OccupancyBits:
    """Blocks that are empty as a whole, and others with so many cells."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.rand(n, n, n, generator=random) < share
    blocks = torch.rand(n // 8, n // 8, n // 8, generator=random) < 0.6
    for axis in range(3):
        blocks = blocks.repeat_interleave(8, axis)
    return OccupancyBits(cells & blocks)


def rays(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From around the box through it; some miss it, some start inside, some run along an axis."""
    random = torch.Generator().manual_seed(seed)
    origins = normalize(torch.randn(count, 3, generator=random), dim=-1) * 2 + 0.5
    origins[::5] = torch.rand(len(origins[::5]), 3, generator=random)
    directions = normalize(torch.rand(count, 3, generator=random) * 1.2 - 0.1 - origins, dim=-1)
    directions[::7] = torch.tensor([0.0, 1.0, 0.0])
    return origins, directions, torch.full((count,), 0.05), torch.full((count,), 4.0)


def agree(got: Samples, expected: Samples, *, allowed: int = 0, rtol: float = 1e-5) -> None:
    """The same samples; `allowed` at most may be missing or too many, at borders of cells."""
    assert got.offsets.dtype == got.rays.dtype == torch.int32
    counts = [samples.offsets[1:] - samples.offsets[:-1] for samples in (got, expected)]
    differ = counts[0] != counts[1]
    assert int((counts[0] - counts[1]).abs().sum()) <= allowed
    for samples in (got, expected):
        assert int(samples.offsets[-1]) == len(samples.t) == len(samples.rays) == len(samples.points)
    keep = [~differ[samples.rays.long()] for samples in (got, expected)]
    for name in ("rays", "t", "lengths", "points"):
        ours, theirs = getattr(got, name)[keep[0]], getattr(expected, name)[keep[1]]
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=2e-5)


@pytest.mark.parametrize("count", [0, 1, 15, 17, 1000])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_warp_finds_what_the_reference_finds(count: int, share: float) -> None:
    given = (*rays(count), grid(share), Steps(1 / 300))
    expected, got = (march_rays(*given, impl=impl) for impl in ENGINES)
    assert share == 0.0 or count < 15 or len(expected.t) > count
    agree(got, expected, allowed=len(expected.t) // 1000)


@pytest.mark.parametrize("step", [1 / 300, 1 / 40])
def test_a_long_way_through_empty_cells_misses_no_sample(step: float) -> None:
    cells = torch.zeros(96, 96, 96, dtype=torch.bool)
    where = torch.randint(96, (400, 3), generator=torch.Generator().manual_seed(4))
    cells[where[:, 0], where[:, 1], where[:, 2]] = True
    given = (*rays(20000), OccupancyBits(cells), Steps(step))
    expected, got = (march_rays(*given, impl=impl) for impl in ENGINES)
    assert len(expected.t) > 100
    agree(got, expected, allowed=len(expected.t) // 100)


@pytest.mark.parametrize(
    "steps", [Steps(1 / 100, cone=1 / 64), Steps(1 / 50, contracted=True), Steps(1 / 100, 1 / 64, 200, True)], ids=str
)
def test_exponential_steps_and_contracted_space_agree(steps: Steps) -> None:
    origins, directions, near, far = rays(300)
    jitter = torch.rand(300, generator=torch.Generator().manual_seed(1))
    given = (origins, directions, near, far * 20, grid(0.3), steps, jitter)
    expected, got = (march_rays(*given, impl=impl) for impl in ENGINES)
    assert len(expected.t) > 1000
    # where empty cells are left in one go, the sum of many steps is rounded otherwise
    agree(got, expected, allowed=len(expected.t) // 200, rtol=1e-4)
    if steps.contracted:
        assert (got.t > 2.5).any() and ((got.points >= 0) & (got.points <= 1)).all()


@pytest.mark.parametrize("impl", ENGINES)
def test_samples_are_in_occupied_cells_a_step_apart_and_none_is_left_out(impl: Impl) -> None:
    occupancy = grid(0.2)
    origins, directions, near, far = rays(200)
    jitter = torch.rand(200, generator=torch.Generator().manual_seed(1))
    found = march_rays(origins, directions, near, far, occupancy, Steps(1 / 128), jitter, impl=impl)
    cell = (found.points * 32).floor().long().clamp(0, 31)
    assert occupancy.occupied[tuple(cell.T)].float().mean() > 0.999
    number = (found.t - near[0] - jitter[found.rays.long()] / 128) * 128
    assert (number - number.round()).abs().max() < 1e-3
    assert (found.lengths == 1 / 128).all()
    # against every step of every ray
    t = near[:, None] + (jitter[:, None] + torch.arange(512)) / 128
    where = origins[:, None] + directions[:, None] * t[..., None]
    inside = ((where >= 0) & (where < 1)).all(-1) & (t < far[:, None])
    at = (where * 32).floor().long().clamp(0, 31)
    expected = int((inside & occupancy.occupied[at[..., 0], at[..., 1], at[..., 2]]).sum())
    assert abs(len(found.t) - expected) <= expected // 500


@pytest.mark.parametrize("impl", ENGINES)
def test_a_ray_has_no_more_samples_than_it_may_and_they_are_the_first(impl: Impl) -> None:
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    origins, directions = torch.tensor([[-1.0, 0.5, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    near, far = torch.tensor([1.0]), torch.tensor([2.0])
    whole = march_rays(origins, directions, near, far, full, Steps(1 / 64), impl=impl)
    assert len(whole.t) == 64
    few = march_rays(origins, directions, near, far, full, Steps(1 / 64, most=10), impl=impl)
    torch.testing.assert_close(few.t, whole.t[:10], rtol=0, atol=0)


@pytest.mark.parametrize("impl", ENGINES)
def test_rays_that_are_empty_behind_or_nan_have_no_samples(impl: Impl) -> None:
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    origins = torch.tensor([[0.5, 0.5, -1.0]] * 4 + [[torch.nan, 0.5, -1.0], [1e20, 0.5, 0.5]])
    directions = torch.tensor([[0.0, 0.0, 1.0]] * 2 + [[0.0, 0.0, -1.0]] + [[0.0, 0.0, 1.0]] * 3)
    near = torch.tensor([0.0, 2.0, 0.0, torch.nan, 0.0, 0.0])
    far = torch.tensor([3.0, 1.0, 3.0, 3.0, 3.0, 3.0])
    found = march_rays(origins, directions, near, far, full, Steps(1 / 16), impl=impl)
    counts = (found.offsets[1:] - found.offsets[:-1]).tolist()
    assert counts == [16, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("contracted", [False, True])
def test_the_same_bits_come_back_twice_and_from_any_number_of_threads(contracted: bool) -> None:
    given = (*rays(2000), grid(0.3), Steps(1 / 100, 1 / 256, contracted=contracted))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append(march_rays(*given, impl="warp"))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(getattr(results[0], name), getattr(other, name)) for name in vars(other))


def test_contraction_keeps_the_middle_and_holds_all_of_space() -> None:
    inner = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(contract(inner), inner * 0.5 + 0.25)
    outer = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)) * 1000
    assert ((contract(outer) > 0) & (contract(outer) < 1)).all()
    edge = torch.tensor([[1.0, 0.5, 0.5]])
    torch.testing.assert_close(contract(edge + 1e-4), contract(edge - 1e-4), rtol=0, atol=2e-4)
    assert contract(torch.tensor([[1e6, 0.5, 0.5]]))[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_bits_are_the_cells() -> None:
    occupancy = grid(0.1, 16)
    assert torch.equal(OccupancyBits.from_bits(occupancy.bits).occupied, occupancy.occupied)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_empty_blocks_know_how_far_the_nearest_occupied_one_is(count: int) -> None:
    occupied = torch.zeros(48, 48, 48, dtype=torch.bool)
    cells = torch.randint(48, (count, 3), generator=torch.Generator().manual_seed(count))
    occupied[cells[:, 0], cells[:, 1], cells[:, 2]] = True
    m = 48 // BLOCK
    blocks = torch.cartesian_prod(*[torch.arange(m)] * 3)
    away = (blocks[:, None] - cells // BLOCK).abs().amax(-1).clamp(max=FARTHEST)
    expected = away.amin(1) if count else torch.full((m**3,), FARTHEST)
    assert torch.equal(OccupancyBits(occupied).empty.long(), expected)


def test_samples_that_are_kept_stay_with_their_rays() -> None:
    found = march_rays(*rays(50), grid(0.5), Steps(1 / 32))
    keep = torch.arange(len(found.t)) % 3 == 0
    kept, places = found.kept(keep)
    assert torch.equal(kept.t, found.t[keep]) and torch.equal(places, keep.nonzero()[:, 0])
    for ray in range(50):
        part = kept.rays[int(kept.offsets[ray]) : int(kept.offsets[ray + 1])]
        assert (part == ray).all() and len(part) == int((found.rays[keep] == ray).sum())


def test_wrong_shapes_are_refused() -> None:
    origins, directions, near, far = rays(5)
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"origins and directions must be \[R, 3\]"):
        march_rays(origins, directions[1:], near, far, full, Steps(0.1))
    with pytest.raises(ValueError, match=r"near, far and jitter must be \[5\]"):
        march_rays(origins, directions, near, far, full, Steps(0.1), torch.zeros(4))
    with pytest.raises(ValueError, match="no engine 'cuda'"):
        march_rays(origins, directions, near, far, full, Steps(0.1), impl="cuda")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not on meta"):
        march_rays(*(x.to("meta") for x in (origins, directions, near, far)), full, Steps(0.1), impl="warp")
    for wrong in (
        {"smallest": 0.0},
        {"smallest": math.nan},
        {"smallest": 0.1, "cone": -1.0},
        {"smallest": 0.1, "most": 0},
    ):
        with pytest.raises(ValueError, match="must be positive and cone not negative"):
            Steps(**wrong)  # type: ignore[arg-type]
    for cells in (torch.ones(9, 9, 9, dtype=torch.bool), torch.ones(8, 8, 8), torch.ones(8, 8, 16, dtype=torch.bool)):
        with pytest.raises(ValueError, match="multiple of 8"):
            OccupancyBits(cells)
