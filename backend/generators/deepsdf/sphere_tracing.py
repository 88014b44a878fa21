"""Sphere tracing (Hart 1996) of the zero level of a truncated signed distance field.

A step along a ray by the distance to the surface cannot pass through it. A learnt distance is an approximation: it is
truncated at ± clamp, its slope exceeds 1 in places, and each evaluation takes a whole network. Therefore

- a coarse grid stores which cells the surface may touch, and rays cross the others without an evaluation;
- a step is the distance itself, but at least `STEP_FLOOR` times the tolerance of a hit (half a pixel), so that rays
  that graze the surface advance;
- a ray that stepped inside is moved back by the secant through its last two values, without an evaluation.

Lengths are in the field's own unit; `origins`, `directions` [N, 3] with unit directions, `distances` [N] along them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...rendering.boxes import box_interval

Field = Callable[[Tensor], Tensor]
"""Points [N, 3] to signed distances [N]."""

STEP_FLOOR = 8.0


@dataclass(frozen=True)
class EmptySpace:
    """Grid of cubic cells over a box that stores which of them the surface may touch."""

    low: Tensor  # [3]
    high: Tensor  # [3]
    cell: float
    steps: Tensor  # [X, Y, Z] cells to the nearest one that is occupied, along the longest axis; 0 in those

    @staticmethod
    def of(
        field: Field, low: Tensor, high: Tensor, cell: float, *, lipschitz: float, clamp: float, levels: int = 2
    ) -> EmptySpace:
        """Evaluate the field at the centre of each cell: farther than half a diagonal means empty. The other cells are
        halved `levels` - 1 times and evaluated again."""
        if lipschitz * cell * 3**0.5 / 2 >= clamp:
            raise ValueError(f"cells of {cell:g} are too large for distances truncated at {clamp:g}")
        shape = [int(n) for n in torch.ceil((high - low) / cell - 1e-4).clamp(min=1).tolist()]
        occupied = torch.ones(shape, dtype=torch.bool, device=low.device)
        for level in range(levels):
            if level > 0:
                cell /= 2
                for axis in range(3):
                    occupied = occupied.repeat_interleave(2, axis)
            index = torch.nonzero(occupied)
            with torch.no_grad():
                distance = field(low + cell * (index + 0.5))
            occupied[tuple(index.T)] = distance < lipschitz * cell * 3**0.5 / 2
        steps = torch.zeros(occupied.shape, dtype=torch.long, device=low.device)
        reached = occupied[None].float()
        while not reached.all() and reached.any():
            steps += reached[0] == 0
            reached = functional.max_pool3d(reached, 3, stride=1, padding=1)
        return EmptySpace(low, high, cell, steps)

    def entry_and_exit(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return where rays enter the box (0 from inside) and leave it [N], [N]; exit < entry where they miss it."""
        low, high = self.low.tolist(), self.high.tolist()
        return box_interval(origins, directions, ((low[0], low[1], low[2]), (high[0], high[1], high[2])))

    def may_touch(self, points: Tensor) -> Tensor:
        """Return whether points [..., 3] lie in a cell that the surface may touch, or that is inside. [...]"""
        limit = torch.tensor(self.steps.shape, device=points.device) - 1
        index = ((points - self.low) / self.cell).floor().long().clamp(min=0).minimum(limit)
        within = ((points >= self.low) & (points <= self.high)).all(-1)
        return within & (self.steps[index[..., 0], index[..., 1], index[..., 2]] == 0)

    def skip(self, origins: Tensor, directions: Tensor, distances: Tensor, ends: Tensor) -> Tensor:
        """Move each ray forward to the next occupied cell, or past its end."""
        distances = distances.clone()
        moving = torch.arange(len(distances), device=distances.device)
        limit = torch.tensor(self.steps.shape, device=distances.device) - 1
        for _ in range(sum(self.steps.shape) + 3):  # a ray crosses no more cells
            if not len(moving):
                break
            moving = moving[distances[moving] < ends[moving]]
            direction = directions[moving]
            point = origins[moving] + distances[moving, None] * direction
            index = ((point - self.low) / self.cell).floor().long().clamp(min=0).minimum(limit)
            free = self.steps[index[:, 0], index[:, 1], index[:, 2], None]
            empty = free[:, 0] > 0
            moving, direction, point, index, free = (x[empty] for x in (moving, direction, point, index, free))
            wall = self.low + (index + torch.where(direction > 0, free, 1 - free)) * self.cell
            away = torch.where(direction.abs() < 1e-9, torch.inf, (wall - point) / direction)
            distances[moving] += away.amin(-1).clamp(min=0) + 1e-3 * self.cell
        return distances


