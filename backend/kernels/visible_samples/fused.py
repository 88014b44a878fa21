"""Encoding and density along each ray until it is opaque (until_opaque.inl). CPU.

Each thread keeps a pool of rays. In a *wave* each advances by a few samples; the wave's samples are encoded, one level
of the table after the other, and go through the density network, a tile at a time. A ray that is opaque or at its end
makes scratch for another.
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
from ..ray_marching import Samples
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

POOL = 256
"""Rays in the pool of a thread."""

AHEAD = 4
"""Samples of a ray in a wave: as many may turn out to lie behind its surface."""

WAVE = POOL * AHEAD
assert WAVE % TILE == 0

MARGIN = 1.0 + 1e-4
"""Factor on the optical thickness at which a ray stops: sums in single and in double precision differ."""


def features_until_opaque(
    samples: Samples, table: Tensor, parameters: Tensor, spec: HashSpec, mlp: RadianceMlpSpec, limit: float
) -> tuple[Tensor, Tensor]:
    """Return features [N, width] and density before its activation [N]; behind an optical thickness of `limit`,
    features are undefined and the density is opaque."""
    count = len(samples.offsets) - 1
    features = torch.empty(len(samples.t), spec.width)
    density = torch.full((len(samples.t),), LARGEST_EXPONENT)
    next_ray = torch.zeros(1, dtype=torch.int32)  # index of the next ray to process
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    inputs = (samples.points, samples.lengths, samples.offsets, level_words(spec, table.device), table, parameters)

    def work(_number: int, _start: int, _end: int) -> None:
        scratch = torch.zeros(WAVE * (3 + spec.width))
        addresses = [x.data_ptr() for x in (*inputs, features, density, next_ray, scratch)]
        wp.launch(kernel, 1, inputs=[count, limit * MARGIN, *addresses], device="cpu")

    run_on_threads(work, num_threads())
    return features, density


@lru_cache(maxsize=8)
def _kernel(levels: int, channels: int, mlp: RadianceMlpSpec) -> Any:
    code = snippet(
        "visible_samples/until_opaque.inl",
        **constants(mlp),
        POOL=POOL,
        AHEAD=AHEAD,
        WAVE=WAVE,
        NUM_LEVELS=levels,
        CHANNELS=channels,
        WIDTH=levels * channels,
        LEVEL_1_CACHE=LEVEL_1_CACHE,
        LARGEST_EXPONENT=LARGEST_EXPONENT,
    )

    @wp.func_native(code)
    def run(
        count: int, limit: float, points_at: U64, lengths_at: U64, offsets_at: U64, levels_at: U64, table_at: U64,
        parameters_at: U64, features_at: U64, densities_at: U64, next_ray_at: U64, scratch_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def until_opaque(
        count: int, limit: float, points: U64, lengths: U64, offsets: U64, levels_at: U64, table: U64,
        parameters: U64, features: U64, densities: U64, next_ray: U64, scratch: U64,
    ):  # fmt: skip  # type: ignore[no-untyped-def]
        run(
            count, limit, points, lengths, offsets, levels_at, table, parameters, features, densities, next_ray, scratch
        )

    return until_opaque
