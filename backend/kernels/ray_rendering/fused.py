"""Rendering as one kernel. CPU.

Each thread keeps a pool of rays that meet something. In a *wave* every ray of the pool walks on to its next few
samples, several rays at once (`lanes`); the wave's samples are encoded, one level of the table after the other, and go
through the density network, a tile at a time. What it says is summed up until a group of samples is whole (`grouping`);
groups wait in a queue until there are tiles of them to colour. A ray that is opaque or out of the box makes room for
another, so waves stay full.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...threads import in_slices, num_slices
from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import encoded_wave, level_words
from ..native import TILE, exponential, layer, layer_by_sample, turned
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import color_layers_of_rays, layer_of_view
from ..ray_marching import OccupancyBits, Steps
from ..ray_marching.lanes import LANES, WALK
from ..spherical_harmonics import harmonics_of_tile
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

POOL = 256
"""Rays that a thread walks at a time."""

AHEAD = 4
"""Samples that a ray goes ahead in a wave: as many may turn out to be behind its surface."""

TOGETHER = 64
"""Neighbouring rays that a thread takes at a time. Threads take turns as they get done."""

QUEUE = 8 * TILE
"""Groups that are coloured at a time: the colour network's weights are fetched but once for them."""

assert POOL % LANES == 0 and TOGETHER <= POOL and POOL * AHEAD % TILE == 0 and QUEUE % TILE == 0


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
    if jitter is None:
        jitter = torch.full_like(near, 0.5)
    given = [x.float().contiguous() for x in (origins, directions, near, far, jitter)]
    given += [occupancy.bits, occupancy.empty]
    given += [level_words(spec, table.device), table.contiguous(), parameters.contiguous()]
    following = torch.zeros(1, dtype=torch.int32)  # which rays are to be taken next
    walk = (steps.smallest, steps.cone, steps.most, int(steps.contracted), occupancy.resolution)
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    room = sum(_room(spec.width, mlp).values())

    def work(_number: int, _start: int, _end: int) -> None:
        mine = torch.zeros(room)
        addresses = [x.data_ptr() for x in (*given, pixels, following, mine)]
        wp.launch(kernel, 1, inputs=[count, *walk, threshold, faintest, *addresses], device="cpu")

    in_slices(work, num_slices())
    return pixels


# -------------------------------------------------------------------------------------------------------------- kernels

OF_RAYS = (
    *(f"{what}_{axis}" for what in ("origin", "direction", "inverse") for axis in "xyz"),
    *("begins", "ends", "ts", "taken"),  # see WALK
    *("met", "light", "behind_groups", "part", "depth"),
)
"""Numbers of each ray in the pool, counts among them, so that a vector holds them. The last five: samples it has met;
light left behind all of them, and behind whole groups; the part of the light in which the next begins; Σ w t."""


def _room(width: int, mlp: RadianceMlpSpec) -> dict[str, int]:
    """Numbers that a thread keeps of each kind: of the rays in its pool (`held`, Σ w geometry of the group that is not
    whole; `of_view`, what the colour network makes of the direction), of a wave's samples, of the groups in the queue.
    Vectors may reach beyond the last ray or sample."""
    rays, samples = POOL + LANES, POOL * AHEAD + LANES
    return {
        **dict.fromkeys(OF_RAYS, rays),
        "held": rays * mlp.geometry,
        "of_view": rays * mlp.hidden,
        **dict.fromkeys(("xs", "ys", "zs", "depths", "lengths"), samples),
        "features": POOL * AHEAD * width,
        "queued_weights": QUEUE,
        "queued_means": QUEUE * mlp.geometry,
        "queued_views": QUEUE * mlp.hidden,
    }


