"""Alignment of a reconstruction with an upright, centered world: photographs know neither scale nor up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..datasets import checks

DISTANCE = 2.0  # metres from the center to the camera of median distance


class Alignment(NamedTuple):
    """The similarity to an upright world, and how up was found."""

    matrix: np.ndarray  # [4, 4] world_from_reconstruction
    up_from: str


def upright(poses: np.ndarray, points: np.ndarray) -> Alignment:
    """Return the similarity that makes a reconstruction upright, centered and of known scale.

    poses: [N, 4, 4], OpenCV axes. points: [P, 3].

    Up: photographers hold cameras level, so the cameras' x axes lie in one plane, whose normal is up. Where they all
    point the same way (a row of images from one side) they define none, and the mean of the cameras' own up is taken.
    Center: the point nearest to all optical axes, if the cameras look towards it, else the median sparse point.
    """
    up, right, positions = -poses[:, :3, 1].mean(0), poses[:, :3, 0], poses[:, :3, 3]
    values, vectors = np.linalg.eigh(right.T @ right / len(right))
    level = values[0] < 0.05 and values[1] > 0.1
    z = vectors[:, 0] * np.sign(vectors[:, 0] @ up) if level else up / np.linalg.norm(up)
    center = checks.common_center(poses)
    towards = None if center is None else ((center - positions) * poses[:, :3, 2]).sum(-1)
    if center is None or towards is None or (towards > 0).mean() < 0.9:
        center = np.median(points, axis=0) if len(points) else positions.mean(0)
    front = positions[0] - center
    front = front - z * (front @ z)
    if np.linalg.norm(front) < 1e-9:
        front = np.cross(z, [1.0, 0.0, 0.0] if abs(z[0]) < 0.9 else [0.0, 1.0, 0.0])
    y = -front / np.linalg.norm(front)
    rotation = np.stack((np.cross(y, z), y, z))
    scale = DISTANCE / max(float(np.median(np.linalg.norm(positions - center, axis=-1))), 1e-9)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, -scale * rotation @ center
    return Alignment(matrix, "level cameras" if level else "mean camera up")


def transformed(matrix: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return rigid poses [N, 4, 4] after a similarity."""
    moved = matrix @ poses
    moved[:, :3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    return moved
