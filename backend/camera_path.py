"""Readers of camera paths: nerfstudio's camera_path.json, instant-ngp's base_cam.json, and transforms.json.

Cameras have OpenGL axes (x right, y up, looking along −z) in the first and the last, OpenCV axes in instant-ngp's. A
scale in the matrix, which Blender objects can have, is removed. transforms.json is read by the reader of data sets.

A path drawn in nerfstudio's viewer is in nerfstudio's own frame: the data set's centred and scaled, as
dataparser_transforms.json beside its checkpoint tells (`from_dataparser`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from addon.wire.errors import LatheError, UnreadableFile
from addon.wire.messages import PINHOLE, Camera, Lens, Matrix3, Matrix4, ModelInfo, Row3

from .cameras import intrinsics_from_fov
from .files import read_json
from .lens import pixels_of
from .nerf.datasets.checks import flipped
from .nerf.datasets.transforms import NGP_OFFSET, NGP_SCALE, read_poses

DEFAULT_SIZE = 512
DATAPARSER = "dataparser_transforms.json"
NEAREST = 0.5  # of the usual distance, where cameras of a path may be in another frame


def read_camera_path(path: Path, size: int | None = None, *, offset: Row3 = (0.0, 0.0, 0.0)) -> list[Camera]:
    """Return the cameras of a file in order.

    size: of the longer image side; None: the file's own. offset: taken off all positions (`Dataset.offset`).

    Raises:
        UnreadableFile: no such file, or none of the formats; the message names frame and field.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise UnreadableFile(f"{path} is neither a camera_path.json nor a transforms.json.")
    if "frames" in data:
        cameras = _of_transforms(path)
    elif "path" in data and not data.get("camera_path"):
        cameras = _each(path, data["path"], lambda entry: _ngp_keyframe(entry, _ngp_frame(path.parent)))
    elif data.get("camera_path") or data.get("keyframes"):
        cameras = _each(path, data.get("camera_path") or data["keyframes"], lambda entry: _path_frame(data, entry))
    else:
        raise UnreadableFile(f"{path} has neither `camera_path` nor `frames`: it is not a camera path.")
    if not cameras:
        raise UnreadableFile(f"{path} holds no frames.")
    cameras = [_moved(camera, offset) for camera in cameras]
    return cameras if size is None else [resized(camera, size) for camera in cameras]


def from_dataparser(cameras: Sequence[Camera], file: Path) -> list[Camera]:
    """Return cameras of nerfstudio's frame in that of its data set: nerfstudio's is scale · (transform @ world).

    file: dataparser_transforms.json. Raises UnreadableFile.
    """
    data = read_json(file)
    try:
        transform = np.array(data["transform"], np.float64).reshape(-1, 4)[:3]
        scale = float(data["scale"])
        if transform.shape != (3, 4) or not np.isfinite(transform).all() or not 0 < scale < math.inf:
            raise ValueError("transform must be 3 × 4 numbers and scale a positive one")
        inverse = np.linalg.inv(transform[:, :3])
    except (KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError) as error:
        raise UnreadableFile(f"{file} is not nerfstudio's dataparser_transforms.json: {error}.") from error
    found = []
    for camera in cameras:
        pose = np.array(camera.world_from_camera)
        pose[:3, :3] = inverse @ pose[:3, :3]
        pose[:3, 3] = inverse @ (pose[:3, 3] / scale - transform[:, 3])
        found.append(replace(camera, world_from_camera=_matrix4(_rigid(pose))))
    return found