def _declared(width: int, mlp: RadianceMlpSpec) -> str:
    parts, at = [], 0
    for name, size in _room(width, mlp).items():
        parts.append(f"float* const {name} = (float*)room_at + {at};")
        at += size
    return f"""
    {" ".join(parts)}
    int rays[{POOL + LANES}], slots[{POOL * AHEAD + LANES}], queued_rays[{QUEUE}];
    const float* origins = (const float*)origins_at; const float* directions = (const float*)directions_at;
    const float* near = (const float*)near_at; const float* far = (const float*)far_at;
    const float* jitter = (const float*)jitter_at; const float* parameters = (const float*)parameters_at;
    const unsigned char* bits = (const unsigned char*)bits_at;
    const unsigned char* empty = (const unsigned char*)empty_at;
    float* pixels = (float*)pixels_at;"""


def _groups(mlp: RadianceMlpSpec) -> str:
    """Code for `whole(slot)`: what is held of a ray is a group; and for `color()`, which empties the queue of them."""
    return f"""
    int number = 0;
    auto color = [&]() {{
        for (int first = 0; first < number; first += {TILE}) {{
            {turned("geometry", f"(queued_means + {mlp.geometry} * first)", TILE, mlp.geometry)}
            {turned("of_views", f"(queued_views + {mlp.hidden} * first)", TILE, mlp.hidden)}
            {color_layers_of_rays(mlp, "of_views")}
            for (int k = 0; k < {3 * TILE}; ++k) rgb[k] = -rgb[k];
            {exponential("rgb", 3 * TILE)}
            for (int k = 0; k < {3 * TILE}; ++k) rgb[k] = 1.0f / (1.0f + rgb[k]);
            for (int s = 0; s < {TILE} && first + s < number; ++s) {{
                float* pixel = pixels + 5 * (size_t)queued_rays[first + s];
                for (int c = 0; c < 3; ++c) pixel[c] += queued_weights[first + s] * rgb[c * {TILE} + s];
            }}
        }}
        number = 0;
    }};
    auto whole = [&](int slot) {{
        if (behind_groups[slot] == 1.0f) {{  // the first of this ray: each takes some light
            float view[{mlp.view}];
            {harmonics_of_tile("view", "directions + 3 * (size_t)rays[slot]", 1)}
            {layer_of_view("made", mlp, "view")}
            __builtin_memcpy(of_view + {mlp.hidden} * slot, made, sizeof(made));
        }}
        const float weight = behind_groups[slot] - light[slot], scale = 1.0f / weight;
        behind_groups[slot] = light[slot];
        float* sum = held + {mlp.geometry} * slot;
        float mean[{mlp.geometry}];
        for (int k = 0; k < {mlp.geometry}; ++k) mean[k] = sum[k] * scale;
        __builtin_memset(sum, 0, sizeof(mean));
        __builtin_memcpy(queued_means + {mlp.geometry} * number, mean, sizeof(mean));
        __builtin_memcpy(queued_views + {mlp.hidden} * number, of_view + {mlp.hidden} * slot, {4 * mlp.hidden});
        queued_weights[number] = weight;
        queued_rays[number] = rays[slot];
        if (++number == {QUEUE}) color();
    }};"""


