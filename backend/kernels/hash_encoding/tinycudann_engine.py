"""Hash encoding by tiny-cuda-nn, in float32. See `tinycudann_modules`.

A table there is the same numbers in the same order: level after level, entry after entry, the features of an entry
together.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import tinycudann_modules
from .reference import hash_encode_reference
from .spec import HashSpec


def hash_encode_tinycudann(points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
    """See `hash_encode`.

    Raises:
        RuntimeError: the points are not on a CUDA device, tiny-cuda-nn is not installed or does not run on the device,
            or it lays this table out in another way.
    """
    tinycudann_modules.check_device("hash_encode", points.device)
    if not len(points):
        return hash_encode_reference(points, table, spec)
    inside = torch.nan_to_num(points, nan=0.0).clamp(0.0, 1.0)
    features = tinycudann_modules.run(_module(spec, points.device), grid_from_table(table, spec), inside)
    return features[:, : spec.width]


@lru_cache(maxsize=8)
def why_not(spec: HashSpec, device: torch.device) -> str:
    """Return why "auto" takes another engine for this table on this device; nothing if there is no reason."""

    def both() -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        points = torch.rand(256, 3, generator=random).to(device)
        table = (torch.rand(spec.num_entries, spec.num_features, generator=random) * 2 - 1).to(device)
        return hash_encode_tinycudann(points, table, spec), hash_encode_reference(points, table, spec)

    return tinycudann_modules.reason_against(both, tolerance=5e-3)


@lru_cache(maxsize=8)
def _module(spec: HashSpec, device: torch.device) -> Any:
    return tinycudann_modules.make(
        "hash_encode",
        lambda package: package.Encoding(3, grid_config(spec), dtype=torch.float32),
        spec.num_entries * spec.num_features,
        device,
    )


def grid_config(spec: HashSpec) -> dict[str, Any]:
    """Return the configuration of the encoding that has this table."""
    return {
        "otype": "HashGrid",
        "n_levels": spec.num_levels,
        "n_features_per_level": spec.num_features,
        "log2_hashmap_size": spec.log2_size,
        "base_resolution": spec.coarsest,
        "per_level_scale": spec.growth,
        "interpolation": "Linear",
    }


def grid_from_table(table: Tensor, spec: HashSpec) -> Tensor:
    """Return the encoding's flat parameters, given ours [num_entries, num_features]. Raises ValueError."""
    if table.shape != (spec.num_entries, spec.num_features):
        raise ValueError(f"table must be {[spec.num_entries, spec.num_features]}, got {list(table.shape)}")
    return table.reshape(-1)


def table_from_grid(grid: Tensor, spec: HashSpec) -> Tensor:
    """Return our table [num_entries, num_features], given the encoding's flat parameters.

    Raises:
        ValueError: there are as many as another configuration has.
    """
    wanted = spec.num_entries * spec.num_features
    if grid.shape != (wanted,):
        raise ValueError(f"a grid of this configuration has {wanted} parameters, got {list(grid.shape)}")
    return grid.float().reshape(spec.num_entries, spec.num_features)
