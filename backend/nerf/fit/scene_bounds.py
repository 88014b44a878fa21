"""Center, size and depth range of a scene, found from its cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from addon.wire.errors import Remedy, UnusableDataset
from addon.wire.messages import Bounds

from ..datasets import Dataset, View


@dataclass(frozen=True)
class SceneBounds:
    """A sphere and a depth range around what the cameras see. Metres, world."""

    center: tuple[float, float, float]
    radius: float
    near: float  # along the cameras' z
    far: float

    @property
    def bounds(self) -> Bounds:
        """The cube around the sphere."""
        low, high = (tuple(x + sign * self.radius for x in self.center) for sign in (-1.04, 1.04))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def scene_bounds_of(dataset: Dataset, views: Sequence[View]) -> SceneBounds:
    """Return the bounds of what the cameras have in common.

    Around an object the center is the point nearest to all optical axes, and near and far leave room for the square
    that the nearest camera sees there (for the synthetic scenes of the NeRF paper this gives its 2 and 6). With a
    sparse cloud (photographs), all are those of its points.

    Raises:
        UnusableDataset: the cameras stand at one place, look at nothing in common, or look away from it.
    """
    poses = torch.stack([view.camera.world_from_camera for view in views]).double()
    positions, axes = poses[:, :3, 3], normalize(poses[:, :3, 2], dim=-1)
    # least squares of the distance to each axis: Σ (I − a aᵀ)(p − c) = 0
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None]
    system = across.sum(0) + 1e-6 * torch.eye(3, dtype=torch.float64)
    center = torch.linalg.solve(system, (across @ positions[..., None]).sum(0)[:, 0] + 1e-6 * positions.mean(0))
    depth = ((center - positions) * axes).sum(-1)
    half = torch.tensor(
        [
            max(
                v.camera.width / 2 / float(v.camera.intrinsics[0, 0]),
                v.camera.height / 2 / float(v.camera.intrinsics[1, 1]),
            )
            for v in views
        ],
        dtype=torch.float64,
    )
    if dataset.points is not None and len(dataset.points) >= 10:
        cloud = torch.from_numpy(dataset.points).double()
        depths = torch.cat([(cloud - position) @ axis for position, axis in zip(positions, axes)])
        depths = depths[depths > 0]
        if not len(depths):
            raise _flipped()
        near, far = (torch.quantile(depths[:: max(1, len(depths) // 100_000)], q) for q in (0.005, 0.98))
        near, far = 0.8 * near, 1.2 * far
        center = cloud.median(0).values
        radius = torch.quantile((cloud - center).norm(dim=-1), 0.9)
    else:
        spread = (positions - positions.mean(0)).norm(dim=-1).amax()
        if spread <= 1e-5 * positions.norm(dim=-1).amax():
            raise UnusableDataset(
                "All cameras stand at one place, from where no shape can be seen: capture from several sides, or find "
                "the cameras again."
            )
        ahead = depth[depth > 0]
        if not len(ahead):
            raise _flipped()
        radius = (depth * half)[depth > 0].median()
        if radius < 1e-3 * spread:
            raise UnusableDataset(
                "The cameras have nothing in common that they look at: their poses are wrong. Find the cameras again."
            )
        near = torch.maximum((ahead - math.sqrt(2) * radius).amin(), 0.05 * ahead.amin())
        far = (ahead + math.sqrt(2) * radius).amax()
    x, y, z = center.tolist()
    return SceneBounds((x, y, z), float(radius), float(near), float(far))


def _flipped() -> UnusableDataset:
    return UnusableDataset(
        "No camera looks at what the others look at: the axes of the cameras are flipped. Open the data set with its "
        "axes flipped (--flip-axes; without it where it was given).",
        remedy=Remedy("flip_axes", "Flip Axes"),
    )
