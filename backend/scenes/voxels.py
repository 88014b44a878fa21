"""A cube of voxels as a Scene: occupancy, or a signed distance.

Vocabulary. `values` [D, H, W] are those of the voxels' centres. *Grid* coordinates x, y, z go along W, H and D, from -1
at the outer face of the first voxel to 1 at that of the last; `world_from_grid` [4, 4] is any invertible affine
transform, metres. Rays are followed in grid coordinates, where a voxel is 2 / W, 2 / H, 2 / D wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from addon.wire.messages import Bounds

from ..cameras import Camera, Rays, flattened
from ..progress import Progress, silent
from ..rendering.boxes import box_interval
from .protocol import FieldInfo, FieldSample, Image
from .surface_image import CLAY, camera_axes, clay_shade, draw, fixed_size, jittered, pixel_size, upright_axes
from .surface_trace import trace_clay
from .trace import RayColors

STEPS_PER_VOXEL = 2.0
"""Samples of a ray on the way through one voxel, before the crossing is refined."""
BLOCK = 16
"""Samples of a ray evaluated at once; a ray that has met the surface is finished."""
BISECTIONS = 10
RAYS_AT_ONCE = 1 << 15
SOFT_VOXELS = 0.5
"""Width of the silhouette of single rays, which know of no pixel."""

EMPTY = "This shape is empty: none of its voxels is solid. Choose another seed."

TRACE_PSNR = 30.0
"""`render` averages five rays in a silhouette's pixel, of which some see what is behind; `image` fades one."""


@dataclass(frozen=True)
class GridRays:
    """Rays in the grid. origins, unit directions [N, 3]; stretch [N]: grid units by metre along each ray."""

    origins: Tensor
    directions: Tensor
    stretch: Tensor

    def at(self, index: Tensor) -> GridRays:
        """Return some of the rays."""
        return GridRays(self.origins[index], self.directions[index], self.stretch[index])