def share_that_sees(cameras: Sequence[Camera], info: ModelInfo) -> float:
    """Return the share of cameras that have the middle of a scene in the image, and stand no nearer to it than half of
    the usual distance."""
    middle = np.array(info.bounds).mean(0)
    seen = 0
    for camera in cameras:
        pose = np.array(camera.world_from_camera)
        position = pose[:3, 3]
        point = torch.from_numpy(pose[:3, :3].T @ (middle - position))
        if camera.projection == "perspective" and float(point[2]) <= 0 and camera.lens.model != "fisheye":
            continue
        pixel = pixels_of(torch.tensor(camera.intrinsics, dtype=torch.float64), camera.lens, point)
        inside_image = 0 <= float(pixel[0]) <= camera.width and 0 <= float(pixel[1]) <= camera.height
        seen += inside_image and float(point.norm()) >= NEAREST * info.pose_prior.radius
    return seen / len(cameras)


def in_frame_of_scene(
    cameras: list[Camera], path: Path, info: ModelInfo, dataparser: Path | None = None
) -> tuple[list[Camera], list[str]]:
    """Return the cameras of a path in the frame of a model's scenes, and notes for the user.

    dataparser: nerfstudio's dataparser_transforms.json. Where it is not given but lies beside the path, it is used if
    more cameras see the scene that way.

    Raises:
        UnreadableFile: see `from_dataparser`.
    """
    if dataparser is not None:
        return from_dataparser(cameras, dataparser), []
    seen, beside = share_that_sees(cameras, info), path.with_name(DATAPARSER)
    if beside.is_file() and "frames" not in read_json(path):
        other = from_dataparser(cameras, beside)
        if share_that_sees(other, info) > seen:
            return other, [f"The path is in nerfstudio's frame: {beside} was used to place it."]
    if seen == 0:
        return cameras, [
            "No camera of the path sees the middle of the scene from its usual distance: the path may be in another "
            "frame. "
            "For a path of nerfstudio's viewer give --dataparser-transforms, the dataparser_transforms.json beside its "
            "checkpoint."
        ]
    return cameras, []


def resized(camera: Camera, size: int) -> Camera:
    """Return the same view with `size` pixels on the longer side."""
    scale = size / max(camera.width, camera.height)
    width, height = max(round(camera.width * scale), 1), max(round(camera.height * scale), 1)
    sx, sy = width / camera.width, height / camera.height
    (fx, skew, cx), (_, fy, cy), last = camera.intrinsics
    intrinsics: Matrix3 = ((fx * sx, skew * sx, cx * sx), (0.0, fy * sy, cy * sy), last)
    return replace(camera, intrinsics=intrinsics, width=width, height=height)


def world_from_camera(matrix: Any) -> Matrix4:
    """Return the rigid world_from_camera (OpenCV axes) of an OpenGL camera-to-world matrix.

    matrix: 16 numbers row by row, 3 or 4 rows of 4, or nerfstudio's keyframe string, column by column.

    Raises ValueError.
    """
    if isinstance(matrix, str):
        values = np.array(json.loads(matrix), np.float64).reshape(4, 4).T
    else:
        values = np.array(matrix, np.float64).reshape(-1, 4)
    if values.shape not in ((3, 4), (4, 4)) or not np.isfinite(values).all():
        raise ValueError(f"a camera matrix has 3 or 4 rows of 4 finite numbers, got {list(values.shape)}")
    return _matrix4(_rigid(flipped(values)))


def _rigid(pose: np.ndarray) -> np.ndarray:
    """Return a pose [3 or 4, 4] without scale. Raises ValueError."""
    lengths = np.linalg.norm(pose[:3, :3], axis=0)
    if lengths.min() <= 0:
        raise ValueError("a camera matrix has an axis of length zero")
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = pose[:3, :3] / lengths, pose[:3, 3]
    return result


def _matrix4(pose: np.ndarray) -> Matrix4:
    rows = pose.tolist()
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


def _moved(camera: Camera, offset: Row3) -> Camera:
    if not any(offset):
        return camera
    pose = np.array(camera.world_from_camera)
    pose[:3, 3] -= offset
    return replace(camera, world_from_camera=_matrix4(pose))


