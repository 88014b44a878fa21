"""Similarity transforms between two sets of points (Umeyama 1991)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """x ↦ scale · rotation · x + translation."""

    scale: float
    rotation: Tensor  # [3, 3]
    translation: Tensor  # [3]

    def points(self, points: Tensor) -> Tensor:
        """Move points [..., 3]."""
        return self.scale * points @ self.rotation.T + self.translation

    def poses(self, world_from_camera: Tensor) -> Tensor:
        """Move rigid cameras [..., 4, 4]; they stay rigid."""
        moved = world_from_camera.clone()
        moved[..., :3, :3] = self.rotation @ world_from_camera[..., :3, :3]
        moved[..., :3, 3] = self.points(world_from_camera[..., :3, 3])
        return moved

    def inverse(self) -> Similarity:
        """Return the way back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)


def similarity_between(source: Tensor, target: Tensor) -> Similarity:
    """Return the similarity that takes points source [N, 3] nearest to target [N, 3], in float64.

    Least squares by the singular values of the covariance (Umeyama, IEEE PAMI 1991); a reflection is never returned.

    Raises:
        ValueError: fewer than 3 points, or all in one place: they fix no similarity.
    """
    source, target = source.double(), target.double()
    source_middle, target_middle = source.mean(0), target.mean(0)
    a, b = source - source_middle, target - target_middle
    spread = a.square().sum()
    if len(source) < 3 or spread < 1e-20:
        raise ValueError(f"{len(source)} points at one place or fewer than 3 fix no similarity")
    u, singular, vt = torch.linalg.svd(b.T @ a)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = u @ torch.diag(sign) @ vt
    scale = float((singular * sign).sum() / spread)
    return Similarity(scale, rotation, target_middle - scale * rotation @ source_middle)
