"""COLMAP models, text and binary, after the published description of the format (colmap.github.io/format.html).

A model is three files: cameras, images and points3D. Images are stored with world-to-camera poses (a quaternion w x y z
and a translation) and OpenCV camera axes. Binary files are little-endian; every length in them is checked against the
bytes that are there.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from addon.wire.errors import UnreadableFile, UnusableDataset
from addon.wire.messages import MAX_NUMBER, Lens
from meshing.images import NotAnImage, open_regular, reason

from . import checks
from .images import EXTENSIONS
from .shots import Shot, dataset_of, fixed
from .views import Dataset

PLACES = ("sparse", "colmap/sparse", ".", "colmap", "colmap_text", "sparse_text", "text")
"""Folders that hold a model, or, each in a folder of its own, the models that COLMAP's mapper could not connect."""
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
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
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

    xyz: np.ndarray  # float64 [N, 3]
    rgb: np.ndarray  # uint8 [N, 3]
    errors: np.ndarray  # float [N]: mean reprojection error, pixels
    track_lengths: np.ndarray  # int [N]: images that see it


@dataclass(frozen=True)
class Model:
    """A COLMAP model."""

    cameras: dict[int, StoredCamera]
    images: list[StoredImage]
    points: Cloud | None


def find(folder: Path) -> list[Path]:
    """Return the folders of the models of the first place that has some."""
    for place in PLACES:
        root = folder / place
        numbered = sorted(path for path in root.glob("*") if path.name.isdigit()) if place.endswith("sparse") else []
        if found := [path for path in (*numbered, root) if _is_model(path)]:
            return [Path(os.path.normpath(path)) for path in found]
    return []


def _is_model(folder: Path) -> bool:
    return any((folder / f"cameras.{end}").is_file() for end in ("bin", "txt"))


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


def read(folder: Path, places: Sequence[Path], *, flip_axes: bool = False) -> Dataset:
    """Read the largest of the COLMAP models in `places` with the images in `folder`. See `open_dataset`."""
    models = sorted(((read_model(place), place) for place in places), key=lambda found: -len(found[0].images))
    (model, place), others = models[0], models[1:]
    images = sorted(model.images, key=lambda image: image.name)
    checks.enough(len(images), folder)
    folder_of_images = _image_folder(folder, images[0].name)
    cloud = model.points
    return dataset_of(
        folder,
        "colmap",
        [_shot(folder, folder_of_images, image, model.cameras, flip_axes) for image in images],
        points=cloud.xyz if cloud else None,
        colors=cloud.rgb if cloud else None,
        warnings=[*_smaller_models(place, images, others), *_without_cameras(folder_of_images, images)],
        hold_back=True,
    )


def _shot(
    folder: Path, folder_of_images: Path, image: StoredImage, cameras: dict[int, StoredCamera], flip_axes: bool
) -> Shot:
    if image.camera not in cameras:
        raise UnusableDataset(f"The image {image.name} names camera {image.camera}, which the COLMAP model lacks.")
    stored = cameras[image.camera]
    intrinsics, lens = camera_model(stored.model, stored.parameters)
    pose = image.world_from_camera()
    mask = folder / "masks" / f"{image.name}.png"
    return Shot(
        image.name,
        _inside(folder_of_images, image.name),
        checks.flipped(pose) if flip_axes else pose,
        fixed(intrinsics),
        (stored.width, stored.height),
        lens,
        mask=mask if mask.is_file() else None,
    )


def _smaller_models(place: Path, images: list[StoredImage], others: list[tuple[Model, Path]]) -> list[str]:
    if not others:
        return []
    listed = ", ".join(f"{other.name} with {len(model.images)}" for model, other in others)
    return [
        f"COLMAP could not connect all images: the model {place.name} with {len(images)} images is used, {listed} is "
        "left out. Take more photographs between the groups."
    ]


