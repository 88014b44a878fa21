"""COLMAP models, text and binary, after the published description of the format (colmap.github.io/format.html).

A model is three files: cameras, images and points3D. Images are stored with world-to-camera poses (a quaternion w x y z
and a translation) and OpenCV camera axes. Binary files are little-endian; every length in them is checked against the
bytes that are there.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from addon.wire.errors import UnreadableFile, UnusableDataset
from addon.wire.messages import MAX_NUMBER
from backend.nerf.datasets.lens import Lens

from . import checks
from .views import Dataset, View, with_splits

PLACES = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", ".")  # of the model in the folder
IMAGE_FOLDERS = ("images", "input", ".")

_POINT2D = np.dtype([("xy", "<f8", 2), ("number", "<i8")])
_POINT3D = np.dtype([("xyz", "f8", 3), ("rgb", "u1", 3), ("error", "f8"), ("track", "i8")])

# number -> (name, count of parameters)
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}


@dataclass(frozen=True)
class StoredCamera:
    """A camera as COLMAP stores it; parameters in the order of its model."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class StoredImage:
    """An image with its pose as COLMAP stores it."""

    rotation: tuple[float, ...]  # quaternion w x y z, camera from world
    translation: tuple[float, ...]
    camera: int
    name: str
    points: int  # how many 3D points it sees

    def world_from_camera(self) -> np.ndarray:
        """Return the pose [4, 4].

        Raises:
            UnusableDataset: the rotation is zero or not finite.
        """
        w, x, y, z = self.rotation
        length = math.hypot(w, x, y, z)
        if not math.isfinite(length) or length < 1e-9:
            raise UnusableDataset(f"The pose of {self.name} is not finite or has no rotation: solve the cameras again.")
        w, x, y, z = (value / length for value in self.rotation)
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        found = np.eye(4)
        found[:3, :3] = rotation.T
        found[:3, 3] = -rotation.T @ np.array(self.translation)
        return found


@dataclass(frozen=True)
class Cloud:
    """Finite points of a model."""

    xyz: np.ndarray  # float32 [N, 3]
    rgb: np.ndarray  # uint8 [N, 3]
    errors: np.ndarray  # float [N]: mean reprojection error, pixels
    track_lengths: np.ndarray  # int [N]: images that see it


@dataclass(frozen=True)
class Model:
    """A COLMAP model."""

    cameras: dict[int, StoredCamera]
    images: list[StoredImage]
    points: Cloud | None


def find(folder: Path) -> Path | None:
    """Return the folder of the model, or None where there is none."""
    for place in PLACES:
        if any((folder / place / f"cameras.{end}").is_file() for end in ("bin", "txt")):
            return Path(os.path.normpath(folder / place))
    return None


def read_model(folder: Path) -> Model:
    """Read the three files of a model, binary or text.

    Raises:
        UnreadableFile: a file is missing, truncated or damaged.
        UnusableDataset: an unsupported camera model.
    """
    if (folder / "cameras.bin").is_file():
        end, cameras, images, points = "bin", _binary_cameras, _binary_images, _binary_points
    else:
        end, cameras, images, points = "txt", _text_cameras, _text_images, _text_points
    cloud = folder / f"points3D.{end}"
    return Model(
        cameras(folder / f"cameras.{end}"),
        list(images(folder / f"images.{end}")),
        points(cloud) if cloud.is_file() else None,
    )


def read(folder: Path, place: Path, *, flip_axes: bool = False) -> Dataset:
    """Read the COLMAP model in `place` with the images in `folder`. See `open_dataset`."""
    model = read_model(place)
    cameras, images = model.cameras, sorted(model.images, key=lambda image: image.name)
    points, colors = (model.points.xyz, model.points.rgb) if model.points else (None, None)
    checks.enough(len(images), folder)
    folder_of_images = _image_folder(folder, images[0].name)
    views: list[View] = []
    poses: list[np.ndarray] = []
    resized = 0
    for index, image in enumerate(images):
        if image.camera not in cameras:
            raise UnusableDataset(f"The image {image.name} names camera {image.camera}, which the COLMAP model lacks.")
        stored = cameras[image.camera]
        intrinsics, lens = camera_model(stored.model, stored.parameters)
        pose, _ = checks.rigid(image.name, image.world_from_camera())
        pose = pose @ checks.GL_FROM_CV if flip_axes else pose
        path = _inside(folder_of_images, image.name)
        size = (stored.width, stored.height)
        camera, was_resized = checks.camera_of(image.name, pose, intrinsics, size, path)
        resized += was_resized
        mask = folder / "masks" / f"{image.name}.png"
        views.append(View(image.name, camera, path, lens=lens, mask=mask if mask.is_file() else None, appearance=index))
        poses.append(pose)
    warnings = checks.camera_warnings(poses, points, 0, resized)
    return Dataset(folder, "colmap", with_splits(views), points, colors, warnings=tuple(warnings))


