"""Task `views`: a data set rendered from a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_FILES, MAX_IMAGE_SIDE, MAX_SEED, check_range
from ..options import check_options, option
from .scene import SceneRef


@dataclass(frozen=True)
class ViewsRequest:
    """Task `views` -> ViewsResult: images of a scene from viewpoints sampled over the model's training poses, as a data
    set for `fit`. A radiance field fitted to them gives a model without a surface a mesh."""

    scene: SceneRef
    count: int = field(
        default=60,
        metadata=option(
            "Views", "Number of images to render for the data set", minimum=4, maximum=MAX_FILES - 1, soft_maximum=1000
        ),
    )
    size: int = field(
        default=0,
        metadata=option(
            "Size",
            "Pixels along each side of the images; 0 uses the model's own size",
            unit="pixels",
            minimum=0,
            maximum=MAX_IMAGE_SIDE,
        ),
    )
    seed: int = field(default=0, metadata=option("Seed", "Random seed of the viewpoints", minimum=0, maximum=MAX_SEED))

    def __post_init__(self) -> None:
        check_options(self)
        if self.size:
            check_range("size", self.size, 16, MAX_IMAGE_SIDE)


@dataclass(frozen=True, eq=False)
class ViewsResult:
    """Images of a scene as a data set. files: ready for FitRequest.files, with background for FitOptions.background.
    world_from_camera: float32 [N, 4, 4], OpenCV axes, in the scene's own frame, without SceneRef.world_from_scene."""

    files: dict[str, str]
    world_from_camera: np.ndarray
    background: Literal["auto", "white", "black"] = "auto"
    seconds: float = 0.0
