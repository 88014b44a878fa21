"""Benchmark of meshing: time, memory and correctness; `python -m backend.bench.meshing` runs it alone, too.

Fields are analytic signed distances in float32, so that a ratio of evaluations is one of time for any costly field.
Distances between surfaces are between vertices of the same number, which exist because the faces are identical; where
they were not, the two-way Hausdorff distance between the vertices would be taken. Peak memory is the largest resident
size of a child process, with its imports (numpy, scipy, scikit-image).
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.measure import euler_number, marching_cubes

from meshing import Lattice, Mesh, bake_texture, clean, decimate, extract_surface, unwrap_uvs

from .row import Row

BOUNDS = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
SIDE = 2.0
REPEATS = 3
Field = Callable[[NDArray[np.float32]], NDArray]


def sphere(p: NDArray[np.float32]) -> NDArray:
    return np.linalg.norm(p - np.array([0.013, 0.02, 0.03], np.float32), axis=1) - np.float32(0.8)


def torus(p: NDArray[np.float32]) -> NDArray:
    return np.hypot(np.hypot(p[:, 0], p[:, 1]) - np.float32(0.6), p[:, 2]) - np.float32(0.25)


def double_torus(p: NDArray[np.float32]) -> NDArray:
    rings = [np.hypot(np.hypot(p[:, 0] - x, p[:, 1]) - np.float32(0.38), p[:, 2]) for x in (-0.42, 0.42)]
    return np.minimum(*rings) - np.float32(0.14)


GYROID_FREQUENCY = 7.0
GYROID_ROUNDING = 0.08  # metres; a sharp rim has slivers thinner than any lattice, on whose number lattices disagree


def gyroid(p: NDArray[np.float32]) -> NDArray:
    """One side of a gyroid inside a ball: a closed body of many handles. Its slope is at most 1: √3 f / (2 f) and 1."""
    x, y, z = (GYROID_FREQUENCY * p).T
    value = (np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)) / (2 * GYROID_FREQUENCY)
    ball = np.linalg.norm(p, axis=1) - np.float32(0.9)
    return (value + ball + np.hypot(value - ball, np.float32(GYROID_ROUNDING))) / 2


def density(p: NDArray[np.float32]) -> NDArray:
    return 20 / (1 + np.exp(np.clip(40 * torus(p), -60, 60)))


def rows() -> list[Row]:
    """Return the bench's rows."""
    return [*_leanness(), *_equality(), *_memory(), *_shapes(), *_steps()]


class _Counted:
    def __init__(self, field: Field) -> None:
        self.field, self.count = field, 0

    def __call__(self, points: NDArray[np.float32]) -> NDArray:
        self.count += len(points)
        return self.field(points)


def _dense(field: Field, resolution: int, level: float = 0.0, direction: str = "descent") -> tuple[NDArray, NDArray]:
    """scikit-image on the whole lattice: vertices [V, 3] metres, faces [F, 3]."""
    lattice = Lattice.in_bounds(BOUNDS, resolution)
    values = np.empty((resolution,) * 3, np.float32)
    plane = np.indices((1, resolution, resolution)).reshape(3, -1).T
    for x in range(resolution):
        values[x] = np.asarray(field(lattice.points(plane + np.array([x, 0, 0]))) - level).reshape(
            resolution, resolution
        )
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction=direction)
    return lattice.points(vertices), faces


def _leanness() -> list[Row]:
    out = []
    for name, field, target in (("sphere", sphere, 3.0), ("torus", torus, 3.0), ("gyroid ball", gyroid, None)):
        counted = _Counted(field)
        extract_surface(counted, BOUNDS, 512, 0.0)
        percent = 100 * counted.count / 512**3
        out.append(_at_most(f"{name} 512³: evaluations, of the dense grid's", percent, "%", target))
    counted = _Counted(density)
    extract_surface(counted, BOUNDS, 512, 10.0, inside="positive")
    out.append(Row("torus 512³ as a density, margin 1: evaluations", 100 * counted.count / 512**3, "%"))
    return out