def camera_model(name: str, parameters: tuple[float, ...]) -> tuple[np.ndarray, Lens]:
    """Return intrinsics [3, 3] and lens of a COLMAP camera.

    Raises:
        UnusableDataset: a model with distortions that `Lens` lacks.
    """
    single = name.startswith("SIMPLE_") or name in ("RADIAL", "RADIAL_FISHEYE")  # one focal length
    counts = dict(MODELS.values())
    if name not in counts:
        raise _unknown(name)
    if len(parameters) != counts[name]:
        raise UnreadableFile(f"A COLMAP camera of model {name} has {len(parameters)} parameters, not {counts[name]}.")
    values = list(parameters)
    fx, fy = values[0], values[0 if single else 1]
    cx, cy, *coefficients = values[1:] if single else values[2:]
    if name in ("SIMPLE_PINHOLE", "PINHOLE"):
        lens = Lens()
    elif name in ("SIMPLE_RADIAL", "RADIAL"):
        lens = Lens("opencv", (coefficients[0], coefficients[1] if len(coefficients) > 1 else 0.0, 0.0, 0.0))
    elif name == "OPENCV" or (name == "FULL_OPENCV" and not any(coefficients[5:])):
        k3 = coefficients[4] if len(coefficients) > 4 else 0.0
        lens = Lens("opencv", (coefficients[0], coefficients[1], k3, 0.0), (coefficients[2], coefficients[3]))
    elif name in ("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        lens = Lens("fisheye", (coefficients[0], coefficients[1] if len(coefficients) > 1 else 0.0, 0.0, 0.0))
    elif name == "OPENCV_FISHEYE":
        lens = Lens("fisheye", (coefficients[0], coefficients[1], coefficients[2], coefficients[3]))
    elif name == "THIN_PRISM_FISHEYE" and not any(coefficients[index] for index in (2, 3, 6, 7)):
        lens = Lens("fisheye", (coefficients[0], coefficients[1], coefficients[4], coefficients[5]))
    else:
        raise _unknown(name)
    if not all(np.isfinite(parameters)):
        raise UnusableDataset(f"A COLMAP camera of model {name} has parameters that are not finite: solve it again.")
    lens = Lens() if lens.is_pinhole else lens
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=np.float64), lens


def _unknown(name: str) -> UnusableDataset:
    return UnusableDataset(
        f"The COLMAP camera model {name[:60]} is not read: undistort the images (colmap image_undistorter) or solve "
        "with PINHOLE, RADIAL, OPENCV or OPENCV_FISHEYE."
    )


def _image_folder(folder: Path, name: str) -> Path:
    """Return the folder that holds the first image; `images` where none does, so that the error names it."""
    for place in IMAGE_FOLDERS:
        if _inside(folder / place, name).is_file():
            return folder / place
    return folder / "images"


def _inside(folder: Path, name: str) -> Path:
    path = Path(os.path.normpath(folder / name))
    if "\0" in name or not path.is_relative_to(os.path.normpath(folder)):
        raise UnusableDataset(f"The COLMAP model names the image {name[:200]!r}, which lies outside its folder.")
    return path


# --------------------------------------------------------------------------------------------------------------- binary


