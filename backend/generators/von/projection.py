"""The differentiable projection of Visual Object Networks (arxiv.org/abs/1812.02725, Sec. 3.2): voxels and a viewpoint
become a *2.5D sketch*, which is a silhouette and a depth.

Vocabulary. The frame of the voxels: the centres of the first and the last voxel of each axis lie at -1 and 1; the
second axis points out of the object's front, the third up. `view` [N, 2] is azimuth and elevation in radians, as in
`cameras.orbit`: 0 sees the front. `t` is the depth along the camera's axis. Images are [N, rows, columns], top first.

The release samples twice: it first turns the whole cube of voxels into the camera's frame, then samples that cube along
the rays. Each sample is thus an average of averages, and weights trained on such sketches expect it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LEAST_PROBABILITY = 1e-4
"""Below this, neither a sample's probability nor that of seeing the background falls."""
SILHOUETTE = 0.8
"""The release cuts a sketch out where it is more certain than this."""


@dataclass(frozen=True)
class Optics:
    """The camera of the sketches. Lengths in the frame of the voxels."""

    distance: float = 2.0  # of the camera from the middle
    half_width: float = 0.612  # of the image at depth 1: the tangent of half the field of view
    reach: float = 1.0  # rays are sampled from distance - reach to distance + reach
    samples_per_pixel: float = 2.5  # number of samples of a ray by pixels along a side of the image

    @property
    def far(self) -> float:
        """The depth of the background."""
        return self.distance + self.reach

    def num_samples(self, side: int) -> int:
        """Samples of a ray for an image of so many pixels a side."""
        return int(side * self.samples_per_pixel)


@dataclass(frozen=True)
class Sketch:
    """silhouette [N, side, side]: probability of meeting the object, 0..1; depth [N, side, side]: the expected t."""

    silhouette: Tensor
    depth: Tensor


def rotation(view: Tensor) -> Tensor:
    """Return [N, 3, 3] of views [N, 2]: takes (t - distance, leftwards, upwards) of the camera to the voxels' frame."""
    azimuth, elevation = view.unbind(-1)
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    rows = (
        (sin_a * cos_e, cos_a, sin_a * sin_e),
        (-cos_a * cos_e, sin_a, -cos_a * sin_e),
        (-sin_e, torch.zeros_like(sin_e), cos_e),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def ray_points(optics: Optics, side: int, like: Tensor) -> Tensor:
    """Return the samples [rows, columns, samples, 3] in the camera's frame (t - distance, leftwards, upwards)."""
    count = optics.num_samples(side)
    # the samples' places stop one step short of `far`, although their depths (`depths`) reach it: as released
    t = optics.distance - optics.reach + 2 * optics.reach * torch.arange(count).to(like) / count
    across = torch.linspace(optics.half_width, -optics.half_width, side).to(like)
    left, up = across[None, :, None] * t, across[:, None, None] * t
    return torch.stack(torch.broadcast_tensors(t - optics.distance, left, up), -1)


def depths(optics: Optics, side: int, like: Tensor) -> Tensor:
    """Return the depth that each sample of a ray counts as [samples]."""
    return torch.linspace(optics.distance - optics.reach, optics.far, optics.num_samples(side)).to(like)


def sample_voxels(voxels: Tensor, points: Tensor) -> Tensor:
    """Return voxels [N, side, side, side] at points [N, ..., 3] in their frame, trilinear, 0 outside. [N, ...]"""
    flat = points.reshape(len(points), 1, 1, -1, 3).flip(-1)  # grid_sample counts axes from the last
    found = functional.grid_sample(voxels[:, None], flat, align_corners=True, padding_mode="zeros")
    return found.reshape(points.shape[:-1])


def turned(voxels: Tensor, view: Tensor) -> Tensor:
    """Return voxels [N, side, side, side] resampled in the frame of the camera of `view` [N, 2]."""
    ticks = torch.linspace(-1, 1, voxels.shape[-1]).to(voxels)
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1)
    return sample_voxels(voxels, torch.einsum("nij,...j->n...i", rotation(view), grid))