def _pool(mlp: RadianceMlpSpec) -> str:
    """Code for `leave()`, after which the pool's rays, `active` of them, are those that go on; and for `join()`, which
    takes rays until it is full or there are no `more`: those that meet something, where they do."""
    return f"""
    int active = 0;
    bool more = true;
    auto move = [&](int from, int to) {{
        rays[to] = rays[from];
        {" ".join(f"{x}[to] = {x}[from];" for x in OF_RAYS)}
    }};
    auto leave = [&]() {{
        for (int slot = 0; slot < active;) {{
            if (light[slot] > threshold && ts[slot] < ends[slot] && met[slot] < (float)most) {{ ++slot; continue; }}
            if (light[slot] != behind_groups[slot]) whole(slot);
            float* pixel = pixels + 5 * (size_t)rays[slot];
            pixel[3] = 1.0f - light[slot];
            pixel[4] = depth[slot];
            if (--active == slot) break;
            move(active, slot);  // the last one takes its place
            __builtin_memcpy(held + {mlp.geometry} * slot, held + {mlp.geometry} * active, {4 * mlp.geometry});
            __builtin_memcpy(of_view + {mlp.hidden} * slot, of_view + {mlp.hidden} * active, {4 * mlp.hidden});
        }}
    }};
    auto join = [&]() {{
        while (more && active + {TOGETHER} <= {POOL}) {{
            const int from = __atomic_fetch_add((int*)following_at, 1, __ATOMIC_RELAXED) * {TOGETHER};
            const int first = active, end = first + (count - from < {TOGETHER} ? count - from : {TOGETHER});
            more = from + {TOGETHER} < count;
            for (int slot = first; slot < end; ++slot) {{
                const int ray = from + slot - first;
                const float* o = origins + 3 * (size_t)ray; const float* d = directions + 3 * (size_t)ray;
                auto inverse = [](float x) {{ return x > 1e-12f || x < -1e-12f ? 1.0f / x : 1e30f; }};
                origin_x[slot] = o[0]; origin_y[slot] = o[1]; origin_z[slot] = o[2];
                direction_x[slot] = d[0]; direction_y[slot] = d[1]; direction_z[slot] = d[2];
                inverse_x[slot] = inverse(d[0]); inverse_y[slot] = inverse(d[1]); inverse_z[slot] = inverse(d[2]);
                rays[slot] = ray;
                ts[slot] = near[ray]; ends[slot] = far[ray]; begins[slot] = jitter[ray];  // of a step, so far
                taken[slot] = met[slot] = part[slot] = depth[slot] = 0.0f;
                light[slot] = behind_groups[slot] = 1.0f;
            }}
            for (int slot = first; slot < end; slot += {LANES}) {{
                for (int i = end; i < slot + {LANES}; ++i) ends[i] = -__builtin_inff();
                const reals t = load(ts + slot);
                const reals x = load(origin_x + slot) + load(direction_x + slot) * t;
                const reals y = load(origin_y + slot) + load(direction_y + slot) * t;
                const reals z = load(origin_z + slot) + load(direction_z + slot) * t;
                const reals late = t + load(begins + slot) * stride(t, contraction_scale(x, y, z));
                store(begins + slot, late);
                store(ts + slot, late);
                go_on(slot);
            }}
            for (int slot = first; slot < end; ++slot)
                if (ts[slot] < ends[slot]) {{
                    __builtin_memset(held + {mlp.geometry} * active, 0, {4 * mlp.geometry});
                    move(slot, active++);
                }}
        }}
    }};"""


SAMPLES = f"""
    int n = 0;
    for (int i = active; i < active + {LANES}; ++i) ends[i] = -__builtin_inff();  // nobody is there
    for (int slot = 0; slot < active; slot += {LANES})
        for (int step = 0; step < {AHEAD}; ++step) {{
            const reals t = load(ts + slot), so_far = load(met + slot), steps = load(taken + slot) + 1.0f;
            reals x = load(origin_x + slot) + load(direction_x + slot) * t;
            reals y = load(origin_y + slot) + load(direction_y + slot) * t;
            reals z = load(origin_z + slot) + load(direction_z + slot) * t;
            const reals drawn = contraction_scale(x, y, z), further = stride(t, drawn), length = further / drawn;
            contract(x, y, z);
            const reals zero = {{}}, one = everywhere(1.0f);
            x = smaller(larger(x, zero), one); y = smaller(larger(y, zero), one); z = smaller(larger(z, zero), one);
            const integers here = (t < load(ends + slot)) & (so_far < (float)most);
            if (__builtin_reduce_and(here)) {{
                store(xs + n, x); store(ys + n, y); store(zs + n, z); store(depths + n, t); store(lengths + n, length);
                for (int s = 0; s < {LANES}; ++s) slots[n + s] = slot + s;
                n += {LANES};
            }} else
                for (int s = 0; s < {LANES}; ++s)
                    if (here[s]) {{
                        xs[n] = x[s]; ys[n] = y[s]; zs[n] = z[s]; depths[n] = t[s]; lengths[n] = length[s];
                        slots[n++] = slot + s;
                    }}
            store(met + slot, so_far + 1.0f);
            store(taken + slot, steps);
            store(ts + slot, even ? load(begins + slot) + steps * smallest : t + further);
            go_on(slot);
        }}"""
