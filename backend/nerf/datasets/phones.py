"""Captures of phones: Polycam's raw data and Record3D's export.

Both are ARKit's: camera-to-world poses with OpenGL camera axes, in a world with Y up and in metres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from addon.wire.errors import UnusableDataset

from ...files import read_json
from . import checks
from .images import EXTENSIONS
from .shots import Shot, dataset_of, fixed, with_flipped_axes
from .views import Dataset

Z_UP_FROM_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])

POLYCAM = (("corrected_cameras", "corrected_images"), ("cameras", "images"))
"""Folders below keyframes/ with cameras and their images; the first are optimised."""
RECORD3D = ("rgb", "rgbd")


def find(folder: Path) -> Path | None:
    """Return the folder of Polycam's cameras or Record3D's metadata.json, or None."""
    for cameras, _ in POLYCAM:
        if any((folder / "keyframes" / cameras).glob("*.json")):
            return folder / "keyframes" / cameras
    metadata = folder / "metadata.json"
    return metadata if metadata.is_file() and any((folder / name).is_dir() for name in RECORD3D) else None


def read(folder: Path, found: Path, *, flip_axes: bool = False) -> Dataset:
    """Read what `find` found. See `open_dataset`."""
    shots = _polycam(folder, found) if found.is_dir() else _record3d(folder, found)
    kind = "polycam" if found.is_dir() else "record3d"
    if flip_axes:
        shots = with_flipped_axes(shots)
    return dataset_of(folder, kind, shots, hold_back=True)


def _intrinsics(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _pose(opengl: np.ndarray) -> np.ndarray:
    return np.asarray(checks.flipped(Z_UP_FROM_Y_UP @ opengl), np.float64)


def _polycam(folder: Path, cameras: Path) -> list[Shot]:
    """Return a shot for each camera: fx fy cx cy width height, and t_00 … t_23, the rows of its pose."""
    images = folder / "keyframes" / dict(POLYCAM)[cameras.name]
    shots = []
    for file in sorted(cameras.glob("*.json")):
        data = read_json(file)
        try:
            pose = np.eye(4)
            pose[:3] = [[float(data[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
            intrinsics = _intrinsics(*(float(data[key]) for key in ("fx", "fy", "cx", "cy")))
            size = int(data["width"]), int(data["height"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UnusableDataset(f"{file.name} is not a camera of Polycam's raw data: {error} is missing.") from error
        depth = folder / "keyframes" / "depth" / f"{file.stem}.png"
        shots.append(
            Shot(
                f"{file.stem}.jpg", images / f"{file.stem}.jpg", _pose(pose), fixed(intrinsics), size,
                depth=depth if depth.is_file() else None, depth_scale=1e-3,
            )
        )  # fmt: skip
    return shots


def _record3d(folder: Path, file: Path) -> list[Shot]:
    """Return a shot for each pose of metadata.json: a quaternion x y z w and a position. K is stored by columns."""
    data = read_json(file)
    images = next(folder / name for name in RECORD3D if (folder / name).is_dir())
    try:
        poses = np.array(data["poses"], np.float64).reshape(-1, 7)
        rotations = Rotation.from_quat(poses[:, :4]).as_matrix()
        k = np.array(data["K"], np.float64).reshape(3, 3).T
        each = _each(data, len(poses))
        size = int(data["w"]), int(data["h"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnusableDataset(f"{file.name} is not Record3D's: {error}.") from error
    shots = []
    for index, (rotation, position) in enumerate(zip(rotations, poses[:, 4:], strict=True)):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, position
        intrinsics = k if each is None else _intrinsics(*each[index])
        paths = (images / f"{index}{end}" for end in EXTENSIONS)
        path = next((p for p in paths if p.is_file()), images / f"{index}.jpg")
        shots.append(Shot(path.name, path, _pose(pose), fixed(intrinsics), size))
    return shots


def _each(data: dict[str, Any], count: int) -> np.ndarray | None:
    """Return the intrinsics fx, fy, cx, cy of each frame, where the file has them."""
    each = data.get("perFrameIntrinsicCoeffs")
    return np.array(each, np.float64).reshape(count, 4) if each else None
