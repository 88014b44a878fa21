"""A downscaled data set, for demonstrations and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from . import Dataset, Pixels, View


@dataclass(frozen=True)
class SmallerDataset(Dataset):
    """A data set whose images are downscaled by averaging when they are read. Masks and depths are left out."""

    full: Dataset | None = None

    def load(self, view: View) -> Pixels:
        """See Dataset.load."""
        assert self.full is not None
        pixels = self.full.load(next(other for other in self.full.views if other.name == view.name))
        shape = (view.camera.height, view.camera.width)
        alpha = np.full(pixels.rgb.shape[:2], 255, np.uint8) if pixels.alpha is None else pixels.alpha
        straight = torch.from_numpy(np.concatenate((pixels.rgb, alpha[..., None]), -1)).float().permute(2, 0, 1) / 255
        small = adaptive_avg_pool2d(torch.cat((straight[:3] * straight[3:], straight[3:])), shape)  # premultiplied
        rgb = torch.where(small[3:] > 0, small[:3] / small[3:].clamp(min=1e-6), 0.0).clamp(0, 1)
        bytes_ = (torch.cat((rgb, small[3:])) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
        return Pixels(
            np.ascontiguousarray(bytes_[..., :3]),
            None if pixels.alpha is None else np.ascontiguousarray(bytes_[..., 3]),
        )


def smaller(dataset: Dataset, size: int) -> Dataset:
    """Return the data set with the longer side of each image at most `size` pixels."""

    def shrunk(view: View) -> View:
        scale = min(1.0, size / max(view.camera.width, view.camera.height))
        width, height = (max(1, round(side * scale)) for side in (view.camera.width, view.camera.height))
        return replace(view, camera=view.camera.resized(width, height), mask=None, depth=None)

    return SmallerDataset(
        folder=dataset.folder,
        format=dataset.format,
        views=tuple(shrunk(view) for view in dataset.views),
        points=dataset.points,
        point_colors=dataset.point_colors,
        bounds=dataset.bounds,
        warnings=dataset.warnings,
        full=dataset,
    )
