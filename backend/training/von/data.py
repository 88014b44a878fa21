"""Training the texture of Visual Object Networks, the loop of the lecture (arxiv.org/abs/1812.02725, Sec. 3.3):
pictures on one side, 2.5D sketches of voxels on the other, and nothing that says which belong together.

G paints a sketch with a texture code, F sketches a picture, E reads a picture's texture code; D judges pictures, D_s
sketches. For a sketch s of a random shape and view, a random code z, and a picture x:

    adversarial     D(G(s, z)) real, D_s(F(x)) real                 least squares
    cycle           |F(G(s, z)) - s|,  |G(F(x), E(x)) - x|          the same twice over
    code            |E(G(s, z)) - z|                                the picture tells its code
    prior           KL(E(x) | N(0, 1))                              codes of pictures lie where codes are drawn

`paired` adds a term that the paper does not have, that of a conditional VAE-GAN: |G(s(x), E(x)) - x| with the sketch
of the picture's own shape and pose, where the data know it. It is 0 in the published loss.

The sketches are projections of voxels, as they will be when shapes come from a 3D-GAN: the texture network never sees
another kind of sketch than the one it is used on. The network that is kept is the running mean of G's weights.
"""

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
"""From the middle to the centre of the last voxel, in the pictures' world: the unit of the voxels' frame."""
CHAIR_OPTICS = Optics(
    distance=chair_views.DISTANCE / VOXEL,
    half_width=math.tan(chair_views.FOV / 2) * (1 - 1 / chair_views.SIZE),  # to the middle of the last pixel
    reach=1.15,
    samples_per_pixel=1.5,
)
"""The camera of the pictures."""


@dataclass(frozen=True)
class Data:
    """images [n, 3, side, side] uint8; views [n, 2] azimuth and elevation, radians; shapes [n] whose voxels they show;
    voxels [m, v, v, v] bool in the frame of `projection`."""

    images: Tensor
    views: Tensor
    shapes: Tensor
    voxels: Tensor


def chair_data(folder: Path, seeds: range = range(chair_views.NUM_TRAIN)) -> Data:
    """Return what `chair_views.py` wrote. Raises UnreadableFile where it did not."""
    found = chair_views.load_views(folder, seeds, ("images", "azimuths", "elevations", "distances"))
    count, views = found["azimuths"].shape
    return Data(
        torch.from_numpy(found["images"]).flatten(0, 1).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack((found["azimuths"], found["elevations"]), -1)).flatten(0, 1),
        torch.arange(count).repeat_interleave(views),
        voxel_frame(torch.from_numpy(chair_views.occupancy(found["distances"]))),
    )


def sketches(voxels: Tensor, views: Tensor, side: int) -> Tensor:
    """Return [N, 2, side, side] in -1..1 of voxels [N, v, v, v] at views [N, 2]: depth (1 nearest), silhouette."""
    sketch = project(voxels.float(), views, CHAIR_OPTICS, side)
    return torch.stack((depth_channel(sketch.depth), sketch.silhouette.clamp(0, 1) * 2 - 1), 1)


def depth_channel(depth: Tensor, optics: Optics = CHAIR_OPTICS) -> Tensor:
    """Return depths as the texture network takes them: 1 at the near end of the rays, -1 at the far end."""
    return ((optics.distance - depth) / optics.reach).clamp(-1, 1)
