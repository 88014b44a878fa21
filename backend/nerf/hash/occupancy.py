"""Where a field may hold something: what training and rendering skip, and how it is found out.

Vocabulary: the *unit cube* is that of `kernels.ray_marching`. The *hull* are cells that no picture shows to be empty:
of pictures with alpha, those that project onto something in every view that has them whole (the visual hull of
Laurentini, 1994), and in a few. `peak` is the density that each cell was last seen with, decaying (Sec. 5.4 and
appendix C of arxiv.org/abs/2201.05989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...cameras import Camera
from ...kernels.ray_marching import OccupancyBits
from ...progress import Progress, silent

DECAY = 0.9
UNSEEN = 1e6


class Occupancy:
    """A grid over the unit cube. Cells start as occupied and fade as the field turns out to be empty there."""

    def __init__(self, resolution: int, device: torch.device) -> None:
        self.resolution = resolution
        self.peak = torch.full((resolution,) * 3, UNSEEN, device=device)
        self.possible = torch.ones((resolution,) * 3, dtype=torch.bool, device=device)
        self.bits = OccupancyBits(self.possible.clone())

    def restrict(self, possible: Tensor) -> None:
        """Rule cells out for good: bool [n, n, n], false where nothing can be."""
        self.possible &= possible
        self.bits = OccupancyBits(self.bits.occupied & self.possible)

    def restore(self, bits: Tensor) -> None:
        """Take occupied cells as `OccupancyBits.bits` of an earlier grid had them."""
        self.bits = OccupancyBits.from_bits(bits.to(self.peak.device))

    @property
    def share(self) -> float:
        """Part of the cells that are occupied."""
        return float(self.bits.occupied.float().mean())

    @torch.no_grad()
    def update(
        self, density: Callable[[Tensor], Tensor], count: int, generator: torch.Generator, *, occupied: int = 0
    ) -> None:
        """Ask the density [N] (per unit of the samples' length) at a random point of up to `count` possible cells,
        points [N, 3]; and of up to `occupied` cells that are taken for occupied."""
        cells = self.possible.reshape(-1).nonzero(as_tuple=True)[0]
        if not len(cells):
            return
        cells = _some(cells, count, generator)
        if occupied:
            known = self.bits.occupied.reshape(-1).nonzero(as_tuple=True)[0]
            cells = torch.cat((cells, _some(known, occupied, generator)))
        n = self.resolution
        corner = torch.stack((cells // (n * n), cells // n % n, cells % n), -1)
        points = (corner + torch.rand(corner.shape, generator=generator).to(cells.device)) / n
        peak = self.peak.reshape(-1)
        old = peak[cells]
        old = torch.where(old >= UNSEEN, torch.zeros_like(old), old * DECAY)
        peak[cells] = torch.maximum(old, density(points))

    def threshold(self, threshold: float) -> None:
        """Take as occupied what is denser than the threshold, or not looked at yet."""
        self.bits = OccupancyBits((self.peak > threshold) & self.possible)


def _some(cells: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return up to `count` of these, drawn at random where there are more."""
    if count >= len(cells):
        return cells
    return cells[torch.randint(len(cells), (count,), generator=generator).to(cells.device)]


def fewest_views(count: int) -> int:
    """Return how many of so many views must see something for it to be fitted."""
    return min(4, 1 + count // 10)


@dataclass(frozen=True)
class Silhouette:
    """What a pinhole camera sees something of. sums: int32 [H + 1, W + 1], how many such pixels lie above and left."""

    camera: Camera
    sums: Tensor

    @staticmethod
    def of(camera: Camera, seen: Tensor) -> Silhouette:
        """Return the silhouette of pixels bool [H, W]."""
        sums = torch.zeros(camera.height + 1, camera.width + 1, dtype=torch.int32)
        sums[1:, 1:] = seen.to(torch.int32).cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
        return Silhouette(camera.to("cpu"), sums)

    def near(self, margin: int) -> Tensor:
        """Which pixels have something within a square of ± margin pixels: bool [H, W]."""
        y, x = torch.meshgrid(torch.arange(self.camera.height), torch.arange(self.camera.width), indexing="ij")
        return self._count(x - margin, y - margin, x + margin + 1, y + margin + 1) > 0

    def judge(self, middle: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """Of spheres about points [N, 3], world: whether they lie whole in the frame with nothing to be seen there, and
        whether something is to be seen there, or they are too near to tell: [N] each."""
        camera = self.camera
        camera_from_world = torch.linalg.inv(camera.world_from_camera.double()).float()
        local = middle @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        depth = local[:, 2]
        pixel = local @ camera.intrinsics.float().T / depth.clamp(min=1e-9)[:, None]
        # the outline of a sphere off the axis is an ellipse, longer by up to 1 / cos² of its angle
        stretch = local.square().sum(-1) / depth.square().clamp(min=1e-18)
        focal = float(max(camera.intrinsics[0, 0], camera.intrinsics[1, 1]))
        outline = radius * focal * stretch / (depth - radius).clamp(min=1e-9)
        before = depth > 2 * radius
        inside = before & (pixel[:, 0] >= outline) & (pixel[:, 0] <= camera.width - outline)
        inside &= (pixel[:, 1] >= outline) & (pixel[:, 1] <= camera.height - outline)
        left, top = (pixel[:, 0] - outline).floor(), (pixel[:, 1] - outline).floor()
        right, bottom = (pixel[:, 0] + outline).ceil(), (pixel[:, 1] + outline).ceil()
        something = self._count(left, top, right, bottom) > 0
        return inside & ~something, before & something | (depth.abs() <= 2 * radius)

    def _count(self, left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
        """Pixels of the silhouette in columns left..right and rows top..bottom, the ends not included."""
        left, right = (x.clamp(0, self.camera.width).long() for x in (left, right))
        top, bottom = (y.clamp(0, self.camera.height).long() for y in (top, bottom))
        sums, width = self.sums.reshape(-1), self.camera.width + 1
        high, low = top * width, bottom * width
        return sums[low + right] - sums[low + left] - sums[high + right] + sums[high + left]


def carve(
    views: Sequence[Silhouette], low: Tensor, side: float, resolution: int, progress: Progress = silent
) -> Tensor:
    """Return the visual hull of a cube from `low` [3] with this side, metres: bool [n, n, n], n a power of two.

    Coarse to fine: only children of cells that survived are looked at. A cell is carved if one view that has it whole
    in the frame shows nothing within its outline, or if hardly any view shows something there: beside most frames
    nothing is known, and what so few views see cannot be fitted.
    """
    fewest = fewest_views(len(views))
    n = min(16, resolution)
    cells = torch.cartesian_prod(*[torch.arange(n)] * 3)
    children = torch.cartesian_prod(*[torch.arange(2)] * 3)
    while True:
        shown = torch.zeros(len(cells), dtype=torch.int32)
        for number, view in enumerate(views):
            if number % 8 == 0:
                progress(number / len(views), "Carving what is empty")
            middle = low + (cells + 0.5) * (side / n)
            nothing, something = view.judge(middle, side / n * 0.867)  # √3/2: the sphere about a cell
            cells, shown = cells[~nothing], (shown + something)[~nothing]
        cells = cells[shown >= fewest]
        if n >= resolution:
            break
        cells = (cells[:, None] * 2 + children).reshape(-1, 3)
        n *= 2
    hull = torch.zeros(n, n, n, dtype=torch.bool)
    hull[cells[:, 0], cells[:, 1], cells[:, 2]] = True
    return hull
