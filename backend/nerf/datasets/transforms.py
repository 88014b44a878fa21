"""transforms.json as NeRF-synthetic, nerfstudio and instant-ngp write it: read as one format, written as nerfstudio's.

`transform_matrix` is camera-to-world with OpenGL camera axes (y up, looking along −z). The dialects differ in which
fields they write, so every field is read wherever it stands: in the frame first, then at the top.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from addon.wire.errors import UnreadableFile, UnusableDataset
from addon.wire.messages import Bounds, Lens, Row3

from ...files import read_json, write_atomically
from . import checks, ply
from .images import read_size
from .shots import Shot, Size, dataset_of, find_image, fixed, moved
from .views import Dataset, Split, View

SPLITS: tuple[Split, ...] = ("train", "val", "test")
UNDISTORTED = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
DISTORTED = ("OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")

NGP_SCALE, NGP_OFFSET = 0.33, 0.5  # instant-ngp's unit cube: position · scale + offset
NGP_OBJECT = 4  # aabb_scale up to which the box is taken for the object's


@dataclass(frozen=True)
class _Frame:
    """One entry of `frames`, with the top of its file behind it."""

    source: Path  # the JSON file
    top: dict[str, Any]
    own: dict[str, Any]
    split: Split

    @property
    def name(self) -> str:
        return str(self.own["file_path"])

    @property
    def path(self) -> str:
        """The name in one way of writing it, to find it in lists."""
        return _path(self.name)

    def number(self, key: str, default: float | None = None) -> float | None:
        """Return a number, from the frame or the top of the file."""
        value = self.own.get(key, self.top.get(key))
        if value is None:
            return default
        number = float(value) if _is_number(value) else math.nan
        if not math.isfinite(number):
            raise UnusableDataset(
                f"{key} of {self.name} in {self.source.name} is not a finite number: {_shown(value)!r}."
            )
        return number


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1000)


def _shown(value: object) -> str:
    return (
        "a whole number of hundreds of digits" if isinstance(value, int) and abs(value) > 1 << 1000 else str(value)[:60]
    )


def _path(name: str) -> str:
    return os.path.normpath(name.replace("\\", "/"))


def find(folder: Path) -> list[Path]:
    """Return the transforms files of a folder: transforms.json, or those of the splits."""
    whole = folder / "transforms.json"
    if whole.is_file():
        return [whole]
    return [path for split in SPLITS if (path := folder / f"transforms_{split}.json").is_file()]


def read(folder: Path, files: Sequence[Path], *, flip_axes: bool = False) -> Dataset:
    """Read transforms files. See `open_dataset`."""
    frames = [frame for file in files for frame in _frames(file)]
    top = frames[0].top if frames else {}
    splits = _split_lists(folder, top)
    warnings = []
    if "train_filenames" in top:  # then nerfstudio uses what is listed alone
        total = len(frames)
        frames = [frame for frame in frames if frame.path in splits]
        if total > len(frames):
            warnings.append(
                f"{len(frames)} of {total} frames are used: the others are in none of train_filenames, val_filenames "
                "and test_filenames."
            )
    checks.enough(len(frames), folder)
    first_sizes: dict[Path, Size] = {}
    shots = [_shot(folder, frame, splits.get(frame.path, frame.split), first_sizes, flip_axes) for frame in frames]
    points, colors, missing = _points(folder, top)
    kind = (
        "instant-ngp" if "aabb_scale" in top else "nerf-synthetic" if "fl_x" not in _keys(frames[0]) else "nerfstudio"
    )
    return dataset_of(
        folder,
        kind,
        shots,
        points=points,
        colors=colors,
        bounds=_bounds(frames[0]),
        warnings=[*warnings, *missing],
        hold_back=not splits and len(files) == 1,
    )


def read_cameras(file: Path, width: int = 0, height: int = 0) -> tuple[View, ...]:
    """Return the views of one transforms file whose images need not exist; their `image` is the path it would have.

    width, height: of files that do not say `w` and `h`; 0: those of the image, if it is there.

    Raises:
        UnreadableFile, UnusableDataset: as `open_dataset`.
    """
    found = []
    for index, shot in enumerate(read_poses(file, (width, height))):
        assert shot.size is not None
        camera = checks.camera_at(shot.name, shot.world_from_camera, shot.intrinsics(shot.size), shot.size, shot.lens)
        found.append(View(shot.name, camera, shot.image, shot.split, appearance=index))
    return tuple(found)


def read_poses(file: Path, default: Size = (0, 0), *, named: bool = True) -> tuple[Shot, ...]:
    """Return the shots of one transforms file whose images need not exist, with checked poses and sizes.

    default: the size of images that neither the file nor an image tells; 0: there must be one. named: each frame needs
    a file_path. Raises UnreadableFile, UnusableDataset.
    """
    found = []
    for frame in _frames(file, named=named):
        if any((number := frame.number(key)) is not None and number < 1 for key in ("w", "h")):
            raise UnusableDataset(f"w or h of {frame.name} in {file.name} is less than 1 pixel: correct it.")
        size = _stated_size(frame) or (default if min(default) >= 1 and named else None)
        size = size or _size_of(file.parent, frame) or (default if min(default) >= 1 else None)
        if size is None:
            raise UnusableDataset(f"{file.name} does not say how large its images are: add w and h.")
        pose, _ = checks.rigid(frame.name, checks.flipped(_matrix(frame)))
        intrinsics = _matrix_of_intrinsics(frame, *size)
        checks.camera_at(frame.name, pose, intrinsics, size)
        image = file.parent / frame.name.replace("\\", "/")
        found.append(Shot(frame.name, image, pose, fixed(intrinsics), size, _lens(frame), frame.split))
    return tuple(found)


def _size_of(folder: Path, frame: _Frame) -> Size | None:
    """Return the size of a frame's image, or None where it is not there."""
    path = find_image(_inside(folder, frame.name))
    return read_size(path)[0] if path.is_file() else None


