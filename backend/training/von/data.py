"""Training data of Visual Object Networks: chairs as images, and 2.5D sketches of their voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...generators.von.projection import Optics, project
from ...generators.von.scene import voxel_frame
from ..data import chair_views

VOXEL = chair_views.CUBE_HALF * (1 - 1 / chair_views.VOXELS)
"""Distance from the center to the center of the last voxel, in the images' world: the unit of the voxels' frame."""
CHAIR_OPTICS = Optics(
    distance=chair_views.DISTANCE / VOXEL,
    half_width=math.tan(chair_views.FOV / 2) * (1 - 1 / chair_views.SIZE),  # to the center of the last pixel
    reach=1.15,
    samples_per_pixel=1.5,
)
"""Camera of the images, in the voxels' frame."""


@dataclass(frozen=True)
class Data:
    """Images with views and shapes.

    images [n, 3, side, side] uint8; views [n, 2] azimuth and elevation, radians; shapes [n]: index of the voxels that
    each image shows; voxels [m, v, v, v] bool in the frame of `projection`.
    """

    images: Tensor
    views: Tensor
    shapes: Tensor
    voxels: Tensor

    def to(self, device: torch.device | str) -> Data:
        """Return the data on a device."""
        return Data(*(tensor.to(device) for tensor in (self.images, self.views, self.shapes, self.voxels)))


def chair_data(folder: Path, seeds: range = range(chair_views.NUM_TRAIN)) -> Data:
    """Read the views that data/chair_views.py wrote. Raises UnreadableFile: a chair is missing."""
    found = chair_views.load_views(folder, seeds, ("images", "azimuths", "elevations", "distances"))
    count, views = found["azimuths"].shape
    return Data(
        torch.from_numpy(found["images"]).flatten(0, 1).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack((found["azimuths"], found["elevations"]), -1)).flatten(0, 1),
        torch.arange(count).repeat_interleave(views),
        voxel_frame(torch.from_numpy(chair_views.occupancy(found["distances"]))),
    )


def sketches(voxels: Tensor, views: Tensor, side: int) -> Tensor:
    """Return sketches [N, 2, side, side], -1..1, of voxels [N, v, v, v] at views [N, 2]: depth (1 near), silhouette."""
    sketch = project(voxels.float(), views, CHAIR_OPTICS, side)
    return torch.stack((depth_channel(sketch.depth), sketch.silhouette.clamp(0, 1) * 2 - 1), 1)


def depth_channel(depth: Tensor, optics: Optics = CHAIR_OPTICS) -> Tensor:
    """Return depths as input of the texture network: 1 at the near end of the rays, -1 at the far end."""
    return ((optics.distance - depth) / optics.reach).clamp(-1, 1)
