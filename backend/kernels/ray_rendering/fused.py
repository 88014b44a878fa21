"""Rendering as one kernel (render.inl). CPU.

Each thread keeps a pool of rays that meet something. In a *wave* every ray of the pool advances by its next few
samples, several rays at once (`simd_packet`); the wave's samples are encoded, one level of the table after the other,
and go through the density network, a tile at a time. Its outputs are summed until a group of samples is complete
(`grouping`); groups wait in a queue until there are tiles of them for the colour network. A ray that is opaque or out
of the box makes room for another, so waves stay full.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...threads import num_threads, run_on_threads
from ..compositing import LARGEST_EXPONENT
from ..cpp_snippets import TILE, snippet
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import LEVEL_1_CACHE, level_words
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import constants
from ..ray_marching import OccupancyBits, Steps, simd_packet
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

POOL = 256
"""Rays in the pool of a thread."""

AHEAD = 4
"""Samples of a ray in a wave: as many may turn out to lie behind its surface."""

TOGETHER = 64
"""Neighbouring rays that a thread takes at a time, whenever its pool has room."""

QUEUE = 8 * TILE
"""Groups evaluated by the colour network at a time: its weights are fetched once for all of them."""

assert POOL % simd_packet.LANES == 0 and TOGETHER <= POOL and POOL * AHEAD % TILE == 0 and QUEUE % TILE == 0


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
    inputs = [x.float().contiguous() for x in (origins, directions, near, far, jitter)]
    inputs += [occupancy.bits, occupancy.empty]
    inputs += [level_words(spec, table.device), table.contiguous(), parameters.contiguous()]
    next_ray = torch.zeros(1, dtype=torch.int32)  # index of the next rays to process
    walk = (steps.smallest, steps.cone, steps.most, int(steps.contracted), occupancy.resolution)
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    scratch = _scratch(spec.width, mlp)

    def work(_number: int, _start: int, _end: int) -> None:
        own = torch.zeros(scratch)
        addresses = [x.data_ptr() for x in (*inputs, pixels, next_ray, own)]
        wp.launch(kernel, 1, inputs=[count, *walk, threshold, faintest, *addresses], device="cpu")

    run_on_threads(work, num_threads())
    return pixels


# -------------------------------------------------------------------------------------------------------------- kernels

RAY_FIELDS = 18
"""Numbers kept of each ray in the pool, beside those of its group (`RAY_FIELDS` in render.inl)."""


def _scratch(width: int, mlp: RadianceMlpSpec) -> int:
    """Return how many floats a thread keeps: the size of `Scratch` in render.inl, which checks it."""
    rays, samples = POOL + simd_packet.LANES, POOL * AHEAD + simd_packet.LANES
    return (
        rays * (RAY_FIELDS + mlp.geometry + mlp.hidden)
        + samples * 5
        + POOL * AHEAD * width
        + QUEUE * (1 + mlp.geometry + mlp.hidden)
    )


def _code(levels: int, channels: int, mlp: RadianceMlpSpec) -> str:
    width = levels * channels
    return snippet(
        "ray_rendering/render.inl",
        **constants(mlp),
        **simd_packet.constants(),
        POOL=POOL,
        AHEAD=AHEAD,
        TOGETHER=TOGETHER,
        QUEUE=QUEUE,
        SCRATCH=_scratch(width, mlp),
        NUM_LEVELS=levels,
        CHANNELS=channels,
        WIDTH=width,
        LEVEL_1_CACHE=LEVEL_1_CACHE,
        LARGEST_EXPONENT=LARGEST_EXPONENT,
    )


@lru_cache(maxsize=8)
def _kernel(levels: int, channels: int, mlp: RadianceMlpSpec) -> Any:
    @wp.func_native(_code(levels, channels, mlp))
    def run(
        count: int, smallest: float, cone: float, most: int, contracted: int, resolution: int,
        threshold: float, faintest: float, origins_at: U64, directions_at: U64, near_at: U64, far_at: U64,
        jitter_at: U64, bits_at: U64, empty_at: U64, levels_at: U64, table_at: U64, parameters_at: U64,
        pixels_at: U64, next_ray_at: U64, scratch_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def render(
        count: int, smallest: float, cone: float, most: int, contracted: int, resolution: int,
        threshold: float, faintest: float, origins: U64, directions: U64, near: U64, far: U64,
        jitter: U64, bits: U64, empty: U64, levels_at: U64, table: U64, parameters: U64,
        pixels: U64, next_ray: U64, scratch: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        run(
            count, smallest, cone, most, contracted, resolution, threshold, faintest, origins, directions, near, far,
            jitter, bits, empty, levels_at, table, parameters, pixels, next_ray, scratch,
        )  # fmt: skip

    return render
