"""Hash encoding as Warp kernels: one source for CPU and CUDA, with hand-written adjoints.

On the CPU a launch index is a block of points, encoded level by level so that one level's table stays in the cache.
The table's gradient is split by level: no two threads write the same entries, and the sum has a fixed order.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...threads import run_on_threads
from ..cpp_snippets import TILE, snippet
from ..warp_runtime import launch_cuda, wp
from .spec import HashSpec

U64 = wp.uint64  # addresses: raw memory costs nothing to pass to a kernel

BLOCK = 64 * TILE
"""Points whose features (128 KB for 32; with AVX-512 256 KB) are written level after level before moving on: they stay
in the cache."""


def hash_encode_warp(points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
    """See `hash_encode`. Raises RuntimeError on a device that is neither CPU nor CUDA."""
    if points.device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"hash_encode: the warp engine runs on CPU and CUDA, not on {points.device}")
    result: Tensor = _HashEncode.apply(points.float().contiguous(), table.contiguous(), spec)
    return result


def encode_into(features: Tensor, points: Tensor, table: Tensor, spec: HashSpec) -> None:
    """Write the features [N, width] of points [N, 3]. No gradient. All contiguous, on one device."""
    kernels, count = _kernels(spec.num_levels, spec.num_features, points.device.type), len(points)
    inputs = [
        count,
        points.data_ptr(),
        level_words(spec, points.device).data_ptr(),
        table.data_ptr(),
        features.data_ptr(),
    ]
    if points.device.type == "cuda":
        launch_cuda(kernels.forward, (count, spec.num_levels), [0, *inputs], points.device)
        return

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernels.forward, end - start, inputs=[start, *inputs], device="cpu")

    run_on_threads(work, -(-count // BLOCK))


def add_table_gradient(
    total: Tensor, gradient: Tensor, points: Tensor, spec: HashSpec, touched: Tensor | None = None
) -> None:
    """Add the table's gradient to `total` [num_entries, num_features], given that of the features [N, width].

    touched: uint8 [num_entries / 8], set to 1 where one of eight entries has a gradient.
    """
    kernels, count = _kernels(spec.num_levels, spec.num_features, points.device.type), len(points)
    inputs = [
        count,
        points.data_ptr(),
        level_words(spec, points.device).data_ptr(),
        gradient.data_ptr(),
        total.data_ptr(),
        0 if touched is None else touched.data_ptr(),
    ]
    if points.device.type == "cuda":
        launch_cuda(kernels.table, (count, spec.num_levels), [0, *inputs], points.device)
        return

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernels.table, end - start, inputs=[start, *inputs], device="cpu")

    run_on_threads(work, spec.num_levels)


def points_gradient(gradient: Tensor, points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
    """Return the gradient of the points [N, 3], given that of the features [N, width]."""
    kernels, count = _kernels(spec.num_levels, spec.num_features, points.device.type), len(points)
    result = torch.zeros_like(points)
    inputs = [
        count,
        points.data_ptr(),
        level_words(spec, points.device).data_ptr(),
        table.data_ptr(),
        gradient.data_ptr(),
        result.data_ptr(),
    ]
    if points.device.type == "cuda":
        launch_cuda(kernels.points, count, [0, *inputs], points.device)
        return result

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernels.points, end - start, inputs=[start, *inputs], device="cpu")

    run_on_threads(work, -(-count // BLOCK))
    return result


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
        ctx.spec = spec
        ctx.save_for_backward(points, table)
        features = points.new_empty(len(points), spec.width)
        encode_into(features, points, table, spec)
        return features

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        points, table = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_points = to_table = None
        if ctx.needs_input_grad[0]:
            to_points = points_gradient(gradient, points, table, ctx.spec)
        if ctx.needs_input_grad[1]:
            to_table = torch.zeros_like(table)
            add_table_gradient(to_table, gradient, points, ctx.spec)
        return to_points, to_table, None


# -------------------------------------------------------------------------------------------------------------- kernels


@lru_cache(maxsize=16)
def level_words(spec: HashSpec, device: torch.device) -> Tensor:
    """Five words of each level: scale (a float's bits), resolution, offset, size, dense."""
    scales = np.array([level.scale for level in spec.levels], np.float32).view(np.int32)
    rows = [[level.resolution, level.offset, level.size, int(level.dense)] for level in spec.levels]
    return torch.from_numpy(np.concatenate((scales[:, None], np.array(rows, np.int32)), 1)).to(device)


@dataclass(frozen=True)
class _Kernels:
    forward: Any
    table: Any
    points: Any


LEVEL_1_CACHE = 1 << 15
"""Bytes of a level above which entries are prefetched: the size of a core's first-level cache."""


@lru_cache(maxsize=16)
def _kernels(num_levels: int, num_features: int, device: str) -> _Kernels:
    """Compiled for these sizes: on the CPU a tile at a time, on CUDA a sample for each thread."""
    sizes = {"CHANNELS": num_features, "WIDTH": num_levels * num_features}
    if device == "cuda":
        kind, lanes = "cuda", 1
    else:
        kind, lanes = "cpu", TILE
        sizes |= {"TILE": TILE, "LEVEL_1_CACHE": LEVEL_1_CACHE}
    block, levels = wp.constant(BLOCK), wp.constant(num_levels)

    @wp.func_native(snippet(f"hash_encoding/encode_{kind}.inl", **sizes))
    def encode(level: int, start: int, end: int, points_at: U64, levels_at: U64, table_at: U64, features_at: U64): ...

    @wp.func_native(snippet(f"hash_encoding/table_gradient_{kind}.inl", **sizes))
    def scatter(
        level: int,
        start: int,
        end: int,
        points_at: U64,
        levels_at: U64,
        gradient_at: U64,
        total_at: U64,
        touched_at: U64,
    ): ...

    @wp.func_native(snippet("hash_encoding/points_gradient.inl", **sizes, LANES=lanes))
    def differentiate(
        level: int,
        start: int,
        end: int,
        points_at: U64,
        levels_at: U64,
        table_at: U64,
        gradient_at: U64,
        result_at: U64,
    ): ...

    if device == "cuda":

        @wp.kernel(enable_backward=False, module="unique")
        def forward(first: int, count: int, points: U64, meta: U64, table: U64, features: U64) -> None:
            i, level = wp.tid()
            encode(level, i, i + 1, points, meta, table, features)

        @wp.kernel(enable_backward=False, module="unique")
        def to_table(first: int, count: int, points: U64, meta: U64, gradient: U64, total: U64, touched: U64) -> None:
            i, level = wp.tid()
            scatter(level, i, i + 1, points, meta, gradient, total, touched)

        @wp.kernel(enable_backward=False, module="unique")
        def to_points(first: int, count: int, points: U64, meta: U64, table: U64, gradient: U64, result: U64) -> None:
            i = wp.tid()
            for level in range(levels):
                differentiate(level, i, i + 1, points, meta, table, gradient, result)

        return _Kernels(forward, to_table, to_points)

    @wp.kernel(enable_backward=False, module="unique")
    def forward_blocks(first: int, count: int, points: U64, meta: U64, table: U64, features: U64) -> None:
        start = (first + wp.tid()) * block
        for level in range(levels):
            encode(level, start, wp.min(start + block, count), points, meta, table, features)

    @wp.kernel(enable_backward=False, module="unique")
    def to_table_levels(
        first: int, count: int, points: U64, meta: U64, gradient: U64, total: U64, touched: U64
    ) -> None:
        at = first + wp.tid()  # even levels first, then odd ones: slices get fine and coarse levels alike
        half = (levels + 1) / 2
        level = wp.where(at < half, 2 * at, 2 * (at - half) + 1)
        scatter(level, 0, count, points, meta, gradient, total, touched)

    @wp.kernel(enable_backward=False, module="unique")
    def to_points_blocks(
        first: int, count: int, points: U64, meta: U64, table: U64, gradient: U64, result: U64
    ) -> None:
        start = (first + wp.tid()) * block
        for level in range(levels):
            differentiate(level, start, wp.min(start + block, count), points, meta, table, gradient, result)

    return _Kernels(forward_blocks, to_table_levels, to_points_blocks)
