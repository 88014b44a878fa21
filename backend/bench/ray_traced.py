"""A small analytic scene, ray traced, so that a benchmark needs no data: a textured ball on a ring.

World: metres, Z up, the object about the origin and within ±0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from addon.wire.messages import Bounds

from ..cameras import Camera, intrinsics_from_fov, look_at
from ..nerf.datasets import Dataset, Pixels, View

BOX: Bounds = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
FOV = math.radians(40.0)
DISTANCE = 1.6
VIEWS = 40
SUPERSAMPLING = 2


def _distance(p: np.ndarray) -> np.ndarray:
    ball = np.linalg.norm(p - np.array([0.0, 0.0, 0.1]), axis=-1) - 0.25
    ring = np.hypot(np.hypot(p[..., 0], p[..., 1]) - 0.34, p[..., 2] + 0.22) - 0.1
    return np.minimum(ball, ring)


def _color(p: np.ndarray) -> np.ndarray:
    """sRGB 0..1: a checker of two scales, tinted by position."""
    coarse = np.floor(p * 8).sum(-1) % 2
    fine = np.floor(p * 32).sum(-1) % 2
    shade = 0.35 + 0.4 * coarse + 0.2 * fine
    return np.clip(shade[..., None] * (0.7 + 0.6 * (p + 0.5)), 0, 1)


def trace(camera: Camera) -> Pixels:
    """Return the anti-aliased image of the scene from a camera, with alpha."""
    fine = camera.resized(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
    rays = fine.rays()
    origins, directions = (x.reshape(-1, 3).double().numpy() for x in (rays.origins, rays.directions))
    t = np.full(len(origins), DISTANCE - 0.9)
    hit = np.zeros(len(origins), bool)
    closest = np.linalg.norm(np.cross(origins, directions), axis=-1)
    going = np.flatnonzero(closest < 0.5)  # the object is within a sphere of this radius
    for _ in range(80):
        away = _distance(origins[going] + directions[going] * t[going, None])
        t[going] += away
        hit[going] = away < 1e-4
        going = going[(away >= 1e-4) & (t[going] < DISTANCE + 0.9)]
    points = origins + directions * t[:, None]
    color = np.where(hit[:, None], _color(points), 0.0)
    shape = (camera.height, SUPERSAMPLING, camera.width, SUPERSAMPLING)
    alpha = hit.reshape(shape).mean((1, 3))
    rgb = color.reshape(*shape, 3).mean((1, 3)) / np.maximum(alpha, 1e-6)[..., None]
    return Pixels((rgb * 255 + 0.5).astype(np.uint8), (alpha * 255 + 0.5).astype(np.uint8))


@dataclass(frozen=True)
class RayTracedDataset(Dataset):
    """A data set whose images are ray traced when they are read."""

    def load(self, view: View) -> Pixels:
        """See Dataset.load."""
        return _traced(view.name, view.camera.width)


@lru_cache(maxsize=256)
def _traced(name: str, size: int) -> Pixels:
    return trace(next(view.camera for view in views_around(VIEWS, size) if view.name == name))


def views_around(count: int, size: int, held_back: int = 8) -> tuple[View, ...]:
    """Return square views spread evenly over a sphere about the object; every `held_back`-th is a test view."""
    found = []
    for number in range(count):
        z = 1 - (2 * number + 1) / count
        angle = number * math.pi * (3 - math.sqrt(5))
        flat = DISTANCE * math.sqrt(1 - z * z)
        eye = (flat * math.cos(angle), flat * math.sin(angle), DISTANCE * z)
        camera = Camera(
            torch.tensor(look_at(eye, (0.0, 0.0, 0.0))),
            torch.tensor(intrinsics_from_fov(FOV, size, size)),
            size,
            size,
        )
        name = f"view_{number:03d}.png"
        split = "test" if number % held_back == held_back // 2 else "train"
        found.append(View(name, camera, Path(name), split=split, appearance=number))  # type: ignore[arg-type]
    return tuple(found)


def ray_traced(size: int) -> Dataset:
    """Return the scene seen from all sides."""
    return RayTracedDataset(Path(), "ray-traced", views_around(VIEWS, size), bounds=BOX)