def composite(probability: Tensor, t: Tensor, far: float) -> tuple[Tensor, Tensor]:
    """Return the silhouette and the expected depth of occupancy probabilities [..., samples] at depths t [samples].

    A ray stops at sample i with probability p_i Π_{j<i} (1 - p_j) (Eq. 3 of the paper), else at the background.
    """
    p = probability.clamp(min=LEAST_PROBABILITY, max=1.0)
    passed = torch.cumprod(torch.cat((torch.ones_like(p[..., :1]), 1 - p[..., :-1]), -1), -1)
    stop = p * passed
    silhouette = stop.sum(-1)
    return silhouette, (stop * t).sum(-1) + far * (1 - silhouette).clamp(min=LEAST_PROBABILITY)


def project(voxels: Tensor, view: Tensor, optics: Optics, side: int) -> Sketch:
    """Return the sketches of voxels [N, n, n, n], occupancy 0..1, at views [N, 2]. Differentiable in the voxels."""
    points = ray_points(optics, side, voxels)
    probability = sample_voxels(turned(voxels, view), points.expand(len(voxels), *points.shape))
    return Sketch(*composite(probability, depths(optics, side, voxels), optics.far))


def surface_places(sketch: Sketch, view: Tensor, optics: Optics) -> Tensor:
    """Return where each pixel of sketches at views [N, 2] sees the surface, in the frame of the voxels, 0 beside it.

    [N, 3, side, side]. Differentiable.
    """
    side, t = sketch.depth.shape[-1], sketch.depth
    across = torch.linspace(optics.half_width, -optics.half_width, side).to(t)
    camera = torch.stack(torch.broadcast_tensors(t - optics.distance, across * t, across[:, None] * t), -1)
    places = torch.einsum("nij,nrcj->nirc", rotation(view), camera)
    return places * sketch.silhouette.clamp(0, 1)[:, None]


def crop_boxes(silhouette: Tensor) -> Tensor:
    """Return [N, 4]: first row, last row, first column, last column of what a sketch [N, side, side] is cut to.

    The rows and columns of more than one certain pixel, the shorter extent widened to the longer by whole pixels on
    both sides. An empty sketch keeps the whole image.
    """
    boxes = []
    for certain in silhouette > SILHOUETTE:
        rows, columns = (torch.nonzero(certain.sum(axis) > 1)[:, 0] for axis in (1, 0))
        if not len(rows) or not len(columns):
            boxes.append([0, silhouette.shape[1] - 1, 0, silhouette.shape[2] - 1])
            continue
        top, bottom, left, right = (int(edge) for edge in (rows[0], rows[-1], columns[0], columns[-1]))
        wider = (right - left - bottom + top) // 2 if right - left > bottom - top else 0
        taller = (bottom - top - right + left) // 2 if bottom - top > right - left else 0
        boxes.append([top - wider, bottom + wider, left - taller, right + taller])
    return torch.tensor(boxes, device=silhouette.device)


def cropped(sketch: Sketch, boxes: Tensor, far: float, side: int) -> Sketch:
    """Return the sketches cut to boxes [N, 4] and enlarged to side²; what is not certain becomes background."""
    certain = sketch.silhouette > SILHOUETTE
    top, bottom, left, right = boxes.to(sketch.depth).T[:, :, None]
    share = torch.linspace(0, 1, side).to(sketch.depth)
    height, width = sketch.depth.shape[1:]
    rows = (top + share * (bottom - top)) / (height - 1) * 2 - 1
    columns = (left + share * (right - left)) / (width - 1) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), -1)

    def cut(values: Tensor) -> Tensor:
        return functional.grid_sample(values[:, None], grid, align_corners=True)[:, 0]

    silhouette = cut(torch.where(certain, sketch.silhouette, 0.0))
    return Sketch(silhouette, far - cut(torch.where(certain, far - sketch.depth, 0.0)))


def normalised_depth(depth: Tensor, near: Tensor | float | None = None, far: Tensor | float | None = None) -> Tensor:
    """Return depth as the texture network takes it: 1 nearest, -1 farthest. None: of the whole batch, as released."""
    near = depth.min() if near is None else near
    far = depth.max() if far is None else far
    return 1 - 2 * (depth - near) / (far - near)
