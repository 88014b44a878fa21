"""Where the cameras of a capture stand, and the data set's file of them. numpy only.

A rig is a list of unit directions from the target to the cameras. Each camera looks so that the target's middle is in
the middle of the picture, lens shift or not, from the distance at which the target's sphere fills the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..scene import frames
from ..wire.messages import Camera

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def orbit(count: int, elevation: float, turn: float) -> np.ndarray:
    """Return directions [count, 3] on a circle at `elevation` radians above the horizon, begun at `turn` radians."""
    azimuth = turn + np.arange(count) * (2 * math.pi / max(count, 1))
    across = math.cos(elevation)
    up = np.full(count, math.sin(elevation))
    return np.stack((across * np.cos(azimuth), across * np.sin(azimuth), up), -1)


def spiral(count: int, lowest: float, turn: float) -> np.ndarray:
    """Return directions [count, 3] spread evenly over the part of the sphere above height `lowest`.

    The golden spiral: heights are equally spaced, which are equal areas, and azimuths step by the golden angle.
    lowest: −1 is the whole sphere, 0 the upper half. turn: radians of the first azimuth.
    """
    height = 1 - (1 - lowest) * (np.arange(count) + 0.5) / max(count, 1)
    azimuth = turn + GOLDEN_ANGLE * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.stack((across * np.cos(azimuth), across * np.sin(azimuth), height), -1)


def directions(rig: str, count: int, elevation: float, seed: int, split: Split) -> np.ndarray:
    """Return the directions [count, 3] of one split. Another seed and another split turn the rig elsewhere."""
    turn = np.random.default_rng((seed, SPLITS.index(split))).uniform(0, 2 * math.pi)
    if rig == "orbit":
        return orbit(count, elevation, turn)
    return spiral(count, {"hemisphere": 0.0, "sphere": -1.0}[rig], turn)


def interleaved(counts: dict[Split, int]) -> list[Split]:
    """Return a split for each of so many views along a path, each split spread evenly over it."""
    places = [((index + 0.5) / count, split) for split, count in counts.items() for index in range(count)]
    return [split for _, split in sorted(places, key=lambda place: place[0])]


def aimed(lens: Camera, direction: np.ndarray, middle: np.ndarray, radius: float, fill: float) -> np.ndarray:
    """Return world_from_camera [4, 4] (OpenCV axes) of a camera with this lens that has a sphere in the frame.

    direction: unit vector from the sphere to the camera. fill: the sphere's share of the frame, 1 touches its border.
    """
    (fx, _, cx), (_, fy, cy), _ = lens.intrinsics
    width, height = lens.width, lens.height
    ray = np.array(((width / 2 - cx) / fx, (height / 2 - cy) / fy, 1.0))
    ray /= np.linalg.norm(ray)
    sides = np.array(((fx, 0, cx), (-fx, 0, width - cx), (0, fy, cy), (0, -fy, height - cy)), np.float64)
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)  # the frustum's inward normals
    distance = radius / (sides @ ray).min() / fill

    forward = -np.asarray(direction, np.float64)
    up = np.array((0.0, 0.0, 1.0)) if abs(forward[2]) < 1 - 1e-9 else np.array((0.0, 1.0, 0.0))
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    looking = np.stack((right, np.cross(forward, right), forward), 1)
    world = np.eye(4)
    world[:3, :3] = looking @ _turned_to(ray).T
    world[:3, 3] = middle - forward * distance
    return world


def _turned_to(ray: np.ndarray) -> np.ndarray:
    """Return the smallest rotation [3, 3] that brings +Z to a unit vector of the front half (Rodrigues)."""
    axis = np.array((-ray[1], ray[0], 0.0))
    cross = np.array(((0, -axis[2], axis[1]), (axis[2], 0, -axis[0]), (-axis[1], axis[0], 0)))
    return np.eye(3) + cross + cross @ cross / (1 + ray[2])


@dataclass(frozen=True)
class Shot:
    """One picture of a capture."""

    name: str  # "train_000"
    split: Split
    camera: Camera


def transforms(
    shots: Sequence[Shot],
    bounds: tuple[np.ndarray, np.ndarray],
    files: dict[str, str],
) -> dict[str, Any]:
    """Return transforms.json as nerfstudio reads it: one list of frames, each with its lens, and a list per split.

    bounds: lowest and highest corner of the target, in the world. files: pattern with {} for the shot's name by key
    ("file_path", "depth_file_path", "normal_file_path", "mask_path"). Depth files hold metres along the view.
    """
    lenses = [_lens(shot.camera) for shot in shots]
    document: dict[str, Any] = {"camera_model": "PINHOLE"}
    if all(lens == lenses[0] for lens in lenses):
        document |= lenses[0]  # some readers look for it here, others in the frames
    if "depth_file_path" in files:
        document["depth_unit_scale_factor"] = 1.0
    document["aabb"] = [[float(value) for value in corner] for corner in bounds]
    document["frames"] = [
        {
            **{key: pattern.format(shot.name) for key, pattern in files.items()},
            "transform_matrix": (np.array(shot.camera.world_from_camera) @ frames.CAMERA_FLIP).tolist(),
            **lens,
        }
        for shot, lens in zip(shots, lenses)
    ]
    for split in SPLITS:
        document[f"{split}_filenames"] = [files["file_path"].format(shot.name) for shot in shots if shot.split == split]
    return document


def _lens(camera: Camera) -> dict[str, float]:
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.width, "h": camera.height}
