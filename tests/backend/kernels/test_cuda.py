"""The CUDA side of the kernels: its source compiles without a device, and computes what the processor does, on a device
that the processor plays (tests/backend/fixtures/elsewhere.py) and on a real one. MPS takes the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import warp as wp
from torch import Tensor

from backend.kernels import hash_encoding
from backend.kernels import radiance_mlp as networks_of
from backend.kernels.compositing import composite_packed
from backend.kernels.compositing import warp_engine as compositing
from backend.kernels.hash_encoding import HashSpec, hash_encode
from backend.kernels.hash_encoding import warp_engine as encoding
from backend.kernels.radiance_mlp import RadianceMlpSpec, density_mlp, radiance_mlp
from backend.kernels.ray_marching import OccupancyBits, Samples, Steps, march_rays
from backend.kernels.ray_marching import warp_engine as marching
from backend.kernels.ray_rendering import render_rays
from backend.kernels.sparse_adam import AdamState, sparse_adam
from backend.kernels.visible_samples import visible_samples
from backend.kernels.warm_up import warm_up
from tests.backend.fixtures.elsewhere import REAL_CUDA, device_of, played

SPEC = HashSpec(4, 2, 10, 4, 32)
MLP = RadianceMlpSpec(inputs=SPEC.width)


def modules() -> dict[str, Any]:
    kernels = encoding._kernels(SPEC.num_levels, SPEC.num_features, "cuda")
    return {
        "encode": kernels.forward.module,
        "encode, to the table": kernels.table.module,
        "encode, to the points": kernels.points.module,
        "march": marching._count.module,
        "composite": compositing._forward.module,
    }


@pytest.mark.skipif(wp.get_cuda_supported_archs() == [], reason="this Warp was built without CUDA")
@pytest.mark.parametrize("name", modules())
def test_the_source_compiles_for_cuda(name: str, tmp_path: Path) -> None:
    (artifact,) = wp.compile_aot_module(modules()[name], arch=80, module_dir=tmp_path, use_ptx=True)
    text = Path(artifact).read_text(encoding="utf-8", errors="replace")
    assert ".visible .entry" in text and ".target sm_" in text


@pytest.fixture(params=["cuda", REAL_CUDA])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A CUDA device, played by the processor or real."""
    with device_of(request.param) as found:
        yield found


def field() -> tuple[Tensor, Tensor, OccupancyBits]:
    """A table and networks of a soft field on the CPU, and where it holds something."""
    random = torch.Generator().manual_seed(0)
    table = torch.randn(SPEC.num_entries, SPEC.num_features, generator=random)
    return table, MLP.initial(random), OccupancyBits(torch.rand(16, 16, 16, generator=random) < 0.4)


