"""Viewpoint of a camera about a subject, for models that were trained on a range of viewpoints."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from addon.wire.messages import PosePrior

from ..cameras import Camera


def angles_of(camera: Camera, centre: Tensor) -> tuple[float, float]:
    """Return azimuth (0 sees the front, which faces -Y) and elevation of a camera about a centre [3], radians.

    They are those of a perspective camera's position, and of an orthographic camera's direction.
    """
    azimuth, elevation = viewpoint_of(camera, centre).detach().tolist()
    return azimuth, elevation


def viewpoint_of(camera: Camera, centre: Tensor) -> Tensor:
    """Return `angles_of` a camera as a tensor [2]. Differentiable in the camera."""
    matrix = camera.world_from_camera
    return azimuth_and_elevation(matrix[:3, 3] - centre if camera.projection == "perspective" else -matrix[:3, 2])


def azimuth_and_elevation(positions: Tensor) -> Tensor:
    """Return azimuth (about +Z; 0 sees the front, which faces -Y) and elevation [..., 2], radians.

    positions: [..., 3], around the origin. Differentiable.
    """
    x, y, z = positions.unbind(-1)
    return torch.stack((torch.atan2(x, -y), torch.atan2(z, torch.hypot(x, y))), -1)


def viewpoint_in_range(camera: Camera, centre: Tensor, prior: PosePrior) -> Tensor:
    """Return the viewpoint [2] of a camera, each angle moved to the nearest end of its range where it lies outside: a
    constant there, else differentiable in the camera."""
    view = viewpoint_of(camera, centre)
    asked = angles_of(camera, centre)
    shown = nearest_in_range(*asked, prior)
    return torch.where(view.new_tensor(asked) == view.new_tensor(shown), view, view.new_tensor(shown))


def nearest_in_range(azimuth: float, elevation: float, prior: PosePrior) -> tuple[float, float]:
    """Return the angles, each moved to the nearest end of its range where it lies outside, radians."""
    low, high = prior.azimuth
    turned = math.remainder(azimuth - (low + high) / 2, 2 * math.pi)
    half = (high - low) / 2
    if abs(turned) > half + 1e-6:
        azimuth = high if turned > 0 else low
    low, high = prior.elevation
    if not low - 1e-6 <= elevation <= high + 1e-6:
        elevation = min(max(elevation, low), high)
    return azimuth, elevation


def out_of_range(asked: tuple[float, float], prior: PosePrior, label: str) -> str:
    """Return a note for the user that names the trained viewpoints."""
    azimuth, elevation, *ends = (f"{math.degrees(x):.0f}°" for x in (*asked, *prior.azimuth, *prior.elevation))
    return (
        f"{label} was never trained on this viewpoint (azimuth {azimuth}, elevation {elevation}): the nearest one that "
        f"it knows is shown. It knows azimuth {ends[0]} to {ends[1]} and elevation {ends[2]} to {ends[3]}."
    )
