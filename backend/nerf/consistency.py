"""Multi-view consistency of a model: reprojection error between neighbouring views.

A pixel of view b, lifted by its depth and projected into the neighbouring view a, must have the colour of a there, up
to view-dependent effects. Renders of one radiance field are consistent; those of a 2D network need not be. The depth is
the model's own, or, where it has none, that of the radiance field that fits its views best: what that field cannot
explain counts against the views.

Vocabulary: `appearance` renders the colours of a view; `geometry` the Image whose depth and alpha locate them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Camera as WireCamera
from addon.wire.messages import ModelInfo

from ..cameras import Camera, from_wire, orbit
from ..progress import Progress, part
from ..scenes.protocol import Image
from .evaluate import decibels

SOLID = 0.5
"""Alpha above which a pixel has a depth."""

SAME_PLACE = 0.02
"""Tolerance of the visibility test, relative to the depth."""

Render = Callable[[Camera], Image]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two views over the pixels that both see: mean squared and absolute errors of colours 0..1."""

    squared: float  # after reprojection
    absolute: float
    squared_unmoved: float  # at the same pixels, without it
    pixels: int

    @property
    def psnr(self) -> float:
        """PSNR after reprojection, dB."""
        return decibels(self.squared)

    @property
    def psnr_unmoved(self) -> float:
        """PSNR without reprojection, dB."""
        return decibels(self.squared_unmoved)


@dataclass(frozen=True)
class ViewPair:
    """Two neighbouring views over white [H, W, 3], and the first warped into the second."""

    first: Tensor
    second: Tensor
    warped: Tensor  # white where the first does not see the second's pixels
    visible: Tensor  # [H, W] bool
    agreement: Agreement


def neighbours(info: ModelInfo, count: int, size: int, step: float) -> list[tuple[WireCamera, WireCamera]]:
    """Return pairs of cameras `step` radians of azimuth apart, spread over the range that the model was trained on."""
    prior = info.pose_prior
    low, high = prior.azimuth
    center = sum(prior.elevation) / 2
    pairs = []
    for number in range(count):
        azimuth = low + (high - low - step) * (number + 0.5) / count
        cameras = (orbit(info, size, azimuth=angle, elevation=center) for angle in (azimuth, azimuth + step))
        pairs.append((next(cameras), next(cameras)))
    return pairs


def compare(first: Camera, second: Camera, appearance: Render, geometry: Render) -> ViewPair:
    """Render two neighbouring views and reproject the first into the second."""
    images = [appearance(camera) for camera in (first, second)]
    located = images if geometry == appearance else [geometry(camera) for camera in (first, second)]
    a, b = (over_white(image) for image in images)
    warped, visible = reproject(a, located[0], first, located[1], second)
    return ViewPair(a, b, warped, visible, agreement(a, b, warped, visible))


def over_white(image: Image) -> Tensor:
    """Return an image's colours [H, W, 3] over white."""
    return image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]


def reproject(colors: Tensor, seen: Image, camera: Camera, seen_second: Image, second: Camera) -> tuple[Tensor, Tensor]:
    """Return the colours [H, W, 3] of `camera`'s view warped into `second`, and the pixels visible in both [H, W]."""
    rays = second.rays()
    depth = seen_second.depth.where(seen_second.alpha > SOLID, math.nan)
    points = rays.origins + rays.directions * (depth / rays.depth_from_distance)[..., None]
    local = (points - camera.world_from_camera[:3, 3]) @ camera.world_from_camera[:3, :3]
    pixels = local @ camera.intrinsics.T
    place = pixels[..., :2] / pixels[..., 2:]
    grid = place / place.new_tensor([camera.width, camera.height]) * 2 - 1
    grid = grid.where(grid.isfinite(), 2.0)[None]
    warped = F.grid_sample(colors.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False)[0]
    solid = (seen.alpha > SOLID) & seen.depth.isfinite()
    known = torch.stack((seen.depth.where(solid, 0.0), solid.to(colors)))
    depths, inside = F.grid_sample(known[None], grid, mode="nearest", align_corners=False)[0]
    visible = (inside > SOLID) & (local[..., 2] < (1 + SAME_PLACE) * depths) & depth.isfinite()
    return warped.permute(1, 2, 0).where(visible[..., None], 1.0), visible


def agreement(first: Tensor, second: Tensor, warped: Tensor, visible: Tensor) -> Agreement:
    """Return the errors over the visible pixels [H, W] of images [H, W, 3]."""
    if not visible.any():
        return Agreement(math.nan, math.nan, math.nan, 0)
    error, unmoved = (x[visible] - second[visible] for x in (warped, first))
    return Agreement(
        float(error.square().mean()), float(error.abs().mean()), float(unmoved.square().mean()), int(visible.sum())
    )


def pooled(found: Sequence[Agreement]) -> Agreement:
    """Return the errors over the pixels of all pairs together."""
    total = sum(one.pixels for one in found)
    if not total:
        return Agreement(math.nan, math.nan, math.nan, 0)

    def mean(name: str) -> float:
        return sum(getattr(one, name) * one.pixels for one in found if one.pixels) / total

    return Agreement(mean("squared"), mean("absolute"), mean("squared_unmoved"), total)


def measure(
    pairs: Sequence[tuple[WireCamera, WireCamera]],
    appearance: Render,
    geometry: Render,
    device: torch.device | str,
    progress: Progress,
) -> list[ViewPair]:
    """Compare every pair of cameras."""
    found = []
    for number, (first, second) in enumerate(pairs):
        part(progress, number / len(pairs), 1.0)(0.0, f"Pair {number + 1} of {len(pairs)}")
        found.append(compare(from_wire(first, device), from_wire(second, device), appearance, geometry))
    return found


def pairs_page(found: Sequence[ViewPair]) -> Tensor:
    """Return an image [H, W, 3] of pairs, one a row: first, second, first reprojected into second, difference."""
    rows = []
    for pair in found:
        difference = (pair.warped - pair.second).abs().mean(-1, keepdim=True).where(pair.visible[..., None], 0.0)
        parts = (pair.first, pair.second, pair.warped, (1 - 2 * difference).expand_as(pair.first))
        rows.append(torch.cat(parts, 1))
    return torch.cat(rows).clamp(0, 1)
