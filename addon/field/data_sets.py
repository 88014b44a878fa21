"""Data sets on disk: the files to upload for a fit, and data sets written from its results. Does not import bpy.

The cameras are parsed by the backend; this module only lists the files. Paths within a data set are relative, with
forward slashes, as on the wire.
"""

from __future__ import annotations

import json
import math
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..link.client import Client
from ..wire import errors
from ..wire.messages import MAX_FILES, SfmResult

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
COLMAP = ("cameras", "images", "points3D")
TRANSFORMS = "transforms*.json"
OTHER_IMAGES = re.compile(r"(masks?|depths?|depth_maps?|normals?|semantics?|segmentations?|images?_\d+|\..*)", re.I)
"""Names of folders in which data sets keep other images, or downscaled copies, and of hidden files."""
UNUSED = "normal_file_path"  # a fit does not use normals

Report = Callable[[float, str], None]


def files_of(folder: Path) -> list[str]:
    """Return the files of a data set that a fit needs.

    These are each transforms.json and the files it names, or the COLMAP model and all images except downscaled copies
    (images_2 and so on). Raises UnusableDataset, UnreadableFile.
    """
    if not folder.is_dir():
        raise errors.UnusableDataset(f"There is no folder {folder}: choose the folder that holds the data set")
    found = sorted(_transforms(folder))
    try:
        chosen = found + sorted(_named(folder, found)) if found else sorted(_colmap(folder))
    except OSError as error:
        raise errors.UnreadableFile(f"{folder} cannot be read: {error.strerror or error}") from error
    if not chosen:
        raise errors.UnusableDataset(
            f"{folder} holds no cameras: choose a folder with a transforms.json or a COLMAP model. For photographs "
            "without cameras choose the source Photos"
        )
    return _limited(list(dict.fromkeys(chosen)))


def _transforms(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.glob(TRANSFORMS) if path.is_file())


def _named(folder: Path, transforms: Iterable[str]) -> Iterator[str]:
    """Yield the files named in transforms: images with or without suffix, masks, depths, points."""
    for name in transforms:
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8-sig"))
        except ValueError:
            continue  # it is uploaded, and the backend reports the error
        for given in _paths(content):
            path = PurePosixPath(posixpath.normpath(given.replace("\\", "/")))
            if path.is_absolute() or ".." in path.parts:
                continue
            mask = path.with_name(f"dynamic_mask_{path.stem}.png")  # instant-ngp finds these by name
            whole = [str(path), *(f"{path}{suffix}" for suffix in IMAGES)]
            there = next((name for name in whole if (folder / name).is_file()), None)
            yield from (name for name in (there, str(mask)) if name and (folder / name).is_file())


def _paths(content: Any) -> Iterator[str]:
    """Yield the values of all keys that end in "path", except UNUSED."""
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str) and key.endswith("path") and value and key != UNUSED:
                yield value
            else:
                yield from _paths(value)
    elif isinstance(content, list):
        for value in content:
            yield from _paths(value)


def _colmap(folder: Path) -> Iterator[str]:
    models = [path for path in folder.rglob("*") if path.stem in COLMAP and path.suffix in (".txt", ".bin")]
    if not any(path.stem == "images" for path in models):
        return
    for path in (*models, *folder.rglob("*")):
        inside = path.relative_to(folder)
        copies = any(part.startswith(("images_", ".")) for part in inside.parts)
        if path.is_file() and not copies and (path in models or path.suffix.lower() in IMAGES):
            yield inside.as_posix()


def photographs(path: Path) -> tuple[Path, list[str]]:
    """Return a folder and the paths of the photographs in it and below it, or the name of the one video in it.

    path: the folder, the video, or any photograph in the folder. Raises UnusableDataset.
    """
    if path.is_file() and path.suffix.lower() in VIDEOS:
        return path.parent, [path.name]
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise errors.UnusableDataset(f"There is no file or folder {path}: choose a folder of photographs, or a video")
    found = [p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in IMAGES and p.is_file()]
    names = sorted(p.as_posix() for p in found if not any(OTHER_IMAGES.fullmatch(part) for part in p.parts))
    if names:
        return folder, _limited(names)
    videos = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in VIDEOS)
    if len(videos) == 1:
        return folder, videos
    raise errors.UnusableDataset(
        f"{folder} holds several videos: choose one" if videos else f"{folder} holds no photographs and no video"
    )


def _limited(names: list[str]) -> list[str]:
    if len(names) > MAX_FILES:
        raise errors.UnusableDataset(f"{len(names)} files are too many: the most is {MAX_FILES}. Leave some out")
    return names


def upload(client: Client, folder: Path, names: list[str], check: Callable[[], None], report: Report) -> dict[str, str]:
    """Upload files and return their sha256 by path. Files that the backend has are not sent again."""
    sent = {}
    for index, name in enumerate(names):
        report(index / len(names), f"Sending file {index + 1} of {len(names)}")
        sent[name] = client.upload_file(folder / name, check)
    return sent


def write_posed(client: Client, result: SfmResult, folder: Path, report: Report) -> None:
    """Write photographs with estimated cameras as a data set: a transforms.json and the images it names.

    Raises CannotWrite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, (name, sha256) in enumerate(result.files.items()):
            report(index / max(len(result.files), 1), f"Writing file {index + 1} of {len(result.files)}")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, client.blob_bytes(sha256))
        if "transforms.json" not in result.files:
            _write(folder / "transforms.json", result.transforms.encode())
    except OSError as error:
        raise errors.CannotWrite(f"{folder} cannot be written: {error.strerror or error}") from error


def _write(target: Path, data: bytes | memoryview) -> None:
    """Write a file atomically."""
    partial = target.with_name(target.name + ".part")
    partial.write_bytes(data)
    os.replace(partial, target)


@dataclass(frozen=True)
class GivenCamera:
    """A camera of a data set: world_from_camera [4, 4] with OpenCV axes, and focal length divided by image width."""

    world_from_camera: np.ndarray
    lens: float


def given_cameras(folder: Path) -> dict[str, GivenCamera]:
    """Return the cameras of a data set's transforms by image path. Files that cannot be read are skipped."""
    cameras = {}
    for name in _transforms(folder):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8-sig"))
            for frame in content["frames"]:
                matrix = np.array(frame["transform_matrix"], np.float64)
                if matrix.shape == (4, 4):
                    lens = _lens({**content, **frame})
                    cameras[str(frame["file_path"])] = GivenCamera(matrix @ np.diag([1.0, -1.0, -1.0, 1.0]), lens)
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            continue
    return cameras


def _lens(fields: dict[str, Any]) -> float:
    if "fl_x" in fields and "w" in fields:
        return float(fields["fl_x"]) / float(fields["w"])
    if "camera_angle_x" in fields:
        return 0.5 / math.tan(float(fields["camera_angle_x"]) / 2)
    return 1.0
