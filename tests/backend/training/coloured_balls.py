"""Training images made in a moment: balls of random colours and radii, off the centre, seen from all around."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from addon.wire.messages import PosePrior
from backend.training.data.random_cameras import cameras_at, pixel_centers
from backend.training.data.training_images import TrainingImages

PRIOR = PosePrior(radius=4.0, fov=math.radians(30), elevation=(-0.2, 0.8), default_elevation=0.3)


def coloured_balls(count: int = 64, side: int = 16, posed: bool = True, opacity: bool = False) -> TrainingImages:
    """Return images of balls over white, with or without their cameras and opacities."""
    random = torch.Generator().manual_seed(5)
    draws = torch.rand(count, 6, generator=random)
    angles = torch.stack(((2 * draws[:, 0] - 1) * math.pi, -0.2 + draws[:, 1]), -1)
    cameras = cameras_at(angles, PRIOR)
    origins, directions = cameras.rays(pixel_centers(side))
    directions = F.normalize(directions, dim=-1)
    towards = torch.tensor([0.3, -0.3, 0.1]) - origins
    closest = (towards - (towards * directions).sum(-1, keepdim=True) * directions).norm(dim=-1)
    inside = closest < 0.3 + 0.2 * draws[:, 2:3]
    rgb = torch.where(inside[..., None], draws[:, None, 3:], 1.0).transpose(1, 2).unflatten(2, (side, side))
    alpha = inside[:, None].unflatten(2, (side, side)).to(torch.uint8) * 255 if opacity else None
    return TrainingImages(
        (rgb * 255).round().to(torch.uint8), PRIOR, cameras.world_from_camera if posed else None,
        cameras.intrinsics.contiguous() if posed else None, alpha=alpha, name="Balls", licence="CC0-1.0",
    )  # fmt: skip
