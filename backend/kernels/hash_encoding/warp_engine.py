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

from ...threads import in_slices
from ..native import FUSED, TILE, hash_corners, hash_index
from ..warp_runtime import launch_cuda, wp
from .spec import HashSpec

U64 = wp.uint64  # addresses: kernels get raw memory, which costs nothing to hand over

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

    in_slices(work, -(-count // BLOCK))


def add_table_gradient(
    total: Tensor, gradient: Tensor, points: Tensor, spec: HashSpec, touched: Tensor | None = None
) -> None:
    """Add the table's gradient to `total` [num_entries, num_features], given that of the features [N, width].

    touched: uint8 [num_entries / 8], set to 1 where one of eight entries got something.
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

    in_slices(work, spec.num_levels)


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

    in_slices(work, -(-count // BLOCK))
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


LEVEL = """
    const int* meta = (const int*)levels_at + 5 * level;
    const float scale = *(const float*)meta;
    const unsigned resolution = meta[1], size = meta[3];
    const bool dense = meta[4] != 0;"""
"""Code that reads what `level_words` says of one level."""


def points_of(begin: str, end: str, tile: int = TILE) -> str:
    """Return code for px, py, pz [tile], in 0..1, of the points from `begin` on; after `end`, the first again."""
    return f"""
    float px[{tile}], py[{tile}], pz[{tile}];
    for (int s = 0; s < {tile}; ++s) {{
        const int at = {begin} + s < {end} ? {begin} + s : {begin};
        const float* p = (const float*)points_at + 3 * (size_t)at;
        px[s] = p[0] > 0.0f ? (p[0] < 1.0f ? p[0] : 1.0f) : 0.0f;
        py[s] = p[1] > 0.0f ? (p[1] < 1.0f ? p[1] : 1.0f) : 0.0f;
        pz[s] = p[2] > 0.0f ? (p[2] < 1.0f ? p[2] : 1.0f) : 0.0f;
    }}"""


def _load(tile: int) -> str:
    """Code that opens the loop over tiles and finds the corners of their points."""
    return f"""
    {LEVEL}
    for (int first = start; first < end; first += {tile}) {{
    const int count = end - first < {tile} ? end - first : {tile};
    {points_of("first", "end", tile)}
    {hash_corners(tile)}"""


CACHE = 1 << 15
"""Bytes of a level from which on it is worth asking for entries ahead: what the fastest cache of a core holds."""

UNROLLED = "#pragma clang loop unroll(full)"
"""Before a loop over corners on the CPU: which of two coordinates each takes is then known when it is compiled."""


def encoded_tiles(channels: int, points: str, store: str) -> str:
    """Return code for one level's features of the points start..end on the CPU, a tile after the other, from `entries`,
    `scale`, `resolution`, `size` and `dense`.

    The entries of the next tile are asked for while this one's are summed: they are in the cache by then.

    Args:
        channels: features of an entry.
        points: code that makes px, py, pz [TILE] in 0..1 of the tile that begins at point `first`.
        store: code that keeps feature `f` of sample `s`, which is `value`, of the tile that begins at point `first`.
    """
    if channels == 2:  # the usual number: an entry is one word of 8 bytes, and four samples fill two vector registers
        together = 4
        fetch = """
            typedef double four __attribute__((vector_size(32)));
            typedef float numbers __attribute__((vector_size(32)));
            typedef double word __attribute__((aligned(4), may_alias));
            auto fetched = [&](int corner) {
                const unsigned* place = places[now][corner] + at;
                return (numbers)four{
                    *(const word*)(entries + 2 * (size_t)place[0]), *(const word*)(entries + 2 * (size_t)place[1]),
                    *(const word*)(entries + 2 * (size_t)place[2]), *(const word*)(entries + 2 * (size_t)place[3]),
                };
            };"""
    else:
        together = 1
        fetch = f"""
            typedef float numbers __attribute__((vector_size({4 * channels}), aligned(4)));
            auto fetched = [&](int corner) {{
                return *(const numbers*)(entries + (size_t)places[now][corner][at] * {channels});
            }};"""
    return _tiles_ahead(
        channels,
        points,
        f"alignas(64) float along[2][3][{TILE * channels}];  // how far from the lower corner to the upper: of x, y, z",
        f"""
                for (int f = 0; f < {channels}; ++f) {{
                    along[to][0][lane * {channels} + f] = *fx[1];
                    along[to][1][lane * {channels} + f] = *fy[1];
                    along[to][2][lane * {channels} + f] = *fz[1];
                }}""",
        f"""
        for (int at = 0; at < {TILE}; at += {together}) {{
            {FUSED}
            {fetch}
            const numbers along_x = *(const numbers*)(along[now][0] + {channels} * at);
            const numbers along_y = *(const numbers*)(along[now][1] + {channels} * at);
            const numbers along_z = *(const numbers*)(along[now][2] + {channels} * at);
            numbers edge[4];
            {UNROLLED}
            for (int i = 0; i < 4; ++i) {{
                const numbers lower = fetched(2 * i), upper = fetched(2 * i + 1);
                edge[i] = lower + along_x * (upper - lower);
            }}
            const numbers below = edge[0] + along_y * (edge[1] - edge[0]);
            const numbers above = edge[2] + along_y * (edge[3] - edge[2]);
            const numbers sum = below + along_z * (above - below);
            for (int i = 0; i < {together * channels}; ++i) {{
                const int s = at + i / {channels}, f = i % {channels};
                const float value = sum[i];
                {store}
            }}
            for (int s = at; s < at + {together}; ++s) ask(s);
        }}""",
    )


def encoded_wave(levels: int, channels: int, name: str) -> str:
    """Return code that writes the features name [tile][level · channel][TILE] of points xs, ys, zs [n], which lie in
    0..1, on the CPU: one level of the table at table_at after the other, which stays in the cache."""
    width = levels * channels
    points = "const float* px = xs + first; const float* py = ys + first; const float* pz = zs + first;"
    store = f"{name}[(size_t)first * {width} + (level * {channels} + f) * {TILE} + s] = value;"
    return f"""
    const int start = 0, end = n;
    for (int level = 0; level < {levels}; ++level) {{
    {LEVEL}
    const float* entries = (const float*)table_at + (size_t)meta[2] * {channels};
    {encoded_tiles(channels, points, store)}
    }}"""


def _tiles_ahead(channels: int, points: str, declared: str, filled: str, work: str) -> str:
    """Return code for a loop over tiles, with `work` on the tile that begins at point `first`: places [now][corner][s]
    of its entries, what else is `declared`, and ask(s), to be called for every s, which fetches the next tile's.

    Args:
        channels, points: see `encoded_tiles`.
        declared: declares arrays [2][..], for a tile and for the next.
        filled: code that writes to them at [to] what there is to know of sample `lane` from its fx, fy, fz [2][1].
    """
    return f"""
    const bool far_away = (size_t)size * {4 * channels} > {CACHE};
    unsigned places[2][8][{TILE}];
    {declared}
    auto look = [&](int first, int to) {{
        {points}
        const float* const point[3] = {{px, py, pz}};
        auto each = [&](const bool dense) {{
            for (int lane = 0; lane < {TILE}; ++lane) {{
                const float* px = point[0] + lane; const float* py = point[1] + lane; const float* pz = point[2] + lane;
                {hash_corners(1)}
                {UNROLLED}
                for (int corner = 0; corner < 8; ++corner) {{
                    {hash_index(1)}
                    places[to][corner][lane] = *index;
                }}
                {filled}
            }}
        }};
        if (dense) each(true); else each(false);
    }};
    int now = 0;
    if (start < end) look(start, now);
    for (int first = start; first < end; first += {TILE}, now = 1 - now) {{
        const bool more = first + {TILE} < end;
        if (more) look(first + {TILE}, 1 - now);
        auto ask = [&](int s) {{
            if (far_away && more)
                for (int corner = 0; corner < 8; corner += 2)  // its neighbour along x is nearly always beside it
                    __builtin_prefetch(entries + {channels} * (size_t)places[1 - now][corner][s]);
        }};
        {work}
    }}"""


def _forward(tile: int, width: int, channels: int) -> str:
    read = f"""
    const float* entries = (const float*)table_at + (size_t)((const int*)levels_at)[5 * level + 2] * {channels};
    float* features = (float*)features_at + (size_t)level * {channels};"""
    if tile == TILE:
        store = f"if (first + s < end) features[(size_t)(first + s) * {width} + f] = value;"
        return read + LEVEL + encoded_tiles(channels, points_of("first", "end"), store)
    return f"""{read}
    {_load(tile)}
    float sum[{tile}][{channels}] = {{}};
    for (int corner = 0; corner < 8; ++corner) {{
        {hash_index(tile)}
        for (int s = 0; s < {tile}; ++s) {{
            const float w = wx[s] * wy[s] * wz[s];
            const float* entry = entries + (size_t)index[s] * {channels};
            for (int f = 0; f < {channels}; ++f) sum[s][f] += w * entry[f];
        }}
    }}
    for (int s = 0; s < count; ++s)
        for (int f = 0; f < {channels}; ++f) features[(size_t)(first + s) * {width} + f] = sum[s][f];
    }}"""


def _table(tile: int, width: int, channels: int) -> str:
    read = f"""
    const size_t offset = (size_t)((const int*)levels_at)[5 * level + 2];
    float* entries = (float*)total_at + offset * {channels};
    unsigned char* touched = touched_at ? (unsigned char*)touched_at + offset / 8 : nullptr;
    const float* gradient = (const float*)gradient_at + (size_t)level * {channels};"""
    if tile == TILE:
        work = f"""
        const int count = end - first < {TILE} ? end - first : {TILE};
        for (int s = 0; s < count; ++s) {{
            const float* g = gradient + (size_t)(first + s) * {width};
            {UNROLLED}
            for (int corner = 0; corner < 8; ++corner) {{
                const size_t place = places[now][corner][s];
                float* entry = entries + place * {channels};
                for (int f = 0; f < {channels}; ++f) entry[f] += weights[now][corner][s] * g[f];
                if (touched) touched[place >> 3] = 1;
            }}
            ask(s);
        }}"""
        declared = f"float weights[2][8][{TILE}];"
        filled = f"""
                {UNROLLED}
                for (int corner = 0; corner < 8; ++corner)
                    weights[to][corner][lane] = fx[corner & 1][0] * fy[corner >> 1 & 1][0] * fz[corner >> 2][0];"""
        return read + LEVEL + _tiles_ahead(channels, points_of("first", "end"), declared, filled, work)
    return f"""{read}
    {_load(tile)}
    for (int corner = 0; corner < 8; ++corner) {{
        {hash_index(tile)}
        for (int s = 0; s < count; ++s) {{
            const float w = wx[s] * wy[s] * wz[s];
            const float* g = gradient + (size_t)(first + s) * {width};
            float* entry = entries + (size_t)index[s] * {channels};
            for (int f = 0; f < {channels}; ++f) wp::atomic_add(entry + f, w * g[f]);
            if (touched) touched[index[s] >> 3] = 1;
        }}
    }}
    }}"""


def _points(tile: int, width: int, channels: int) -> str:
    return f"""
    const float* entries = (const float*)table_at + (size_t)((const int*)levels_at)[5 * level + 2] * {channels};
    const float* gradient = (const float*)gradient_at + (size_t)level * {channels};
    float* result = (float*)result_at;
    {_load(tile)}
    float dx[{tile}] = {{}}, dy[{tile}] = {{}}, dz[{tile}] = {{}};
    for (int corner = 0; corner < 8; ++corner) {{
        {hash_index(tile)}
        for (int s = 0; s < count; ++s) {{
            const float* entry = entries + (size_t)index[s] * {channels};
            const float* g = gradient + (size_t)(first + s) * {width};
            float along = 0.0f;
            for (int f = 0; f < {channels}; ++f) along += g[f] * entry[f];
            dx[s] += (corner & 1 ? along : -along) * wy[s] * wz[s];
            dy[s] += (corner & 2 ? along : -along) * wx[s] * wz[s];
            dz[s] += (corner & 4 ? along : -along) * wx[s] * wy[s];
        }}
    }}
    for (int s = 0; s < count; ++s) {{
        const float* p = (const float*)points_at + 3 * (size_t)(first + s);
        float* to = result + 3 * (size_t)(first + s);
        if (p[0] >= 0.0f && p[0] <= 1.0f) to[0] += scale * dx[s];
        if (p[1] >= 0.0f && p[1] <= 1.0f) to[1] += scale * dy[s];
        if (p[2] >= 0.0f && p[2] <= 1.0f) to[2] += scale * dz[s];
    }}
    }}"""


@lru_cache(maxsize=16)
def _kernels(num_levels: int, num_features: int, device: str) -> _Kernels:
    """Compiled for these sizes: on the CPU a tile at a time, on CUDA a sample for each thread."""
    tile = 1 if device == "cuda" else TILE
    sizes = (tile, num_levels * num_features, num_features)
    block, levels = wp.constant(BLOCK), wp.constant(num_levels)

    @wp.func_native(_forward(*sizes))
    def encode(level: int, start: int, end: int, points_at: U64, levels_at: U64, table_at: U64, features_at: U64): ...

    @wp.func_native(_table(*sizes))
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

    @wp.func_native(_points(*sizes))
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
