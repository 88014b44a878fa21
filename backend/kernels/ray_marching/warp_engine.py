"""Ray marching as Warp kernels: empty cells are skipped at once, and so are empty blocks of cells up to the nearest
occupied one.

Two passes, to count and to write, so that the order of the samples does not depend on the order of threads.
"""

import torch
from torch import Tensor

from ..warp_runtime import launch, wp
from .types import BLOCK, OccupancyBits, Samples, Steps

block = wp.constant(BLOCK)

RAYS = 256
"""Fewest rays for which another thread is worth its start."""


def march_rays_warp(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    occupancy: OccupancyBits,
    steps: Steps,
    jitter: Tensor,
) -> Samples:
    """See `march_rays`."""
    count, device = len(origins), origins.device
    walk = walk_of(steps, occupancy)
    inputs = [
        wp.from_torch(x.float().contiguous(), dtype=kind)
        for x, kind in ((origins, wp.vec3), (directions, wp.vec3), (near, wp.float32), (far, wp.float32))
    ]
    inputs += [
        wp.from_torch(jitter.float().contiguous()),
        wp.from_torch(occupancy.bits),
        wp.from_torch(occupancy.empty),
    ]
    counts = torch.zeros(count, dtype=torch.int32, device=device)
    offsets = torch.zeros(count + 1, dtype=torch.int32, device=device)
    launch(_count, count, [walk, *inputs, wp.from_torch(counts)], device, RAYS)
    torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
    total = int(offsets[-1])
    points = torch.empty(total, 3, device=device)
    t, lengths = torch.empty(total, device=device), torch.empty(total, device=device)
    rays = torch.empty(total, dtype=torch.int32, device=device)
    if total:
        written = [wp.from_torch(points, dtype=wp.vec3), *(wp.from_torch(x) for x in (t, lengths, rays))]
        launch(_write, count, [walk, *inputs, wp.from_torch(offsets), *written], device, RAYS)
    return Samples(points, t, lengths, rays, offsets)


@wp.struct
class Walk:
    smallest: float
    cone: float
    most: int
    contracted: int
    resolution: int
    per_step: float  # 1 / smallest
    cells: float  # resolution; of the blocks
    blocks: float
    cell: float  # 1 / cells
    block: float


