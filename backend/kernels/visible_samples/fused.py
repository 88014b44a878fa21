"""Encoding and density along each ray until it is opaque. CPU."""

from functools import lru_cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import encode_function, level_words
from ..native import TILE
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import density_function
from ..ray_marching import Samples
from ..warp_runtime import in_slices

U64 = wp.uint64  # addresses

RAYS = 64
"""Rays below which another thread is not worth its start."""


def features_until_opaque(
    samples: Samples, table: Tensor, parameters: Tensor, spec: HashSpec, mlp: RadianceMlpSpec, limit: float
) -> tuple[Tensor, Tensor]:
    """Return features [N, width] and density before its activation [N]; behind an optical thickness of `limit`, the
    features are anything and the density is that of an opaque wall."""
    features = torch.empty(len(samples.t), spec.width)
    density = torch.full((len(samples.t),), LARGEST_EXPONENT)
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    given = (samples.points, samples.lengths, samples.offsets, level_words(spec, table.device), table, parameters)
    pointers = [tensor.data_ptr() for tensor in (*given, features, density)]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, end - start, inputs=[start, limit, *pointers], device="cpu")

    in_slices(work, len(samples.offsets) - 1, RAYS)
    return features, density


@lru_cache(maxsize=8)
def _kernel(num_levels: int, num_features: int, mlp: RadianceMlpSpec) -> Any:
    encode = encode_function(num_levels, num_features, "cpu")
    run_density = density_function(mlp)
    levels, tile, largest = wp.constant(num_levels), wp.constant(TILE), wp.constant(LARGEST_EXPONENT)

    @wp.func_native("return ((const int*)address)[index];")
    def read_int(address: U64, index: int) -> int: ...

    @wp.func_native("return ((const float*)address)[index];")
    def read_float(address: U64, index: int) -> float: ...

    @wp.kernel(enable_backward=False, module="unique")
    def until_opaque(
        first: int, limit: float, points: U64, lengths: U64, offsets: U64, words: U64, table: U64, parameters: U64,
        features: U64, density: U64,
    ) -> None:  # fmt: skip
        ray = first + wp.tid()
        start = read_int(offsets, ray)
        end = read_int(offsets, ray + 1)
        thickness = float(0.0)
        while start < end and thickness < limit:
            last = wp.min(start + tile, end)
            for level in range(levels):
                encode(level, start, last, points, words, table, features)
            run_density(start, last, features, parameters, density)
            for i in range(start, last):
                thickness += wp.exp(wp.min(read_float(density, i), largest)) * read_float(lengths, i)
            start = last

    return until_opaque
