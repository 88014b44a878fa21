"""Placement of a hash field before its first step: box, resolution, possible cells, and the pixels to draw from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addon.wire.messages import Bounds, FitOptions

from ...kernels.hash_encoding import HashSpec
from ...progress import Progress, part, silent
from ..cameras.poses import UNCERTAINTY
from ..datasets import Dataset, View
from ..fit.rays import TrainingRays
from ..fit.scene_bounds import scene_bounds_of
from .field import HashFieldConfig
from .occupancy import OccupancyGrid
from .presets import Training
from .visual_hull import Silhouette, carve, min_views

HULL_RESOLUTION = 128
"""Cells along an axis of the first carving, which finds the object's bounds."""

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class FieldPlacement:
    """Config of the field, its first occupancy grid, and whether the grid is a visual hull (`carved`)."""

    config: HashFieldConfig
    occupancy: OccupancyGrid
    carved: bool


def place_field(
    dataset: Dataset,
    views: Sequence[View],
    rays: TrainingRays,
    options: FitOptions,
    training: Training,
    progress: Progress = silent,
    *,
    unbounded: bool,
) -> FieldPlacement:
    """Place a field around what the views see, and restrict the pixels that `rays` draws to those near the object.

    The finest cell of the table and the step of a ray follow from the size of a pixel on the object: finer ones cost
    time and show nowhere.

    Raises:
        UnusableDataset: see `scene_bounds_of`.
    """
    pinholes = all(view.lens.model == "pinhole" for view in views)
    silhouettes = _silhouettes(views, rays, dilate=options.refine_poses)
    outlines = silhouettes if pinholes and not unbounded else []
    low, side, bounds = _box(dataset, views, outlines, part(progress, 0.0, 0.3))
    pixels = side / _pixel_size(views, low, side)
    in_cube = 2 * pixels if unbounded else pixels  # the box is the middle half of the cube
    finest = training.finest or 2 ** math.ceil(math.log2(max(64.0, min(2048.0, 1.5 * in_cube))))
    config = HashFieldConfig(
        low=low,
        side=side,
        table=HashSpec(training.num_levels, 2, training.log2_size, 16, finest),
        step=max(1 / 1024, min(1 / 64, 1 / pixels)),
        unbounded=unbounded,
        sky=unbounded and not rays.has_alpha,
        linear=options.color_space == "linear",
        bounds=bounds,
    )
    occupancy = OccupancyGrid(training.grid, rays.device)
    if outlines:
        hull = carve(outlines, torch.tensor(low), side, training.grid, part(progress, 0.3, 1.0))
        occupancy.restrict(hull.to(rays.device))
    if unbounded and pinholes:
        occupancy.restrict(_seen_by_enough(views, config, training.grid).to(rays.device))
    if options.near:
        occupancy.restrict(_clear_of_cameras(rays.poses, config, training.grid, options.near))
    if silhouettes:  # rays elsewhere meet nothing of the hull
        size = max(max(view.camera.width, view.camera.height) for view in views)
        margin = max(2, math.ceil(3 * size / training.grid))
        rays.prefer(torch.cat([silhouette.dilated(margin).reshape(-1) for silhouette in silhouettes]))
    return FieldPlacement(config, occupancy, bool(outlines))


def cell_centers(config: HashFieldConfig, resolution: int, device: torch.device) -> Tensor:
    """Return the centers in world [n³, 3] of the cells of a grid over the unit cube."""
    line = (torch.arange(resolution, device=device) + 0.5) / resolution
    cells = torch.cartesian_prod(line, line, line)
    if config.unbounded:  # the inverse of `contract`
        centered = 4 * cells - 2
        size = centered.abs().amax(-1, keepdim=True)
        cells = torch.where(size > 1, centered / (size * (2 - size)), centered) / 2 + 0.5
    return cells * config.side + torch.tensor(config.low, device=device)


