"""Cameras of photographs of one class of objects, estimated by a pose regressor and written as a data set."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from addon.wire.errors import UnusableDataset
from meshing.images import open_image

from ...cameras import Camera, intrinsics_from_fov
from ...nerf.datasets.transforms import write_transforms
from ...nerf.datasets.views import View
from ...progress import Progress, silent
from ..data.image_folder import read_images
from ..data.report import DataReport
from .pose_regressor import PoseRegressor, estimate_poses


def write_poses(folder: Path, regressor: PoseRegressor, progress: Progress = silent) -> tuple[Path, int]:
    """Estimate the cameras of the images of a folder and write them to its transforms.json.

    The field of view is that of the regressor's training images, over the central square. Returns the file and the
    number of images; those that cannot be read are left out, and cameras that the folder had are replaced.

    Raises:
        UnusableDataset: there is no image.
    """
    read = read_images(folder, 64, min_images=1, progress=progress)
    assert isinstance(read.report, DataReport)
    if not read.report.names:
        raise UnusableDataset(f"{folder} holds no image that can be read.")
    views = []
    for name, pose in zip(read.report.names, estimate_poses(regressor, read.images), strict=True):
        with open_image(folder / name) as file:
            width, height = file.size
        square = min(width, height)
        intrinsics = torch.tensor(intrinsics_from_fov(regressor.fov, square, square))
        intrinsics[0, 2], intrinsics[1, 2] = width / 2, height / 2
        views.append(View(name, Camera(pose, intrinsics, width, height), folder / name))
    extra = {"poses": "estimated by a pose regressor", "fov_degrees": math.degrees(regressor.fov)}
    return write_transforms(folder, views, extra=extra), len(views)