def _stated_size(frame: _Frame) -> Size | None:
    w, h = frame.number("w"), frame.number("h")
    return (int(w), int(h)) if w is not None and h is not None and w >= 1 and h >= 1 else None


def _shot(folder: Path, frame: _Frame, split: Split, first_sizes: dict[Path, Size], flip_axes: bool) -> Shot:
    image = _inside(folder, frame.name)
    mask = frame.own.get("mask_path")
    dynamic = image.with_name(f"dynamic_mask_{image.stem}.png")
    has_dynamic = not mask and dynamic.is_file()
    depth = frame.own.get("depth_file_path", frame.own.get("depth_path"))
    pose = _matrix(frame)
    size = _stated_size(frame)
    lens = _lens(frame)

    def intrinsics(actual: Size) -> np.ndarray:
        if size is None:
            _check_shared(frame, actual, first_sizes)
        return _matrix_of_intrinsics(frame, *actual)

    return Shot(
        frame.name,
        image,
        pose if flip_axes else checks.flipped(pose),
        intrinsics,
        size,
        lens,
        split,
        mask=_inside(folder, mask) if mask else dynamic if has_dynamic else None,
        mask_keeps="black" if has_dynamic else "white",
        depth=_inside(folder, depth) if depth else None,
        depth_scale=_depth_scale(frame, str(depth)) if depth else 1.0,
    )


def _keys(frame: _Frame) -> set[str]:
    return set(frame.top) | set(frame.own)


def _frames(file: Path, *, named: bool = True) -> Iterator[_Frame]:
    """Yield the entries of one file, in the file's order. named: each must name its image."""
    top = read_json(file)
    if not isinstance(top, dict) or not isinstance(top.get("frames"), list):
        raise UnusableDataset(
            f"{file.name} has no list of frames: it is not a transforms file. Export the data set again."
        )
    name = file.stem.removeprefix("transforms_")
    split: Split = next((split for split in SPLITS if split == name), "train")
    for index, own in enumerate(top["frames"]):
        if not named and isinstance(own, dict):
            own = {"file_path": f"frame {index}", **own}
        if not isinstance(own, dict) or not isinstance(own.get("file_path"), str) or not own["file_path"].strip():
            raise UnusableDataset(f"Frame {index} of {file.name} has no file_path: name its image, or take it out.")
        yield _Frame(file, top, own, split)


