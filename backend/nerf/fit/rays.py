"""Training images as rays to draw from.

Vocabulary: a *local* direction is in its camera's frame (OpenCV axes), with length 1 along z for a pinhole. *Usable*
pixels are those that masks leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...lens import camera_directions
from ..datasets import Pixels, View


@dataclass(frozen=True)
class RayBatch:
    """Training rays. views int64 [R]; local [R, 3]; rgb [R, 3] sRGB 0..1 straight; alpha [R]; depth [R], metres along
    z, NaN where not known, or None."""

    views: Tensor
    local: Tensor
    rgb: Tensor
    alpha: Tensor
    depth: Tensor | None

    def part(self, start: int, end: int) -> RayBatch:
        """Return rays start..end of the batch."""
        at = slice(start, end)
        depth = None if self.depth is None else self.depth[at]
        return RayBatch(self.views[at], self.local[at], self.rgb[at], self.alpha[at], depth)

    def distance(self) -> Tensor:
        """Return the depth measured along the rays [R], metres; NaN where not known."""
        assert self.depth is not None
        return self.depth * self.local.norm(dim=-1) / self.local[:, 2].clamp(min=1e-3)

    def in_world(self, world_from_camera: Tensor) -> tuple[Tensor, Tensor]:
        """Return origins and directions [R, 3] under poses [views, 4, 4]; differentiable in them. A direction has the
        length of its local one."""
        poses = world_from_camera[self.views]
        return poses[:, :3, 3], (poses[:, :3, :3] @ self.local[..., None])[..., 0]


class TrainingRays:
    """All pixels of some views, in bytes on the CPU, and their cameras."""

    def __init__(self, views: Sequence[View], images: Sequence[Pixels], device: torch.device) -> None:
        self.device = device
        self.poses = torch.stack([view.camera.world_from_camera.float() for view in views]).to(device)
        self.sizes = torch.tensor([[view.camera.width, view.camera.height] for view in views])
        self.starts = torch.cat((torch.zeros(1, dtype=torch.long), self.sizes.prod(1).cumsum(0)))
        self.has_alpha = any(pixels.has_alpha for pixels in images)
        rgba = np.full((int(self.starts[-1]), 4), 255, np.uint8)
        usable = np.ones(len(rgba), bool)
        has_depth = any(pixels.depth is not None for pixels in images)
        depth = np.full(len(rgba), np.nan, np.float32) if has_depth else None
        for start, pixels in zip(self.starts.tolist(), images):
            part = slice(start, start + pixels.rgb.shape[0] * pixels.rgb.shape[1])
            rgba[part, :3] = pixels.rgb.reshape(-1, 3)
            if pixels.alpha is not None:
                rgba[part, 3] = pixels.alpha.reshape(-1)
            if pixels.mask is not None:
                usable[part] = pixels.mask.reshape(-1)
            if depth is not None and pixels.depth is not None:
                depth[part] = pixels.depth.reshape(-1)
        self.rgba = torch.from_numpy(rgba)
        self.usable = torch.from_numpy(usable)
        self.depth = None if depth is None else torch.from_numpy(depth)
        self._intrinsics = torch.stack([view.camera.intrinsics.float() for view in views])
        self._maps, self._map_of = _direction_maps(views)
        self._candidates = self.usable.nonzero(as_tuple=True)[0].int()

    def prefer(self, wanted: Tensor) -> None:
        """Draw only from the usable ones among these pixels: bool [all pixels of all views]."""
        candidates = (self.usable & wanted).nonzero(as_tuple=True)[0].int()
        if len(candidates):
            self._candidates = candidates

    @property
    def num_candidates(self) -> int:
        """Number of pixels that are drawn from."""
        return len(self._candidates)

    def draw(self, count: int, generator: torch.Generator) -> RayBatch:
        """Return random rays; the generator is on the CPU, as the images are."""
        return self.at(self._candidates[torch.randint(len(self._candidates), (count,), generator=generator)].long())

    def of_view(self, view: int) -> RayBatch:
        """Return all rays of one view, row by row."""
        return self.at(torch.arange(int(self.starts[view]), int(self.starts[view + 1])))

    def image(self, view: int) -> Pixels:
        """Return the pixels of one view as they are drawn from."""
        part = slice(int(self.starts[view]), int(self.starts[view + 1]))
        width, height = self.sizes[view].tolist()
        rgba = self.rgba[part].reshape(height, width, 4).numpy()
        alpha = rgba[..., 3] if self.has_alpha else None
        return Pixels(rgba[..., :3], alpha, self.usable[part].reshape(height, width).numpy())

    def replace_image(self, view: int, image: Tensor | np.ndarray) -> None:
        """Replace the colours of a view, see `Fit.replace_image`."""
        width, height = self.sizes[view].tolist()
        new = torch.as_tensor(image).detach().cpu()
        channels = new.shape[-1] if new.ndim == 3 else 0
        if new.shape[:2] != (height, width) or channels not in (3, 4):
            raise ValueError(f"an image of this view is [{height}, {width}, 3 or 4], got {list(new.shape)}")
        if channels == 4 and not self.has_alpha:
            raise ValueError("an image with alpha cannot replace one of images without alpha")
        pixels = (new.float().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        self.rgba[int(self.starts[view]) : int(self.starts[view + 1]), :channels] = pixels.reshape(-1, channels)

    def at(self, flat: Tensor) -> RayBatch:
        """Return the rays of pixels by their index among all pixels, int64 [R]."""
        views = torch.searchsorted(self.starts, flat, right=True) - 1
        place = flat - self.starts[views]
        width = self.sizes[views, 0]
        k = self._intrinsics[views]
        v = ((place // width).float() + 0.5 - k[:, 1, 2]) / k[:, 1, 1]
        u = ((place % width).float() + 0.5 - k[:, 0, 2] - k[:, 0, 1] * v) / k[:, 0, 0]
        local = torch.stack((u, v, torch.ones_like(u)), -1)
        for number, directions in enumerate(self._maps):
            rows = (self._map_of[views] == number).nonzero(as_tuple=True)[0]
            local[rows] = directions[place[rows]]
        color = self.rgba[flat].float() / 255
        depth = None if self.depth is None else self.depth[flat].to(self.device)
        return RayBatch(
            views.to(self.device),
            local.to(self.device),
            color[:, :3].to(self.device),
            color[:, 3].to(self.device),
            depth,
        )


def _direction_maps(views: Sequence[View]) -> tuple[list[Tensor], Tensor]:
    """Return the local directions [H·W, 3] of each distorting lens, and the index of that of each view (−1: pinhole).
    Equal cameras share one map."""
    maps: list[Tensor] = []
    known: dict[object, int] = {}
    which = []
    for view in views:
        if view.lens.model == "pinhole":
            which.append(-1)
            continue
        camera = view.camera
        key = (view.lens, camera.width, camera.height, tuple(camera.intrinsics.reshape(-1).tolist()))
        if key not in known:
            known[key] = len(maps)
            x, y = torch.meshgrid(torch.arange(camera.width), torch.arange(camera.height), indexing="xy")
            pixels = torch.stack((x, y), -1).reshape(-1, 2).float() + 0.5
            maps.append(camera_directions(camera.intrinsics.float(), view.lens, pixels))
        which.append(known[key])
    return maps, torch.tensor(which)