def walk_of(steps: Steps, occupancy: OccupancyBits) -> Walk:
    """Return the step rule and the grid's sizes as kernels read them."""
    walk = Walk()
    walk.smallest, walk.cone, walk.most = steps.smallest, steps.cone, steps.most
    walk.contracted, walk.resolution = int(steps.contracted), occupancy.resolution
    walk.per_step = 1.0 / steps.smallest
    walk.cells, walk.blocks = float(occupancy.resolution), float(occupancy.resolution // BLOCK)
    walk.cell, walk.block = 1.0 / walk.cells, 1.0 / walk.blocks
    return walk


@wp.func
def contract_point(p: wp.vec3) -> wp.vec3:
    c = p * 2.0 - wp.vec3(1.0)
    size = wp.max(wp.max(wp.abs(c[0]), wp.abs(c[1])), wp.abs(c[2]))
    if size > 1.0:
        c = c * ((2.0 - 1.0 / size) / size)
    return c * 0.25 + wp.vec3(0.5)


@wp.func
def contraction_scale(p: wp.vec3, walk: Walk) -> float:
    """Return the length of a step in the field's frame over that in the unit cube."""
    if walk.contracted == 0:
        return 1.0
    c = p * 2.0 - wp.vec3(1.0)
    out = wp.max(wp.max(wp.max(wp.abs(c[0]), wp.abs(c[1])), wp.abs(c[2])), 1.0)
    return out * out


@wp.func
def stride(t: float, scale: float, walk: Walk) -> float:
    """Length of the step at t."""
    return wp.max(walk.smallest * scale, t * walk.cone)


@wp.func
def _exit(p: wp.vec3, inverse: wp.vec3, cube: wp.vec3) -> float:
    """Distance in t until a ray at p leaves the cube of empty cells around its own (see `_empty_cube`)."""
    nearest = float(1.0e30)
    for axis in range(3):
        edge = wp.floor(p[axis] * cube[0]) + wp.where(inverse[axis] > 0.0, cube[2], 1.0 - cube[2])
        leaves = (edge * cube[1] - p[axis]) * inverse[axis]
        nearest = wp.where(leaves < nearest, leaves, nearest)
    return nearest


@wp.func
def _empty_cube(p: wp.vec3, walk: Walk, bits: wp.array(dtype=wp.uint8), empty: wp.array(dtype=wp.uint8)) -> wp.vec3:
    """(cells along an axis of the grid, or of its blocks; edge of one; distance in them to the nearest occupied one):
    (_, _, 0) where p's cell is occupied, (_, _, −1) outside."""
    n = walk.resolution
    x = int(wp.floor(p[0] * walk.cells))
    y = int(wp.floor(p[1] * walk.cells))
    z = int(wp.floor(p[2] * walk.cells))
    if x < 0 or y < 0 or z < 0 or x >= n or y >= n or z >= n:
        return wp.vec3(0.0, 0.0, -1.0)
    m = n / block
    away = empty[((x / block) * m + y / block) * m + z / block]
    if away != wp.uint8(0):
        return wp.vec3(walk.blocks, walk.block, float(away))
    byte = int(bits[(x * n + y) * (n >> 3) + (z >> 3)])
    return wp.vec3(walk.cells, walk.cell, wp.where((byte >> (z & 7)) & 1 == 0, 1.0, 0.0))


@wp.func
def safe_inverse(x: float) -> float:
    return wp.where(wp.abs(x) > 1.0e-12, 1.0 / x, 1.0e30)


@wp.func
def next_sample(
    at: wp.vec2, far: float, origin: wp.vec3, direction: wp.vec3, inverse: wp.vec3, walk: Walk,
    bits: wp.array(dtype=wp.uint8), empty: wp.array(dtype=wp.uint8),
) -> wp.vec2:  # fmt: skip
    """From (t, steps taken) return those of the first sample at or after it; t = far where there is none.

    Even steps are counted, so that t is the same whichever cells were skipped.
    """
    t = at[0]
    taken = at[1]
    start = t - taken * walk.smallest
    while t < far:
        p = origin + direction * t
        u = p
        if walk.contracted != 0:
            u = contract_point(p)
        cube = _empty_cube(u, walk, bits, empty)
        if cube[2] == 0.0:
            return wp.vec2(t, taken)
        if walk.contracted != 0:
            t += stride(t, contraction_scale(p, walk), walk)
        elif walk.cone == 0.0:
            steps = wp.where(cube[2] < 0.0, 1.0, wp.ceil(_exit(p, inverse, cube) * walk.per_step))
            taken += wp.where(steps > 1.0, steps, 1.0)
            t = start + taken * walk.smallest
        else:
            until = wp.min(t + wp.where(cube[2] < 0.0, 0.0, _exit(p, inverse, cube)), far)
            t += stride(t, 1.0, walk)
            while t < until:
                t += stride(t, 1.0, walk)
    return wp.vec2(far, taken)


@wp.func
def first_step(near: float, jitter: float, origin: wp.vec3, direction: wp.vec3, walk: Walk) -> float:
    """t of a ray's first step."""
    return near + jitter * stride(near, contraction_scale(origin + direction * near, walk), walk)


@wp.kernel(enable_backward=False)
def _count(
    first: int, walk: Walk,
    origins: wp.array(dtype=wp.vec3), directions: wp.array(dtype=wp.vec3),
    near: wp.array(dtype=float), far: wp.array(dtype=float), jitter: wp.array(dtype=float),
    bits: wp.array(dtype=wp.uint8), empty: wp.array(dtype=wp.uint8),
    counts: wp.array(dtype=int),
):  # fmt: skip  # type: ignore[no-untyped-def]
    i = first + wp.tid()
    d = directions[i]
    inverse = wp.vec3(safe_inverse(d[0]), safe_inverse(d[1]), safe_inverse(d[2]))
    at = wp.vec2(first_step(near[i], jitter[i], origins[i], d, walk), 0.0)
    number = int(0)
    at = next_sample(at, far[i], origins[i], d, inverse, walk, bits, empty)
    while at[0] < far[i] and number < walk.most:
        number += 1
        at = wp.vec2(at[0] + stride(at[0], contraction_scale(origins[i] + d * at[0], walk), walk), at[1] + 1.0)
        at = next_sample(at, far[i], origins[i], d, inverse, walk, bits, empty)
    counts[i] = number


@wp.kernel(enable_backward=False)
def _write(
    first: int, walk: Walk,
    origins: wp.array(dtype=wp.vec3), directions: wp.array(dtype=wp.vec3),
    near: wp.array(dtype=float), far: wp.array(dtype=float), jitter: wp.array(dtype=float),
    bits: wp.array(dtype=wp.uint8), empty: wp.array(dtype=wp.uint8),
    offsets: wp.array(dtype=int),
    points: wp.array(dtype=wp.vec3), ts: wp.array(dtype=float), lengths: wp.array(dtype=float),
    rays: wp.array(dtype=int),
):  # fmt: skip  # type: ignore[no-untyped-def]
    i = first + wp.tid()
    d = directions[i]
    inverse = wp.vec3(safe_inverse(d[0]), safe_inverse(d[1]), safe_inverse(d[2]))
    at = wp.vec2(first_step(near[i], jitter[i], origins[i], d, walk), 0.0)
    row = offsets[i]
    end = offsets[i + 1]
    while row < end:
        at = next_sample(at, far[i], origins[i], d, inverse, walk, bits, empty)
        p = origins[i] + d * at[0]
        scale = contraction_scale(p, walk)
        ahead = stride(at[0], scale, walk)
        if walk.contracted != 0:
            p = contract_point(p)
        points[row] = p
        ts[row] = at[0]
        lengths[row] = ahead / scale
        rays[row] = i
        row += 1
        at = wp.vec2(at[0] + ahead, at[1] + 1.0)
