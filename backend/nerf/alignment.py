"""Cameras of pictures that a fit has not seen, moved to where the scene is that was fitted together with its cameras.

Vocabulary: a *glance* is some of a camera's pixels, in one row. A view is *aligned* when its camera is where its
picture looks most like the scene, the scene held still (Sec. 4.1 of BARF, arxiv.org/abs/2104.06405): first as a small
picture, which shows where the camera is to go from far off, then by single pixels, which show it exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from ..cameras import Camera, Rays
from ..scene import Scene
from .datasets import Pixels, View
from .lens import LensCamera
from .poses import Similarity, refined_pose

SMALL = 64
"""Pixels of the longer side of the small picture."""

GLANCE = 4096
"""Pixels that are looked at one by one."""

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


@torch.no_grad()
def aligned(
    scene: Scene, view: View, pixels: Pixels, device: torch.device, *, behind: np.ndarray | float = 0.0
) -> View:
    """Return a view with its camera where its picture fits the scene best, from where it stands.

    behind: the colour [3], or grey, that is behind pictures without alpha, as the fit took it.
    """
    rgb = torch.from_numpy(pixels.rgb).float() / 255
    alpha = None
    if pixels.alpha is not None and pixels.has_alpha:
        alpha = torch.from_numpy(pixels.alpha).float()[..., None] / 255
    picture = rgb if alpha is None else torch.cat((rgb * alpha, alpha), -1)  # [H, W, 3 or 4]
    used = torch.ones(picture.shape[:2]) if pixels.mask is None else torch.from_numpy(pixels.mask).float()

    beyond = torch.as_tensor(behind, dtype=torch.float32)

    def glance(pose: Tensor, places: Tensor) -> Tensor:
        image = scene.render(Glance.of(view, pose, places).to(device))
        opacity = image.alpha[0, :, None]
        color = image.rgb[0] * opacity
        if alpha is not None:
            return torch.cat((color, opacity), -1).cpu()
        return color.cpu() + beyond * (1 - opacity.cpu())

    height, width = used.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    centres = torch.stack((x, y), -1)
    pose, focal = view.camera.world_from_camera, float(view.camera.intrinsics[0, 0])
    length = _distance(scene, pose)

    shrink = max(1, -(-max(height, width) // SMALL))
    small = (max(1, height // shrink), max(1, width // shrink))
    pooled = adaptive_avg_pool2d(torch.cat((picture, centres, used[..., None]), -1).permute(2, 0, 1), small)
    rows = pooled.permute(1, 2, 0).reshape(-1, len(pooled))
    rows = rows[rows[:, -1] == 1]
    if len(rows) >= 6:
        places = rows[:, -3:-1]
        pose = refined_pose(
            pose, lambda p: glance(p, places), rows[:, :-3], length=length, shift=0.5 * shrink / focal
        )  # fmt: skip

    near = used > 0
    if alpha is not None:
        near &= max_pool2d(alpha.permute(2, 0, 1), 2 * MARGIN + 1, 1, MARGIN)[0] > 0
    chosen = near.reshape(-1).nonzero()[:, 0]
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:GLANCE]]
    if len(chosen) >= 6:
        places, wanted = centres.reshape(-1, 2)[chosen], picture.reshape(-1, picture.shape[-1])[chosen]
        pose = refined_pose(pose, lambda p: glance(p, places), wanted, length=length, shift=0.5 / focal)
    return at_pose(view, pose)


def _distance(scene: Scene, world_from_camera: Tensor) -> float:
    """Metres from a camera to the middle of what a scene holds; a tenth of that from inside it."""
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in scene.info.bounds)
    away = (world_from_camera[:3, 3].double().cpu() - (low + high) / 2).norm()
    return float(torch.maximum(away, 0.1 * (high - low).norm()))
