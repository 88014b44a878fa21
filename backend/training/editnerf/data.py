"""Rays of a family of objects, and the visual hull of each: where its field may be dense."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...cameras import Camera
from ...nerf.hash.visual_hull import Silhouette, carve
from ...progress import Progress, silent
from ..data.training_images import TrainingImages

RIM = 2
"""Pixels around an object whose rays are trained too. Where alpha is known, farther ones see nothing of it."""


@dataclass(frozen=True)
class Rays:
    """Rays [n], with what they see and whose they are."""

    instance: Tensor  # int64
    origins: Tensor  # [n, 3]
    directions: Tensor  # [n, 3], of depth one along the camera's axis
    rgb: Tensor  # [n, 3] over the background
    alpha: Tensor | None


@dataclass(frozen=True)
class Family:
    """Posed images of objects, on one device."""

    images: TrainingImages
    pixels: Tensor  # int32: numbers of the pixels with rays, of all images in a row, ordered by object
    starts: Tensor  # [objects + 1] int64: where in `pixels` an object begins
    hulls: Tensor | None  # bool [objects, n, n, n] over the cube around the unit sphere

    @property
    def num_objects(self) -> int:
        """Number of objects."""
        return len(self.starts) - 1

    def rays(self, instances: Tensor, count: int, random: torch.Generator) -> Rays:
        """Draw `count` rays of each of some instances [m]."""
        low, high = self.starts[instances], self.starts[instances + 1]
        drawn = torch.rand(len(instances), count, generator=random) * (high - low)[:, None]
        chosen = self.pixels[(low[:, None] + drawn.long()).clamp(max=len(self.pixels) - 1)].flatten().long()
        side = self.images.images.shape[-1]
        image, pixel = chosen // side**2, chosen % side**2
        assert self.images.world_from_camera is not None and self.images.intrinsics is not None
        pose, k = self.images.world_from_camera[image], self.images.intrinsics[image] * side
        x, y = (pixel % side + 0.5 - k[:, 0, 2]) / k[:, 0, 0], (pixel // side + 0.5 - k[:, 1, 2]) / k[:, 1, 1]
        directions = torch.einsum("nij,nj->ni", pose[:, :3, :3], torch.stack((x, y, torch.ones_like(x)), -1))
        rgb = self.images.images.flatten(2)[image, :, pixel].float() / 255
        alpha = None if self.images.alpha is None else self.images.alpha.flatten(1)[image, pixel].float() / 255
        return Rays(instances.repeat_interleave(count), pose[:, :3, 3], directions, rgb, alpha)

    def may_be_dense(self, instance: Tensor, points: Tensor) -> Tensor:
        """Return whether points [..., 3] are in the hull of their instance [...]; all in the cube without hulls."""
        inside = (points.abs() < 1).all(-1)
        if self.hulls is None:
            return inside
        n = self.hulls.shape[-1]
        x, y, z = ((points + 1) * (n / 2)).long().clamp(0, n - 1).unbind(-1)
        return self.hulls.flatten()[((instance * n + x) * n + y) * n + z] & inside


def family_of(images: TrainingImages, objects: int, hull_resolution: int, progress: Progress = silent) -> Family:
    """Return the rays and hulls of the first `objects` objects (0: of all) of posed images.

    Without alpha there are no hulls, and all pixels have rays.
    """
    assert images.objects is not None and images.world_from_camera is not None and images.intrinsics is not None
    side, count = images.images.shape[-1], int(images.objects.max()) + 1
    count = min(objects, count) if objects else count
    hulled = images.alpha is not None and hull_resolution > 0
    pixels, hulls, starts = [], [], [0]
    for number in range(count):
        progress(number / count, f"Preparing object {number + 1} of {count}")
        views = torch.nonzero(images.objects == number)[:, 0]
        if images.alpha is None:
            near = torch.ones(len(views), side, side, dtype=torch.bool)
        else:
            seen = images.alpha[views, 0] > 0
            near = F.max_pool2d(seen[:, None].float(), 2 * RIM + 1, 1, RIM)[:, 0] > 0
        found = torch.nonzero(near.flatten(1))
        pixels.append((views[found[:, 0]] * side**2 + found[:, 1]).int())
        starts.append(starts[-1] + len(found))
        if hulled:
            k = images.intrinsics[views] * torch.tensor([side, side, 1.0])[:, None]
            cameras = [
                Camera(pose, matrix, side, side)
                for pose, matrix in zip(images.world_from_camera[views], k, strict=True)
            ]
            silhouettes = [Silhouette.of(camera, mask) for camera, mask in zip(cameras, seen, strict=True)]
            hulls.append(carve(silhouettes, torch.full((3,), -1.0), 2.0, hull_resolution))
    return Family(images, torch.cat(pixels), torch.tensor(starts), torch.stack(hulls) if hulled else None)
