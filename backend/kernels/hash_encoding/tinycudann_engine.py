"""Hash encoding by tiny-cuda-nn (github.com/NVlabs/tiny-cuda-nn), where it is installed. CUDA.

Its module owns parameters of its own; here it is called with ours, which lie in the same order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ..tinycudann_layout import grid_config, grid_from_table
from .reference import hash_encode_reference
from .spec import HashSpec


def hash_encode_tinycudann(points: Tensor, table: Tensor, spec: HashSpec) -> Tensor:
    """See `hash_encode`.

    Raises:
        RuntimeError: the points are not on a CUDA device, tiny-cuda-nn is not installed or does not run on the device,
            or it lays this table out in another way.
    """
    if points.device.type != "cuda":
        raise RuntimeError(f"hash_encode: the tinycudann engine runs on CUDA, not on {points.device}")
    if not len(points):
        return hash_encode_reference(points, table, spec)
    inside = torch.nan_to_num(points, nan=0.0).clamp(0.0, 1.0)
    with torch.cuda.device(points.device):
        module = _module(spec, points.device.index or 0)
        features: Tensor = functional_call(module, {"params": grid_from_table(table, spec)}, (inside,))
    return features.float()


@lru_cache(maxsize=8)
def _module(spec: HashSpec, device: int) -> Any:
    try:
        import tinycudann
    except (ImportError, OSError) as error:  # OSError: it does not know the device
        raise RuntimeError(
            "hash_encode: the tinycudann engine needs the package tinycudann, built for this device; "
            f"the warp engine needs nothing ({error})"
        ) from error
    module = tinycudann.Encoding(3, grid_config(spec), dtype=torch.float32)
    wanted = spec.num_entries * spec.num_features
    if module.params.numel() != wanted:
        raise RuntimeError(
            f"hash_encode: tinycudann has {module.params.numel()} parameters for this table where {wanted} are expected"
        )
    return module
