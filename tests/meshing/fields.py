"""Analytic fields with known answers: signed distances in metres, negative inside, float32 like a network's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from meshing import Lattice

Field = Callable[[NDArray], NDArray]
BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def sphere(centre=(0.0, 0.0, 0.0), radius=0.8) -> Field:
    return lambda p: np.linalg.norm(p - np.asarray(centre, np.float32), axis=1) - np.float32(radius)


def torus(centre=(0.0, 0.0, 0.0), major=0.6, minor=0.25, rotation=None) -> Field:
    def field(p):
        q = p - np.asarray(centre, np.float32)
        if rotation is not None:
            q = q @ np.asarray(rotation, np.float32)
        return np.hypot(np.hypot(q[:, 0], q[:, 1]) - np.float32(major), q[:, 2]) - np.float32(minor)

    return field


def double_torus() -> Field:
    left, right = torus((-0.42, 0, 0), 0.38, 0.14), torus((0.42, 0, 0), 0.38, 0.14)
    return lambda p: np.minimum(left(p), right(p))


def box(half) -> Field:
    def field(p):
        q = np.abs(p) - np.asarray(half, np.float32)
        return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)

    return field


def density(sdf: Field, peak=20.0, sharpness=40.0) -> Field:
    """A density (1/metre) with its half peak on the surface of an sdf."""
    return lambda p: peak / (1 + np.exp(np.clip(sharpness * sdf(p), -60, 60)))


def dense(field: Field, bounds, resolution: int, level: float, inside: str):
    """Vertices (metres) and faces of scikit-image on the whole lattice."""
    lattice = Lattice.in_bounds(bounds, resolution)
    shape = lattice.cells + 1
    points = lattice.points(np.indices(tuple(shape)).reshape(3, -1).T)
    d = (np.asarray(field(points), np.float64) - level).astype(np.float32).reshape(shape)
    direction = "descent" if inside == "negative" else "ascent"
    vertices, faces, _, _ = marching_cubes(d, 0.0, gradient_direction=direction)
    return lattice.points(vertices), faces


class Counted:
    """A field that counts the points it was asked for, and the largest batch."""

    def __init__(self, field: Field) -> None:
        self.field, self.count, self.largest = field, 0, 0

    def __call__(self, p):
        self.count += len(p)
        self.largest = max(self.largest, len(p))
        return self.field(p)
