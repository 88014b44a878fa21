"""Photographs of a small made-up place with known cameras: a textured box on a textured ground, cast ray by ray."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates, zoom

from backend.cameras import look_at

SIZE = (320, 240)
FOCAL = 300.0


def _texture(seed: int, size: int = 512) -> np.ndarray:
    """Return float [size, size, 3] of coarse and fine blotches, which feature detectors like."""
    rng = np.random.default_rng(seed)
    layers = [
        zoom(rng.random((n, n, 3)), (size / n, size / n, 1), order=1, grid_mode=True, mode="grid-wrap")
        for n in (size // 64, size // 16, size // 4)
    ]
    mixed = 0.3 * layers[0] + 0.4 * layers[1] + 0.3 * layers[2]
    return np.clip((mixed - 0.5) * 2.2 + 0.5, 0, 1)


TEXTURES = [_texture(seed) for seed in range(6)]
GROUND = _texture(6, 1024)
HALF = np.array([0.5, 0.4, 0.35])  # of the box, standing on the ground z = 0, metres


def _sample(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    size = texture.shape[0]
    at = np.stack((v * size % size, u * size % size))
    return np.stack([map_coordinates(texture[..., c], at, order=1, mode="grid-wrap") for c in range(3)], -1)


def photograph(world_from_camera: np.ndarray, distortion: float = 0.0) -> np.ndarray:
    """Return uint8 [H, W, 3] as a camera at [4, 4] (OpenCV axes) sees the place.

    distortion: of the lens, r = r' (1 + distortion r'²) from the distorted to the straight radius.
    """
    w, h = SIZE
    y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
    u, v = (x - w / 2) / FOCAL, (y - h / 2) / FOCAL
    bend = 1 + distortion * (u * u + v * v)
    directions = np.stack((u * bend, v * bend, np.ones_like(u)), -1) @ world_from_camera[:3, :3].T
    origin = world_from_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        t_ground = -origin[2] / directions[..., 2]
        centre = np.array([0, 0, HALF[2]])
        near = (centre - HALF - origin) / directions
        far = (centre + HALF - origin) / directions
    enter = np.minimum(near, far)
    t_box, axis = enter.max(-1), enter.argmax(-1)
    hit = (t_box < np.maximum(near, far).min(-1)) & (t_box > 0)
    ground = origin + directions * np.where(t_ground > 0, t_ground, 0)[..., None]
    on_ground = (t_ground > 0) & (np.abs(ground[..., :2]).max(-1) < 4)
    color = np.where(on_ground[..., None], _sample(GROUND, ground[..., 0] / 8, ground[..., 1] / 8), 0.7)
    on_box = origin + directions * np.where(hit, t_box, 0)[..., None]
    for side in range(3):
        for sign in (0, 1):
            here = hit & (axis == side) & ((np.take(directions, side, -1) > 0) == bool(sign))
            others = [i for i in range(3) if i != side]
            face = _sample(
                TEXTURES[side * 2 - sign], on_box[here][:, others[0]] / 1.5, on_box[here][:, others[1]] / 1.5
            )
            color[here] = face * (0.75 + 0.1 * side)
    return (color * 255 + 0.5).astype(np.uint8)


def orbit_poses(count: int, *, radius: float = 2.4, turns: float = 1.0) -> np.ndarray:
    """Return world_from_camera [count, 4, 4] round the box at two heights, looking at it without roll."""
    poses = []
    for index in range(count):
        azimuth, height = 2 * math.pi * turns * index / count, (0.9, 1.5)[index % 2]
        eye = (radius * math.sin(azimuth), -radius * math.cos(azimuth), height)
        poses.append(np.array(look_at(eye, (0.0, 0.0, 0.3))))
    return np.stack(poses)


def take(folder: Path, poses: np.ndarray, *, distortion: float = 0.0) -> list[Path]:
    """Photograph the place from `poses` into JPEG files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pose in enumerate(poses):
        paths.append(folder / f"IMG_{index:03d}.jpg")
        Image.fromarray(photograph(pose, distortion)).save(paths[-1], quality=95)
    return paths
