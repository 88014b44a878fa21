"""Alignment of cameras with a fitted scene, and relocalization of lost ones.

A view is *aligned* when its image agrees best with the scene, the scene held fixed (Sec. 4.1 of BARF,
arxiv.org/abs/2104.06405): first as a small image, which converges from far off, then by single pixels, which are exact.
A *lost* camera sees something else entirely, and no descent leads back; it is relocalized by random search around its
given pose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from ...cameras import Camera, Rays
from ...scenes.protocol import Scene
from ..datasets import Pixels, View
from .poses import motion_about, refined_pose
from .similarity import Similarity

SMALL = 64
"""Longer side of the small image, pixels."""

PIXELS = 4096
"""Single pixels that are compared."""

TINY = 16
"""Longer side of the image that relocalization compares, pixels."""

CANDIDATES = 400
"""Poses that relocalization tries."""

MARGIN = 9
"""Pixels around the foreground of an image with alpha that are compared too."""


@dataclass(frozen=True)
class PixelSubset(Camera):
    """A camera of some pixels of a view, as an image of one row."""

    pixels: Tensor | None = None  # [n, 2] (x, y)

    @staticmethod
    def of(view: View, world_from_camera: Tensor, pixels: Tensor) -> PixelSubset:
        """Return the camera of a view's pixels [n, 2] from a pose."""
        camera = view.camera
        pose = world_from_camera.to(camera.intrinsics)
        return PixelSubset(pose, camera.intrinsics, len(pixels), 1, camera.projection, camera.lens, pixels)

    def rays(self, pixels: Tensor | None = None) -> Rays:
        """See Camera.rays."""
        assert self.pixels is not None
        return super().rays(self.pixels[None] if pixels is None else pixels)

    def to(self, device: torch.device | str) -> Camera:
        """See Camera.to."""
        assert self.pixels is not None
        pose, intrinsics = self.world_from_camera.to(device), self.intrinsics.to(device)
        return replace(self, world_from_camera=pose, intrinsics=intrinsics, pixels=self.pixels.to(device))


def moved(views: Sequence[View], similarity: Similarity) -> tuple[View, ...]:
    """Return views whose cameras were moved by a similarity of the world."""
    poses = [similarity.poses(view.camera.world_from_camera.double().cpu()) for view in views]
    return tuple(at_pose(view, pose) for view, pose in zip(views, poses))


def at_pose(view: View, world_from_camera: Tensor) -> View:
    """Return a view with another pose [4, 4]."""
    pose = world_from_camera.to(view.camera.world_from_camera)
    return replace(view, camera=replace(view.camera, world_from_camera=pose))