def rays(count: int = 300) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Origins, directions, near and far through the unit cube, on the CPU."""
    random = torch.Generator().manual_seed(1)
    origins = torch.rand(count, 3, generator=random) * torch.tensor([1.0, 1.0, 0.0]) - torch.tensor([0.0, 0.0, 0.5])
    directions = torch.tensor([[0.1, 0.0, 1.0]]).expand(count, 3).contiguous()
    return origins, directions, torch.zeros(count), torch.full((count,), 3.0)


def samples_at(device: torch.device) -> Samples:
    """Those of the rays, marched on the CPU."""
    found = march_rays(*rays(), field()[2], Steps(1 / 64))
    return Samples(*(getattr(found, name).to(device) for name in ("points", "t", "lengths", "rays", "offsets")))


@pytest.mark.parametrize("count", [0, 1, 17, 5000])
def test_encoding_is_the_reference(device: torch.device, count: int) -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random) * 1.2 - 0.1
    points[:1] = torch.nan
    table = torch.randn(SPEC.num_entries, SPEC.num_features, generator=random)
    results = []
    for impl in ("reference", "warp"):
        leaves = points.to(device).requires_grad_(), table.to(device).requires_grad_()
        features = hash_encode(*leaves, SPEC, impl=impl)
        assert features.device.type == "cuda"
        results.append((features.detach(), *torch.autograd.grad(features.square().sum(), leaves)))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got.cpu(), expected.cpu(), rtol=1e-3, atol=1e-2)


def test_the_tables_gradient_is_added_and_flagged(device: torch.device) -> None:
    table, _, _ = field()
    points = samples_at(device).points
    gradient = torch.randn(len(points), SPEC.width, generator=torch.Generator().manual_seed(0))
    results = []
    for where in (torch.device("cpu"), device):
        total = torch.ones_like(table).to(where)
        touched = torch.zeros(SPEC.num_entries // 8, dtype=torch.uint8, device=where)
        encoding.add_table_gradient(total, gradient.to(where), points.to(where), SPEC, touched)
        results.append((total.cpu(), touched.cpu()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-3, atol=1e-3)
    assert torch.equal(results[1][1], results[0][1]) and results[0][1].any()


def test_marching_and_compositing_are_those_of_the_processor(device: torch.device) -> None:
    _, _, occupancy = field()
    origins, directions, near, far = rays(2000)
    here = march_rays(origins, directions, near, far, occupancy, Steps(1 / 64), impl="warp")
    occupancy_there = OccupancyBits(occupancy.occupied.to(device))
    given = [x.to(device) for x in (origins, directions, near, far)]
    there = march_rays(given[0], given[1], given[2], given[3], occupancy_there, Steps(1 / 64), impl="warp")
    assert there.points.device.type == "cuda"
    assert abs(len(here.t) - len(there.t)) <= len(here.t) // 500
    raw = torch.randn(len(here.t), 4, generator=torch.Generator().manual_seed(0))
    results = []
    for where in (torch.device("cpu"), device):
        leaf = raw.to(where).requires_grad_()
        pixels = composite_packed(leaf, here.t.to(where), here.lengths.to(where), here.offsets.to(where), impl="warp")
        total = pixels.rgb.sum() + pixels.alpha.square().sum() + pixels.distortion.sum() + pixels.t.sum()
        results.append((pixels.rgb.detach().cpu(), torch.autograd.grad(total, leaf)[0].cpu()))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_the_networks_are_those_of_the_processor(device: torch.device) -> None:
    _, networks, _ = field()
    samples = samples_at(device)
    random = torch.Generator().manual_seed(2)
    features, view = torch.randn(len(samples.t), MLP.inputs, generator=random), torch.randn(300, 16, generator=random)
    results: list[tuple[Tensor, ...]] = []
    for where in (torch.device("cpu"), device):
        leaves = [x.to(where).requires_grad_() for x in (features, view, networks)]
        raw = radiance_mlp(leaves[0], leaves[1], samples.rays.to(where), leaves[2], MLP)
        density = density_mlp(leaves[0].detach(), leaves[2].detach(), MLP)
        gradients = torch.autograd.grad(raw.square().sum(), leaves)
        results.append(tuple(x.detach().cpu() for x in (raw, density, *gradients)))
    for got, expected in zip(results[1], results[0]):
        assert float((got - expected).norm() / expected.norm()) < 0.05  # in half precision where tinycudann is there


def test_sparse_adam_is_that_of_the_processor(device: torch.device) -> None:
    start, _, _ = field()
    random = torch.Generator().manual_seed(3)
    steps = [(torch.randn(start.shape, generator=random), torch.rand(len(start) // 8, generator=random) < 0.3)
             for _ in range(3)]  # fmt: skip
    results = []
    for where in (torch.device("cpu"), device):
        table = start.clone().to(where)
        state = AdamState.zeros(table)
        for number, (gradient, touched) in enumerate(steps):
            state.gradient.copy_(gradient * touched.repeat_interleave(8)[:, None])
            state.touched.copy_(touched)
            sparse_adam(table, state, 0.1, number + 1)
        assert not state.gradient.cpu().any() and not state.touched.cpu().any()
        results.append((table.cpu(), state.mean.cpu(), state.square.cpu()))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_visible_samples_are_those_of_the_processor(device: torch.device) -> None:
    table, networks, _ = field()
    found = []
    for where in (torch.device("cpu"), device):
        kept, features = visible_samples(samples_at(where), table.to(where), networks.to(where), SPEC, MLP, 1e-2)
        assert features.shape == (len(kept.t), SPEC.width) and features.device.type == where.type
        found.append(kept.offsets.diff().cpu())
    assert int((found[0] - found[1]).abs().sum()) <= int(found[0].sum()) // 100


def test_renders_are_those_of_the_processor(device: torch.device) -> None:
    table, networks, occupancy = field()
    found = []
    for where in (torch.device("cpu"), device):
        origins, directions, near, far = (x.to(where) for x in rays())
        pixels = render_rays(
            origins, directions, near, far, OccupancyBits(occupancy.occupied.to(where)), Steps(1 / 64),
            table.to(where), networks.to(where), SPEC, MLP, threshold=1e-3, faintest=1e-4, chunk=128,
        )  # fmt: skip
        assert pixels.device.type == where.type
        found.append(pixels.cpu())
    assert float(found[0][:, 3].mean()) > 0.2
    assert float((found[0] - found[1]).square().mean().sqrt()) < 0.01


def test_engines_of_the_processor_say_that_they_are(device: torch.device) -> None:
    table, networks, _ = (x.to(device) if isinstance(x, Tensor) else x for x in field())
    assert isinstance(table, Tensor) and isinstance(networks, Tensor)
    samples = samples_at(device)
    with pytest.raises(RuntimeError, match="runs on the CPU, not on cuda"):
        density_mlp(torch.zeros(3, MLP.inputs, device=device), networks, MLP, impl="fused")
    with pytest.raises(RuntimeError, match="runs on the CPU, not on cuda"):
        visible_samples(samples, table, networks, SPEC, MLP, impl="fused")
    with pytest.raises(RuntimeError, match="runs on the CPU, not on cuda"):
        sparse_adam(table, AdamState.zeros(table), 0.1, 1, impl="warp")


def test_on_mps_everything_is_the_reference() -> None:
    with played("mps") as device:
        assert hash_encoding.choose(device, SPEC) == networks_of.choose(device, MLP) == "reference"
        table, _, occupancy = field()
        samples, near = samples_at(device), torch.zeros(1, device=device)
        with pytest.raises(RuntimeError, match="warp engine runs on CPU and CUDA, not on mps"):
            hash_encode(samples.points, table.to(device), SPEC, impl="warp")
        with pytest.raises(RuntimeError, match="warp engine runs on CPU and CUDA, not on mps"):
            march_rays(samples.points[:1], samples.points[:1], near, near, occupancy, Steps(0.1), impl="warp")
        with pytest.raises(RuntimeError, match="warp engine runs on CPU and CUDA, not on mps"):
            composite_packed(torch.zeros(0, 4, device=device), near[:0], near[:0], samples.offsets[:1], impl="warp")
        warm_up(SPEC, MLP, device)  # there is nothing to compile
