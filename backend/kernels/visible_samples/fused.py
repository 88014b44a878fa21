"""Encoding and density along each ray until it is opaque. CPU."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..compositing import LARGEST_EXPONENT
from ..hash_encoding import HashSpec
from ..hash_encoding.warp_engine import LEVEL, encoded_tiles, level_words, points_of
from ..native import TILE
from ..radiance_mlp import RadianceMlpSpec
from ..radiance_mlp.fused import density_function
from ..ray_marching import Samples
from ..slices import in_slices
from ..warp_runtime import wp

U64 = wp.uint64  # addresses

RAYS = 64
"""Rays that go on together, a tile of samples of each: one level of the table after the other, which stays in the
cache."""


def features_until_opaque(
    samples: Samples, table: Tensor, parameters: Tensor, spec: HashSpec, mlp: RadianceMlpSpec, limit: float
) -> tuple[Tensor, Tensor]:
    """Return features [N, width] and density before its activation [N]; behind an optical thickness of `limit`, the
    features are anything and the density is that of an opaque wall."""
    count = len(samples.offsets) - 1
    features = torch.empty(len(samples.t), spec.width)
    density = torch.full((len(samples.t),), LARGEST_EXPONENT)
    thickness, following = torch.zeros(count), samples.offsets[:-1].clone()
    kernel = _kernel(spec.num_levels, spec.num_features, mlp)
    given = (samples.points, samples.lengths, samples.offsets, level_words(spec, table.device), table, parameters)
    pointers = [tensor.data_ptr() for tensor in (*given, features, density, thickness, following)]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, end - start, inputs=[start, count, limit, *pointers], device="cpu")

    in_slices(work, -(-count // RAYS))
    return features, density


def _encode(levels: int, channels: int) -> str:
    """Code that writes the features of the next tile of samples of each ray first..last that goes on."""
    width = levels * channels
    store = f"if (begin[tile] + s < stop[tile]) features[(size_t)(begin[tile] + s) * {width} + f] = value;"
    return f"""
    const int* offsets = (const int*)offsets_at;
    const int* following = (const int*)following_at;
    int begin[{RAYS}], stop[{RAYS}], tiles = 0;
    for (int ray = first; ray < last; ++ray) {{
        if (following[ray] >= offsets[ray + 1] || ((const float*)thickness_at)[ray] >= limit) continue;
        const int rest = offsets[ray + 1] - following[ray];
        begin[tiles] = following[ray];
        stop[tiles++] = following[ray] + (rest < {TILE} ? rest : {TILE});
    }}
    const int start = 0, end = tiles * {TILE};
    for (int level = 0; level < {levels}; ++level) {{
        {LEVEL}
        const float* entries = (const float*)table_at + (size_t)meta[2] * {channels};
        float* features = (float*)features_at + (size_t)level * {channels};
        {
        encoded_tiles(
            channels,
            f"const int tile = first / {TILE};" + points_of("begin[tile]", "stop[tile]"),
            f"const int tile = first / {TILE}; " + store,
        )
    }
    }}"""


@lru_cache(maxsize=8)
def _kernel(num_levels: int, num_features: int, mlp: RadianceMlpSpec) -> Any:
    @wp.func_native(_encode(num_levels, num_features))
    def encode(
        first: int, last: int, limit: float, points_at: U64, offsets_at: U64, levels_at: U64, table_at: U64,
        features_at: U64, thickness_at: U64, following_at: U64,
    ): ...  # fmt: skip

    run_density = density_function(mlp)
    tile, largest = wp.constant(TILE), wp.constant(LARGEST_EXPONENT)
    together = wp.constant(RAYS)

    @wp.func_native("return ((const int*)address)[index];")
    def read_int(address: U64, index: int) -> int: ...

    @wp.func_native("((int*)address)[index] = value;")
    def write_int(address: U64, index: int, value: int): ...

    @wp.func_native("return ((const float*)address)[index];")
    def read_float(address: U64, index: int) -> float: ...

    @wp.func_native("((float*)address)[index] = value;")
    def write_float(address: U64, index: int, value: float): ...

    @wp.func
    def is_going(ray: int, limit: float, offsets: U64, thickness: U64, following: U64) -> bool:
        return read_int(following, ray) < read_int(offsets, ray + 1) and read_float(thickness, ray) < limit

    @wp.kernel(enable_backward=False, module="unique")
    def until_opaque(
        first: int, count: int, limit: float, points: U64, lengths: U64, offsets: U64, words: U64, table: U64,
        parameters: U64, features: U64, density: U64, thickness: U64, following: U64,
    ) -> None:  # fmt: skip
        start = (first + wp.tid()) * together
        end = wp.min(start + together, count)
        going = int(1)
        while going > 0:
            going = int(0)
            encode(start, end, limit, points, offsets, words, table, features, thickness, following)
            for ray in range(start, end):
                if is_going(ray, limit, offsets, thickness, following):
                    at = read_int(following, ray)
                    last = wp.min(at + tile, read_int(offsets, ray + 1))
                    run_density(at, last, features, parameters, density)
                    passed = read_float(thickness, ray)
                    for i in range(at, last):
                        passed += wp.exp(wp.min(read_float(density, i), largest)) * read_float(lengths, i)
                    write_float(thickness, ray, passed)
                    write_int(following, ray, last)
                    going += 1

    return until_opaque