def _each(path: Path, entries: Any, read: Any) -> list[Camera]:
    """Return the camera of each entry. Raises UnreadableFile, naming the frame."""
    if not isinstance(entries, list):
        raise UnreadableFile(f"{path} holds no list of frames: it is not a camera path.")
    cameras = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            what = "text" if isinstance(entry, str) else type(entry).__name__
            raise UnreadableFile(
                f"{path}, frame {number} is a {what} where a camera (camera_to_world, fov) is wanted: "
                f"{str(entry)[:60]!r}."
            )
        try:
            cameras.append(read(entry))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, LatheError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise UnreadableFile(f"{path}, frame {number}: {what}.") from error
    return cameras


def _path_frame(data: dict[str, Any], entry: dict[str, Any]) -> Camera:
    """Return the camera of a nerfstudio path frame; its fov is vertical, in degrees. A fisheye is equidistant, with the
    focal length of the perspective camera of that fov."""
    height = int(data.get("render_height") or DEFAULT_SIZE)
    width = int(data.get("render_width") or round(height * float(entry.get("aspect") or 1.0)))
    kind = str(data.get("camera_type") or "perspective").lower()
    if kind not in ("perspective", "pinhole", "fisheye"):
        raise ValueError(f"camera_type {kind[:60]!r} is not supported, only perspective and fisheye")
    matrix = world_from_camera(entry["camera_to_world"] if "camera_to_world" in entry else entry["matrix"])
    intrinsics = intrinsics_from_fov(math.radians(float(entry["fov"])), width, height)
    return Camera(matrix, intrinsics, width, height, lens=Lens("fisheye") if kind == "fisheye" else PINHOLE)


def _of_transforms(path: Path) -> list[Camera]:
    """Return the cameras of a transforms.json (NeRF-synthetic, nerfstudio, instant-ngp)."""
    found = []
    try:
        for shot in read_poses(path, (DEFAULT_SIZE, DEFAULT_SIZE), named=False):
            assert shot.size is not None
            k = shot.intrinsics(shot.size).tolist()
            intrinsics: Matrix3 = (tuple(k[0]), tuple(k[1]), tuple(k[2]))
            found.append(Camera(_matrix4(shot.world_from_camera), intrinsics, *shot.size, lens=shot.lens))
    except UnreadableFile:
        raise
    except LatheError as error:
        raise UnreadableFile(f"{path}: {error.message}") from error
    return found


def _ngp_frame(folder: Path) -> tuple[float, np.ndarray, int, int]:
    """Return scale, offset and image size of the transforms.json beside a base_cam.json, or the defaults."""
    file = folder / "transforms.json"
    data = read_json(file) if file.is_file() else {}
    fields = data if isinstance(data, dict) else {}
    offset = np.broadcast_to(np.array(fields.get("offset", NGP_OFFSET), np.float64), 3)
    size = int(fields.get("w") or DEFAULT_SIZE), int(fields.get("h") or DEFAULT_SIZE)
    return float(fields.get("scale") or NGP_SCALE), offset, *size


def _ngp_keyframe(entry: dict[str, Any], frame: tuple[float, np.ndarray, int, int]) -> Camera:
    """Return the camera of a keyframe of instant-ngp's base_cam.json.

    R: quaternion x y z w, OpenCV camera axes; T: position in the unit cube, position · scale + offset with the axes in
    the order y, z, x; fov: vertical, degrees.
    """
    scale, offset, width, height = frame
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = Rotation.from_quat(np.array(entry["R"], np.float64)).as_matrix(), entry["T"]
    world_from_ngp = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    pose = np.eye(4)
    pose[:3, :3] = world_from_ngp @ turned[:3, :3]
    pose[:3, 3] = (world_from_ngp @ turned[:3, 3] - offset) / scale
    if not np.isfinite(pose).all():
        raise ValueError("R and T must be 4 and 3 finite numbers")
    return Camera(_matrix4(pose), intrinsics_from_fov(math.radians(float(entry["fov"])), width, height), width, height)
