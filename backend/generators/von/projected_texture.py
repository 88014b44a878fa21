"""Projection of images from several sides onto the surface that they show.

Each point takes the colours of the views that see it, with most weight for those most perpendicular to the surface. A
point that no view sees takes the colour that the views show in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...cameras import Camera

SQUARENESS = 4.0
"""Exponent of the cosine between normal and direction to the camera, as a weight: a high one keeps seams sharp."""
UNSEEN = 1e-4
"""Weight of a view from which a point is hidden, or turned away."""


@dataclass(frozen=True)
class View:
    """An image of the surface. rgb [H, W, 3]; depth [H, W] along the camera's z, metres, inf where empty."""

    camera: Camera
    rgb: Tensor
    depth: Tensor


def colors_from_views(points: Tensor, normals: Tensor, views: list[View], tolerance: float) -> Tensor:
    """Return colours [n, 3] of surface points [n, 3] with outward unit normals [n, 3], metres.

    tolerance: a point this much behind the depth that a view shows, metres, is still visible in it.

    Raises:
        ValueError: there are no views.
    """
    if not views:
        raise ValueError("there are no views to take colours from")
    total, weights = torch.zeros_like(points), torch.zeros_like(points[:, :1])
    for view in views:
        rgb, weight = _seen(points, normals, view, tolerance)
        total += weight[:, None] * rgb
        weights += weight[:, None]
    return total / weights.clamp(min=1e-12)


def _seen(points: Tensor, normals: Tensor, view: View, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the colours [n, 3] of a view at points [n, 3], and their weights [n]."""
    camera = view.camera
    matrix = torch.linalg.inv(camera.world_from_camera.double()).to(points)
    local = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = local[:, 2]
    if camera.projection == "perspective":
        towards = functional.normalize(camera.world_from_camera[:3, 3] - points, dim=-1)
        image = local / depth[:, None].clamp(min=1e-6)
    else:
        towards = -camera.world_from_camera[:3, 2].expand_as(points)
        image = torch.cat((local[:, :2], torch.ones_like(local[:, 2:])), -1)
    pixel = (image @ camera.intrinsics.to(points).T)[:, :2]
    grid = (pixel / pixel.new_tensor([camera.width, camera.height]) * 2 - 1)[None, None]

    hit = torch.isfinite(view.depth).to(points)
    maps = torch.cat(((view.rgb * hit[..., None]).permute(2, 0, 1), hit[None]))[None].to(points)
    sampled = functional.grid_sample(maps, grid, align_corners=False)[0, :, 0]
    covered = sampled[3]
    rgb = (sampled[:3] / covered.clamp(min=1e-6)).T
    # the nearest pixel's depth: between a surface and the background, an interpolated depth is meaningless
    met = functional.grid_sample(
        torch.where(hit > 0, view.depth, 1e9)[None, None].to(points), grid, mode="nearest", align_corners=False
    )[0, 0, 0]
    facing = (normals * towards).sum(-1).clamp(min=0) ** SQUARENESS
    seen = (depth < met + tolerance) & (met < 1e8) & (depth > 0)
    inside = (grid[0, 0].abs() <= 1).all(-1) & (covered > 0.25) & (depth > 0)
    weight = torch.where(seen, facing, 0.0) + UNSEEN * (0.05 + facing)
    return rgb, torch.where(inside, weight, 1e-9)
