"""Cameras as tensors, and rays.

Vocabulary: `world_from_camera` [4, 4] has OpenCV axes (x right, y down, z forward). A ray is `origin + s * direction`
with a unit direction; its *distance* s becomes *depth* (along the camera's z, metres of the camera's own world) by
`depth = s * depth_from_distance`. That stays true when a scene is placed by an affine transform, because the transform
goes into `world_from_camera` and z-depth is invariant under it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from addon.wire import messages
from addon.wire.errors import UnreadableFile

from .lens import PINHOLE, Lens, camera_directions


@dataclass(frozen=True)
class Rays:
    """origins [..., 3]; unit directions [..., 3]; depth_from_distance [...]."""

    origins: Tensor
    directions: Tensor
    depth_from_distance: Tensor

    def at(self, index: Tensor | slice) -> Rays:
        """Return some of the rays, by their first dimension."""
        return Rays(self.origins[index], self.directions[index], self.depth_from_distance[index])

    def detached(self) -> Rays:
        """Return the rays without gradients."""
        return Rays(self.origins.detach(), self.directions.detach(), self.depth_from_distance.detach())


def flattened(rays: Rays) -> Rays:
    """Return rays [...] as a list [n]."""
    return Rays(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), rays.depth_from_distance.reshape(-1))


@dataclass(frozen=True)
class Camera:
    """A perspective or orthographic camera. See `messages.Camera`; here world_from_camera may be any affine
    transform."""

    world_from_camera: Tensor  # [4, 4]
    intrinsics: Tensor  # [3, 3], pixels (orthographic: pixels per metre)
    width: int
    height: int
    projection: Literal["perspective", "orthographic"] = "perspective"
    lens: Lens = PINHOLE

    def rays(self, pixels: Tensor | None = None) -> Rays:
        """Return rays through pixel centres [height, width], or through `pixels` [..., 2] as (x, y) coordinates.

        Pixels beyond the reach of a lens (`lens.valid_pixels`) get its outermost direction.
        """
        k = self.intrinsics
        if pixels is None:
            ys = torch.arange(self.height, dtype=k.dtype, device=k.device) + 0.5
            xs = torch.arange(self.width, dtype=k.dtype, device=k.device) + 0.5
            y, x = torch.meshgrid(ys, xs, indexing="ij")
        else:
            x, y = pixels[..., 0], pixels[..., 1]
        rotation, translation = self.world_from_camera[:3, :3], self.world_from_camera[:3, 3]
        if not self.lens.is_pinhole:
            local = camera_directions(k, self.lens, torch.stack((x, y), -1))
            directions = local @ rotation.T
            length = directions.norm(dim=-1)
            return Rays(translation.expand_as(directions), directions / length[..., None], local[..., 2] / length)
        v = (y - k[1, 2]) / k[1, 1]
        u = (x - k[0, 2] - k[0, 1] * v) / k[0, 0]
        if self.projection == "perspective":
            directions = torch.stack((u, v, torch.ones_like(u)), -1) @ rotation.T
            origins = translation.expand_as(directions)
        else:
            origins = torch.stack((u, v, torch.zeros_like(u)), -1) @ rotation.T + translation
            directions = rotation[:, 2].expand_as(origins)
        length = directions.norm(dim=-1)
        return Rays(origins, directions / length[..., None], 1 / length)

    def resized(self, width: int, height: int) -> Camera:
        """Return the same view with another number of pixels."""
        scale = torch.tensor(
            [[width / self.width], [height / self.height], [1.0]],
            dtype=self.intrinsics.dtype,
            device=self.intrinsics.device,
        )
        return replace(self, intrinsics=self.intrinsics * scale, width=width, height=height)

    def transformed(self, target_from_world: Tensor) -> Camera:
        """Return this camera seen from another frame; [4, 4], any affine transform."""
        return replace(self, world_from_camera=target_from_world @ self.world_from_camera)

    def to(self, device: torch.device | str) -> Camera:
        """Return the camera on another device."""
        return replace(self, world_from_camera=self.world_from_camera.to(device), intrinsics=self.intrinsics.to(device))


def points_of_depth(depth: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Return the world points [N, 3] of a depth image's measured pixels, and the ray origin of each [N, 3].

    depth: [H, W], metres along the camera's z; 0, inf or NaN where nothing was measured.

    Raises:
        UnreadableFile: no pixel was measured.
    """
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth must be [{camera.height}, {camera.width}] as the camera, got {list(depth.shape)}")
    seen = torch.isfinite(depth) & (depth > 0)
    if not seen.any():
        raise UnreadableFile("The depth image is empty: no pixel holds a finite depth above 0.")
    rays = camera.rays()
    origins = rays.origins[seen]
    distance = depth[seen] / rays.depth_from_distance[seen]
    return origins + distance[:, None] * rays.directions[seen], origins


def from_wire(camera: messages.Camera, device: torch.device | str = "cpu") -> Camera:
    """Return a wire camera as float32 tensors."""
    return Camera(
        torch.tensor(camera.world_from_camera, dtype=torch.float32, device=device),
        torch.tensor(camera.intrinsics, dtype=torch.float32, device=device),
        camera.width,
        camera.height,
        camera.projection,
        camera.lens,
    )


def intrinsics_from_fov(fov: float, width: int, height: int) -> messages.Matrix3:
    """Return [3, 3] intrinsics in pixels from a vertical field of view in radians, principal point in the centre."""
    focal = height / 2 / math.tan(fov / 2)
    return (focal, 0.0, width / 2), (0.0, focal, height / 2), (0.0, 0.0, 1.0)


def look_at(eye: messages.Row3, target: messages.Row3, roll: float = 0.0) -> messages.Matrix4:
    """Return world_from_camera [4, 4] (OpenCV axes) at `eye` towards `target`, world Z up, then rolled (radians)."""
    position = torch.tensor(eye, dtype=torch.float64)
    forward = torch.nn.functional.normalize(torch.tensor(target, dtype=torch.float64) - position, dim=0)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    if torch.linalg.cross(forward, up).norm() < 1e-6:
        up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
    down = torch.linalg.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, 0] = c * right + s * down
    matrix[:3, 1] = c * down - s * right
    matrix[:3, 2] = forward
    matrix[:3, 3] = position
    rows = matrix.tolist()
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


def orbit(
    info: messages.ModelInfo,
    size: int,
    *,
    azimuth: float | None = None,
    elevation: float | None = None,
    roll: float = 0.0,
    fov: float | None = None,
) -> messages.Camera:
    """Return a square wire camera at the model's pose prior. Azimuth (about +Z; 0 sees the front, which faces −Y) and
    elevation, no further than the poles, in radians; None takes the prior's default."""
    prior = info.pose_prior
    azimuth = prior.default_azimuth if azimuth is None else azimuth
    elevation = prior.default_elevation if elevation is None else elevation
    # beyond a pole the camera would be upside down; just before it, the up direction is still defined
    elevation = min(max(elevation, 1e-4 - math.pi / 2), math.pi / 2 - 1e-4)
    centre = tuple((a + b) / 2 for a, b in zip(*info.bounds, strict=True))
    eye = (
        centre[0] + prior.radius * math.cos(elevation) * math.sin(azimuth),
        centre[1] - prior.radius * math.cos(elevation) * math.cos(azimuth),
        centre[2] + prior.radius * math.sin(elevation),
    )
    intrinsics = intrinsics_from_fov(prior.fov if fov is None else fov, size, size)
    return messages.Camera(look_at(eye, centre, roll), intrinsics, size, size)  # type: ignore[arg-type]
