"""The part of space that strokes mean, and that an edit may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from addon.wire.messages import Bounds

from ..cameras import Camera, Rays
from ..rendering.boxes import box_interval

Kind = Literal["color", "remove", "add"]
KINDS: tuple[Kind, ...] = ("color", "remove", "add")

SAMPLES = 128
"""Of a ray, to find out whether it meets the region."""


@dataclass(frozen=True)
class StrokeView:
    """Strokes on a view, and the depth behind them."""

    camera: Camera
    strokes: Tensor  # bool [height, width]
    keep: Tensor  # bool [height, width]: the surface here is in no region
    depth: Tensor  # [height, width] metres along the camera's z; inf where nothing is known
    color: Tensor  # [height, width, 3] sRGB, of the strokes

    def projected(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return whether world points [n, 3] are in the frame, their row and column, and their depth [n]."""
        camera = self.camera
        camera_from_world = torch.linalg.inv(camera.world_from_camera).to(points)
        local = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        z, k = local[:, 2], camera.intrinsics.to(points)
        flat = local[:, :2] if camera.projection == "orthographic" else local[:, :2] / z.clamp(min=1e-6)[:, None]
        column, row = (flat @ k[:2, :2].T + k[:2, 2]).floor().unbind(-1)
        inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        return inside, row.clamp(0, camera.height - 1).long(), column.clamp(0, camera.width - 1).long(), z

    def painted_points(self) -> tuple[Tensor, Tensor]:
        """Return the points of the surface under the strokes [n, 3], and their colours [n, 3]."""
        rays = self.camera.rays()
        chosen = self.strokes & torch.isfinite(self.depth)
        distance = self.depth[chosen] / rays.depth_from_distance[chosen]
        return rays.origins[chosen] + distance[:, None] * rays.directions[chosen], self.color[chosen]


@dataclass(frozen=True)
class Region:
    """What lies under the strokes of any view: the visible surface to a depth of `reach` metres before and behind it,
    of a removal all that rays meet; without surfaces to keep."""

    views: tuple[StrokeView, ...]
    kind: Kind
    reach: float
    bounds: Bounds  # of the scene

    def under_strokes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return which world points [n, 3] are in the region, and the colour of the strokes there [n, 3]."""
        inside = torch.zeros_like(points[:, 0], dtype=torch.bool)
        color, kept = torch.zeros_like(points), inside
        for view in self.views:
            framed, row, column, z = view.projected(points)
            near = (z - view.depth.to(points)[row, column]).abs() < self.reach
            found = framed & view.strokes[row, column]
            if self.kind != "remove":
                found = found & near
            color = torch.where((found & ~inside)[:, None], view.color.to(points)[row, column], color)
            inside = inside | found
            kept = kept | (framed & near & view.keep[row, column])
        return inside & ~kept, color

    def holds(self, points: Tensor) -> Tensor:
        """Return which world points [..., 3] are in the region."""
        return self.under_strokes(points.reshape(-1, 3))[0].reshape(points.shape[:-1])

    def meets(self, rays: Rays) -> Tensor:
        """Return which rays [n] meet the region."""
        near, far = box_interval(rays.origins, rays.directions, self.bounds)
        share = (torch.arange(SAMPLES).to(near) + 0.5) / SAMPLES
        t = near[:, None] + (far - near).clamp(min=0)[:, None] * share
        return self.holds(rays.origins[:, None] + t[..., None] * rays.directions[:, None]).any(-1) & (far > near)

    def tensors(self) -> dict[str, Tensor]:
        """Return the region as tensors, a few kilobytes a view."""
        found: dict[str, Tensor] = {}
        for number, view in enumerate(self.views):
            camera = view.camera
            orthographic = camera.projection == "orthographic"
            found |= {
                f"{number}.pose": camera.world_from_camera.float(),
                f"{number}.intrinsics": camera.intrinsics.float(),
                f"{number}.size": torch.tensor([camera.height, camera.width, orthographic], dtype=torch.int32),
                f"{number}.masks": torch.from_numpy(
                    np.packbits(torch.stack((view.strokes, view.keep)).cpu().numpy().reshape(-1))
                ),
                f"{number}.depth": view.depth.float(),
            }
        return found

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], kind: Kind, reach: float, bounds: Bounds) -> Region:
        """Return the region that `tensors` gave; colours are not kept. Raises KeyError, ValueError."""
        views = []
        for number in range(sum(name.endswith(".pose") for name in tensors)):
            height, width, orthographic = tensors[f"{number}.size"].tolist()
            depth, bits = tensors[f"{number}.depth"], tensors[f"{number}.masks"]
            if tuple(depth.shape) != (height, width) or 8 * len(bits) < 2 * height * width:
                raise ValueError(f"the strokes of view {number} do not have its size")
            masks = np.unpackbits(bits.cpu().numpy(), count=2 * height * width).astype(bool)
            strokes, keep = torch.from_numpy(masks.reshape(2, height, width)).to(depth.device)
            camera = Camera(
                tensors[f"{number}.pose"], tensors[f"{number}.intrinsics"], width, height,
                "orthographic" if orthographic else "perspective",
            )  # fmt: skip
            views.append(StrokeView(camera, strokes, keep, depth, torch.zeros(height, width, 3, device=depth.device)))
        return Region(tuple(views), kind, reach, bounds)


def first_view_of_conflict(views: Sequence[StrokeView], region: Region, different: float) -> tuple[int, int] | None:
    """Return the numbers of two views that paint the same place in colours further apart than `different`, or None."""
    for number, view in enumerate(views):
        points, color = view.painted_points()
        for other in range(number):
            alone = Region((views[other],), region.kind, region.reach, region.bounds)
            found, theirs = alone.under_strokes(points)
            if (found & ((theirs - color).abs().amax(-1) > different)).any():
                return other, number
    return None