@dataclass(frozen=True)
class VoxelScene:
    """Trilinear interpolation of voxels, rendered as clay: they have no colour. A `Scene`.

    Occupancy is 0 outside the cube, so that the surface is closed there. It is given as a density because it grows
    inwards, but has no unit: only its level means something. A signed distance goes on outside as the distance at the
    nearest face plus that to the cube.

    `trace` and `image` are differentiable in rays and values: the hit point by implicit differentiation, the silhouette
    over a width (surface_trace.py). `image` has the lamp of `render`, which moves with the camera; single rays have
    that of an upright camera that looks along them.
    """

    values: Tensor  # [D, H, W] occupancy 0..1, or signed distance in metres, negative inside
    world_from_grid: Tensor  # [4, 4]
    quantity: Literal["density", "sdf"] = "density"
    iso_level: float | None = None  # None: 0.5 for occupancy, 0 for a distance
    box: Bounds | None = None  # the rest is empty, metres; see `within`

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or min(self.values.shape) < 2:
            raise ValueError(f"values must be [D, H, W] with at least 2 voxels each way, got {list(self.values.shape)}")
        if self.world_from_grid.shape != (4, 4):
            raise ValueError(f"world_from_grid must be [4, 4], got {list(self.world_from_grid.shape)}")

    @property
    def level(self) -> float:
        """The value of the surface."""
        return self.iso_level if self.iso_level is not None else (0.5 if self.quantity == "density" else 0.0)

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        bounds = self.box or world_box(self.world_from_grid)
        return FieldInfo(self.quantity, self.level, bounds, has_color=False, trace_psnr=TRACE_PSNR)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""
        grid = self._to_grid(points)
        value = self._at(grid)
        if self.quantity == "sdf":
            nearest = grid.clamp(-1, 1)
            value = value + ((grid - nearest) @ self.world_from_grid[:3, :3].to(grid).T).norm(dim=-1)
        if self.box is not None:
            low, high = (torch.tensor(corner).to(grid) for corner in self.box)
            inside = ((points >= low) & (points <= high)).all(-1)
            value = torch.where(inside, value, 0.0 if self.quantity == "density" else 1.0)
        return FieldSample(value)

    def within(self, box: Bounds) -> VoxelScene:
        """Return the scene with nothing left outside a world box."""
        return replace(self, box=box)

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace. samples: through the cube; None: two in each voxel. Nothing is random here."""
        voxel = float(self.world_from_grid[:3, :3].norm(dim=0).mean()) * 2 / max(self.values.shape)
        return self.traced(rays, upright_axes(rays.directions.reshape(-1, 3)), fixed_size(SOFT_VOXELS * voxel), samples)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. Silhouettes are a pixel wide; jitter moves each ray within its pixel."""
        return self.traced(camera.rays(jittered(camera, jitter)), camera_axes(camera), pixel_size(camera), None)

    def traced(
        self, rays: Rays, axes: Tensor, width: Callable[[Rays, Tensor], Tensor], samples: int | None
    ) -> RayColors:
        """Return the pixels of world rays [...] under a lamp with axes [3, 3] or [N, 3, 3]. width: of the silhouettes,
        from rays and distances along them [N]."""
        flat, step = flattened(rays), self._step(samples)
        grid = self._grid_rays(flat)
        near, far = self._interval(flat, grid)
        crossing = torch.full_like(near, math.inf)
        with torch.no_grad():
            meeting = torch.nonzero(far > near)[:, 0]
            met = grid.at(meeting)
            crossing[meeting] = self._first_crossing(met.origins, met.directions, near[meeting], far[meeting], step)
        interval = near / grid.stretch, far / grid.stretch
        pixels = trace_clay(
            self, flat, axes, interval, crossing / grid.stretch, width, math.ceil(2 * math.sqrt(3) / step)
        )
        return pixels.reshape(*rays.origins.shape[:-1])

    def signed(self, points: Tensor) -> Tensor:
        """See surface_trace.Surface: below 0 inside, in the unit of the values."""
        return -self._solid(self._to_grid(points))

    def gradient(self, points: Tensor) -> Tensor:
        """See surface_trace.Surface."""
        return -self._solid_gradient(self._to_grid(points))

    def may_touch(self, points: Tensor) -> Tensor:
        """See surface_trace.Surface."""
        return torch.ones_like(points[..., 0], dtype=torch.bool)

    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """See Scene.render. The first crossing of the level is found at `samples_per_ray` even steps through the cube
        (None: two in each voxel) and refined by bisection to 1/2000 of a voxel."""

        def shade(view: Camera, pixels: Tensor | None, report: Progress) -> Image:
            return self._image(view, pixels, samples_per_ray, report)

        with torch.no_grad():
            image = draw(shade, camera.to(self.values.device), quality=quality, jitter=jitter, progress=progress)
        return replace(image, note=self.empty_reason)

    @property
    def empty_reason(self) -> str:
        """See MayBeEmpty.empty_reason: no voxel is solid at the level of the scene."""
        return EMPTY if self._occupied is None else ""

    @cached_property
    def _grid_from_world(self) -> Tensor:
        return torch.linalg.inv(self.world_from_grid.double()).to(self.values)

    def _to_grid(self, points: Tensor) -> Tensor:
        """Return grid coordinates [..., 3] of world points."""
        return points.to(self._grid_from_world) @ self._grid_from_world[:3, :3].T + self._grid_from_world[:3, 3]

    def _grid_rays(self, rays: Rays) -> GridRays:
        """Return world rays in the grid."""
        directions = rays.directions @ self._grid_from_world[:3, :3].T
        stretch = directions.norm(dim=-1)
        return GridRays(self._to_grid(rays.origins), directions / stretch[:, None], stretch)

    def _step(self, samples: int | None) -> float:
        """Return the distance between samples in the grid, for so many through the cube (None: two in each voxel)."""
        return 2 / max(self.values.shape) / STEPS_PER_VOXEL if samples is None else 2 * math.sqrt(3) / samples

    def _at(self, grid: Tensor) -> Tensor:
        """Return the values [...] at grid coordinates [..., 3]; beyond the outer centres, occupancy falls to 0."""
        flat = grid.reshape(1, 1, 1, -1, 3)
        padding = "zeros" if self.quantity == "density" else "border"
        found = functional.grid_sample(self.values[None, None], flat, padding_mode=padding, align_corners=False)
        return found.reshape(grid.shape[:-1])

    def _solid(self, grid: Tensor) -> Tensor:
        """Return the values [...] less the level, above 0 inside the surface."""
        value = self._at(grid) - self.level
        return value if self.quantity == "density" else -value

    @cached_property
    def _occupied(self) -> Bounds | None:
        """Box of grid coordinates around the surface and its inside; None where there is none."""
        solid = (self.values > self.level) if self.quantity == "density" else (self.values < self.level)
        found = torch.nonzero(solid)
        if not len(found):
            return None
        size = torch.tensor(self.values.shape, device=found.device)
        low = ((found.amin(0) - 0.5) / size * 2 - 1).clamp(-1, 1).flip(0)  # x, y, z
        high = ((found.amax(0) + 1.5) / size * 2 - 1).clamp(-1, 1).flip(0)
        return tuple(low.tolist()), tuple(high.tolist())

    def _image(self, camera: Camera, pixels: Tensor | None, samples: int | None, progress: Progress) -> Image:
        rays = camera.rays(pixels)
        shape = rays.directions.shape[:-1]
        flat = flattened(rays)
        grid = self._grid_rays(flat)
        near, far = self._interval(flat, grid)
        distance = torch.full_like(near, math.inf)
        step = self._step(samples)
        meeting = torch.nonzero(far > near)[:, 0]
        for part in meeting.split(RAYS_AT_ONCE) if len(meeting) else ():
            progress(0.9 * float(part[0]) / len(near), "Rendering")
            distance[part] = self._first_crossing(
                grid.origins[part], grid.directions[part], near[part], far[part], step
            )
        hit = torch.nonzero(torch.isfinite(distance))[:, 0]
        points = grid.origins[hit] + distance[hit, None] * grid.directions[hit]
        normals = functional.normalize(-self._solid_gradient(points), dim=-1)
        cut = distance[hit] <= near[hit]  # solid where the ray enters: a face of the crop, of the cube, or the camera
        normals = torch.where(cut[:, None], -flat.directions[hit], normals)
        shade = clay_shade(normals, camera_axes(camera).to(normals), normals.new_tensor([0.0, 0.0, 1.0]))
        rgb = points.new_tensor(CLAY).expand(len(distance), 3).clone()
        rgb[hit] *= shade[:, None]
        normal = torch.zeros_like(rgb)
        normal[hit] = normals
        progress(1.0, "Rendering")
        depth = distance / grid.stretch * flat.depth_from_distance
        alpha = torch.isfinite(distance).to(rgb)
        return Image(
            rgb.clamp(0, 1).reshape(*shape, 3), alpha.reshape(shape), depth.reshape(shape), normal.reshape(*shape, 3)
        )

    def _interval(self, rays: Rays, grid: GridRays) -> tuple[Tensor, Tensor]:
        """Return where rays [N] enter and leave the box around the surface, grid units. [N], [N]"""
        if self._occupied is None:
            return torch.zeros_like(grid.stretch), torch.full_like(grid.stretch, -1.0)
        near, far = box_interval(grid.origins, grid.directions, self._occupied)
        if self.box is not None:  # its faces lie askew in the grid if the grid is rotated: cut in the world
            cut_near, cut_far = box_interval(rays.origins, rays.directions, self.box)
            near, far = torch.maximum(near, cut_near * grid.stretch), torch.minimum(far, cut_far * grid.stretch)
        return near, far

    def _first_crossing(self, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, step: float) -> Tensor:
        """Return the distance at which each ray first gets inside, inf where it does not. All [N]; grid units."""
        found = torch.full_like(near, math.inf)
        active = torch.arange(len(near), device=near.device)
        offsets = step * torch.arange(BLOCK, device=near.device)
        start = near.clone()
        while len(active):
            t = torch.minimum(start[active, None] + offsets, far[active, None])
            solid = self._solid(origins[active, None] + t[..., None] * directions[active, None]) > 0
            first = solid.to(torch.uint8).argmax(-1)
            any_solid = solid.any(-1)
            found[active[any_solid]] = t.gather(1, first[:, None])[:, 0][any_solid]
            start[active] += BLOCK * step
            active = active[~any_solid & (start[active] < far[active] + step)]
        hit = torch.nonzero(torch.isfinite(found))[:, 0]
        inside = found[hit]
        outside = torch.maximum(inside - step, near[hit])
        at_entry = inside <= near[hit]
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            solid = self._solid(origins[hit] + middle[:, None] * directions[hit]) > 0
            inside, outside = torch.where(solid, middle, inside), torch.where(solid, outside, middle)
        found[hit] = torch.where(at_entry, near[hit], inside)
        return found

    def _solid_gradient(self, grid: Tensor) -> Tensor:
        """Return the gradient by world metres [N, 3] at grid coordinates [N, 3], from differences over a voxel: that of
        the trilinear field itself jumps between voxels."""
        differences = []
        for axis, size in enumerate(reversed(self.values.shape)):
            offset = torch.zeros(3).to(grid)
            offset[axis] = 1 / size
            differences.append((self._solid(grid + offset) - self._solid(grid - offset)) * size / 2)
        return torch.stack(differences, -1) @ self._grid_from_world[:3, :3]


def world_box(world_from_grid: Tensor) -> Bounds:
    """Return the world box of the whole cube."""
    matrix = world_from_grid.double().cpu()
    middle, reach = matrix[:3, 3], matrix[:3, :3].abs().sum(1)
    low, high = (middle - reach).tolist(), (middle + reach).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def cube_in_world(half: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Return world_from_grid [4, 4] of a cube from -half to half metres about its centre, voxels indexed z, y, x."""
    matrix = torch.eye(4)
    matrix[:3, :3] *= half
    matrix[:3, 3] = torch.tensor(centre)
    return matrix
