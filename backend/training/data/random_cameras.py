"""Random cameras for the images that a generator makes: those of the data, or drawn from a pose prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import PosePrior

from ...scenes.viewpoint import azimuth_and_elevation
from ..adversarial.run import Step
from .training_images import TrainingImages

Poses = Literal["data", "spherical", "uniform", "gaussian"]
"""data: cameras of the images; spherical where they have none.
spherical: even on the part of the sphere that the prior's ranges bound.
uniform: azimuth and elevation even in their ranges.
gaussian: around the middle of each range, whose ends are two standard deviations away."""

STEEPEST = math.pi / 2 - 1e-3
"""Largest elevation; at a pole the up direction is not defined."""


@dataclass(frozen=True)
class Cameras:
    """A batch of pinhole cameras in the world of the data (Z up, the object around the origin)."""

    world_from_camera: Tensor  # [batch, 4, 4], OpenCV axes
    intrinsics: Tensor  # [batch, 3, 3], in units of the image side

    def rays(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return origins and directions [batch, n, 3] of rays in the world; directions have depth one.

        places: [batch or 1, n, 2] as (x, y) in units of the image side, from the top left corner.
        """
        k, pose = self.intrinsics, self.world_from_camera
        y = (places[..., 1] - k[:, None, 1, 2]) / k[:, None, 1, 1]
        x = (places[..., 0] - k[:, None, 0, 2] - k[:, None, 0, 1] * y) / k[:, None, 0, 0]
        directions = torch.stack((x, y, torch.ones_like(x)), -1) @ pose[:, :3, :3].transpose(1, 2)
        return pose[:, None, :3, 3].expand_as(directions), directions

    def angles(self) -> Tensor:
        """Return azimuth and elevation [batch, 2], radians; azimuth 0 sees the front."""
        return azimuth_and_elevation(self.world_from_camera[:, :3, 3])


def pixel_centers(side: int) -> Tensor:
    """Return the places [1, side², 2] of all pixels of an image, row by row from the top, for `Cameras.rays`."""
    line = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), -1).reshape(1, -1, 2)


def random_cameras(step: Step, data: TrainingImages, poses: Poses) -> Cameras:
    """Draw the cameras of a step's batch."""
    if poses == "data" and data.world_from_camera is not None and data.intrinsics is not None:
        draws = step.uniform()
        index = (draws * len(data.images)).long().cpu()
        return Cameras(data.world_from_camera[index].to(draws), data.intrinsics[index].to(draws))
    return cameras_at(random_angles(step, data.prior, poses), data.prior)


def random_angles(step: Step, prior: PosePrior, poses: Poses) -> Tensor:
    """Draw azimuths and elevations [batch, 2], radians, from the ranges of a prior."""
    draws = step.normal(2) / 4 + 0.5 if poses == "gaussian" else step.uniform(2)
    low, high = torch.tensor((prior.azimuth, prior.elevation)).to(draws).T
    if poses in ("uniform", "gaussian"):
        angles = low + draws * (high - low)
        return torch.stack((angles[:, 0], angles[:, 1].clamp(-STEEPEST, STEEPEST)), -1)
    azimuth = low[0] + draws[:, 0] * (high[0] - low[0])
    height = low[1].sin() + draws[:, 1] * (high[1].sin() - low[1].sin())
    return torch.stack((azimuth, torch.asin(height).clamp(-STEEPEST, STEEPEST)), -1)


def cameras_at(angles: Tensor, prior: PosePrior) -> Cameras:
    """Return cameras that look at the origin from azimuths and elevations [batch, 2], at the prior's radius."""
    azimuth, elevation = angles.unbind(-1)
    outward = torch.stack((elevation.cos() * azimuth.sin(), -elevation.cos() * azimuth.cos(), elevation.sin()), -1)
    right = torch.stack((azimuth.cos(), azimuth.sin(), torch.zeros_like(azimuth)), -1)
    down = torch.linalg.cross(-outward, right)
    pose = torch.eye(4).to(angles).repeat(len(angles), 1, 1)
    pose[:, :3] = torch.stack((right, down, -outward, prior.radius * outward), -1)
    focal = 0.5 / math.tan(prior.fov / 2)
    intrinsics = torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]]).to(angles)
    return Cameras(pose, intrinsics.expand(len(angles), 3, 3))
