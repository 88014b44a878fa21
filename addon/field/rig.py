"""Camera rigs of a capture, and their transforms.json. numpy only.

A rig is a list of unit directions from the target to the cameras. Each camera is aimed so that the target is in
the middle of the image, also with a lens shift, from the distance at which the target's sphere fills the frame.
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
    """Return directions [count, 3] on a circle `elevation` radians above the horizon, from azimuth `turn` on."""
    azimuth = turn + np.arange(count) * (2 * math.pi / max(count, 1))
    across = math.cos(elevation)
    up = np.full(count, math.sin(elevation))
    return np.stack((across * np.cos(azimuth), across * np.sin(azimuth), up), -1)


def spiral(count: int, lowest: float, turn: float) -> np.ndarray:
    """Return directions [count, 3] spread evenly over the part of the unit sphere above height `lowest`.

    Golden spiral: equally spaced heights, with equal areas between them, and azimuths in steps of the golden angle.
    lowest: −1 is the whole sphere, 0 the upper half. turn: radians of the first azimuth.
    """
    height = 1 - (1 - lowest) * (np.arange(count) + 0.5) / max(count, 1)
    azimuth = turn + GOLDEN_ANGLE * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.stack((across * np.cos(azimuth), across * np.sin(azimuth), height), -1)


def directions(rig: str, count: int, elevation: float, seed: int, split: Split) -> np.ndarray:
    """Return the directions [count, 3] of one split. Seed and split determine the rotation of the rig."""
    turn = np.random.default_rng((seed, SPLITS.index(split))).uniform(0, 2 * math.pi)
    if rig == "orbit":
        return orbit(count, elevation, turn)
    return spiral(count, {"hemisphere": 0.0, "sphere": -1.0}[rig], turn)


def interleaved(counts: dict[Split, int]) -> list[Split]:
    """Return the split of each view along a path, with each split spread evenly over it."""
    places = [((index + 0.5) / count, split) for split, count in counts.items() for index in range(count)]
    return [split for _, split in sorted(places, key=lambda place: place[0])]


def aimed(lens: Camera, direction: np.ndarray, center: np.ndarray, radius: float, fill: float) -> np.ndarray:
    """Return world_from_camera [4, 4] (OpenCV axes) of a camera with this lens that frames a sphere.

    direction: unit vector from the sphere to the camera. fill: size of the sphere in the frame; 1 touches the border.
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
    world[:3, 3] = center - forward * distance
    return world


def _turned_to(ray: np.ndarray) -> np.ndarray:
    """Return the smallest rotation [3, 3] that maps +Z to a unit vector with positive z (Rodrigues' formula)."""
    axis = np.array((-ray[1], ray[0], 0.0))
    cross = np.array(((0, -axis[2], axis[1]), (axis[2], 0, -axis[0]), (-axis[1], axis[0], 0)))
    return np.eye(3) + cross + cross @ cross / (1 + ray[2])


@dataclass(frozen=True)
class Shot:
    """One image of a capture."""

    name: str  # "train_000"
    split: Split
    camera: Camera


def transforms(
    shots: Sequence[Shot],
    bounds: tuple[np.ndarray, np.ndarray],
    files: dict[str, str],
) -> dict[str, Any]:
    """Return transforms.json in nerfstudio's format: a list of frames with intrinsics, and a list of files per split.

    bounds: lowest and highest corner of the target, in the world. files: patterns with {} for the shot's name, by key
    ("file_path", "depth_file_path", "normal_file_path", "mask_path"). Depth files contain metres along the view.
    """
    lenses = [_lens(shot.camera) for shot in shots]
    document: dict[str, Any] = {"camera_model": "PINHOLE"}
    if all(lens == lenses[0] for lens in lenses):
        document |= lenses[0]  # some readers expect them here, others in the frames
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