def _without_cameras(folder: Path, images: list[StoredImage]) -> list[str]:
    """Return a warning for images in the folder that the model has no camera of."""
    if folder.name not in IMAGE_FOLDERS[:2] or not folder.is_dir():
        return []
    known = {_inside(folder, image.name) for image in images}
    there = {path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file()}
    if unknown := sorted(path.relative_to(folder).as_posix() for path in there - known):
        named = ", ".join(unknown[:3]) + (" …" if len(unknown) > 3 else "")
        return [
            f"{len(known)} of {len(there | known)} images are used: COLMAP found no camera of the others ({named})."
        ]
    return []


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
    if not all(abs(value) <= MAX_NUMBER for value in parameters):  # NaN is not
        raise UnusableDataset(f"A COLMAP camera of model {name} has parameters that are not finite: solve it again.")
    if name == "EQUIRECTANGULAR":
        raise _unknown(name)
    values = list(parameters)
    fx, fy = values[0], values[0 if single else 1]
    cx, cy, *coefficients = values[1:] if single else values[2:]
    if name in ("SIMPLE_PINHOLE", "PINHOLE"):
        lens = Lens()
    elif name in ("SIMPLE_RADIAL", "RADIAL"):
        lens = Lens("opencv", (coefficients[0], coefficients[1] if len(coefficients) > 1 else 0.0, 0.0, 0.0))
    elif name in ("OPENCV", "FULL_OPENCV"):
        k1, k2, p1, p2, k3, d1, d2, d3 = (*coefficients, 0.0, 0.0, 0.0, 0.0)[:8]
        lens = Lens("opencv", (k1, k2, k3, 0.0), (p1, p2), (d1, d2, d3))
    elif name in ("SIMPLE_FISHEYE", "FISHEYE"):
        lens = Lens("fisheye")
    elif name in ("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        lens = Lens("fisheye", (coefficients[0], coefficients[1] if len(coefficients) > 1 else 0.0, 0.0, 0.0))
    elif name == "OPENCV_FISHEYE":
        lens = Lens("fisheye", (coefficients[0], coefficients[1], coefficients[2], coefficients[3]))
    elif name == "THIN_PRISM_FISHEYE" and not any(coefficients[index] for index in (2, 3, 6, 7)):
        lens = Lens("fisheye", (coefficients[0], coefficients[1], coefficients[4], coefficients[5]))
    else:
        raise _unknown(name)
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
    """Return the path of an image; models that were made on Windows have backslashes in their names."""
    path = Path(os.path.normpath(folder / name.replace("\\", "/")))
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
        with open_regular(path) as file:
            return file.read()
    except (OSError, NotAnImage) as error:
        raise UnreadableFile(
            f"{path.name} of the COLMAP model cannot be read ({reason(error)}): a model is cameras, images, points3D "
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
    return Cloud(rows["xyz"].copy(), rows["rgb"].copy(), rows["error"].copy(), rows["track"].copy())


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
    """Yield the images. Each is followed by a line of its 2D points, which files with known poses often leave out."""
    lines = iter([*_lines(path), ""])
    line = next(lines)
    while True:
        try:
            while not line:
                line = next(lines)
        except StopIteration:
            return
        try:
            _, *pose, camera, name = line.split(maxsplit=9)
            numbers = tuple(map(float, pose))
            seen = next(lines, "")
            line = seen if _is_image(seen) else next(lines, "")
            points = 0 if line is seen and seen else sum(number != "-1" for number in seen.split()[2::3])
            yield StoredImage(numbers[:4], numbers[4:], int(camera), name, points)
        except ValueError:
            raise _wrong(path, line) from None
        if len(numbers) != 7:
            raise _wrong(path, line)


def _is_image(line: str) -> bool:
    """Return whether a line is that of an image, and not of points, which are numbers alone."""
    parts = line.split(maxsplit=9)
    if len(parts) < 10:
        return False
    try:
        float(parts[9].split()[0])
    except ValueError:
        return True
    return False


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
