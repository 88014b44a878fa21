"""Where a camera stands about a subject, for models that were trained on a range of viewpoints."""

from __future__ import annotations

import math

from torch import Tensor

from addon.wire.messages import PosePrior

from ..cameras import Camera


def angles_of(camera: Camera, centre: Tensor) -> tuple[float, float]:
    """Return azimuth (0 sees the front, which faces -Y) and elevation of a camera about a centre [3], radians.

    A perspective camera has those of its place, an orthographic one those of its direction.
    """
    matrix = camera.world_from_camera
    towards = matrix[:3, 3] - centre if camera.projection == "perspective" else -matrix[:3, 2]
    x, y, z = (float(value) for value in towards)
    return math.atan2(x, -y), math.atan2(z, math.hypot(x, y))


def nearest_in_range(azimuth: float, elevation: float, prior: PosePrior) -> tuple[float, float]:
    """Return the angles, each moved to the nearest end of its range where it lies outside."""
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
    """Return the sentence that says which viewpoints there are."""
    azimuth, elevation, *ends = (f"{math.degrees(x):.0f}°" for x in (*asked, *prior.azimuth, *prior.elevation))
    return (
        f"{label} was never trained on this viewpoint (azimuth {azimuth}, elevation {elevation}): the nearest one that "
        f"it knows is shown. It knows azimuth {ends[0]} to {ends[1]} and elevation {ends[2]} to {ends[3]}."
    )
