"""Where rays meet what is not empty: samples along each ray, in the occupied cells of a grid only.

Vocabulary. Rays live in the *field's* frame, where the inner box is 0..1 along each axis; t multiplies the direction
(any length). `occupied` [n, n, n] (x, y, z) says which cells of the *unit cube* may hold something. With `contracted`
the unit cube holds all of space: the inner box is its middle half, what lies outside is drawn in (`contract`).

Samples come packed: those of ray r are rows offsets[r]..offsets[r+1], front to back. Their lengths are those that they
have in the unit cube, times its middle half's scale: in the box what they are in the field's frame, beyond it less.

Engines: `reference` (reference.py, PyTorch, the definition, any device) and `warp` (warp_engine.py, CPU and CUDA).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Impl", "OccupancyBits", "Samples", "Steps", "check_rays", "contract", "march_rays", "reach"]

Impl = Literal["auto", "reference", "warp"]

BLOCK = 4
"""Cells along the edge of a block."""

FARTHEST = 8
"""Blocks that a ray may leave in one go."""


@dataclass(frozen=True)
class Steps:
    """How a ray is walked: steps of max(`smallest` · s², t · `cone`), at most `most` samples; t in units of directions.

    cone: 0 for even steps; 1/256 and the like for exponential ones (Sec. 5.4, appendix E.1 of
    arxiv.org/abs/2201.05989). s: with `contracted`, how far out a step begins (`reach`), so that a ray to or from the
    box takes even steps in the unit cube; else 1.
    """

    smallest: float
    cone: float = 0.0
    most: int = 1024
    contracted: bool = False

    def __post_init__(self) -> None:
        if not (self.smallest > 0 and self.cone >= 0 and self.most > 0):
            raise ValueError(f"not a way to walk a ray: {self}")


@dataclass(frozen=True)
class Samples:
    """points [N, 3] in the unit cube; t, lengths [N] where each interval is and its length there; rays int32 [N];
    offsets int32 [R + 1]."""

    points: Tensor
    t: Tensor
    lengths: Tensor
    rays: Tensor
    offsets: Tensor

    def kept(self, keep: Tensor) -> tuple[Samples, Tensor]:
        """Return the samples where keep [N] is true, and their places [M] among these."""
        places = keep.nonzero(as_tuple=True)[0]
        counts = torch.zeros(len(keep) + 1, dtype=torch.int32, device=keep.device)
        torch.cumsum(keep, 0, dtype=torch.int32, out=counts[1:])
        return Samples(
            self.points.index_select(0, places),
            self.t.index_select(0, places),
            self.lengths.index_select(0, places),
            self.rays.index_select(0, places),
            counts.index_select(0, self.offsets.long()),
        ), places


@dataclass(frozen=True, eq=False)
class OccupancyBits:
    """occupied: bool [n, n, n] (x, y, z), n a multiple of 8. Keeps what the engines read: a bit for each cell, and a
    byte for each block of them."""

    occupied: Tensor

    def __post_init__(self) -> None:
        n = self.occupied.shape[0]
        if self.occupied.shape != (n, n, n) or n % 8 or self.occupied.dtype != torch.bool:
            raise ValueError(f"occupied must be bool [n, n, n] with n a multiple of 8, got {list(self.occupied.shape)}")

    @staticmethod
    def from_bits(bits: Tensor) -> OccupancyBits:
        """Return what has these `bits`."""
        n = round((bits.numel() * 8) ** (1 / 3))
        places = torch.arange(8, dtype=torch.uint8, device=bits.device)
        return OccupancyBits(((bits[:, None] >> places) & 1).bool().reshape(n, n, n))

    @property
    def resolution(self) -> int:
        """Cells along an axis."""
        return int(self.occupied.shape[0])

    @cached_property
    def bits(self) -> Tensor:
        """uint8 [n³ / 8]: bit z & 7 of byte (x·n + y)·n/8 + z/8."""
        powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=self.occupied.device)
        return (self.occupied.reshape(-1, 8) * powers).sum(-1, dtype=torch.uint8)

    @cached_property
    def empty(self) -> Tensor:
        """uint8 [(n / BLOCK)³]: how many blocks away along the axes (the largest of the three) the nearest is in which
        a cell is occupied, up to FARTHEST; 0 where it is this one."""
        m = self.resolution // BLOCK
        near = self.occupied.reshape(m, BLOCK, m, BLOCK, m, BLOCK).any(5).any(3).any(1)
        empty = torch.zeros(m, m, m, dtype=torch.uint8, device=self.occupied.device)
        for _ in range(FARTHEST):
            empty += ~near
            for axis in range(3):
                grown = near.clone()
                grown.narrow(axis, 1, m - 1).logical_or_(near.narrow(axis, 0, m - 1))
                grown.narrow(axis, 0, m - 1).logical_or_(near.narrow(axis, 1, m - 1))
                near = grown
        return empty.reshape(-1)


def reach(points: Tensor) -> Tensor:
    """Return how far out points [..., 3] of the field's frame are: [...], 1 at the inner box's sides and within.

    Along the way out `contract` draws space in by 1 / reach².
    """
    return (points * 2.0 - 1.0).abs().amax(-1).clamp(min=1.0)


def contract(points: Tensor) -> Tensor:
    """Return all of space, in the frame where the inner box is 0..1, as the unit cube: the inner box its middle half.

    Eq. 10 of arxiv.org/abs/2111.12077 with the largest coordinate in place of the norm, so that a cube is filled.
    """
    centred = points * 2.0 - 1.0
    size = centred.abs().amax(-1, keepdim=True)
    outside = size > 1.0
    safe = torch.where(outside, size, torch.ones_like(size))
    return torch.where(outside, (2.0 - 1.0 / safe) * centred / safe, centred) * 0.25 + 0.5


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
    """Walk rays and return the samples in occupied cells. Not differentiable: where to sample is not trained.

    Args:
        origins, directions: [R, 3], the field's frame.
        near, far: [R], t; a ray with far <= near has no samples.
        jitter: [R] in 0..1, the part of a step that a ray starts late; None: half.

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    check_rays(origins, directions, near, far, jitter)
    if jitter is None:
        jitter = torch.full_like(near, 0.5)
    kind = origins.device.type
    if impl == "auto":
        impl = "warp" if kind in ("cpu", "cuda") else "reference"
    if impl == "reference":
        from .reference import march_rays_reference

        return march_rays_reference(origins, directions, near, far, occupancy, steps, jitter)
    if impl != "warp":
        raise ValueError(f"no engine {impl!r}; there are reference and warp")
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"march_rays: the warp engine runs on CPU and CUDA, not on {origins.device}")
    from .warp_engine import march_rays_warp

    return march_rays_warp(origins, directions, near, far, occupancy, steps, jitter)