def _equality() -> list[Row]:
    out = []
    for resolution in (128, 256):
        for name, field, level in (
            ("sphere", sphere, 0.0),
            ("torus", torus, 0.0),
            ("gyroid ball", gyroid, 0.0),
            ("torus density", density, 10.0),
        ):
            inside = "positive" if level else "negative"
            mesh = extract_surface(field, BOUNDS, resolution, level, inside=inside)  # type: ignore[arg-type]
            vertices, faces = _dense(field, resolution, level, "ascent" if level else "descent")
            same = np.array_equal(faces, mesh.faces)
            if same:
                away = float(np.linalg.norm(vertices - mesh.vertices, axis=1).max())
            else:
                away = max(
                    float(KDTree(vertices).query(mesh.vertices)[0].max()),
                    float(KDTree(mesh.vertices).query(vertices)[0].max()),
                )
            out.append(_at_most(f"{name} {resolution}³: vertex distance to dense, of the box", away / SIDE, "", 1e-4))
            difference = abs(len(faces) - len(mesh.faces)) if not same else 0
            out.append(Row(f"{name} {resolution}³: faces other than dense", difference, "faces", 0, same))
    times: dict[str, list[float]] = {"sparse": [], "dense": []}
    for _ in range(REPEATS):  # alternating
        start = time.perf_counter()
        extract_surface(sphere, BOUNDS, 256, 0.0)
        times["sparse"].append(time.perf_counter() - start)
        start = time.perf_counter()
        _dense(sphere, 256)
        times["dense"].append(time.perf_counter() - start)
    sparse, dense = (statistics.median(times[name]) for name in ("sparse", "dense"))
    out += [
        Row("sphere 256³, a field that costs nothing: sparse", sparse, "s"),
        Row("sphere 256³, a field that costs nothing: dense", dense, "s"),
        Row("sphere 256³: dense over sparse", dense / sparse, "×"),
    ]
    return out


def _memory() -> list[Row]:
    child = """
import sys, time
import meshing
from backend.bench.meshing import BOUNDS, sphere
from backend.bench.peak import peak_bytes

idle = peak_bytes()
start = time.perf_counter()
meshing.extract_surface(sphere, BOUNDS, int(sys.argv[1]), 0.0)
print(idle, peak_bytes(), time.perf_counter() - start)
"""
    out = []
    for resolution in (256, 512):
        done = subprocess.run(
            [sys.executable, "-c", child, str(resolution)],
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        idle, peak, seconds = (float(word) for word in done.stdout.split())
        name = f"sphere {resolution}³: peak memory"
        out.append(_at_most(f"{name}, with imports ({idle / 1e6:.0f} MB)", peak / 1e6, "MB", 1000.0))
        out.append(Row(f"sphere {resolution}³: time", seconds, "s"))
    return out


def _shapes() -> list[Row]:
    mesh = extract_surface(lambda p: np.linalg.norm(p, axis=1) - 0.8, BOUNDS, 256, 0.0)
    exact = 4 / 3 * math.pi * 0.8**3
    out = [_at_most("sphere 256³: volume error", 100 * abs(mesh.volume / exact - 1), "%", 0.1)]
    for name, field, euler in (("sphere", sphere, 2), ("torus", torus, 0), ("double torus", double_torus, -2)):
        out += _sound(name, extract_surface(field, BOUNDS, 256, 0.0), euler)
    return [*out, *_sound("gyroid ball", extract_surface(gyroid, BOUNDS, 256, 0.0), _gyroid_euler())]


def _sound(name: str, mesh: Mesh, euler: int) -> list[Row]:
    return [
        Row(f"{name} 256³: closed, consistently wound, outwards", float(mesh.is_closed), "", 1, mesh.is_closed)
        if mesh.volume > 0
        else Row(f"{name} 256³: closed, consistently wound, outwards", 0, "", 1, False),
        Row(f"{name} 256³: Euler number", mesh.euler_number, "", euler, mesh.euler_number == euler),
    ]


def _gyroid_euler() -> int:
    """The Euler number of the gyroid body's surface, without marching cubes.

    A closed surface has twice the Euler number of the solid that it bounds, and the solid's is counted on its voxels
    (vertices - edges + faces - cubes of the voxels whose middle is inside, 6-connected), on another lattice.
    """
    n = 180
    points = Lattice.in_bounds(BOUNDS, n).points(np.indices((n, n, n)).reshape(3, -1).T)
    return 2 * int(euler_number(np.asarray(gyroid(points) < 0).reshape(n, n, n), connectivity=1))


def _steps() -> list[Row]:
    """Seconds of the steps that follow, on the torus."""
    out = []
    mesh = extract_surface(torus, BOUNDS, 256, 0.0)
    for name, step in (
        ("clean up", clean),
        ("reduce to 20,000 faces", lambda m: decimate(m, 20_000)),
        ("make UVs", unwrap_uvs),
        ("bake 1024²", lambda m: bake_texture(m, lambda p: p * 0.5 + 0.5, 1024)),
    ):
        start = time.perf_counter()
        before = len(mesh.faces)
        mesh = step(mesh)
        out.append(Row(f"{name}, {before:,} faces", time.perf_counter() - start, "s"))
    return out


def _at_most(measure: str, value: float, unit: str, target: float | None) -> Row:
    return Row(measure, value, unit, target, target is None or value <= target)


if __name__ == "__main__":
    print(json.dumps([asdict(row) for row in rows()], indent=1))
