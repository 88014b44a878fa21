"""Encoding and density along each ray until it is opaque. CPU.

Each thread keeps a pool of rays. In a *wave* each goes on by a few samples; the wave's samples are encoded, one level
of the table after the other, and go through the density network, a tile at a time. A ray that is opaque or at its end
makes room for another.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...threads import in_slices, num_slices
from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import encoded_wave, level_words
from ..native import TILE, exponential, turned
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import density_layers
from ..ray_marching import Samples
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

POOL = 256
"""Rays that a thread follows at a time."""

AHEAD = 4
"""Samples that a ray goes ahead in a wave: as many may turn out to be behind its surface."""

WAVE = POOL * AHEAD
assert WAVE % TILE == 0

SURELY = 1.0 + 1e-4
"""How much thicker than asked for a ray gets before it stops: sums in single precision and in double differ."""


def features_until_opaque(
    samples: Samples, table: Tensor, parameters: Tensor, spec: HashSpec, mlp: RadianceMlpSpec, limit: float
) -> tuple[Tensor, Tensor]:
    """Return features [N, width] and density before its activation [N]; behind an optical thickness of `limit`, the
    features are anything and the density is that of an opaque wall."""
    count = len(samples.offsets) - 1
    features = torch.empty(len(samples.t), spec.width)
    density = torch.full((len(samples.t),), LARGEST_EXPONENT)
    following = torch.zeros(1, dtype=torch.int32)  # which ray is to be taken next
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    given = (samples.points, samples.lengths, samples.offsets, level_words(spec, table.device), table, parameters)

    def work(_number: int, _start: int, _end: int) -> None:
        room = torch.zeros(WAVE * (3 + spec.width))
        addresses = [x.data_ptr() for x in (*given, features, density, following, room)]
        wp.launch(kernel, 1, inputs=[count, limit * SURELY, *addresses], device="cpu")

    in_slices(work, num_slices())
    return features, density


def _until_opaque(levels: int, channels: int, mlp: RadianceMlpSpec) -> str:
    width = levels * channels
    return f"""
    const float* points = (const float*)points_at; const float* lengths = (const float*)lengths_at;
    const int* offsets = (const int*)offsets_at; const float* parameters = (const float*)parameters_at;
    float* features = (float*)features_at; float* densities = (float*)densities_at;
    float* const xs = (float*)room_at; float* const ys = xs + {WAVE}; float* const zs = ys + {WAVE};
    float* const encoded = zs + {WAVE};  // [tile][level · channel][TILE]
    int rows[{WAVE}], slots[{WAVE}], next[{POOL}], stop[{POOL}], active = 0;
    float thickness[{POOL}];
    bool more = true;
    for (;;) {{
        for (int slot = 0; slot < active;) {{
            if (next[slot] < stop[slot] && !(thickness[slot] >= limit)) {{ ++slot; continue; }}
            --active;  // the last one takes its place
            next[slot] = next[active]; stop[slot] = stop[active]; thickness[slot] = thickness[active];
        }}
        while (more && active < {POOL}) {{
            const int ray = __atomic_fetch_add((int*)following_at, 1, __ATOMIC_RELAXED);
            more = ray + 1 < count;
            if (ray >= count || offsets[ray] == offsets[ray + 1]) continue;
            next[active] = offsets[ray]; stop[active] = offsets[ray + 1]; thickness[active++] = 0.0f;
        }}
        if (active == 0) break;
        int n = 0;
        for (int slot = 0; slot < active; ++slot)
            for (int i = 0; i < {AHEAD} && next[slot] < stop[slot]; ++i, ++n) {{
                const float* p = points + 3 * (size_t)next[slot];
                xs[n] = p[0] > 0.0f ? (p[0] < 1.0f ? p[0] : 1.0f) : 0.0f;
                ys[n] = p[1] > 0.0f ? (p[1] < 1.0f ? p[1] : 1.0f) : 0.0f;
                zs[n] = p[2] > 0.0f ? (p[2] < 1.0f ? p[2] : 1.0f) : 0.0f;
                slots[n] = slot;
                rows[n] = next[slot]++;
            }}
        {encoded_wave(levels, channels, "encoded")}
        for (int first = 0; first < n; first += {TILE}) {{
            const float* x = encoded + (size_t)first * {width};
            {density_layers(mlp)}
            {turned("by_sample", "x", width, TILE)}
            float opaque[{TILE}];
            for (int s = 0; s < {TILE}; ++s)
                opaque[s] = density[s] > {LARGEST_EXPONENT}f ? {LARGEST_EXPONENT}f : density[s];
            {exponential("opaque")}
            for (int s = 0; s < {TILE} && first + s < n; ++s) {{
                const size_t row = rows[first + s];
                densities[row] = density[s];
                thickness[slots[first + s]] += opaque[s] * lengths[row];
                __builtin_memcpy(features + row * {width}, by_sample + s * {width}, {4 * width});
            }}
        }}
    }}"""


@lru_cache(maxsize=8)
def _kernel(levels: int, channels: int, mlp: RadianceMlpSpec) -> Any:
    @wp.func_native(_until_opaque(levels, channels, mlp))
    def run(
        count: int, limit: float, points_at: U64, lengths_at: U64, offsets_at: U64, levels_at: U64, table_at: U64,
        parameters_at: U64, features_at: U64, densities_at: U64, following_at: U64, room_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def until_opaque(
        count: int, limit: float, points: U64, lengths: U64, offsets: U64, levels_at: U64, table: U64,
        parameters: U64, features: U64, densities: U64, following: U64, room: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        run(count, limit, points, lengths, offsets, levels_at, table, parameters, features, densities, following, room)

    return until_opaque
