"""Cameras of pictures that a fit has not seen, moved to where the scene is that was fitted together with its cameras.

Vocabulary: a *glance* is some of a camera's pixels, in one row. A view is *aligned* when its camera is where its
picture looks most like the scene, the scene held still (Sec. 4.1 of BARF, arxiv.org/abs/2104.06405): first as a small
picture, which shows where the camera is to go from far off, then by single pixels, which show it exactly. A camera that
is *lost* sees something else entirely, and no step leads back; it is looked for around where it was given.
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
from ..datasets.lens import LensCamera
from .poses import motion_about, refined_pose
from .similarity import Similarity

SMALL = 64
"""Pixels of the longer side of the small picture."""

GLANCE = 4096
"""Pixels that are looked at one by one."""

TINY = 16
"""Pixels of the longer side of the picture by which a camera is looked for that is lost."""

TRIED = 400
"""Places where it is looked for."""

MARGIN = 9
"""Pixels around what a picture with alpha shows, where the scene may stick out."""


@dataclass(frozen=True)
class Glance(LensCamera):
    """A camera that sees only some places of its picture, as one row."""

    places: Tensor | None = None  # [pixels, 2] (x, y)

    @staticmethod
    def of(view: View, world_from_camera: Tensor, places: Tensor) -> Glance:
        """Return what a view sees at places [pixels, 2] from a pose."""
        camera = view.camera
        pose = world_from_camera.to(camera.intrinsics)
        return Glance(pose, camera.intrinsics, len(places), 1, camera.projection, view.lens, places)

    def rays(self, pixels: Tensor | None = None) -> Rays:
        """See Camera.rays."""
        assert self.places is not None
        return super().rays(self.places[None] if pixels is None else pixels)

    def to(self, device: torch.device | str) -> Camera:
        """See Camera.to."""
        assert self.places is not None
        pose, intrinsics = self.world_from_camera.to(device), self.intrinsics.to(device)
        return replace(self, world_from_camera=pose, intrinsics=intrinsics, places=self.places.to(device))


def moved(views: Sequence[View], similarity: Similarity) -> tuple[View, ...]:
    """Return views whose cameras were moved by a similarity of the world."""
    poses = [similarity.poses(view.camera.world_from_camera.double().cpu()) for view in views]
    return tuple(at_pose(view, pose) for view, pose in zip(views, poses))


def at_pose(view: View, world_from_camera: Tensor) -> View:
    """Return a view with another pose [4, 4]."""
    pose = world_from_camera.to(view.camera.world_from_camera)
    return replace(view, camera=replace(view.camera, world_from_camera=pose))


@dataclass(frozen=True)
class _Sight:
    """What a view's picture shows [H, W, channels], where it may be used [H, W], and what a scene shows instead."""

    scene: Scene
    view: View
    picture: Tensor
    used: Tensor
    behind: Tensor | None  # the colour behind an opaque picture
    device: torch.device

    @staticmethod
    def of(scene: Scene, view: View, pixels: Pixels, device: torch.device, behind: np.ndarray | float) -> _Sight:
        picture = torch.from_numpy(pixels.rgb).float() / 255
        beyond = torch.as_tensor(behind, dtype=torch.float32)
        if pixels.alpha is not None and pixels.has_alpha:
            alpha = torch.from_numpy(pixels.alpha).float()[..., None] / 255
            picture = torch.cat((picture * alpha, alpha), -1)
        used = torch.ones(picture.shape[:2]) if pixels.mask is None else torch.from_numpy(pixels.mask).float()
        return _Sight(scene, view, picture, used, beyond if picture.shape[-1] == 3 else None, device)

    @property
    def centres(self) -> Tensor:
        """Of all pixels [H, W, 2]."""
        height, width = self.used.shape
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        return torch.stack((x, y), -1)

    def small(self, size: int) -> tuple[Tensor, Tensor, float]:
        """Of a picture of `size` pixels along the longer side: their places [n, 2], what they show [n, channels], and
        half of one over the focal length."""
        height, width = self.used.shape
        shrink = max(1, -(-max(height, width) // size))
        all_of_it = torch.cat((self.picture, self.centres, self.used[..., None]), -1).permute(2, 0, 1)
        pooled = adaptive_avg_pool2d(all_of_it, (max(1, height // shrink), max(1, width // shrink)))
        rows = pooled.permute(1, 2, 0).reshape(-1, len(pooled))
        rows = rows[rows[:, -1] == 1]
        return rows[:, -3:-1], rows[:, :-3], 0.5 * shrink / float(self.view.camera.intrinsics[0, 0])

    def seen(self, pose: Tensor, places: Tensor) -> Tensor:
        """What the scene shows at places [n, 2] from a pose: [n, channels]."""
        image = self.scene.render(Glance.of(self.view, pose, places).to(self.device))
        opacity = image.alpha[0, :, None]
        color = image.rgb[0] * opacity
        if self.behind is None:
            return torch.cat((color, opacity), -1).cpu()
        return color.cpu() + self.behind * (1 - opacity.cpu())

    def photometric_error(self, poses: Sequence[Tensor], size: int) -> list[float]:
        """The mean squared difference of a small picture from each pose; not a number where there is none."""
        places, wanted, _ = self.small(size)
        if not len(places):
            return [math.nan] * len(poses)
        return [float((self.seen(pose, places) - wanted).square().mean()) for pose in poses]


@torch.no_grad()
def aligned(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, behind: np.ndarray | float = 0.0
) -> View:
    """Return a view with its camera where its picture fits the scene best, from where it stands.

    behind: the colour [3], or grey, that is behind pictures without alpha, as the fit took it.
    """
    sight = _Sight.of(scene, view, pixels, device, behind)
    pose, focal = view.camera.world_from_camera, float(view.camera.intrinsics[0, 0])
    length = _distance(scene, pose)

    places, wanted, shift = sight.small(SMALL)
    if len(places) >= 6:
        pose = refined_pose(pose, lambda p: sight.seen(p, places), wanted, length=length, shift=shift)

    near = sight.used > 0
    if sight.behind is None:
        near &= max_pool2d(sight.picture[None, ..., 3], 2 * MARGIN + 1, 1, MARGIN)[0] > 0
    chosen = near.reshape(-1).nonzero()[:, 0]
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:GLANCE]]
    if len(chosen) >= 6:
        places, wanted = (
            sight.centres.reshape(-1, 2)[chosen],
            sight.picture.reshape(-1, sight.picture.shape[-1])[chosen],
        )
        pose = refined_pose(pose, lambda p: sight.seen(p, places), wanted, length=length, shift=0.5 / focal)
    return at_pose(view, pose)


@torch.no_grad()
def photometric_error(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, behind: np.ndarray | float = 0.0
) -> float:
    """Return how far a view's picture is from the scene: the mean squared difference of a small one, not a number where
    nothing of the picture may be used."""
    return _Sight.of(scene, view, pixels, device, behind).photometric_error([view.camera.world_from_camera], SMALL)[0]


@torch.no_grad()
def relocalize(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, reach: float, behind: np.ndarray | float = 0.0
) -> View:
    """Return a view whose camera may be far off, and that is not to be found step by step from there, with its camera
    aligned: from the best of many places around it.

    reach: how far off it is, as the shift of its picture over its focal length: the standard deviation of each number
        of the motions that are tried.
    """
    sight = _Sight.of(scene, view, pixels, device, behind)
    pose = view.camera.world_from_camera.double().cpu()
    twists = reach * torch.randn(TRIED, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    twists[0] = 0
    tried = pose @ motion_about(twists, _distance(scene, pose))
    differences = torch.tensor(sight.photometric_error(list(tried), TINY))
    if bool(differences.isnan().any()):
        return view
    return aligned(scene, at_pose(view, tried[int(differences.argmin())]), pixels, device, behind=behind)


def _distance(scene: Scene, world_from_camera: Tensor) -> float:
    """Metres from a camera to the middle of what a scene holds; a tenth of that from inside it."""
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in scene.info.bounds)
    away = (world_from_camera[:3, 3].double().cpu() - (low + high) / 2).norm()
    return float(torch.maximum(away, 0.1 * (high - low).norm()))
