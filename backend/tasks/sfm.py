"""Task `sfm`: structure from motion of uploaded photographs or a video, as a data set with cameras."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from addon.wire.errors import InvalidRequest
from addon.wire.messages import SfmRequest, SfmResult

from ..files import cannot_write, temporary_folder
from ..folders import data_folder
from ..nerf.datasets import VIDEOS
from ..nerf.sfm.options import SfmOptions
from ..nerf.sfm.reconstruction import Reconstruction, reconstruct
from ..progress import Progress, part
from .fit_staging import stage_files
from .workspace import Workspace


def sfm(request: SfmRequest, progress: Progress, workspace: Workspace) -> SfmResult:
    """Estimate the cameras of the uploads. The data set's files are kept as uploads, so that `fit` needs no second one.

    Raises:
        BlobMissing, InvalidRequest (a video among other files), and as `reconstruct`.
    """
    started = time.perf_counter()
    place = data_folder() / "sfm"
    try:
        with temporary_folder(place, "photographs") as folder:
            stage_files(request.files, folder / "photographs", workspace.blobs, part(progress, 0.0, 0.02))
            found = reconstruct(
                _source(request, folder / "photographs"),
                folder / "dataset",
                SfmOptions(max_size=request.max_size, max_images=request.max_images),
                part(progress, 0.02, 0.98),
            )
            files = {
                path.relative_to(folder / "dataset").as_posix(): workspace.blobs.put(path.read_bytes())
                for path in sorted((folder / "dataset").rglob("*"))
                if path.is_file()
            }
            transforms = (folder / "dataset" / "transforms.json").read_text(encoding="utf-8")
    except OSError as error:
        raise cannot_write("The data set", place, error) from error
    progress(1.0, "Done")
    return result_of(found, transforms, files, time.perf_counter() - started)


def _source(request: SfmRequest, folder: Path) -> Path:
    """Return the folder of photographs, or the one video in it."""
    videos = [name for name in request.files if Path(name).suffix.lower() in VIDEOS]
    if not videos:
        return folder
    if len(request.files) > 1:
        raise InvalidRequest("Choose photographs or one video, not several videos or both.")
    return folder / videos[0]


def result_of(found: Reconstruction, transforms: str, files: dict[str, str], seconds: float) -> SfmResult:
    """Return a reconstruction as the message."""
    views, dataset = found.dataset.views, found.dataset
    points = np.zeros((0, 3)) if dataset.points is None else dataset.points
    colors = dataset.point_colors
    return SfmResult(
        names=tuple(view.name for view in views),
        world_from_camera=np.stack([view.camera.world_from_camera.numpy() for view in views]).astype(np.float32),
        intrinsics=np.stack([view.camera.intrinsics.numpy() for view in views]).astype(np.float32),
        sizes=np.array([[view.camera.width, view.camera.height] for view in views], np.int32),
        points=np.ascontiguousarray(points, np.float32),
        colors=np.full((len(points), 3), 255, np.uint8) if colors is None else np.ascontiguousarray(colors, np.uint8),
        transforms=transforms,
        report=json.dumps(found.report.to_dict()),
        files=files,
        seconds=seconds,
    )
