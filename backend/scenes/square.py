"""Images of any camera from generators whose 2D network makes square images of one size.

They render the smallest square around the requested image, in its perspective, and the result is resized and cropped. A
square camera of the model's own size passes through unchanged.
"""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from torch import Tensor

from ..cameras import Camera

EMPTY = 0.05
"""Pixels with less alpha have no depth and no normal."""


def square_around(camera: Camera) -> Camera:
    """Return the same view with the shorter side extended evenly to the longer one's length, in the same pixels."""
    side = max(camera.width, camera.height)
    intrinsics = camera.intrinsics.clone()
    intrinsics[0, 2] += (side - camera.width) // 2
    intrinsics[1, 2] += (side - camera.height) // 2
    return dataclasses.replace(camera, intrinsics=intrinsics, width=side, height=side)


def cut_out(maps: Tensor, camera: Camera) -> Tensor:
    """Return the camera's part of square maps [1, channels, n, n]: [height, width, channels]."""
    side = max(camera.width, camera.height)
    if maps.shape[-1] != side:
        shrinks = maps.shape[-1] > side
        maps = F.interpolate(maps, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)
    top, left = (side - camera.height) // 2, (side - camera.width) // 2
    return maps[0, :, top : top + camera.height, left : left + camera.width].permute(1, 2, 0)