class _Bytes:
    """A binary file read forward, with its bounds checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = _read(path)
        self.at = 0

    def fail(self) -> NoReturn:
        raise UnreadableFile(f"{self.path.name} of the COLMAP model is truncated or damaged: copy or solve it again.")

    def take(self, form: str) -> tuple[Any, ...]:
        """Return the next values of a struct format."""
        size = struct.calcsize("<" + form)
        self.skip(size)
        return struct.unpack_from("<" + form, self.data, self.at - size)

    def skip(self, size: int) -> None:
        """Advance by `size` bytes."""
        if size < 0 or size > len(self.data) - self.at:
            self.fail()
        self.at += size

    def count(self, smallest: int) -> int:
        """Return the next uint64, a number of records of at least `smallest` bytes each."""
        (count,) = self.take("Q")
        if count * smallest > len(self.data) - self.at:
            self.fail()
        return int(count)

    def text(self) -> str:
        """Return the next string, which ends with a zero byte."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            self.fail()
        raw = self.data[self.at : end]
        self.at = end + 1
        return raw.decode("utf-8", errors="replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(
            f"{path.name} of the COLMAP model cannot be read ({error.strerror}): a model is cameras, images, points3D "
            "side by side, all .bin or all .txt. Copy the whole model."
        ) from None


def _binary_cameras(path: Path) -> dict[int, StoredCamera]:
    file = _Bytes(path)
    found = {}
    for _ in range(file.count(48)):
        number, model, width, height = file.take("iiQQ")
        if model not in MODELS:
            raise _unknown(f"number {model}")
        name, count = MODELS[model]
        found[int(number)] = StoredCamera(name, int(width), int(height), file.take(f"{count}d"))
    return found


def _binary_images(path: Path) -> Iterator[StoredImage]:
    file = _Bytes(path)
    for _ in range(file.count(73)):
        _, *pose, camera = file.take("I7dI")
        name = file.text()
        count = file.count(_POINT2D.itemsize)
        file.skip(count * _POINT2D.itemsize)
        points = np.frombuffer(file.data, _POINT2D, count, file.at - count * _POINT2D.itemsize)
        yield StoredImage(tuple(pose[:4]), tuple(pose[4:]), int(camera), name, int((points["number"] >= 0).sum()))


def _binary_points(path: Path) -> Cloud:
    file = _Bytes(path)
    rows = np.empty(file.count(51), _POINT3D)
    for index in range(len(rows)):
        _, *xyz, r, g, b, error = file.take("Q3d3Bd")
        track = file.count(8)  # image, index of the 2D point
        file.skip(8 * track)
        rows[index] = (xyz, (r, g, b), error, track)
    return _cloud(rows)


def _cloud(rows: np.ndarray) -> Cloud:
    rows = rows[np.isfinite(rows["xyz"]).all(-1) & (np.abs(rows["xyz"]) < MAX_NUMBER).all(-1)]
    return Cloud(rows["xyz"].astype(np.float32), rows["rgb"].copy(), rows["error"].copy(), rows["track"].copy())


# ----------------------------------------------------------------------------------------------------------------- text


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file without comments; empty ones stay: they mean an image without points."""
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path.name} of the COLMAP model is not text: copy or solve it again.") from error
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def _wrong(path: Path, line: str) -> UnreadableFile:
    return UnreadableFile(f"{path.name} of the COLMAP model has an invalid line: {line[:80]!r}.")


def _text_cameras(path: Path) -> dict[int, StoredCamera]:
    found = {}
    for line in filter(None, _lines(path)):
        try:
            number, model, width, height, *parameters = line.split()
            found[int(number)] = StoredCamera(model, int(width), int(height), tuple(map(float, parameters)))
        except ValueError:
            raise _wrong(path, line) from None
        if len(parameters) < 3:
            raise _wrong(path, line)
    return found


def _text_images(path: Path) -> Iterator[StoredImage]:
    lines = _lines(path)
    while lines and not lines[-1]:  # the last image's points may be an empty line: any number of those at the end
        lines.pop()
    for line, seen in zip_longest(lines[::2], lines[1::2], fillvalue=""):
        try:
            _, *pose, camera, name = line.split(maxsplit=9)
            numbers = tuple(map(float, pose))
            points = sum(number != "-1" for number in seen.split()[2::3])
            yield StoredImage(numbers[:4], numbers[4:], int(camera), name, points)
        except ValueError:
            raise _wrong(path, line) from None
        if len(numbers) != 7:
            raise _wrong(path, line)


def _text_points(path: Path) -> Cloud:
    rows = []
    for line in filter(None, _lines(path)):
        try:
            _, x, y, z, r, g, b, error, *track = line.split()
            color = (int(r) & 255, int(g) & 255, int(b) & 255)
            rows.append(((float(x), float(y), float(z)), color, float(error), len(track) // 2))
        except ValueError:
            raise _wrong(path, line) from None
    return _cloud(np.array(rows, _POINT3D))
