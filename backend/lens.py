"""Lens distortion: radial, tangential and fisheye models, and their inverses.

Vocabulary: `direct` [..., 2] are coordinates x/z, y/z of an ideal pinhole; `distorted` [..., 2] are the same after the
lens, so that pixel = intrinsics @ (distorted, 1). Both models map the distance r from the axis by one odd function,

    P(r) = r (1 + k1 r² + k2 r⁴ + k3 r⁶ + k4 r⁸) / (1 + d1 r² + d2 r⁴ + d3 r⁶),

"opencv" applied to r = tan θ (with p1, p2 for a decentered lens), "fisheye" to the angle θ itself, which may exceed
90°. The formulas are those of OpenCV's camera calibration and fisheye documentation. A function with a maximum at
some radius cannot be inverted beyond it: pixels there have no ray, see `valid_pixels`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from addon.wire.messages import PINHOLE, Lens

if TYPE_CHECKING:
    from .cameras import Camera

__all__ = ["PINHOLE", "Lens", "camera_directions", "distort", "largest_radius", "pixels_of", "undistort",
           "valid_pixels"]  # fmt: skip

ITERATIONS = 60  # bisection alone would reach 1e-16 of the bracket; Newton's steps take 4 to 8
FARTHEST = 1e3  # tan θ that still counts as in front of a lens of model "opencv"


@lru_cache(maxsize=256)
def largest_radius(lens: Lens) -> float:
    """Return r (opencv: tan θ; fisheye: θ in radians) up to which P grows, so that it can be inverted."""
    x, above, below = (np.polynomial.Polynomial(c) for c in ((0.0, 1.0), (1.0, *lens.k), (1.0, *lens.d)))
    growth = (above + 2 * x * above.deriv()) * below - 2 * x * above * below.deriv()  # dP/dr · below², in x = r²
    roots = np.concatenate((growth.trim().roots(), below.trim().roots()))
    turns = [math.sqrt(root.real) for root in roots if abs(root.imag) < 1e-9 * abs(root) and root.real > 0]
    return min([math.pi if lens.model == "fisheye" else FARTHEST, *turns])


def _radial(lens: Lens, r2: Tensor) -> tuple[Tensor, Tensor]:
    """Return P(r) / r and dP/dr for r² [...]."""
    k1, k2, k3, k4 = lens.k
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    slope = 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * (7 * k3 + r2 * 9 * k4)))
    if not any(lens.d):
        return factor, slope
    d1, d2, d3 = lens.d
    below = 1 + r2 * (d1 + r2 * (d2 + r2 * d3))
    growth = r2 * (2 * d1 + r2 * (4 * d2 + r2 * 6 * d3))  # r · d(below)/dr
    return factor / below, (slope - factor * growth / below) / below


def _inverse_radial(lens: Lens, distorted: Tensor) -> Tensor:
    """Return r with P(r) = distorted [...], float64; the largest invertible r beyond the range of P.

    Newton's method kept inside a bracket that shrinks: it converges wherever P grows.
    """
    low = torch.zeros_like(distorted)
    high = torch.full_like(distorted, largest_radius(lens))
    r = torch.minimum(distorted, high)
    for _ in range(ITERATIONS):
        factor, slope = _radial(lens, r * r)
        error = r * factor - distorted
        high = torch.where(error > 0, r, high)
        low = torch.where(error < 0, r, low)
        newton = r - error / slope
        inside = (newton >= low) & (newton <= high)  # false also where the slope is 0
        new = torch.where(error == 0, r, torch.where(inside, newton, (low + high) / 2))
        if bool(((new - r).abs() <= 1e-15 * (1 + r)).all()):
            return new
        r = new
    return r


def distort(lens: Lens, direct: Tensor) -> Tensor:
    """Distort `direct` [..., 2] by a lens of model "opencv" (pinhole: unchanged)."""
    if lens.is_pinhole:
        return direct
    p1, p2 = lens.p
    x, y = direct[..., 0], direct[..., 1]
    r2 = x * x + y * y
    factor, _ = _radial(lens, r2)
    return torch.stack(
        (x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y), -1
    )


def undistort(lens: Lens, distorted: Tensor) -> Tensor:
    """Return `direct` [..., 2] with distort(lens, direct) = `distorted`, float64; model "opencv" or pinhole.

    First the radial part, one-dimensional and safe, then Newton's method in two dimensions for the tangential part.
    """
    target = distorted.double()
    if lens.is_pinhole:
        return target
    length = target.norm(dim=-1)
    direct = target * (_inverse_radial(lens, length) / length.clamp_min(1e-300))[..., None]
    if not any(lens.p):
        return direct
    p1, p2 = lens.p
    limit = largest_radius(lens)
    for _ in range(ITERATIONS):
        x, y = direct[..., 0], direct[..., 1]
        r2 = x * x + y * y
        factor, slope = _radial(lens, r2)
        grown = (slope - factor) / r2.clamp_min(1e-300)  # (dP/dr − P/r) / r²: how the factor changes along x and y
        xx = factor + x * x * grown + 2 * p1 * y + 6 * p2 * x
        yy = factor + y * y * grown + 6 * p1 * y + 2 * p2 * x
        xy = x * y * grown + 2 * p1 * x + 2 * p2 * y
        error = distort(lens, direct) - target
        determinant = xx * yy - xy * xy
        determinant = torch.where(determinant.abs() < 1e-12, torch.full_like(determinant, 1e-12), determinant)
        step = torch.stack((yy * error[..., 0] - xy * error[..., 1], xx * error[..., 1] - xy * error[..., 0]), -1)
        step = step / determinant[..., None]
        # A step longer than the distance from the axis comes from beyond the turning point: keep what we have there.
        step = step * (0.5 * (direct.norm(dim=-1) + 0.1) / step.norm(dim=-1).clamp_min(1e-300)).clamp_max(1)[..., None]
        new = direct - step
        new = new * (limit / new.norm(dim=-1).clamp_min(1e-300)).clamp_max(1)[..., None]
        if bool(((new - direct).abs() <= 1e-14 * (1 + direct.abs())).all()):
            return new
        direct = new
    return direct


def camera_directions(intrinsics: Tensor, lens: Lens, pixels: Tensor) -> Tensor:
    """Return the directions [..., 3] of `pixels` [..., 2], not normalised, camera frame (OpenCV axes).

    intrinsics [3, 3]; pixel coordinates (x, y) with centres at +0.5. A pinhole and "opencv" give z = 1; a fisheye gives
    unit vectors, whose z may be negative. Computed in float64, returned in the type of `pixels`; no gradient.
    """
    with torch.no_grad():
        device = "cpu" if pixels.device.type == "mps" else pixels.device  # which has no float64
        k, points = intrinsics.to(device).double(), pixels.to(device).double()
        y = (points[..., 1] - k[1, 2]) / k[1, 1]
        x = (points[..., 0] - k[0, 2] - k[0, 1] * y) / k[0, 0]
        distorted = torch.stack((x, y), -1)
        if lens.model == "fisheye":
            length = distorted.norm(dim=-1)
            theta = _inverse_radial(lens, length)
            sideways = distorted * (theta.sin() / length.clamp_min(1e-300))[..., None]
            found = torch.cat((sideways, theta.cos()[..., None]), -1)
        else:
            direct = undistort(lens, distorted)
            found = torch.cat((direct, torch.ones_like(direct[..., :1])), -1)
        return found.to(pixels)


def pixels_of(intrinsics: Tensor, lens: Lens, points: Tensor) -> Tensor:
    """Return the pixel coordinates [..., 2] of `points` [..., 3] in the camera's frame; NaN where no ray exists.

    The inverse of `camera_directions`; differentiable.
    """
    sideways, z = points[..., :2], points[..., 2]
    if lens.model == "fisheye":
        length = sideways.norm(dim=-1)
        theta = torch.atan2(length, z)
        factor, _ = _radial(lens, theta * theta)
        # On the axis, sideways / length is 0 / 0; its limit is sideways / z.
        scale = torch.where(length > 0, theta * factor / length.clamp_min(1e-30), 1 / z.clamp_min(1e-30))
        distorted, seen = sideways * scale[..., None], theta <= largest_radius(lens)
    else:
        direct = sideways / z[..., None]
        distorted, seen = distort(lens, direct), (z > 0) & (direct.norm(dim=-1) <= largest_radius(lens))
    x = intrinsics[0, 0] * distorted[..., 0] + intrinsics[0, 1] * distorted[..., 1] + intrinsics[0, 2]
    y = intrinsics[1, 1] * distorted[..., 1] + intrinsics[1, 2]
    return torch.where(seen[..., None], torch.stack((x, y), -1), torch.nan)


def valid_pixels(camera: Camera) -> Tensor | None:
    """Return the pixels that have a ray, bool [height, width]; None where all have."""
    if camera.lens.is_pinhole:
        return None
    return _valid(tuple(camera.intrinsics.double().flatten().tolist()), camera.width, camera.height, camera.lens)


@lru_cache(maxsize=8)
def _valid(intrinsics: tuple[float, ...], width: int, height: int, lens: Lens) -> Tensor | None:
    """See `valid_pixels`; cached, as most data sets have one camera for all views.

    Pixels without a ray lie beyond some radius, so an image with a valid border is valid everywhere.
    """
    k = torch.tensor(intrinsics, dtype=torch.float64).reshape(3, 3)

    def lands(x: Tensor, y: Tensor) -> Tensor:
        pixels = torch.stack(torch.broadcast_tensors(x, y), -1) + 0.5
        back = pixels_of(k, lens, camera_directions(k, lens, pixels))
        return (back - pixels).norm(dim=-1) < 0.01  # NaN is not

    x, y = torch.arange(width, dtype=torch.float64), torch.arange(height, dtype=torch.float64)[:, None]
    if bool(lands(x, y[[0, -1]]).all()) and bool(lands(x[[0, -1]], y).all()):
        return None
    return lands(x, y)
