"""Rendering of bare surfaces: clay under a lamp that moves with the camera, with antialiased silhouettes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..cameras import Camera, Rays
from ..progress import Progress
from .protocol import Image

CLAY = (0.86, 0.80, 0.73)
"""sRGB of a shaded surface without a colour of its own."""

Shade = Callable[[Camera, Tensor | None, Progress], Image]
"""Render a camera at pixels [..., 2] (x, y), or (None) at the centres of all its pixels: an Image of that shape."""


def draw(
    shade: Shade,
    camera: Camera,
    *,
    quality: Literal["draft", "full"],
    jitter: torch.Generator | None,
    progress: Progress,
) -> Image:
    """Render a surface. full: pixels on a silhouette or a jump of depth get 4 more rays. draft: a quarter of the rays.
    jitter moves each ray within its pixel."""
    if quality == "draft":
        small = camera.resized(max(1, camera.width // 2), max(1, camera.height // 2))
        return enlarged(shade(small, jittered(small, jitter), progress), camera.width, camera.height)

    def first(fraction: float, *_: object, **__: object) -> None:
        progress(0.6 * fraction, "Rendering")

    def second(fraction: float, *_: object, **__: object) -> None:
        progress(0.6 + 0.4 * fraction, "Smoothing edges")

    image = shade(camera, jittered(camera, jitter), first)
    edge = torch.nonzero(edges(image))  # [E, 2]: row, column
    quarter = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]).to(camera.intrinsics)
    fine = shade(camera, edge.flip(-1)[:, None] + quarter, second)  # at [E, 4, 2]: x, y
    return with_edges(image, edge, fine)


def jittered(camera: Camera, jitter: torch.Generator | None) -> Tensor | None:
    """Return a random point in every pixel [H, W, 2] (x, y), or None without a generator."""
    if jitter is None:
        return None
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    random = torch.rand(camera.height, camera.width, 2, generator=jitter, device=jitter.device)
    return (torch.stack([x, y], -1) + random.cpu()).to(camera.intrinsics)


def clay_shade(normals: Tensor, axes: Tensor, up: Tensor) -> Tensor:
    """Return the brightness [N] of a surface under a key light over the viewer's left shoulder and a dim sky.

    normals [N, 3]; axes [3, 3] or [N, 3, 3]: the camera's x, y, z as columns; up [3]: all in the frame of the normals.
    """
    key = functional.normalize(axes @ normals.new_tensor([-0.45, -0.65, -0.75]), dim=-1)
    return 0.34 + 0.62 * (normals * key).sum(-1).clamp(min=0) + 0.12 * (0.5 + 0.5 * (normals @ up))


def camera_axes(camera: Camera) -> Tensor:
    """Return the unit x, y, z axes of a camera as columns [3, 3], in the frame that it is given in."""
    return functional.normalize(camera.world_from_camera[:3, :3], dim=0)


def upright_axes(directions: Tensor) -> Tensor:
    """Return the axes [N, 3, 3] of upright cameras that look along world directions [N, 3]: the lamp of single rays."""
    forward = functional.normalize(directions, dim=-1)
    up, ahead = forward.new_tensor([0.0, 0.0, 1.0]), forward.new_tensor([0.0, 1.0, 0.0])
    vertical = forward[:, 2:].abs() > 1 - 1e-6
    right = functional.normalize(torch.linalg.cross(forward, torch.where(vertical, ahead, up)), dim=-1)
    return torch.stack((right, torch.linalg.cross(forward, right), forward), -1)


def fixed_size(size: float) -> Callable[[Rays, Tensor], Tensor]:
    """Return a width of silhouettes that is the same for all rays, metres."""
    return lambda rays, distance: torch.full_like(distance, size)


def pixel_size(camera: Camera) -> Callable[[Rays, Tensor], Tensor]:
    """Return the edge of a camera's pixels [N] as a function of its rays and distances along them [N], in the units of
    its frame."""
    size = camera.world_from_camera[:3, 0].norm() / camera.intrinsics[0, 0]
    if camera.projection == "orthographic":
        return lambda rays, distance: size.expand_as(distance)
    return lambda rays, distance: size * distance * rays.depth_from_distance


def edges(image: Image) -> Tensor:
    """Return which pixels [H, W] lie beside a silhouette or a jump of depth."""
    hit = image.alpha > 0
    depth = torch.where(hit, image.depth, 0.0)
    found = torch.zeros_like(hit)
    for axis in (0, 1):
        n = hit.shape[axis] - 1
        a, b = (slice(None),) * axis + (slice(0, n),), (slice(None),) * axis + (slice(1, n + 1),)
        near = torch.minimum(depth[a], depth[b])
        different = (hit[a] != hit[b]) | ((depth[a] - depth[b]).abs() > 0.02 * near)
        found[a] |= different
        found[b] |= different
    return found


def with_edges(image: Image, edge: Tensor, fine: Image) -> Image:
    """Return the image with pixels edge [E, 2] averaged with their samples fine [E, 4]. Depth and normal stay those of
    the centre where it hit the surface, else of the nearest sample."""
    row, column = edge[:, 0], edge[:, 1]
    rgb, alpha, depth, normal = image.rgb, image.alpha, image.depth, image.normal
    assert normal is not None and fine.normal is not None
    centre_hit = alpha[row, column, None]
    # the centre counts as a fifth sample
    total = fine.alpha.sum(-1, keepdim=True) + centre_hit
    colour = (fine.rgb * fine.alpha[..., None]).sum(-2) + rgb[row, column] * centre_hit
    alpha[row, column] = total[:, 0] / 5
    rgb[row, column] = torch.where(total > 0, colour / total.clamp(min=1), rgb[row, column])
    nearest = fine.depth.argmin(-1, keepdim=True)
    missed = centre_hit[:, 0] == 0
    depth[row, column] = torch.where(missed, fine.depth.gather(-1, nearest)[:, 0], depth[row, column])
    side = fine.normal.gather(-2, nearest[..., None].expand(-1, -1, 3))[:, 0]
    normal[row, column] = torch.where(missed[:, None], side, normal[row, column])
    return Image(rgb, alpha, depth, normal)


def enlarged(image: Image, width: int, height: int) -> Image:
    """Return a draft at full size: colour and alpha interpolated, depth and normal of the nearest pixel."""
    assert image.normal is not None
    smooth = torch.cat([image.rgb * image.alpha[..., None], image.alpha[..., None]], -1).permute(2, 0, 1)[None]
    smooth = functional.interpolate(smooth, (height, width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    alpha = smooth[..., 3]
    rgb = torch.where(alpha[..., None] > 0, smooth[..., :3] / alpha[..., None].clamp(min=1e-6), smooth.new_tensor(CLAY))
    hard = torch.cat([image.depth[..., None], image.normal], -1).permute(2, 0, 1)[None]
    hard = functional.interpolate(hard, (height, width), mode="nearest")[0].permute(1, 2, 0)
    return Image(rgb.clamp(0, 1), alpha, hard[..., 0], hard[..., 1:])
