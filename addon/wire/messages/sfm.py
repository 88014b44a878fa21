"""Task `sfm`: cameras of photos by structure from motion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InvalidRequest
from .common import MAX_FILES, MAX_IMAGE_SIDE, check_files, check_range


@dataclass(frozen=True)
class SfmRequest:
    """Task `sfm` -> SfmResult: the cameras of photographs, or of one video, by structure from motion."""

    files: dict[str, str]  # path -> sha256 of the uploaded bytes
    max_size: int = 1600  # pixels of the longer side that features are sought in
    max_images: int = 200  # of a video, or of more photographs, that many are taken at equal distances

    def __post_init__(self) -> None:
        check_files(self.files)
        if not self.files:
            raise InvalidRequest("there are no photographs to pose: choose a folder of images, or a video")
        check_range("max_size", self.max_size, 128, MAX_IMAGE_SIDE)
        check_range("max_images", self.max_images, 2, MAX_FILES)


@dataclass(frozen=True, eq=False)
class SfmResult:
    """Posed photographs. names: of the posed images, as in the request (frames of a video: as `transforms` names them).
    world_from_camera: float32 [N, 4, 4], OpenCV axes; intrinsics: float32 [N, 3, 3], pixels; sizes: int32 [N, 2], width
    and height. points: float32 [P, 3], colors: uint8 [P, 3] sRGB: the sparse model. transforms: the text of a
    transforms.json for the whole data set, images/… beside it. report: JSON of the model's health. The scale is not
    metres: photographs alone do not know it."""

    names: tuple[str, ...]
    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    sizes: np.ndarray
    points: np.ndarray
    colors: np.ndarray
    transforms: str = ""
    report: str = ""
    files: dict[str, str] = field(default_factory=dict)  # the data set as uploads, ready for FitRequest.files
    seconds: float = 0.0
