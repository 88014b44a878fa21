"""Small data sets in each format, made up for tests."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from backend.cameras import look_at

GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])
SIZE = (12, 8)


def orbit(count: int) -> np.ndarray:
    """Return world_from_camera [count, 4, 4], OpenCV axes, on a ring that looks at a point off the origin."""
    angles = 2 * np.pi * np.arange(count) / count
    eyes = [(3 * np.sin(a) + 0.5, -3 * np.cos(a), 1.0 + 0.2 * np.cos(3 * a)) for a in angles]
    return np.array([look_at(eye, (0.5, 0.0, 0.25)) for eye in eyes]).reshape(-1, 4, 4)


def picture(path: Path, size: tuple[int, int] = SIZE, *, seed: int = 0, mode: str = "RGB") -> Path:
    """Write a picture of noise; its first pixel is (10, 20, 30)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    pixels[0, 0, :3] = (10, 20, 30)[:channels]
    Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(path)
    return path


def transforms(
    folder: Path,
    count: int = 9,
    *,
    top: dict[str, Any] | None = None,
    frame: Callable[[int, dict[str, Any]], None] = lambda index, frame: None,
    images: bool = True,
) -> np.ndarray:
    """Write a nerfstudio data set; `frame` may change each entry. Return world_from_camera [count, 4, 4]."""
    poses, frames = orbit(count), []
    for index in range(count):
        entry: dict[str, Any] = {
            "file_path": f"images/{index:02d}.png",
            "transform_matrix": (poses[index] @ GL_FROM_CV).tolist(),
        }
        if images:
            picture(folder / entry["file_path"], seed=index)
        frame(index, entry)
        frames.append(entry)
    head = {"w": SIZE[0], "h": SIZE[1], "fl_x": 10.0, "fl_y": 11.0, "cx": 6.5, "cy": 3.75} if top is None else top
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transforms.json").write_text(json.dumps(head | {"frames": frames}))
    return poses


def synthetic(folder: Path) -> dict[str, np.ndarray]:
    """Write a NeRF-synthetic data set: RGBA, an angle of view, no extensions. Return split -> poses."""
    counts = {"train": 5, "val": 2, "test": 3}
    every = orbit(sum(counts.values()))
    found, start = {}, 0
    for split, count in counts.items():
        poses = every[start : start + count]
        frames = [
            {"file_path": f"./{split}/r_{i}", "rotation": 0.012, "transform_matrix": (pose @ GL_FROM_CV).tolist()}
            for i, pose in enumerate(poses)
        ]
        for i in range(count):
            picture(folder / split / f"r_{i}.png", mode="RGBA", seed=start + i)
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
        found[split], start = poses, start + count
    return found


COLMAP_CAMERAS: dict[int, tuple[str, int, tuple[float, ...]]] = {
    1: ("PINHOLE", 1, (10.0, 11.0, 6.5, 3.75)),
    2: ("OPENCV", 4, (10.0, 11.0, 6.5, 3.75, 0.05, -0.01, 0.001, -0.002)),
    3: ("OPENCV_FISHEYE", 5, (10.0, 11.0, 6.5, 3.75, 0.05, -0.01, 0.001, -0.002)),
}
CLOUD = np.array([[0.5, 0.0, 0.25], [0.75, 0.25, 0.5], [0.25, -0.25, 0.0]])
CLOUD_COLORS = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)


def colmap(folder: Path, *, binary: bool, place: str = "sparse/0", count: int = 9) -> np.ndarray:
    """Write a COLMAP model with its images, after the format's description. Return world_from_camera."""
    poses = orbit(count)
    model = folder / place
    model.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, pose in enumerate(poses):
        camera_from_world = np.linalg.inv(pose)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        rows.append((index + 1, (w, x, y, z, *camera_from_world[:3, 3]), index % 3 + 1, f"a/{index:02d}.png"))
        picture(folder / "images" / rows[-1][3], seed=index)
    if binary:
        cameras = struct.pack("<Q", len(COLMAP_CAMERAS))
        for number, (_, model_id, parameters) in COLMAP_CAMERAS.items():
            cameras += struct.pack(f"<iiQQ{len(parameters)}d", number, model_id, *SIZE, *parameters)
        images = struct.pack("<Q", len(rows))
        for number, pose, camera, name in reversed(rows):  # files are in no order
            images += struct.pack("<I7dI", number, *pose, camera) + name.encode() + b"\0"
            images += struct.pack("<Q", number % 3) + struct.pack("<ddq", 1.5, 2.5, -1) * (number % 3)
        points = struct.pack("<Q", len(CLOUD))
        for number, (xyz, rgb) in enumerate(zip(CLOUD, CLOUD_COLORS, strict=True)):
            points += struct.pack("<Q3d3BdQ", number, *xyz, *rgb, 0.5, number) + struct.pack("<II", 1, 0) * number
        for name, data in (("cameras", cameras), ("images", images), ("points3D", points)):
            (model / f"{name}.bin").write_bytes(data)
        return poses
    lines = ["# Camera list with one line of data per camera:"]
    for number, (name, _, parameters) in COLMAP_CAMERAS.items():
        lines.append(" ".join(map(str, (number, name, *SIZE, *parameters))))
    (model / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:"]
    for number, pose, camera, name in reversed(rows):
        lines += [" ".join(map(str, (number, *pose, camera, name))), "1.5 2.5 -1" if number % 3 else ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    lines = [" ".join(map(str, (i, *xyz, *rgb, 0.5, 1, 0))) for i, (xyz, rgb) in enumerate(zip(CLOUD, CLOUD_COLORS))]
    (model / "points3D.txt").write_text("\n".join(lines) + "\n")
    return poses
