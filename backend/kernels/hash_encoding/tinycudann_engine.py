"""Hash encoding by tiny-cuda-nn, in float32: our table lies there as it does here. See `tinycudann_modules`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import tinycudann_modules
from ..tinycudann_layout import grid_config, grid_from_table
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
