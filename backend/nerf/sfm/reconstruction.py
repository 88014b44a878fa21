"""Photographs or a video to cameras: structure from motion by COLMAP (pycolmap), on the CPU.

    reconstruct(source, out, options, progress) -> Reconstruction

finds the cameras of a folder of photographs, or of the sharpest frames of a video, and writes a standard data set to
`out`: transforms.json, images/ and sparse_points.ply. Structure from motion knows neither scale nor which way is up, so
the result is rotated and scaled (`upright`); the transform and its inverse are kept in transforms.json.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from addon.wire.errors import CannotWrite, NotSupported, Remedy, UnreadableFile, UnusableDataset

from ...cameras import Camera
from ...progress import Progress, part, silent
from .. import datasets
from ..datasets import Dataset, View, colmap
from ..datasets.images import EXTENSIONS
from .colmap_process import solve
from .options import SfmOptions
from .photographs import HEIC, Gathered, copy_photographs, sample_frames
from .report import HealthReport, ImageHealth, advice_for, coverage
from .upright import transformed, upright

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reconstruction:
    """The data set as written and read back, the report, and how the world was aligned."""

    dataset: Dataset
    report: HealthReport
    world_from_reconstruction: np.ndarray  # [4, 4]: rotation, uniform scale, translation


def reconstruct(
    source: Path, out: Path, options: SfmOptions | None = None, progress: Progress = silent
) -> Reconstruction:
    """Find the cameras of photographs (a folder) or of a video (a file) and write a data set to the folder `out`.

    World: Z up, the center of what the cameras look at in the origin, the camera of median distance 2 m away from it,
    the first camera on the −Y side.

    Raises:
        UnusableDataset: too few photographs, or none that belong together.
        UnreadableFile: a photograph or the video is damaged, or not there.
        CannotWrite: `out` is there already and not empty, or cannot be written.
        NotSupported: pycolmap is not installed.
        Cancelled: as `progress` says; nothing is left behind.
    """
    if importlib.util.find_spec("pycolmap") is None:
        raise NotSupported(
            "Finding cameras needs the package pycolmap, which is not installed here.",
            remedy=Remedy("set_up", "Set Up"),
        )
    options = options or SfmOptions()
    source, out = source.absolute(), out.absolute()  # the solver runs in a folder of its own
    started = time.perf_counter()
    if not source.exists():
        raise UnreadableFile(f"There is no folder or video {source}: give a folder of photographs, or a video.")
    if source.is_file() and source.suffix.lower() in (*EXTENSIONS, *HEIC):
        raise UnusableDataset(f"{source.name} is one image: give the folder that holds it with the others, or a video.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotWrite(f"{out} is there already and not empty: choose a new folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise CannotWrite(f"{out.parent} cannot be written ({error.strerror}): choose another folder.") from error
    try:
        images = work / "dataset" / "images"
        images.mkdir(parents=True)
        video = source.is_file()
        gathered = part(progress, 0.0, 0.15)
        found_images = (sample_frames if video else copy_photographs)(source, images, options, gathered)
        sharpness = found_images.sharpness
        models = solve(work, images, options, video, part(progress, 0.15, 0.95), sorted(sharpness))
        progress(0.95, "Aligning the world")
        found = _written(work / "dataset", models, found_images, started)
        with suppress(FileNotFoundError):
            out.rmdir()
        os.replace(work / "dataset", out)
    except OSError as error:
        raise CannotWrite(f"{out} cannot be written ({error}): free some space or choose another folder.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report, matrix = found
    log.info("sfm: %d of %d images posed in %.1f s", report.posed, report.images, report.seconds)
    return Reconstruction(datasets.open_dataset(out), report, matrix)


def _written(
    folder: Path, models: list[colmap.Model], gathered: Gathered, started: float
) -> tuple[HealthReport, np.ndarray]:
    """Write the data set of the largest model; return the report and world_from_reconstruction."""
    model, sharpness = models[0], gathered.sharpness
    posed = sorted(model.images, key=lambda image: image.name)
    poses = np.stack([image.world_from_camera() for image in posed])
    cloud = model.points
    assert cloud is not None
    sure = cloud.track_lengths >= 3 if (cloud.track_lengths >= 3).any() else cloud.track_lengths > 0
    points, colors = cloud.xyz[sure], cloud.rgb[sure]
    aligned = upright(poses, points)
    poses = transformed(aligned.matrix, poses)
    points = points @ aligned.matrix[:3, :3].T + aligned.matrix[:3, 3]

    views = []
    for image, pose in zip(posed, poses, strict=True):
        stored = model.cameras[image.camera]
        intrinsics, lens = colmap.camera_model(stored.model, stored.parameters)
        camera = Camera(
            torch.tensor(pose, dtype=torch.float32),
            torch.tensor(intrinsics, dtype=torch.float32),
            stored.width,
            stored.height,
            lens=lens,
        )
        views.append(View(f"images/{image.name}", camera, folder / "images" / image.name))
    seen = {image.name: image.points for image in posed}
    for name in sharpness.keys() - seen.keys():
        (folder / "images" / name).unlink()
    per_image = tuple(
        ImageHealth(name, name in seen, seen.get(name, 0), sharp) for name, sharp in sorted(sharpness.items())
    )
    gap, elevation = coverage(poses)
    report = HealthReport(
        images=len(per_image),
        posed=len(posed),
        models=len(models),
        points=len(points),
        mean_reprojection_error=float(np.average(cloud.errors, weights=cloud.track_lengths)),
        points_per_image=float(np.median(list(seen.values()))),
        largest_gap_degrees=gap,
        elevation_degrees=elevation,
        up_from=aligned.up_from,
        per_image=per_image,
        advice=(),
        warnings=gathered.warnings,
        seconds=time.perf_counter() - started,
    )
    report = dataclasses.replace(report, advice=(*gathered.warnings, *advice_for(report)))
    extra = {
        "world_from_reconstruction": aligned.matrix.tolist(),
        "reconstruction_from_world": np.linalg.inv(aligned.matrix).tolist(),
        "health": report.to_dict(),
    }
    datasets.write_transforms(folder, datasets.with_splits(views), points=points, colors=colors, extra=extra)
    return report, aligned.matrix
