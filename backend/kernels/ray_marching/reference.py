"""Ray marching in plain PyTorch: the definition. Every step of every ray is tested, CHUNK steps at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from .contraction import contract, contraction_scale
from .types import OccupancyBits, Samples, Steps

CHUNK = 64
"""Steps tested together."""


def march_rays_reference(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupancy: OccupancyBits,
    steps: Steps,
    jitter: Tensor,
) -> Samples:
    """See `march_rays`."""
    t = near + jitter * _stride(near, origins + directions * near[:, None], steps)[0]
    alive = torch.nonzero(t < far, as_tuple=True)[0]
    t = t[alive]
    counts = torch.zeros_like(near, dtype=torch.int32)
    rays, starts, lengths, points = [], [], [], []
    while len(alive):
        along, stride, length = _ahead(t, origins[alive], directions[alive], steps)
        where = origins[alive, None] + directions[alive, None] * along[..., None]
        unit = contract(where) if steps.contracted else where
        hit = (along < far[alive, None]) & _occupied(unit, occupancy)
        room = steps.most - counts[alive]
        hit &= torch.cumsum(hit, 1) <= room[:, None]
        ray, place = hit.nonzero(as_tuple=True)
        rays.append(alive[ray])
        starts.append(along[ray, place])
        lengths.append(length[ray, place])
        points.append(unit[ray, place])
        counts[alive] += hit.sum(1, dtype=torch.int32)
        t = along[:, -1] + stride[:, -1]
        going = (t < far[alive]) & (counts[alive] < steps.most)
        alive, t = alive[going], t[going]
    offsets = torch.zeros(len(near) + 1, dtype=torch.int32, device=near.device)
    torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
    if not rays:
        nothing = near[:0]
        return Samples(origins[:0], nothing, nothing, nothing.int(), offsets)
    ray, start = torch.cat(rays), torch.cat(starts)
    order = torch.argsort(ray, stable=True)  # steps were found front to back
    return Samples(
        torch.cat(points)[order], start[order], torch.cat(lengths)[order], ray[order].to(torch.int32), offsets
    )


def _ahead(t: Tensor, origins: Tensor, directions: Tensor, steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
    """Start, stride and sample length of the next steps of rays at t [R]: [R, CHUNK] each."""
    if steps.cone == 0 and not steps.contracted:
        along = t[:, None] + steps.smallest * torch.arange(CHUNK, device=t.device, dtype=t.dtype)
        stride = torch.full_like(along, steps.smallest)
        return along, stride, stride
    found = []
    for _ in range(CHUNK):
        stride, length = _stride(t, origins + directions * t[:, None], steps)
        found.append((t, stride, length))
        t = t + stride
    along, stride, length = (torch.stack(parts, 1) for parts in zip(*found))
    return along, stride, length


def _stride(t: Tensor, points: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Stride of steps at t [R], and their lengths as samples, which beyond the box are shorter in contracted space."""
    scale = contraction_scale(points) if steps.contracted else torch.ones_like(t)
    stride = torch.maximum(steps.smallest * scale, t * steps.cone)
    return stride, stride / scale


def _occupied(unit: Tensor, occupancy: OccupancyBits) -> Tensor:
    n = occupancy.resolution
    cell = (unit * n).floor()
    inside = ((cell >= 0) & (cell < n)).all(-1)
    x, y, z = cell.long().clamp(0, n - 1).unbind(-1)
    return occupancy.occupied[x, y, z] & inside
