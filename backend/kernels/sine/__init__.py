"""Sine in place, for networks of sine layers (arxiv.org/abs/2006.09661).

Engines: `reference` (PyTorch, any device and type) and `fused` (vector instructions, float32 on the CPU). They agree to
2e-7 for arguments up to 1000, in radians.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ...device import fastest_engine
from .reference import sine_reference

__all__ = ["Impl", "sine_"]

Impl = Literal["auto", "reference", "fused"]


def sine_(x: Tensor, cosine: Tensor | None = None, *, impl: Impl = "auto") -> Tensor:
    """Replace x by its sine and return it. Not differentiable.

    Args:
        cosine: is given the cosine of x, the sine's derivative; the shape of x, often a part of a wider tensor's rows.

    Raises:
        ValueError: `cosine` has another shape, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this tensor.
    """
    if cosine is not None and cosine.shape != x.shape:
        raise ValueError(f"cosine must be {list(x.shape)}, got {list(cosine.shape)}")
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous()
    if cosine is not None:
        fits &= cosine.dtype == x.dtype and cosine.device == x.device and x.ndim == 2 and cosine.stride(1) == 1
    if impl == "auto":
        impl = "fused" if fits and fastest_engine("sine", x.device) == "fused" else "reference"
    if impl == "reference":
        sine_reference(x, cosine)
    elif impl == "fused":
        if not fits:
            raise RuntimeError(
                f"sine: the fused engine takes contiguous float32 on the CPU, not {x.dtype} on {x.device}"
            )
        from .fused import sine_fused

        sine_fused(x, cosine)
    else:
        raise ValueError(f"no engine {impl!r}; there are reference and fused")
    return x