def trace(
    field: Field,
    space: EmptySpace,
    origins: Tensor,  # [N, 3]
    directions: Tensor,  # [N, 3]
    tolerance: Callable[[Tensor], Tensor],  # distances [N] along rays -> distance to the surface that is a hit [N]
    *,
    max_steps: int,
    report: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Return the distance along each ray to the surface [N], inf where it misses.

    Rays are followed from where they enter the box, so that float32 resolves their steps however far the camera is.

    report: called with the fraction of rays that are done; may raise to stop.
    """
    before, after = space.entry_and_exit(*_precise(origins, directions))
    origins = (_precise(origins)[0] + before[:, None] * _precise(directions)[0]).to(origins)
    entry, ends = torch.zeros_like(origins[:, 0]), (after - before).to(origins)
    before = before.to(origins)
    found = torch.full_like(entry, torch.inf)
    rays = torch.nonzero(entry < ends)[:, 0]
    total = max(1, len(rays))
    at = entry[rays]
    last_at, last_value = at.clone(), torch.full_like(at, torch.inf)
    for _ in range(max_steps):
        moved = space.skip(origins[rays], directions[rays], at, ends[rays])
        skipped = moved > at
        last_value = torch.where(skipped, torch.inf, last_value)
        at = moved
        inside = at < ends[rays]
        rays, at, last_at, last_value = rays[inside], at[inside], last_at[inside], last_value[inside]
        report(1 - len(rays) / total)
        if not len(rays):
            break
        value = field(origins[rays] + at[:, None] * directions[rays])
        near = tolerance(before[rays] + at)
        # A longer step is right if the empty balls around its two ends meet; else it is taken back and made shorter.
        too_far = at - last_at > last_value + value.abs() + STEP_FLOOR * near
        there = (value < near) & ~too_far
        found[rays[there]] = before[rays[there]] + _secant(at, value, last_at, last_value, near)[there]

        step = torch.maximum(_to_zero(at, value, last_at, last_value), STEP_FLOOR * near)
        next_at = torch.where(too_far, last_at + torch.maximum(last_value, STEP_FLOOR * near), at + step)
        last_at, last_value = torch.where(too_far, last_at, at), torch.where(too_far, last_value, value)
        rays, at, last_at, last_value = rays[~there], next_at[~there], last_at[~there], last_value[~there]
    return found


def _precise(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors in float64, where the device has it."""
    return tensors if tensors[0].device.type == "mps" else tuple(tensor.double() for tensor in tensors)


def _to_zero(at: Tensor, value: Tensor, last_at: Tensor, last_value: Tensor) -> Tensor:
    """Return the step [N] to where the line through the last two values is zero, one to two distances away."""
    slope = (last_value - value) / (at - last_at)
    known = torch.isfinite(slope) & (slope > 0)
    return torch.where(known, value / slope.clamp(0.5, 1.0), value)


def _secant(at: Tensor, value: Tensor, last_at: Tensor, last_value: Tensor, near: Tensor) -> Tensor:
    """Return where the line through the last two values is zero [N]: between them, or just ahead."""
    slope = (last_value - value) / (at - last_at)
    moved = at + value / slope
    usable = torch.isfinite(moved) & (slope > 0)
    moved = torch.where(usable, moved, at)
    return torch.minimum(torch.maximum(moved, last_at), at + near)
