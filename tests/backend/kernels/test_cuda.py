"""The CUDA side of the kernels: its source compiles without a device, and on one it is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import warp as wp

from backend.kernels.compositing import composite_packed
from backend.kernels.compositing import warp_engine as compositing
from backend.kernels.hash_encoding import HashSpec, hash_encode
from backend.kernels.hash_encoding import warp_engine as encoding
from backend.kernels.ray_marching import OccupancyBits, Steps, march_rays
from backend.kernels.ray_marching import warp_engine as marching

SPEC = HashSpec(4, 2, 10, 4, 32)


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


@pytest.mark.gpu
@pytest.mark.parametrize("count", [0, 1, 17, 5000])
def test_on_a_device_encoding_is_the_reference(count: int) -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random).cuda()
    table = torch.randn(SPEC.num_entries, SPEC.num_features, generator=random).cuda()
    results = []
    for impl in ("reference", "warp"):
        leaves = points.clone().requires_grad_(), table.clone().requires_grad_()
        features = hash_encode(*leaves, SPEC, impl=impl)  # type: ignore[arg-type]
        results.append((features.detach(), *torch.autograd.grad(features.square().sum(), leaves)))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.gpu
def test_on_a_device_marching_and_compositing_are_those_of_the_processor() -> None:
    random = torch.Generator().manual_seed(0)
    occupancy = torch.rand(16, 16, 16, generator=random) < 0.4
    origins = torch.rand(2000, 3, generator=random) * torch.tensor([1.0, 1.0, 0.0]) - torch.tensor([0.0, 0.0, 0.5])
    directions = torch.tensor([[0.1, 0.0, 1.0]]).expand(2000, 3).contiguous()
    near, far = torch.zeros(2000), torch.full((2000,), 3.0)
    given = (origins, directions, near, far)
    here = march_rays(*given, OccupancyBits(occupancy), Steps(1 / 64), impl="warp")
    there = march_rays(*(x.cuda() for x in given), OccupancyBits(occupancy.cuda()), Steps(1 / 64), impl="warp")
    assert abs(len(here.t) - len(there.t)) <= len(here.t) // 500
    raw = torch.randn(len(here.t), 4, generator=random)
    results = []
    for device in ("cpu", "cuda"):
        leaf = raw.to(device).requires_grad_()
        pixels = composite_packed(leaf, *(x.to(device) for x in (here.t, here.lengths, here.offsets)), impl="warp")
        total = pixels.rgb.sum() + pixels.alpha.square().sum() + pixels.distortion.sum() + pixels.t.sum()
        results.append((pixels.rgb.detach().cpu(), torch.autograd.grad(total, leaf)[0].cpu()))
    for got, expected in zip(results[1], results[0]):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