def _matrix(frame: _Frame) -> np.ndarray:
    """Return transform_matrix [4, 4] as it stands; a missing last row is put in."""
    try:
        matrix = np.array(frame.own["transform_matrix"], dtype=np.float64)
    except (KeyError, ValueError, TypeError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape == (3, 4):
        matrix = np.concatenate((matrix, [[0.0, 0.0, 0.0, 1.0]]))
    if matrix.shape != (4, 4):
        raise UnusableDataset(
            f"{frame.name} in {frame.source.name} has no transform_matrix of 4 × 4 numbers: take this frame out."
        )
    return matrix


def _inside(folder: Path, name: object) -> Path:
    """Return the path of a file that the data set names; it must lie in its folder: a data set opens nothing else."""
    text = str(name).replace("\\", "/")
    path = Path(os.path.normpath(folder / text))
    if not isinstance(name, str) or "\0" in text or not path.is_relative_to(os.path.normpath(folder)):
        raise UnusableDataset(
            f"The data set names the file {text[:200]!r}, which lies outside its folder: move the file into the folder "
            "and name it relative to it."
        )
    return path


def _check_shared(frame: _Frame, size: Size, first_sizes: dict[Path, Size]) -> None:
    """Check that intrinsics without a stated size fit an image: they belong to the image as it is, but then all images
    that share them must be of one size, or of one shape where they are angles. `first_sizes` keeps the size of the
    first image of each file. Raises UnusableDataset."""
    shared = not frame.own.keys() & {"fl_x", "fl_y", "camera_angle_x", "camera_angle_y"}
    first = first_sizes.setdefault(frame.source, size)
    angles = not frame.top.keys() & {"fl_x", "fl_y", "cx", "cy"}
    if shared and size != first and not (angles and checks.same_shape(size, first)):
        raise checks.other_size(frame.name, size, first)


def _matrix_of_intrinsics(frame: _Frame, width: int, height: int) -> np.ndarray:
    """Return [3, 3] from focal lengths in pixels, or from angles of view in radians."""
    angle_x, angle_y = frame.number("camera_angle_x"), frame.number("camera_angle_y")
    fx, fy = frame.number("fl_x"), frame.number("fl_y")
    if fx is None and angle_x is not None and 0 < angle_x < math.pi:
        fx = width / 2 / math.tan(angle_x / 2)
    if fy is None and angle_y is not None and 0 < angle_y < math.pi:
        fy = height / 2 / math.tan(angle_y / 2)
    fx, fy = fx if fx is not None else fy, fy if fy is not None else fx
    if fx is None or fy is None:
        for key, angle in (("camera_angle_x", angle_x), ("camera_angle_y", angle_y)):
            if angle is not None:
                raise UnusableDataset(
                    f"{key} of {frame.name} in {frame.source.name} is {angle:g}: an angle of view lies between 0 and "
                    "π (3.14) radians. Correct it, or give fl_x (pixels)."
                )
        raise UnusableDataset(
            f"{frame.source.name} gives no focal length of {frame.name}: add fl_x (pixels) or camera_angle_x (radians)."
        )
    cx, cy = frame.number("cx", width / 2), frame.number("cy", height / 2)
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=np.float64)


def _lens(frame: _Frame) -> Lens:
    """Return the lens of a frame.

    Raises:
        UnusableDataset: an unknown camera model.
    """
    model = str(frame.own.get("camera_model", frame.top.get("camera_model", "OPENCV"))).upper()
    k1, k2, k3, k4, k5, k6, p1, p2 = (
        frame.number(key, 0.0) or 0.0 for key in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
    )
    if model in FISHEYE or frame.own.get("is_fisheye", frame.top.get("is_fisheye")) is True:
        return Lens("fisheye", (k1, k2, k3, k4))
    if model in UNDISTORTED:
        return Lens()
    if model in DISTORTED:
        lens = Lens("opencv", (k1, k2, k3, k4), (p1, p2))
        if model == "FULL_OPENCV":  # OpenCV's rational model; nerfstudio's OPENCV has k4 as a term of r⁸
            lens = Lens("opencv", (k1, k2, k3, 0.0), (p1, p2), (k4, k5, k6))
        return Lens() if lens.is_pinhole else lens
    raise UnusableDataset(
        f"The camera model {model[:60]} of {frame.name} is not known: use "
        f"{', '.join((*UNDISTORTED, *DISTORTED, *FISHEYE))}, or undistort the images."
    )


def _depth_scale(frame: _Frame, depth: str) -> float:
    """Return metres for each unit stored: what the file says, else millimetres of whole numbers and metres of .npy."""
    for key in ("depth_unit_scale_factor", "integer_depth_scale"):
        scale = frame.number(key)
        if scale is not None and scale > 0:
            return scale
    return 1.0 if depth.endswith(".npy") else 1e-3


def _split_lists(folder: Path, top: dict[str, Any]) -> dict[str, Split]:
    """Return nerfstudio's lists of file names, as a dict from normal name to split."""
    found: dict[str, Split] = {}
    for split in SPLITS:
        names = top.get(f"{split}_filenames", [])
        if not isinstance(names, list):
            raise UnusableDataset(f"{split}_filenames of the data set {folder.name} is not a list of file names.")
        found |= {_path(str(name)): split for name in names}
    return found


def _bounds(frame: _Frame) -> Bounds | None:
    """Return instant-ngp's box in the data set's frame: `aabb`, or what a small `aabb_scale` makes of the unit cube."""
    aabb = frame.top.get("aabb")
    try:
        if aabb is not None:
            low, high = np.array(aabb, dtype=np.float64).reshape(2, 3)
        else:
            aabb_scale = frame.number("aabb_scale")
            if aabb_scale is None or not 0 < aabb_scale <= NGP_OBJECT:
                return None
            scale = frame.number("scale") or NGP_SCALE
            offset = np.broadcast_to(np.array(frame.top.get("offset", NGP_OFFSET), dtype=np.float64), 3)
            with np.errstate(all="ignore"):
                low, high = ((0.5 + sign * aabb_scale / 2 - offset) / scale for sign in (-1, 1))
    except (ValueError, TypeError, OverflowError) as error:
        raise UnusableDataset(
            f"aabb, scale or offset in {frame.source.name} is not as instant-ngp writes it."
        ) from error
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise UnusableDataset(f"The box (aabb) in {frame.source.name} is empty or not finite: correct or remove it.")
    return cast(tuple[Row3, Row3], (tuple(low.tolist()), tuple(high.tolist())))