@dataclass(frozen=True)
class _Comparison:
    """A view's image [H, W, channels], its used pixels [H, W], and the scene that is compared with it.

    channels: premultiplied RGBA of images with alpha, else RGB, over which `background` [3] lies in the renders.
    """

    scene: Scene
    view: View
    image: Tensor
    used: Tensor
    background: Tensor | None
    device: torch.device

    @staticmethod
    def of(
        scene: Scene, view: View, pixels: Pixels, device: torch.device, background: np.ndarray | float
    ) -> _Comparison:
        image = torch.from_numpy(pixels.rgb).float() / 255
        color = torch.as_tensor(background, dtype=torch.float32)
        if pixels.alpha is not None and pixels.has_alpha:
            alpha = torch.from_numpy(pixels.alpha).float()[..., None] / 255
            image = torch.cat((image * alpha, alpha), -1)
        used = torch.ones(image.shape[:2]) if pixels.mask is None else torch.from_numpy(pixels.mask).float()
        return _Comparison(scene, view, image, used, color if image.shape[-1] == 3 else None, device)

    @property
    def centers(self) -> Tensor:
        """Coordinates (x, y) of all pixels [H, W, 2]."""
        height, width = self.used.shape
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        return torch.stack((x, y), -1)

    def downscaled(self, size: int) -> tuple[Tensor, Tensor, float]:
        """Return the image with a longer side of `size` pixels: coordinates [n, 2] and values [n, channels] of its
        used pixels, and half a pixel over the focal length."""
        height, width = self.used.shape
        shrink = max(1, -(-max(height, width) // size))
        stacked = torch.cat((self.image, self.centers, self.used[..., None]), -1).permute(2, 0, 1)
        pooled = adaptive_avg_pool2d(stacked, (max(1, height // shrink), max(1, width // shrink)))
        rows = pooled.permute(1, 2, 0).reshape(-1, len(pooled))
        rows = rows[rows[:, -1] == 1]
        return rows[:, -3:-1], rows[:, :-3], 0.5 * shrink / float(self.view.camera.intrinsics[0, 0])

    def render(self, pose: Tensor, pixels: Tensor) -> Tensor:
        """Render the scene at pixels [n, 2] from a pose: [n, channels]."""
        rendered = self.scene.render(PixelSubset.of(self.view, pose, pixels).to(self.device))
        alpha = rendered.alpha[0, :, None]
        color = rendered.rgb[0] * alpha
        if self.background is None:
            return torch.cat((color, alpha), -1).cpu()
        return color.cpu() + self.background * (1 - alpha.cpu())

    def errors(self, poses: Sequence[Tensor], size: int) -> list[float]:
        """Return the mean squared error of a downscaled image from each pose; NaN where no pixel is used."""
        pixels, target, _ = self.downscaled(size)
        if not len(pixels):
            return [math.nan] * len(poses)
        return [float((self.render(pose, pixels) - target).square().mean()) for pose in poses]


@torch.no_grad()
def aligned(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, background: np.ndarray | float = 0.0
) -> View:
    """Return a view with its camera where its image agrees best with the scene, by descent from its pose.

    background: the colour [3], or grey, behind images without alpha, as the fit assumed it.
    """
    compared = _Comparison.of(scene, view, pixels, device, background)
    pose, focal = view.camera.world_from_camera, float(view.camera.intrinsics[0, 0])
    length = _distance(scene, pose)

    places, target, shift = compared.downscaled(SMALL)
    if len(places) >= 6:
        pose = refined_pose(pose, lambda p: compared.render(p, places), target, length=length, shift=shift)

    near = compared.used > 0
    if compared.background is None:
        near &= max_pool2d(compared.image[None, ..., 3], 2 * MARGIN + 1, 1, MARGIN)[0] > 0
    chosen = near.reshape(-1).nonzero()[:, 0]
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:PIXELS]]
    if len(chosen) >= 6:
        places = compared.centers.reshape(-1, 2)[chosen]
        target = compared.image.reshape(-1, compared.image.shape[-1])[chosen]
        pose = refined_pose(pose, lambda p: compared.render(p, places), target, length=length, shift=0.5 / focal)
    return at_pose(view, pose)


@torch.no_grad()
def photometric_error(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, background: np.ndarray | float = 0.0
) -> float:
    """Return the mean squared error of a view's downscaled image against the scene; NaN where no pixel is used.

    background: see `aligned`.
    """
    compared = _Comparison.of(scene, view, pixels, device, background)
    return compared.errors([view.camera.world_from_camera], SMALL)[0]


@torch.no_grad()
def relocalize(
    scene: Scene,
    view: View,
    pixels: Pixels,
    device: torch.device,
    *,
    spread: float,
    background: np.ndarray | float = 0.0,
) -> View:
    """Return a view, whose camera may be far off, aligned from the best of many random poses around its own.

    spread: standard deviation of each component of the random motions: the expected shift of the image over its focal
        length.
    background: see `aligned`.
    """
    compared = _Comparison.of(scene, view, pixels, device, background)
    pose = view.camera.world_from_camera.double().cpu()
    twists = spread * torch.randn(CANDIDATES, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    twists[0] = 0
    candidates = pose @ motion_about(twists, _distance(scene, pose))
    errors = torch.tensor(compared.errors(list(candidates), TINY))
    if bool(errors.isnan().any()):
        return view
    return aligned(scene, at_pose(view, candidates[int(errors.argmin())]), pixels, device, background=background)


def _distance(scene: Scene, world_from_camera: Tensor) -> float:
    """Return the metres from a camera to the center of the scene's bounds; at least a tenth of their diagonal."""
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in scene.info.bounds)
    away = (world_from_camera[:3, 3].double().cpu() - (low + high) / 2).norm()
    return float(torch.maximum(away, 0.1 * (high - low).norm()))
