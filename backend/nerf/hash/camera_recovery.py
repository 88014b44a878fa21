"""Recovery of cameras that pose refinement lost: those whose images the scene explains far worse than the others."""

from __future__ import annotations

import torch

from ..cameras.alignment import at_pose, photometric_error, relocalize
from ..cameras.poses import UNCERTAINTY, PoseRefinement
from ..datasets import View
from ..evaluate import background_of
from ..fit.background_color import background_color
from ..fit.rays import TrainingRays
from .scene import HashScene


def recover_lost_cameras(
    scene: HashScene, views: tuple[View, ...], rays: TrainingRays, refinement: PoseRefinement, background: str
) -> None:
    """Relocalize outliers, cameras whose photometric error is above `PoseRefinement.outlier` × the median, around
    their given poses, at most a tenth of the cameras at once. A camera is moved where that halves its error.

    background: of the fit.
    """
    device = rays.device
    images = [rays.image(number) for number in range(len(views))]
    backgrounds = [background_of(image, "black", background_color(background)) for image in images]

    def error_at(number: int, pose: torch.Tensor) -> float:
        view = at_pose(views[number], pose)
        return photometric_error(scene, view, images[number], device, background=backgrounds[number])

    errors = torch.tensor([error_at(number, pose) for number, pose in enumerate(refinement.cameras().detach())])
    lost = (errors > refinement.outlier * errors.nanmedian()).nonzero()[:, 0].tolist()
    for number in sorted(lost, key=lambda n: -errors[n])[: max(1, len(views) // 10)]:
        view = at_pose(views[number], refinement.given(number))
        found = relocalize(
            scene, view, images[number], device, spread=UNCERTAINTY / 2, background=backgrounds[number]
        ).camera.world_from_camera
        if error_at(number, found) < errors[number] / 2:
            refinement.place(number, found)
