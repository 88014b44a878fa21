"""The visual hull of images with alpha (Laurentini, 1994): cells that no image shows to be empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cameras import Camera
from ...progress import Progress, silent


def min_views(count: int) -> int:
    """Return how many of `count` views must see a cell for it to be fitted."""
    return min(4, 1 + count // 10)


@dataclass(frozen=True)
class Silhouette:
    """Foreground pixels of a pinhole camera. sums: int32 [H + 1, W + 1], their number above and to the left."""

    camera: Camera
    sums: Tensor

    @staticmethod
    def of(camera: Camera, foreground: Tensor) -> Silhouette:
        """Return the silhouette of pixels bool [H, W]."""
        sums = torch.zeros(camera.height + 1, camera.width + 1, dtype=torch.int32)
        sums[1:, 1:] = foreground.to(torch.int32).cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
        return Silhouette(camera.to("cpu"), sums)

    def dilated(self, margin: int) -> Tensor:
        """Return the pixels with foreground within a square of ± margin pixels: bool [H, W]."""
        y, x = torch.meshgrid(torch.arange(self.camera.height), torch.arange(self.camera.width), indexing="ij")
        return self._count(x - margin, y - margin, x + margin + 1, y + margin + 1) > 0

    def classify(self, centers: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Classify spheres around world points [N, 3].

        Returns:
            empty: bool [N], the whole sphere is in the frame, and has no foreground in its outline.
            occupied: bool [N], its outline has foreground, or the sphere is too near to the camera to tell.
        """
        camera = self.camera
        camera_from_world = torch.linalg.inv(camera.world_from_camera.double()).float()
        local = centers @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        depth = local[:, 2]
        pixel = local @ camera.intrinsics.float().T / depth.clamp(min=1e-9)[:, None]
        # the outline of a sphere off the axis is an ellipse, longer by up to 1 / cos² of its angle
        stretch = local.square().sum(-1) / depth.square().clamp(min=1e-18)
        focal = float(max(camera.intrinsics[0, 0], camera.intrinsics[1, 1]))
        outline = radius * focal * stretch / (depth - radius).clamp(min=1e-9)
        in_front = depth > 2 * radius
        inside = in_front & (pixel[:, 0] >= outline) & (pixel[:, 0] <= camera.width - outline)
        inside &= (pixel[:, 1] >= outline) & (pixel[:, 1] <= camera.height - outline)
        left, top = (pixel[:, 0] - outline).floor(), (pixel[:, 1] - outline).floor()
        right, bottom = (pixel[:, 0] + outline).ceil(), (pixel[:, 1] + outline).ceil()
        foreground = self._count(left, top, right, bottom) > 0
        return inside & ~foreground, in_front & foreground | (depth.abs() <= 2 * radius)

    def _count(self, left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
        """Return the number of foreground pixels in columns left..right and rows top..bottom, ends excluded."""
        left, right = (x.clamp(0, self.camera.width).long() for x in (left, right))
        top, bottom = (y.clamp(0, self.camera.height).long() for y in (top, bottom))
        sums, width = self.sums.reshape(-1), self.camera.width + 1
        high, low = top * width, bottom * width
        return sums[low + right] - sums[low + left] - sums[high + right] + sums[high + left]


def carve(
    views: Sequence[Silhouette], low: Tensor, side: float, resolution: int, progress: Progress = silent
) -> Tensor:
    """Return the visual hull of a cube from `low` [3] with this side, metres: bool [n, n, n], n a power of two.

    Coarse to fine: only children of cells that survived are tested. A cell is carved if one view that has all of it in
    the frame shows no foreground within its outline, or if fewer than `min_views` show some: nothing is known beside
    most frames, and what so few views see cannot be fitted.
    """
    n = min(16, resolution)
    cells = torch.cartesian_prod(*[torch.arange(n)] * 3)
    children = torch.cartesian_prod(*[torch.arange(2)] * 3)
    while True:
        counts = torch.zeros(len(cells), dtype=torch.int32)
        for number, view in enumerate(views):
            if number % 8 == 0:
                progress(number / len(views), "Carving what is empty")
            centers = low + (cells + 0.5) * (side / n)
            empty, occupied = view.classify(centers, side / n * 0.867)  # √3/2: the sphere about a cell
            cells, counts = cells[~empty], (counts + occupied)[~empty]
        cells = cells[counts >= min_views(len(views))]
        if n >= resolution:
            break
        cells = (cells[:, None] * 2 + children).reshape(-1, 3)
        n *= 2
    hull = torch.zeros(n, n, n, dtype=torch.bool)
    hull[cells[:, 0], cells[:, 1], cells[:, 2]] = True
    return hull
