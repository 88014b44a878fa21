"""The surface of a rough density's blurred opacity: smooth where it is even, and nothing thin is lost."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from meshing.cached_field import CachedField
from meshing.grid import Field, extract_surface
from meshing.mesh import Mesh
from meshing.opacity import KEPT, LEVEL, BlurredOpacity

BOUNDS = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
RESOLUTION = 65
RADIUS = 0.6


def rough_ball(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """A density whose heights inside vary a thousandfold from place to place, and whose edge is 0.02 rough."""
    noise = np.random.default_rng(0)
    edge = RADIUS + 0.02 * noise.standard_normal(len(points))
    height = 10 ** noise.uniform(1, 4, len(points))
    return np.where(np.linalg.norm(points, axis=1) < edge, height, 0).astype(np.float32)


def wire(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """One lattice line of opaque points along x."""
    return np.where(np.linalg.norm(points[:, 1:], axis=1) < 0.01, 1e4, 0).astype(np.float32)


def surface(field: BlurredOpacity | CachedField, level: float) -> Mesh:
    return extract_surface(field, BOUNDS, RESOLUTION, level, inside="positive", cap=True)


def cached(field: Field) -> CachedField:
    found = CachedField(field, BOUNDS, RESOLUTION)
    found.fill()
    return found


def off(mesh: Mesh) -> tuple[float, float]:
    """Return the mean distance to the ball's surface, and the mean cosine between the normals and the radius."""
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    outward = made.triangles_center / np.linalg.norm(made.triangles_center, axis=1, keepdims=True)
    distance = np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS).mean()
    return float(distance), float((made.face_normals * outward).sum(1).mean())


def test_a_rough_density_has_a_smooth_surface_in_its_place() -> None:
    density = cached(rough_ball)
    blurred = BlurredOpacity(density, 10.0)
    before, after = off(surface(density, 10.0)), off(surface(blurred, blurred.level_of(10.0)))
    assert after[0] < 0.7 * before[0]
    assert before[1] + 0.05 < after[1] and after[1] > 0.9


def test_a_wire_of_one_point_is_kept() -> None:
    blurred = BlurredOpacity(cached(wire), 10.0)
    made = surface(blurred, LEVEL)
    assert np.ptp(made.vertices[:, 0]) == pytest.approx(2.0, abs=0.05)
    assert KEPT > LEVEL


def test_levels_of_density_and_opacity_are_translated() -> None:
    blurred = BlurredOpacity(cached(wire), 25.0)
    assert blurred.level_of(25.0) == pytest.approx(LEVEL)
    assert blurred.level_of(10.0) < LEVEL < blurred.level_of(100.0) < 2 * LEVEL
    assert blurred.density_of(blurred.level_of(40.0)) == pytest.approx(40.0)
