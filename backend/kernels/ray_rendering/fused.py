"""Rendering as one kernel. CPU.

Each thread keeps a pool of rays. In a *wave* every ray of the pool walks on to its next few samples; the wave's samples
are encoded, one level of the table after the other, and go through the density network, a tile at a time. What it says
is summed up until a group of samples is whole (`grouping`); groups wait in a queue until a tile of them is full and is
coloured. A ray that is opaque or out of the box makes room for the next one, so waves stay full.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import LEVEL, encoded_tiles, level_words
from ..native import TILE, exponential, layer, layer_by_sample
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import color_layers
from ..ray_marching import OccupancyBits, Steps
from ..ray_marching.warp_engine import (
    Walk,
    contract_point,
    drawn_in,
    first_step,
    next_sample,
    safe_inverse,
    stride,
    walk_of,
)
from ..slices import in_slices, num_slices
from ..spherical_harmonics import harmonics_of_tile
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

POOL = 256
"""Rays that a thread walks at a time."""

AHEAD = 4
"""Samples that a ray goes ahead in a wave: as many may turn out to be behind its surface."""

TOGETHER = 64
"""Neighbouring rays that a thread takes at a time. Threads take turns as they get done."""


def render_rays_fused(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupancy: OccupancyBits,
    steps: Steps,
    table: Tensor,
    parameters: Tensor,
    spec: HashSpec,
    mlp: RadianceMlpSpec,
    jitter: Tensor | None,
    threshold: float,
    faintest: float,
) -> Tensor:
    """See `render_rays`."""
    count = len(origins)
    pixels = torch.zeros(count, 5)
    light = torch.ones(count, 2)  # what is left behind all samples, and behind whole groups
    held = torch.empty(count, mlp.geometry)  # Σ w geometry, of the group that is not whole
    if jitter is None:
        jitter = torch.full_like(near, 0.5)
    directions, table, parameters = directions.float().contiguous(), table.contiguous(), parameters.contiguous()
    given = [
        wp.from_torch(x.float().contiguous(), dtype=kind)
        for x, kind in ((origins, wp.vec3), (directions, wp.vec3), (near, wp.float32), (far, wp.float32))
    ]
    given += [wp.from_torch(jitter.float().contiguous())]
    given += [wp.from_torch(occupancy.bits), wp.from_torch(occupancy.empty)]
    words = level_words(spec, table.device)
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    walk = walk_of(steps, occupancy)
    following = torch.zeros(1, dtype=torch.int32)  # which rays are to be taken next
    samples = POOL * AHEAD

    def work(_number: int, _start: int, _end: int) -> None:
        pool = torch.empty(POOL, dtype=torch.int32), torch.empty(POOL, 3)
        mine = torch.empty(count // TOGETHER + 1, dtype=torch.int32)
        wave = torch.zeros(5, samples), torch.empty(samples, dtype=torch.int32), torch.empty(samples, spec.width)
        queue = torch.zeros(mlp.geometry, TILE), torch.zeros(TILE), torch.zeros(TILE + 1, dtype=torch.int32)
        wp.launch(
            kernel,
            1,
            inputs=[
                count, threshold, faintest, walk, *given,
                wp.from_torch(pool[0]), wp.from_torch(pool[1], dtype=wp.vec3),
                wp.from_torch(wave[0]), wp.from_torch(wave[1]), wp.from_torch(mine),
                *(
                    x.data_ptr()
                    for x in (
                        following, mine, *wave, *queue, words, table, parameters, directions, light, held, pixels,
                    )
                ),
            ],
            device="cpu",
        )  # fmt: skip

    in_slices(work, num_slices())
    return pixels


# -------------------------------------------------------------------------------------------------------------- kernels


def _encode(levels: int, channels: int) -> str:
    """Code that writes the features [tile][level · channel][TILE] of points xs, ys, zs [n], which lie in 0..1."""
    width = levels * channels
    points = "const float* px = xs + first; const float* py = ys + first; const float* pz = zs + first;"
    store = f"features[(size_t)first * {width} + (level * {channels} + f) * {TILE} + s] = value;"
    return f"""
    const int start = 0, end = n;
    for (int level = 0; level < {levels}; ++level) {{
    {LEVEL}
    const float* entries = (const float*)table_at + (size_t)meta[2] * {channels};
    {encoded_tiles(channels, points, store)}
    }}"""


def _wave(levels: int, channels: int, mlp: RadianceMlpSpec) -> str:
    width = levels * channels
    return f"""
    const int samples = {POOL * AHEAD};
    float* xs = (float*)wave_at; float* ys = xs + samples; float* zs = ys + samples;
    const float* ts = zs + samples; const float* lengths = ts + samples;
    const int* rays = (const int*)rays_at;
    float* features = (float*)features_at;
    float* light = (float*)light_at; float* held = (float*)held_at; float* pixels = (float*)pixels_at;
    float* queue = (float*)queue_at; float* weights = (float*)weights_at; int* queued = (int*)queued_at;
    const float* parameters = (const float*)parameters_at; const float* directions = (const float*)directions_at;
    for (int i = 0; i < n; ++i) {{
        xs[i] = xs[i] > 0.0f ? (xs[i] < 1.0f ? xs[i] : 1.0f) : 0.0f;
        ys[i] = ys[i] > 0.0f ? (ys[i] < 1.0f ? ys[i] : 1.0f) : 0.0f;
        zs[i] = zs[i] > 0.0f ? (zs[i] < 1.0f ? zs[i] : 1.0f) : 0.0f;
    }}
    {_encode(levels, channels)}
    const float per_part = 1.0f / faintest;
    auto part = [&](float left) {{ return __builtin_floorf((1.0f - left) * per_part); }};
    int number = queued[{TILE}];
    auto color = [&]() {{
        const float* geometry = queue;
        for (int i = number; i < {TILE}; ++i) queued[i] = queued[0];
        {color_layers(mlp, harmonics_of_tile(f"c0 + {mlp.geometry * TILE}", "directions + 3 * (size_t)queued[s]"))}
        for (int k = 0; k < {3 * TILE}; ++k) rgb[k] = -rgb[k];
        {exponential("rgb", 3 * TILE)}
        for (int k = 0; k < {3 * TILE}; ++k) rgb[k] = 1.0f / (1.0f + rgb[k]);
        for (int i = 0; i < number; ++i)
            for (int c = 0; c < 3; ++c) pixels[5 * (size_t)queued[i] + c] += weights[i] * rgb[c * {TILE} + i];
        number = 0;
    }};
    auto whole = [&](int ray) {{
        float* left = light + 2 * (size_t)ray;
        weights[number] = left[1] - left[0];
        left[1] = left[0];
        queued[number] = ray;
        const float scale = 1.0f / weights[number];
        for (int k = 0; k < {mlp.geometry}; ++k)
            queue[k * {TILE} + number] = held[{mlp.geometry} * (size_t)ray + k] * scale;
        if (++number == {TILE}) color();
    }};
    for (int first = 0; first < n; first += {TILE}) {{
        const int count = n - first < {TILE} ? n - first : {TILE};
        const float* x = features + (size_t)first * {width};
        {layer("h1", "x", "parameters", mlp.inputs, mlp.hidden, relu=True)}
        {layer_by_sample("geometry", "h1", f"parameters + {mlp.offsets[1]}", mlp.hidden, mlp.geometry)}
        float density[{TILE}];
        for (int s = 0; s < {TILE}; ++s) {{
            const float raw = geometry[s * {mlp.geometry}];
            density[s] = raw > {LARGEST_EXPONENT}f ? {LARGEST_EXPONENT}f : raw;
        }}
        {exponential("density")}
        float passing[{TILE}];
        for (int s = 0; s < {TILE}; ++s) passing[s] = -density[s] * lengths[first + s];
        {exponential("passing")}
        for (int s = 0; s < count; ++s) {{
            const int ray = rays[first + s];
            float* left = light + 2 * (size_t)ray;
            if (left[0] <= threshold) continue;  // what is not a number goes on, to be noticed
            const float before = left[0];
            float behind = before * passing[s];
            if (behind <= threshold) behind = 0.0f;
            left[0] = behind;
            const float weight = before - behind;
            pixels[5 * (size_t)ray + 4] += weight * ts[first + s];
            const float* of_sample = geometry + s * {mlp.geometry};
            float* sum = held + {mlp.geometry} * (size_t)ray;
            if (left[1] == before)
                for (int k = 0; k < {mlp.geometry}; ++k) sum[k] = weight * of_sample[k];
            else
                for (int k = 0; k < {mlp.geometry}; ++k) sum[k] += weight * of_sample[k];
            if (part(before) != part(behind)) whole(ray);
        }}
    }}
    if (last) {{
        for (int i = 0; i < taken; ++i) {{
            const int from = ((const int*)mine_at)[i] * {TOGETHER};
            for (int ray = from; ray < from + {TOGETHER} && ray < all; ++ray) {{
                pixels[5 * (size_t)ray + 3] = 1.0f - light[2 * (size_t)ray];
                if (light[2 * (size_t)ray] != light[2 * (size_t)ray + 1]) whole(ray);
            }}
        }}
        if (number > 0) color();
    }}
    queued[{TILE}] = number;"""


@lru_cache(maxsize=8)
def _kernel(levels: int, channels: int, mlp: RadianceMlpSpec) -> Any:
    pool, ahead, together = wp.constant(POOL), wp.constant(AHEAD), wp.constant(TOGETHER)
    room = wp.constant(POOL * AHEAD)

    @wp.func_native(_wave(levels, channels, mlp))
    def shade(
        n: int, last: int, taken: int, all: int, threshold: float, faintest: float, mine_at: U64,
        wave_at: U64, rays_at: U64, features_at: U64, queue_at: U64, weights_at: U64, queued_at: U64,
        levels_at: U64, table_at: U64, parameters_at: U64, directions_at: U64, light_at: U64, held_at: U64,
        pixels_at: U64,
    ): ...  # fmt: skip

    @wp.func_native("return __atomic_fetch_add((int*)address, 1, __ATOMIC_RELAXED);")
    def take(address: U64) -> int: ...

    @wp.func_native("return ((const float*)address)[2 * (size_t)index];")
    def light_left(address: U64, index: int) -> float: ...

    @wp.kernel(enable_backward=False, module="unique")
    def render(
        count: int, threshold: float, faintest: float, walk: Walk,
        origins: wp.array(dtype=wp.vec3), directions: wp.array(dtype=wp.vec3),
        near: wp.array(dtype=float), far: wp.array(dtype=float), jitter: wp.array(dtype=float),
        bits: wp.array(dtype=wp.uint8), empty: wp.array(dtype=wp.uint8),
        pool_rays: wp.array(dtype=int), pool_at: wp.array(dtype=wp.vec3),
        wave: wp.array2d(dtype=float), wave_rays: wp.array(dtype=int), mine: wp.array(dtype=int),
        following: U64, mine_address: U64,
        wave_address: U64, wave_rays_address: U64, features: U64, queue: U64, weights: U64, queued: U64,
        levels_at: U64, table: U64, parameters: U64, directions_at: U64, light: U64, held: U64, pixels: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        block = int(0)  # of rays that this thread took last
        given = int(together)  # rays of it that are in the pool, or were
        taken = int(0)  # blocks
        more = int(1)  # whether there may be others
        active = int(0)
        while active > 0 or more > 0:
            filled = int(0)
            slot = int(0)
            while (slot < active or (slot < pool and more > 0)) and filled + ahead <= room:
                if slot == active:  # room for another ray
                    if given == together:
                        block = take(following)
                        given = 0
                        if block * together < count:
                            mine[taken] = block
                            taken += 1
                    ray = block * together + given
                    given += 1
                    more = wp.where(ray < count, 1, 0)
                    if ray < count:
                        start = first_step(near[ray], jitter[ray], origins[ray], directions[ray], walk)
                        pool_rays[slot] = ray
                        pool_at[slot] = wp.vec3(start, 0.0, 0.0)
                        active += 1
                else:
                    i = pool_rays[slot]
                    o = origins[i]
                    d = directions[i]
                    end = far[i]
                    inverse = wp.vec3(safe_inverse(d[0]), safe_inverse(d[1]), safe_inverse(d[2]))
                    state = pool_at[slot]
                    at = wp.vec2(state[0], state[1])
                    samples = state[2]
                    stop = filled + ahead
                    goes_on = light_left(light, i) > threshold
                    while goes_on and filled < stop:
                        at = next_sample(at, end, o, d, inverse, walk, bits, empty)
                        goes_on = at[0] < end and samples < float(walk.most)
                        if goes_on:
                            p = o + d * at[0]
                            drawn = drawn_in(p, walk)
                            further = stride(at[0], drawn, walk)
                            if walk.contracted != 0:
                                p = contract_point(p)
                            wave[0, filled] = p[0]
                            wave[1, filled] = p[1]
                            wave[2, filled] = p[2]
                            wave[3, filled] = at[0]
                            wave[4, filled] = further / drawn
                            wave_rays[filled] = i
                            at = wp.vec2(at[0] + further, at[1] + 1.0)
                            samples += 1.0
                            filled += 1
                    if goes_on:
                        pool_at[slot] = wp.vec3(at[0], at[1], samples)
                        slot += 1
                    else:  # the last ray takes its place
                        active -= 1
                        pool_rays[slot] = pool_rays[active]
                        pool_at[slot] = pool_at[active]
            last = wp.where(active > 0 or more > 0, 0, 1)
            shade(
                filled, last, taken, count, threshold, faintest, mine_address,
                wave_address, wave_rays_address, features, queue, weights, queued,
                levels_at, table, parameters, directions_at, light, held, pixels,
            )  # fmt: skip

    return render
