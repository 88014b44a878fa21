"""Normalised device coordinates (NDC) of forward-facing captures (appendix C of arxiv.org/abs/2003.08934)."""

from __future__ import annotations

import torch
from torch import Tensor


def ndc_rays(
    origins: Tensor, directions: Tensor, focal: float, width: float, height: float, near: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Warp rays of a camera that looks along −z into normalised device coordinates (appendix C, Eq. 25 and 26)."""
    t = -(near + origins[..., 2]) / directions[..., 2]
    origins = origins + t[..., None] * directions  # onto the near plane
    x_scale, y_scale = -2.0 * focal / width, -2.0 * focal / height
    ox, oy, oz = origins.unbind(-1)
    dx, dy, dz = directions.unbind(-1)
    warped_origins = torch.stack((x_scale * ox / oz, y_scale * oy / oz, 1.0 + 2.0 * near / oz), -1)
    warped_directions = torch.stack(
        (x_scale * (dx / dz - ox / oz), y_scale * (dy / dz - oy / oz), -2.0 * near / oz), -1
    )
    return warped_origins, warped_directions


def ndc_points(points: Tensor, ndc_focal: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Take world points [..., 3] into normalised device coordinates (Eq. 14 of appendix C, near plane 1).

    Also returns the scale [...] of densities there, 1/metre for each 1/unit: the mean stretch of the warp; 0 in front
    of the near plane, where nothing was seen.
    """
    z = points[..., 2].clamp(max=-1.0)
    x_scale, y_scale = -2.0 * ndc_focal[0], -2.0 * ndc_focal[1]
    warped = torch.stack((x_scale * points[..., 0] / z, y_scale * points[..., 1] / z, 1.0 + 2.0 / z), -1)
    stretch = (2.0 * x_scale * y_scale / z**4) ** (1 / 3)
    return warped, torch.where(points[..., 2] <= -1.0, stretch, 0.0)
