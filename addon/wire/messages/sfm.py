"""Task `sfm`: cameras of photos by structure from motion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..checks import MAX_FILES, MAX_IMAGE_SIDE, check_files
from ..errors import InvalidRequest
from ..options import check_options, option


@dataclass(frozen=True)
class SfmRequest:
    """Task `sfm` -> SfmResult: cameras of photos, or of one video, by structure from motion."""

    files: dict[str, str]  # path -> sha256 of the uploaded bytes
    max_size: int = field(
        default=1600,
        metadata=option(
            "Detail",
            "Images are scaled down to this many pixels along the longer side for feature matching. More is slower",
            unit="pixels",
            minimum=128,
            maximum=MAX_IMAGE_SIDE,
        ),
    )
    max_images: int = field(
        default=200,
        metadata=option(
            "Images",
            "Maximum number of images; of a video, or of more photos, this many are taken at equal intervals",
            minimum=2,
            maximum=MAX_FILES,
            soft_maximum=2000,
        ),
    )

    def __post_init__(self) -> None:
        check_files(self.files)
        if not self.files:
            raise InvalidRequest("there are no photos: choose a folder of images, or a video")
        check_options(self)


@dataclass(frozen=True, eq=False)
class SfmResult:
    """Photos with cameras. names: of the posed images, as in the request (frames of a video: as in `transforms`).
    world_from_camera: float32 [N, 4, 4], OpenCV axes; intrinsics: float32 [N, 3, 3], pixels; sizes: int32 [N, 2], width
    and height. points: float32 [P, 3], colors: uint8 [P, 3] sRGB: the sparse model. transforms: the text of a
    transforms.json for the whole data set, images/… beside it. report: JSON with quality measures of the
    reconstruction. The scale is arbitrary: photos alone do not determine it."""

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
