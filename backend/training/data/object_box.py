"""The box that all objects of a training set lie in, from their silhouettes: rays need no samples outside it."""

from __future__ import annotations

import torch
from torch import Tensor

from .training_images import TrainingImages

OBJECTS = 200
"""So many objects, evenly from all, are looked at."""
CELLS = 40
"""Cells along each side of the grid in the cube around the unit sphere."""


def object_box(data: TrainingImages) -> tuple[float, float, float] | None:
    """Return half the sides of the box around the origin, along the axes of the world, that holds the objects; None
    where opacities, poses or objects are not known, or where there is only one view of each.

    A cell is in the visual hull of an object if no image shows it transparent (Laurentini 1994). Hulls of few views
    reach beyond the objects, but each elsewhere: cells in two hulls at least count. The box is wider by a cell.
    """
    if data.alpha is None or data.world_from_camera is None or data.intrinsics is None or data.objects is None:
        return None
    cells = (torch.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    points = torch.cartesian_prod(cells, cells, cells)
    points = points[points.norm(dim=1) < 1 + 1 / CELLS]
    hulls = torch.zeros(len(points), dtype=torch.int64)
    names = data.objects.unique()
    views = 0
    for name in names[torch.linspace(0, len(names) - 1, min(OBJECTS, len(names))).long()]:
        index = torch.nonzero(data.objects == name)[:, 0]
        views = max(views, len(index))
        hulls += _in_all_silhouettes(points, data.alpha[index], data.world_from_camera[index], data.intrinsics[index])
    common = points[hulls >= min(2, len(names))]
    if views < 2 or not len(common):
        return None
    x, y, z = (min(float(a) + 3 / CELLS, 1.0) for a in common.abs().amax(dim=0))  # centres: half a cell is theirs
    return x, y, z


def _in_all_silhouettes(points: Tensor, alpha: Tensor, world_from_camera: Tensor, intrinsics: Tensor) -> Tensor:
    """Return which points [n, 3] every image [v, 1, side, side] shows as opaque, or next to opaque, or not at all."""
    inside = torch.ones(len(points), dtype=torch.bool)
    side = alpha.shape[-1]
    for image, pose, lens in zip(alpha[:, 0] > 127, world_from_camera, intrinsics, strict=True):
        seen = (points[inside] - pose[:3, 3]) @ pose[:3, :3] @ lens.T
        x, y = ((seen[:, i] / seen[:, 2] * side).floor().long() for i in (0, 1))
        out = (x < 0) | (y < 0) | (x >= side) | (y >= side)
        kept = image[y.clamp(0, side - 1), x.clamp(0, side - 1)] | out
        inside[inside.clone()] = kept
    return inside
