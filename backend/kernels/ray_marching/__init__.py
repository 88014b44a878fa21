"""Ray marching: samples along each ray, in the occupied cells of a grid only.

Vocabulary. Rays live in the *field's* frame, where the inner box is 0..1 along each axis; t multiplies the direction
(any length). `occupied` [n, n, n] (x, y, z) says which cells of the *unit cube* may hold something. With `contracted`
the unit cube holds all of space: the inner box is its middle half, what lies outside is contracted (`contract`).

Samples come packed: those of ray r are rows offsets[r]..offsets[r+1], front to back. Their lengths are measured in
the unit cube, in units of its middle half: in the box they equal those in the field's frame, beyond it they are less.

Engines: `reference` (reference.py, PyTorch, the definition, any device) and `warp` (warp_engine.py, CPU and CUDA).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from .contraction import contract, contraction_scale
from .reference import march_rays_reference
from .types import BLOCK, FARTHEST, OccupancyBits, Samples, Steps

__all__ = [
    "BLOCK",
    "FARTHEST",
    "Impl",
    "OccupancyBits",
    "Samples",
    "Steps",
    "check_rays",
    "contract",
    "contraction_scale",
    "march_rays",
]

Impl = Literal["auto", "reference", "warp"]


def check_rays(origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, jitter: Tensor | None) -> None:
    """Raise ValueError where the shapes of rays do not fit, see `march_rays`."""
    count = len(origins)
    if origins.shape != (count, 3) or directions.shape != (count, 3):
        raise ValueError(f"origins and directions must be [R, 3], got {list(origins.shape)}, {list(directions.shape)}")
    if any(x is not None and x.shape != (count,) for x in (near, far, jitter)):
        raise ValueError(f"near, far and jitter must be [{count}]")


def march_rays(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupancy: OccupancyBits,
    steps: Steps,
    jitter: Tensor | None = None,
    *,
    impl: Impl = "auto",
) -> Samples:
    """March along rays and return the samples in occupied cells. Not differentiable: sample positions are not trained.

    Args:
        origins, directions: [R, 3], the field's frame.
        near, far: [R], t; a ray with far <= near has no samples.
        jitter: [R] in 0..1, offset of the first sample as a fraction of a step; None: half.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    check_rays(origins, directions, near, far, jitter)
    if jitter is None:
        jitter = torch.full_like(near, 0.5)
    kind = origins.device.type
    if impl == "auto":
        impl = cast(Impl, fastest_engine("march_rays", origins.device))
    if impl == "reference":
        return march_rays_reference(origins, directions, near, far, occupancy, steps, jitter)
    if impl != "warp":
        raise ValueError(f"no engine {impl!r}; there are reference and warp")
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"march_rays: the warp engine runs on CPU and CUDA, not on {origins.device}")
    from .warp_engine import march_rays_warp

    return march_rays_warp(origins, directions, near, far, occupancy, steps, jitter)
