"""Volume rendering quadrature of packed samples: rays with different numbers of samples to pixels.

The mathematics is that of `backend.rendering.compositing` (Eq. 3 of arxiv.org/abs/2003.08934); here activations are
part of it: density σ = exp(raw₀), colour = sigmoid(raw₁..₃).

Engines: `reference` (reference.py, PyTorch, the definition, any device) and `warp` (warp_engine.py, CPU and CUDA, with
hand-written adjoints).
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor

from ...device import fastest_engine
from .reference import composite_reference
from .types import LARGEST_EXPONENT, CompositedRays

__all__ = ["LARGEST_EXPONENT", "CompositedRays", "Impl", "composite_packed"]

Impl = Literal["auto", "reference", "warp"]


def composite_packed(
    raw: Tensor, t: Tensor, lengths: Tensor, offsets: Tensor, *, impl: Impl = "auto"
) -> CompositedRays:
    """Composite samples front to back. Differentiable in raw.

    Args:
        raw: [N, 4] before activation. Density is per unit of `lengths`.
        t, lengths: [N] position and length of each interval. Where lengths are contracted (`ray_marching`), the
            distortion loss beyond the box mixes positions in t with contracted lengths.
        offsets: int32 [R + 1]; the samples of ray r are rows offsets[r]..offsets[r + 1].

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    if raw.ndim != 2 or raw.shape[1] != 4 or t.shape != raw.shape[:1] or lengths.shape != t.shape:
        raise ValueError(f"raw must be [N, 4], t and lengths [N]; got {list(raw.shape)}, {list(t.shape)}")
    kind = raw.device.type
    if impl == "auto":
        impl = cast(Impl, fastest_engine("composite_packed", raw.device))
    if impl == "reference":
        return composite_reference(raw, t, lengths, offsets)
    if impl != "warp":
        raise ValueError(f"no engine {impl!r}; there are reference and warp")
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"composite_packed: the warp engine runs on CPU and CUDA, not on {raw.device}")
    from .warp_engine import composite_warp

    return composite_warp(raw, t, lengths, offsets)
