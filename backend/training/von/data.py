"""Training data of Visual Object Networks: images with views, and voxels of the objects that they show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from addon.wire.errors import UnusableDataset

from ...generators.von.projection import Optics, project
from ..data.training_images import TrainingImages

VOXELS = 32
UNIT = 1 - 1 / VOXELS
"""Distance from the centre to the centre of the last voxel, in the images' world: the unit of the voxels' frame."""
BACKGROUND = 0.03
"""A pixel whose colour differs by less than this from the background's, 0..1, shows the background."""
BACKGROUNDS = {"white": 1.0, "black": 0.0}


@dataclass(frozen=True)
class Data:
    """Images with views and shapes.

    images [n, 3, side, side] uint8; views [n, 2] azimuth and elevation, radians; shapes [n]: index of the voxels that
    each image shows; voxels [m, v, v, v] bool in the frame of `projection`; optics: the images' camera in that frame.
    """

    images: Tensor
    views: Tensor
    shapes: Tensor
    voxels: Tensor
    optics: Optics


def carved(data: TrainingImages) -> Data:
    """Return the data with voxels carved from the silhouettes of each object's images (its visual hull).

    Raises UnusableDataset: no cameras, or it is not known which object an image shows.
    """
    if data.world_from_camera is None or data.intrinsics is None or data.objects is None:
        raise UnusableDataset(
            "Visual Object Networks need images with cameras that say which object they show (`object` of each frame "
            "in transforms.json): render a set with Make Training Set."
        )
    level = BACKGROUNDS.get(data.background, 1.0)
    places = voxel_centers()
    count = int(data.objects.max()) + 1
    voxels = torch.ones(count, VOXELS, VOXELS, VOXELS, dtype=torch.bool)
    margin = data.images.shape[-1] // (2 * VOXELS)  # half a voxel in pixels: thin parts between voxels stay
    views = zip(data.images, data.world_from_camera, data.intrinsics, data.objects, strict=True)
    for image, pose, lens, shape in views:
        seen = ((image.float() / 255 - level).abs().amax(0) > BACKGROUND).float()
        seen = functional.max_pool2d(seen[None], 2 * margin + 1, 1, margin)
        local = (places - pose[:3, 3]) @ pose[:3, :3]
        pixel = (local / local[..., 2:]) @ lens.T
        grid = (2 * pixel[..., :2] - 1).reshape(1, 1, -1, 2)
        inside = functional.grid_sample(seen[None], grid, mode="nearest", align_corners=False)
        voxels[shape] &= inside.view(VOXELS, VOXELS, VOXELS) > 0.5
    side, prior = data.images.shape[-1], data.prior
    optics = Optics(
        distance=prior.radius / UNIT,
        half_width=math.tan(prior.fov / 2) * (1 - 1 / side),  # to the centre of the last pixel
        reach=1.0 / UNIT,
        samples_per_pixel=1.5,
    )
    return Data(data.images, data.angles(), data.objects, voxels, optics)


def voxel_centers() -> Tensor:
    """Return world points [32, 32, 32, 3] of the voxels in the frame of `projection`: left, front, up."""
    ticks = torch.linspace(-UNIT, UNIT, VOXELS)
    left, front, up = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    return torch.stack((-left, -front, up), -1)


def sketches(voxels: Tensor, views: Tensor, side: int, optics: Optics) -> Tensor:
    """Return sketches [N, 2, side, side], -1..1, of voxels [N, v, v, v] at views [N, 2]: depth (1 near), silhouette."""
    sketch = project(voxels.float(), views, optics, side)
    depth = ((optics.distance - sketch.depth) / optics.reach).clamp(-1, 1)
    return torch.stack((depth, sketch.silhouette.clamp(0, 1) * 2 - 1), 1)
