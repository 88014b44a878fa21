"""Every engine of composite_packed is the reference, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backend.kernels.compositing import LARGEST_EXPONENT, CompositedRays, Impl, composite_packed

ENGINES: list[Impl] = ["reference", "warp"]


def made(counts: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """raw, t, lengths and offsets of rays with so many samples."""
    random = torch.Generator().manual_seed(seed)
    total = sum(counts)
    raw = torch.randn(total, 4, generator=random) * 2
    lengths = torch.rand(total, generator=random) * 0.2 + 0.01
    t = torch.cat([torch.cumsum(part, 0) for part in lengths.split(counts)]) if total else lengths
    offsets = torch.tensor([0, *torch.tensor(counts, dtype=torch.long).cumsum(0).tolist()], dtype=torch.int32)
    return raw, t, lengths, offsets


def fields(pixels: CompositedRays) -> list[Tensor]:
    return [pixels.rgb, pixels.alpha, pixels.t, pixels.distortion]


def gradient(raw: Tensor, t: Tensor, lengths: Tensor, offsets: Tensor, impl: Impl, which: int | None = None) -> Tensor:
    leaf = raw.clone().requires_grad_()
    outputs = fields(composite_packed(leaf, t, lengths, offsets, impl=impl))
    random = torch.Generator().manual_seed(3)
    weights = [torch.randn(x.shape, generator=random) for x in outputs]
    chosen = range(4) if which is None else [which]
    total = sum((outputs[i] * weights[i]).sum() for i in chosen)
    assert isinstance(total, Tensor)
    return torch.autograd.grad(total, leaf)[0]


COUNTS = {
    "none": [], "rays without samples": [0, 0, 0], "one": [1], "odd": [3, 0, 17, 1, 0, 15, 16],
    "many": [(7 * i) % 40 for i in range(1000)], "long": [700, 2],
}  # fmt: skip


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_warp_is_the_reference(counts: list[int]) -> None:
    given = made(counts)
    expected, got = (composite_packed(*given, impl=impl) for impl in ENGINES)
    for ours, theirs in zip(fields(got), fields(expected)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert got.rgb.shape == (len(counts), 3) and got.weights.shape == (sum(counts),)
    torch.testing.assert_close(got.weights, expected.weights, rtol=1e-4, atol=1e-6)
    for which in (0, 1, 2, 3, None):
        ours, theirs = (gradient(*given, impl, which) for impl in reversed(ENGINES))
        # light is summed up from the back: where none is left, a dense sample sees the rounding of 1
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=3e-3 if max(counts, default=0) > 100 else 1e-4)


def test_the_gradient_of_warp_is_that_of_finite_differences() -> None:
    raw, t, lengths, offsets = made([5, 0, 9])
    random = torch.Generator().manual_seed(3)
    shapes = [(3, 3), (3,), (3,), (3,)]
    weights = [torch.randn(shape, generator=random).double() for shape in shapes]

    def value(raw: Tensor) -> float:
        found = fields(composite_packed(raw, t.double(), lengths.double(), offsets, impl="reference"))
        return float(sum((x * w).sum() for x, w in zip(found, weights)))

    analytic = gradient(raw, t, lengths, offsets, "warp")
    for index in range(raw.numel()):
        aside = torch.zeros(raw.numel(), dtype=torch.float64)
        aside[index] = 1e-5
        slope = (value(raw.double() + aside.view_as(raw)) - value(raw.double() - aside.view_as(raw))) / 2e-5
        assert float(analytic.reshape(-1)[index]) == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("impl", ENGINES)
def test_an_opaque_wall_hides_what_is_behind_it_and_nothing_overflows(impl: Impl) -> None:
    raw, t, lengths, offsets = made([6, 6])
    raw[2, 0] = 1e30  # far above the exponent's cap
    raw[8, 0] = LARGEST_EXPONENT - 1
    found = composite_packed(raw, t, lengths, offsets, impl=impl)
    torch.testing.assert_close(found.alpha, torch.ones(2))
    assert found.weights[3:6].max() < 1e-6 and all(x.isfinite().all() for x in fields(found))
    slope = gradient(raw, t, lengths, offsets, impl)
    assert slope.isfinite().all()
    assert slope[2, 0] == 0, "a capped density has no slope"
    assert slope[3:6].abs().max() < 1e-4 and slope[:2].abs().max() > 1e-3


@pytest.mark.parametrize("impl", ENGINES)
def test_nothing_there_is_transparent_and_nan_is_kept(impl: Impl) -> None:
    raw, t, lengths, offsets = made([4, 4])
    raw[:, 0] = -100.0
    empty = composite_packed(raw, t, lengths, offsets, impl=impl)
    assert all(x.abs().max() < 1e-20 for x in fields(empty))
    raw[5, 0] = torch.nan
    broken = composite_packed(raw, t, lengths, offsets, impl=impl)
    assert broken.alpha.isnan().tolist() == [False, True] and broken.rgb.isnan().any(1).tolist() == [False, True]


def test_the_same_bits_come_back_twice_and_from_any_number_of_threads() -> None:
    given = made(COUNTS["many"])
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append([*fields(composite_packed(*given, impl="warp")), gradient(*given, "warp")])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


def test_wrong_shapes_are_refused() -> None:
    raw, t, lengths, offsets = made([3])
    with pytest.raises(ValueError, match=r"raw must be \[N, 4\]"):
        composite_packed(raw[:, :3], t, lengths, offsets)
    with pytest.raises(ValueError, match=r"raw must be \[N, 4\], t and lengths \[N\]"):
        composite_packed(raw, t[1:], lengths, offsets)
    with pytest.raises(ValueError, match="no engine 'x'"):
        composite_packed(raw, t, lengths, offsets, impl="x")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not on meta"):
        composite_packed(*(x.to("meta") for x in (raw, t, lengths, offsets)), impl="warp")