"""Code for a wave's samples, `n` of them: where in the unit cube (xs, ys, zs), where along the ray, how long, whose.
Those of a ray stand front to back."""


def _light(width: int, mlp: RadianceMlpSpec) -> str:
    """Code that follows light through a wave's samples."""
    return f"""
    for (int first = 0; first < n; first += {TILE}) {{
        const float* x = features + (size_t)first * {width};
        {layer("h1", "x", "parameters", mlp.inputs, mlp.hidden, relu=True)}
        {layer_by_sample("geometry", "h1", f"parameters + {mlp.offsets[1]}", mlp.hidden, mlp.geometry)}
        float density[{TILE}], passing[{TILE}];
        for (int s = 0; s < {TILE}; ++s) {{
            const float raw = geometry[s * {mlp.geometry}];
            density[s] = raw > {LARGEST_EXPONENT}f ? {LARGEST_EXPONENT}f : raw;
        }}
        {exponential("density")}
        for (int s = 0; s < {TILE}; ++s) passing[s] = -density[s] * lengths[first + s];
        {exponential("passing")}
        for (int s = 0; s < {TILE} && first + s < n; ++s) {{
            const int slot = slots[first + s];
            const float before = light[slot];
            if (before <= threshold) continue;  // what is not a number goes on, to be noticed
            const float left = before * passing[s], behind = left <= threshold ? 0.0f : left, weight = before - behind;
            light[slot] = behind;
            depth[slot] += weight * depths[first + s];
            float* sum = held + {mlp.geometry} * slot;
            float total[{mlp.geometry}];  // not in place: the compiler cannot know that these never overlap
            for (int k = 0; k < {mlp.geometry}; ++k) total[k] = sum[k] + weight * geometry[s * {mlp.geometry} + k];
            __builtin_memcpy(sum, total, sizeof(total));
            const float next = __builtin_floorf((1.0f - behind) * per_part);
            if (part[slot] == next) continue;
            part[slot] = next;
            whole(slot);
        }}
    }}"""


def _render(levels: int, channels: int, mlp: RadianceMlpSpec) -> str:
    width = levels * channels
    return f"""
    {_declared(width, mlp)}
    const float per_part = 1.0f / faintest;
    {WALK}
    {_groups(mlp)}
    {_pool(mlp)}
    for (;;) {{
        leave();
        join();
        if (active == 0) break;
        {SAMPLES}
        {encoded_wave(levels, channels, "features")}
        {_light(width, mlp)}
    }}
    color();"""


@lru_cache(maxsize=8)
def _kernel(levels: int, channels: int, mlp: RadianceMlpSpec) -> Any:
    @wp.func_native(_render(levels, channels, mlp))
    def run(
        count: int, smallest: float, cone: float, most: int, contracted: int, resolution: int,
        threshold: float, faintest: float, origins_at: U64, directions_at: U64, near_at: U64, far_at: U64,
        jitter_at: U64, bits_at: U64, empty_at: U64, levels_at: U64, table_at: U64, parameters_at: U64,
        pixels_at: U64, following_at: U64, room_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def render(
        count: int, smallest: float, cone: float, most: int, contracted: int, resolution: int,
        threshold: float, faintest: float, origins: U64, directions: U64, near: U64, far: U64,
        jitter: U64, bits: U64, empty: U64, levels_at: U64, table: U64, parameters: U64,
        pixels: U64, following: U64, room: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        run(
            count, smallest, cone, most, contracted, resolution, threshold, faintest, origins, directions, near, far,
            jitter, bits, empty, levels_at, table, parameters, pixels, following, room,
        )  # fmt: skip

    return render