def _silhouettes(views: Sequence[View], rays: TrainingRays, *, dilate: bool) -> list[Silhouette]:
    """Return the silhouettes of images with alpha, else none; masked pixels count as foreground.

    dilate: by the shift of a camera that is wrong by `UNCERTAINTY`, so that it does not carve what is there.
    """
    if not rays.has_alpha:
        return []
    found = []
    for number, view in enumerate(views):
        own = slice(int(rays.starts[number]), int(rays.starts[number + 1]))
        foreground = (rays.rgba[own, 3] > 0) | ~rays.usable[own]
        silhouette = Silhouette.of(view.camera, foreground.reshape(view.camera.height, view.camera.width))
        if dilate:
            margin = math.ceil(UNCERTAINTY * float(view.camera.intrinsics[0, 0]))
            silhouette = Silhouette.of(view.camera, silhouette.dilated(margin))
        found.append(silhouette)
    return found


def _box(
    dataset: Dataset, views: Sequence[View], silhouettes: Sequence[Silhouette], progress: Progress
) -> tuple[Corner, float, Bounds | None]:
    """Return the box (low, side) in world metres, and the bounds of its content where they are known."""
    bounds = dataset.bounds
    around = scene_bounds_of(dataset, views).bounds
    if bounds is None and silhouettes:
        cube = torch.tensor(around[0])
        edge = around[1][0] - around[0][0]
        hull = carve(silhouettes, cube, edge, HULL_RESOLUTION, progress)
        if hull.any():
            cells = hull.nonzero()
            first, last = cells.amin(0), cells.amax(0) + 1
            low = (cube + (first - 0.5) * edge / HULL_RESOLUTION).tolist()
            high = (cube + (last + 0.5) * edge / HULL_RESOLUTION).tolist()
            bounds = (low[0], low[1], low[2]), (high[0], high[1], high[2])
    box = around if bounds is None else bounds
    side = max(b - a for a, b in zip(*box)) * 1.02
    center = [(a + b) / 2 for a, b in zip(*box)]
    return (center[0] - side / 2, center[1] - side / 2, center[2] - side / 2), side, bounds


def _pixel_size(views: Sequence[View], low: Corner, side: float) -> float:
    """Return the metres that a pixel covers at the center of the box, the median over the views."""
    center = torch.tensor(low) + side / 2
    sizes = []
    for view in views:
        distance = (view.camera.world_from_camera[:3, 3].cpu() - center).norm().clamp(min=side / 4)
        sizes.append(float(distance / view.camera.intrinsics[0, 0]))
    return float(torch.tensor(sizes).median())


def _seen_by_enough(views: Sequence[View], config: HashFieldConfig, resolution: int) -> Tensor:
    """Return the cells that at least `min_views` cameras have in their frame: bool [n, n, n]. Others cannot be fitted,
    and are where fog forms first."""
    n = resolution // 2
    cells = cell_centers(config, resolution, torch.device("cpu"))
    cells = cells.reshape(n, 2, n, 2, n, 2, 3).mean((1, 3, 5)).reshape(-1, 3)
    count = torch.zeros(len(cells), dtype=torch.int32)
    for view in views:
        camera = view.camera
        pose, k = camera.world_from_camera.float(), camera.intrinsics.float()
        local = (cells - pose[:3, 3]) @ pose[:3, :3]
        pixel = local @ k.T
        depth = pixel[:, 2]
        count += (
            (depth > 0)
            & (pixel[:, 0] >= 0)
            & (pixel[:, 0] <= camera.width * depth)
            & (pixel[:, 1] >= 0)
            & (pixel[:, 1] <= camera.height * depth)
        )
    seen = (count >= min_views(len(views))).reshape(n, n, n)
    for axis in range(3):
        seen = seen.repeat_interleave(2, axis)
    return seen


def _clear_of_cameras(poses: Tensor, config: HashFieldConfig, resolution: int, near: float) -> Tensor:
    """Return the cells at least `near` metres from every camera [views, 4, 4]: bool [n, n, n]."""
    cells = cell_centers(config, resolution, poses.device)
    close = torch.zeros(len(cells), dtype=torch.bool, device=poses.device)
    for pose in poses:
        close |= (cells - pose[:3, 3]).square().sum(-1) < near**2
    return ~close.reshape((resolution,) * 3)