def _points(folder: Path, top: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Return the sparse cloud that nerfstudio's `ply_file_path` names, its colours, and a warning if it is missing."""
    name = top.get("ply_file_path")
    if name is None:
        return None, None, []
    try:
        points, colors = ply.read_points(_inside(folder, name))
    except UnreadableFile as error:
        return None, None, [f"{error.message} The fit does without it."]
    return points, colors, []


def write_transforms(
    folder: Path,
    views: Sequence[View],
    *,
    points: np.ndarray | None = None,
    colors: np.ndarray | None = None,
    bounds: Bounds | None = None,
    extra: dict[str, Any] | None = None,
    path: Path | None = None,
    offset: Row3 = (0.0, 0.0, 0.0),
) -> Path:
    """Write `folder`/transforms.json as nerfstudio reads it, and sparse_points.ply if there are points [N, 3].

    Every frame carries its own exact intrinsics; the splits are lists; `bounds` goes to instant-ngp's `aabb`. Images,
    masks and depth must lie in `folder` already. `extra` is added at the top of the file. `path`: write there instead;
    names in it go on from `folder`. offset: added to all positions in the file, as `Dataset.offset` was taken off them.

    Raises:
        ValueError: a file lies outside the folder, or a mask keeps black in a file that is not named as instant-ngp's.
    """
    frames = [_frame_of(folder, view, offset) for view in views]
    models = {_model(view.lens) for view in views}
    top: dict[str, Any] = {
        "camera_model": next((m for m in ("OPENCV_FISHEYE", "FULL_OPENCV", "OPENCV") if m in models), "PINHOLE")
    }
    scales = {view.depth_scale for view in views if view.depth is not None}
    if len(scales) == 1:
        top["depth_unit_scale_factor"] = scales.pop()
    if bounds is not None:
        top["aabb"] = [[x + o for x, o in zip(corner, offset, strict=True)] for corner in bounds]
    if points is not None:
        points = points + np.array(offset)
        ply.write_points(folder / "sparse_points.ply", points, colors)
        top["ply_file_path"] = "sparse_points.ply"
    top |= extra or {}
    top["frames"] = frames
    for split in SPLITS:
        top[f"{split}_filenames"] = [
            f["file_path"] for f, view in zip(frames, views, strict=True) if view.split == split
        ]
    path = folder / "transforms.json" if path is None else path
    write_atomically(path, json.dumps(top, indent=1).encode())
    return path


def _model(lens: Lens) -> str:
    if lens.is_pinhole or lens.model == "fisheye":
        return "PINHOLE" if lens.is_pinhole else "OPENCV_FISHEYE"
    return "FULL_OPENCV" if any(lens.d) else "OPENCV"


def _frame_of(folder: Path, view: View, offset: Row3) -> dict[str, Any]:
    camera = view.camera
    k = camera.intrinsics.double()
    if float(k[0, 1]) != 0:
        raise ValueError(f"{view.name} has skewed pixels, which transforms.json cannot say")
    frame: dict[str, Any] = {
        "file_path": view.image.relative_to(folder).as_posix(),
        "camera_model": _model(view.lens),
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(k[0, 0]),
        "fl_y": float(k[1, 1]),
        "cx": float(k[0, 2]),
        "cy": float(k[1, 2]),
    }
    if not view.lens.is_pinhole:
        radial = (*view.lens.k[:3], *view.lens.d) if any(view.lens.d) else view.lens.k
        frame |= {f"k{number}": value for number, value in enumerate(radial, 1)}
        frame |= dict(zip(("p1", "p2"), view.lens.p, strict=True))
    if view.mask is not None and view.mask_keeps == "white":
        frame["mask_path"] = view.mask.relative_to(folder).as_posix()
    elif view.mask is not None and view.mask != view.image.with_name(f"dynamic_mask_{view.image.stem}.png"):
        raise ValueError(f"{view.mask} keeps black: only dynamic_mask_<image>.png beside the image is read so")
    if view.depth is not None:
        frame["depth_file_path"] = view.depth.relative_to(folder).as_posix()
        frame["depth_unit_scale_factor"] = view.depth_scale
    frame["transform_matrix"] = checks.flipped(moved(camera.world_from_camera.double().numpy(), offset, 1.0)).tolist()
    return frame
