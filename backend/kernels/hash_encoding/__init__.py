"""Multiresolution hash encoding: features of points, interpolated from trainable tables of many resolutions.

Engines, all with the same signature and one layout of the table, [num_entries, num_features], level after level as
tiny-cuda-nn keeps it:

- `reference` (reference.py): the definition, in plain PyTorch. Any device.
- `warp` (warp_engine.py): compiled kernels with hand-written adjoints, CPU and CUDA.
- `tinycudann` (tinycudann_engine.py): on CUDA, where that package is installed.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from ..engine_choice import prefers_tinycudann
from .reference import hash_encode_reference
from .spec import HashSpec, Level

__all__ = ["HashSpec", "Impl", "Level", "hash_encode"]

Impl = Literal["auto", "reference", "warp", "tinycudann"]


def hash_encode(points: Tensor, table: Tensor, spec: HashSpec, *, impl: Impl = "auto") -> Tensor:
    """Encode points of the unit cube (Sec. 3 of arxiv.org/abs/2201.05989). Differentiable in points and table.

    Args:
        points: [N, 3] float32 in 0..1; others are clamped (with gradient 0), and NaN counts as 0.
        table: [spec.num_entries, spec.num_features] float32.
        impl: which engine; "auto" takes the fastest that runs here, and logs which.

    Returns:
        [N, spec.width], coarse levels first.

    Raises:
        ValueError: a shape does not fit, or there is no engine of this name.
        RuntimeError: the engine cannot run on this device.
    """
    if points.ndim != 2 or points.shape[-1] != 3:
        raise ValueError(f"points must be [N, 3], got {list(points.shape)}")
    if table.shape != (spec.num_entries, spec.num_features):
        raise ValueError(f"table must be {[spec.num_entries, spec.num_features]}, got {list(table.shape)}")
    if impl == "auto":
        impl = choose(points.device, spec)
    if impl == "reference":
        return hash_encode_reference(points, table, spec)
    if impl == "warp":
        from .warp_engine import hash_encode_warp

        return hash_encode_warp(points, table, spec)
    if impl == "tinycudann":
        from .tinycudann_engine import hash_encode_tinycudann

        return hash_encode_tinycudann(points, table, spec)
    raise ValueError(f"no engine {impl!r}; there are reference, warp and tinycudann")


def choose(device: torch.device, spec: HashSpec) -> Impl:
    """Return the fastest engine for this table on a device, and log it once."""
    otherwise = cast(Impl, fastest_engine("hash_encode", device))
    why = "compiled kernels" if otherwise == "warp" else f"Warp has no kernels for {device.type}"

    def reason_against() -> str:
        from .tinycudann_engine import why_not

        return why_not(spec, device)

    return "tinycudann" if prefers_tinycudann("hash_encode", device, otherwise, why, reason_against) else otherwise
