"""The camera of a photograph: angles and framing about a model, solved by Gauss–Newton steps on rendered differences.

Differences instead of derivatives let every scene take part, by its fastest path, whatever its camera passes through.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import ModelInfo

from ...cameras import Camera, from_wire, orbit
from ...scenes.viewpoint import nearest_in_range

STEPS = (0.05, 0.05, 0.05, 0.02, 0.02)
"""Of the differences, by unknown. Shorter ones would measure how thin parts flicker between pixels."""

DEVIATIONS = (math.radians(6), math.radians(6), 0.1, 0.05, 0.05)
"""How far one step may go: a step of so much costs as much as a difference of `NOISE` at each pixel."""

NOISE = 0.02

LARGEST_SHIFT, LARGEST_ZOOM = 0.3, math.log(2)


@dataclass(frozen=True)
class Viewpoint:
    """Camera of a model's pose prior. azimuth, elevation: radians; zoom: logarithm of the focal length over that of the
    prior; right, down: where the model's centre is seen, off the image's, parts of the image's side."""

    azimuth: float
    elevation: float
    zoom: float = 0.0
    right: float = 0.0
    down: float = 0.0

    def camera(self, info: ModelInfo, side: int, device: torch.device | str = "cpu") -> Camera:
        """Return the square camera of so many pixels."""
        camera = from_wire(orbit(info, side, azimuth=self.azimuth, elevation=self.elevation), device)
        intrinsics = camera.intrinsics.clone()
        intrinsics[:2, :2] *= math.exp(self.zoom)
        intrinsics[0, 2] += self.right * side
        intrinsics[1, 2] += self.down * side
        return replace(camera, intrinsics=intrinsics)

    def moved(self, *by: float) -> Viewpoint:
        """Return the viewpoint with these added to its numbers, in their order."""
        now = (self.azimuth, self.elevation, self.zoom, self.right, self.down)
        return Viewpoint(*(a + b for a, b in zip(now, (*by, *(0.0,) * (5 - len(by))), strict=True)))

    def within(self, info: ModelInfo) -> Viewpoint:
        """Return the nearest viewpoint that the model knows, the azimuth within ± 180°."""
        azimuth, elevation = nearest_in_range(
            math.remainder(self.azimuth, 2 * math.pi), self.elevation, info.pose_prior
        )

        def limited(value: float, largest: float) -> float:
            return min(max(value, -largest), largest)

        return Viewpoint(
            azimuth, elevation, limited(self.zoom, LARGEST_ZOOM), limited(self.right, LARGEST_SHIFT),
            limited(self.down, LARGEST_SHIFT),
        )  # fmt: skip


def default_viewpoint(info: ModelInfo) -> Viewpoint:
    """Return the view that the panel opens with."""
    return Viewpoint(info.pose_prior.default_azimuth, info.pose_prior.default_elevation)


@torch.no_grad()
def improved(
    view: Viewpoint, difference: Callable[[Viewpoint], Tensor], info: ModelInfo, *, reframed: bool
) -> Viewpoint:
    """Return the viewpoint after one Gauss–Newton step towards the wanted image, or the same where none comes nearer.

    Args:
        difference: of the image from a viewpoint to the wanted one, of any shape.
        reframed: zoom and shift are unknown, too.
    """
    unknowns = 5 if reframed else 2

    def residual(at: Viewpoint) -> Tensor:
        return pyramid(difference(at)).double() / NOISE

    now = residual(view)
    columns = [(residual(view.moved(*[0.0] * index, by)) - now) / by for index, by in enumerate(STEPS[:unknowns])]
    jacobian = torch.stack(columns, 1)
    # Each pixel is worth little: neighbours err together
    weight = 1 / math.sqrt(len(now))
    damping = torch.tensor(DEVIATIONS[:unknowns]).to(now).pow(-2)
    normal = jacobian.T @ jacobian * weight + torch.diag(damping)
    step = torch.linalg.solve(normal, -(jacobian.T @ now) * weight)
    for part in (1.0, 0.3):
        moved = view.moved(*(part * step).tolist()).within(info)
        if residual(moved).square().sum() < now.square().sum():
            return moved
    return view


def pyramid(image: Tensor) -> Tensor:
    """Return an image [n, n, channels] flat, with itself averaged over 2, 4 and 8 pixels a side, each level weighted as
    the whole: what moves farther than its own width still overlaps. Any other shape is returned flat alone."""
    if image.ndim != 3:
        return image.flatten()
    planes = image.permute(2, 0, 1)[None]
    levels = [size * F.avg_pool2d(planes, size).flatten() for size in (1, 2, 4, 8) if size <= image.shape[0]]
    return torch.cat(levels)
