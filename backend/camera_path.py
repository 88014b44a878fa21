"""Readers of camera paths: nerfstudio's camera_path.json and transforms.json.

Both give `camera-to-world` with OpenGL axes (x right, y up, looking along −z) in a world with Z up, so the second and
third columns change sign. A scale in the matrix, which Blender objects can have, is removed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from addon.wire.errors import LatheError, UnreadableFile
from addon.wire.messages import Camera, Matrix3, Matrix4

from .cameras import intrinsics_from_fov

DEFAULT_SIZE = 512


def read_camera_path(path: Path, size: int | None = None) -> list[Camera]:
    """Return the cameras of a file in order. `size` sets the longer image side, else the file's own size holds.

    Raises:
        UnreadableFile: no such file, or neither of the two formats; the message names frame and field.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"The camera path {path} cannot be read: {error.strerror or error}."
        raise UnreadableFile(f"{what} Give a camera_path.json or a transforms.json.") from error
    except ValueError as error:
        raise UnreadableFile(f"The camera path {path} cannot be read, it is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise UnreadableFile(f"{path} is neither a camera_path.json nor a transforms.json.")
    if "frames" in data:
        entries, read = data["frames"], lambda entry: _transforms_frame(data, entry, path.parent)
    elif data.get("camera_path") or data.get("keyframes"):
        entries, read = data.get("camera_path") or data["keyframes"], lambda entry: _path_frame(data, entry)
    else:
        raise UnreadableFile(f"{path} has neither `camera_path` nor `frames`: it is not a camera path.")
    if not isinstance(entries, list):
        raise UnreadableFile(f"{path} holds no list of frames: it is not a camera path.")
    cameras = []
    for number, entry in enumerate(entries):
        try:
            camera = read(entry)
        except (KeyError, TypeError, ValueError, IndexError, LatheError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise UnreadableFile(f"{path}, frame {number}: {what}.") from error
        cameras.append(camera if size is None else resized(camera, size))
    if not cameras:
        raise UnreadableFile(f"{path} holds no frames.")
    return cameras


def resized(camera: Camera, size: int) -> Camera:
    """Return the same view with `size` pixels on the longer side."""
    scale = size / max(camera.width, camera.height)
    width, height = max(round(camera.width * scale), 1), max(round(camera.height * scale), 1)
    sx, sy = width / camera.width, height / camera.height
    (fx, skew, cx), (_, fy, cy), last = camera.intrinsics
    intrinsics: Matrix3 = ((fx * sx, skew * sx, cx * sx), (0.0, fy * sy, cy * sy), last)
    return Camera(camera.world_from_camera, intrinsics, width, height, camera.projection)


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
    axes = values[:3, :3] * np.array([1.0, -1.0, -1.0])
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() <= 0:
        raise ValueError("a camera matrix has an axis of length zero")
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = axes / lengths, values[:3, 3]
    rows = result.tolist()
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


def _path_frame(data: dict[str, Any], entry: dict[str, Any]) -> Camera:
    """Return the camera of a nerfstudio path frame; its fov is vertical, in degrees."""
    height = int(data.get("render_height") or DEFAULT_SIZE)
    width = int(data.get("render_width") or round(height * float(entry.get("aspect") or 1.0)))
    kind = str(data.get("camera_type") or "perspective").lower()
    if kind not in ("perspective", "pinhole"):
        raise ValueError(f"camera_type {kind!r} is not supported, only perspective")
    matrix = world_from_camera(entry["camera_to_world"] if "camera_to_world" in entry else entry["matrix"])
    return Camera(matrix, intrinsics_from_fov(math.radians(float(entry["fov"])), width, height), width, height)


def _transforms_frame(data: dict[str, Any], entry: dict[str, Any], folder: Path) -> Camera:
    """Return the camera of a transforms.json frame (NeRF-synthetic, nerfstudio, instant-ngp): camera_angle_x is the
    horizontal field of view in radians; a frame's own values take precedence."""
    fields = {**data, **entry}
    width, height = fields.get("w"), fields.get("h")
    if not (width and height):
        width, height = _image_size(folder, fields.get("file_path")) or (DEFAULT_SIZE, DEFAULT_SIZE)
    width, height = int(width), int(height)
    fx = fields.get("fl_x") or (fields.get("camera_angle_x") and width / 2 / math.tan(fields["camera_angle_x"] / 2))
    fy = fields.get("fl_y") or (fields.get("camera_angle_y") and height / 2 / math.tan(fields["camera_angle_y"] / 2))
    if not (fx or fy):
        raise KeyError("camera_angle_x, or fl_x")
    fx, fy = float(fx or fy or 0), float(fy or fx or 0)
    centre = float(fields.get("cx", width / 2)), float(fields.get("cy", height / 2))
    intrinsics: Matrix3 = ((fx, 0.0, centre[0]), (0.0, fy, centre[1]), (0.0, 0.0, 1.0))
    return Camera(world_from_camera(entry["transform_matrix"]), intrinsics, width, height)


def _image_size(folder: Path, name: Any) -> tuple[int, int] | None:
    for suffix in ("", ".png", ".jpg"):
        path = folder / f"{name}{suffix}"
        if name and path.is_file():
            try:
                with Image.open(path) as image:
                    return image.size
            except OSError as error:
                raise UnreadableFile(f"the image {path} cannot be read: {error}") from error
    return None
