"""A data set made by arithmetic whose pictures tell where their camera was: many balls, each with stripes of its own.

What makes it tell: outlines, and edges of stripes in every direction, at depths that shift against each other; and
stripes wider than a camera is wrong, so that none is taken for its neighbour.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.nerf.datasets import Dataset, Pixels, View

DISTANCE = 2.0  # of the cameras, metres
FOV = 0.6
BALLS = 24
SUPERSAMPLING = 3


@dataclass(frozen=True)
class Traced(Dataset):
    """A data set whose pictures are in memory."""

    pictures: dict[str, Pixels] = field(default_factory=dict)

    def load(self, view: View) -> Pixels:
        """See Dataset.load."""
        return self.pictures[view.name]


def seen(train: int, size: int, test: int = 4) -> Traced:
    """Return the balls seen from all sides by square views."""
    views, pictures = [], {}
    count = train + test
    held_back = {round((number + 0.5) * count / test) for number in range(test)}
    for number in range(count):
        z = 1 - (2 * number + 1) / count
        angle, flat = number * math.pi * (3 - math.sqrt(5)), math.sqrt(1 - z * z)
        eye = (DISTANCE * flat * math.cos(angle), DISTANCE * flat * math.sin(angle), DISTANCE * z)
        pose, intrinsics = (
            torch.tensor(look_at(eye, (0.0, 0.0, 0.0))),
            torch.tensor(intrinsics_from_fov(FOV, size, size)),
        )
        view = View(
            name := f"view_{number}",
            Camera(pose, intrinsics, size, size),
            Path(name),
            split="test" if number in held_back else "train",
            appearance=number,
        )
        views.append(view)
        pictures[name] = _picture(view.camera)
    return Traced(Path(), "balls", tuple(views), bounds=((-0.55,) * 3, (0.55,) * 3), pictures=pictures)


def _balls() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centres [N, 3], radii [N], colours [N, 3], and the waves [N, 3] of the stripes, radians a metre."""
    random = torch.Generator().manual_seed(0)
    centres = 0.72 * torch.rand(BALLS, 3, generator=random) - 0.36
    radii = 0.08 + 0.1 * torch.rand(BALLS, generator=random)
    colors = torch.rand(BALLS, 3, generator=random)
    waves = normalize(torch.randn(BALLS, 3, generator=random), dim=-1)
    return centres, radii, colors, waves * (8 + 12 * torch.rand(BALLS, 1, generator=random))


def _picture(camera: Camera) -> Pixels:
    rays = camera.resized(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING).rays()
    origins, directions = rays.origins.reshape(-1, 3), normalize(rays.directions.reshape(-1, 3), dim=-1)
    nearest, seen = torch.full((len(origins),), math.inf), torch.zeros(len(origins), 3)
    for centre, radius, color, wave in zip(*_balls()):
        middle = ((centre - origins) * directions).sum(-1)
        inside = radius**2 - (origins + middle[:, None] * directions - centre).square().sum(-1)
        t = middle - inside.clamp(min=0).sqrt()
        hit = (inside > 0) & (t < nearest)
        stripe = (((origins + t[:, None] * directions) @ wave).sin() > 0).float()[:, None]
        seen = torch.where(hit[:, None], 0.6 * color + 0.4 * stripe, seen)
        nearest = torch.where(hit, t, nearest)
    alpha = nearest.isfinite().float()[:, None]
    shape = (camera.height, SUPERSAMPLING, camera.width, SUPERSAMPLING, 4)
    pixels = torch.cat((seen * alpha, alpha), -1).reshape(shape).mean((1, 3))
    rgb = pixels[..., :3] / pixels[..., 3:].clamp(min=1e-6)
    return Pixels((255 * rgb + 0.5).to(torch.uint8).numpy(), (255 * pixels[..., 3] + 0.5).to(torch.uint8).numpy())
