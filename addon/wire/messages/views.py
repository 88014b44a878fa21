"""Task `views`: a data set rendered from a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .common import MAX_FILES, MAX_IMAGE_SIDE, MAX_SEED, check_range
from .scene import SceneRef


@dataclass(frozen=True)
class ViewsRequest:
    """Task `views` -> ViewsResult: pictures of a scene from all over the viewpoints that its model was trained on, as a
    data set that `fit` takes. So a model without a surface gets one."""

    scene: SceneRef
    count: int = 60  # pictures
    size: int = 0  # pixels of their side; 0 = the model's own
    seed: int = 0  # of the viewpoints

    def __post_init__(self) -> None:
        check_range("count", self.count, 4, MAX_FILES - 1)
        if self.size:
            check_range("size", self.size, 16, MAX_IMAGE_SIDE)
        check_range("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True, eq=False)
class ViewsResult:
    """Pictures of a scene as a data set. files: ready for FitRequest.files, with background for FitOptions.background.
    world_from_camera: float32 [N, 4, 4], OpenCV axes, in the scene's own frame, wherever SceneRef moved it."""

    files: dict[str, str]
    world_from_camera: np.ndarray
    background: Literal["auto", "white", "black"] = "auto"
    seconds: float = 0.0
