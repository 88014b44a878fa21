"""Procedural families: closed surfaces of one size, different from each other, the same for a seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

from backend.training.data.families import FAMILIES
from backend.training.data.families.solids import (
    BOUND,
    Part,
    assemble,
    curve,
    lathe,
    slab,
    superellipse,
    tube,
    vertex_normals,
)
from backend.training.data.family_views import camera_pose
from backend.training.data.mesh_views import MeshViews, bake_light

RED = (0.8, 0.1, 0.1)


def as_trimesh(part: Part) -> trimesh.Trimesh:
    return trimesh.Trimesh(part.vertices, part.faces, process=False)


@pytest.mark.parametrize(
    ("part", "volume"),
    [
        (tube([(0, 0, 0), (0, 0, 2)], 0.1, RED, sides=64, steps=9), math.pi * 0.01 * 2 + 4 / 3 * math.pi * 0.001),
        (tube([(0, 1, 0), (2, 1, 0)], 0.1, RED, sides=64), math.pi * 0.01 * 2 + 4 / 3 * math.pi * 0.001),
        (slab(superellipse(2, 1, 2, 96), 0.1, RED, bevel=0.01), math.pi / 2 * 0.1),
        (lathe([(1e-3, -1), (1, 0), (1e-3, 1)], RED, 96), 2 / 3 * math.pi),
    ],
    ids=["upright tube", "lying tube", "slab", "two cones"],
)
def test_solids_are_closed_wound_outwards_and_of_their_size(part: Part, volume: float) -> None:
    mesh = as_trimesh(part)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(volume, rel=0.03)


def test_a_curve_goes_through_its_points() -> None:
    points = np.array([(0, 0, 0), (1, 0.5, 0), (1, 2, 1), (0, 2, 2)], float)
    found = curve(points, 31)
    np.testing.assert_allclose(found[[0, 10, 20, 30]], points, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_objects_are_inside_the_sphere_repeatable_and_all_different(name: str) -> None:
    family = FAMILIES[name]
    shapes = set()
    for seed in range(8):
        parts = family.parts(np.random.default_rng(seed))
        assert all(as_trimesh(part).is_watertight and as_trimesh(part).volume > 0 for part in parts)
        whole = assemble(parts)
        assert np.isfinite(whole.vertices).all() and len(whole.faces) < 40_000
        assert np.linalg.norm(whole.vertices, axis=1).max() == pytest.approx(BOUND, abs=1e-5)
        np.testing.assert_allclose(whole.vertices.min(0) + whole.vertices.max(0), 0, atol=1e-5)
        assert whole.colors.min() >= 0 and whole.colors.max() <= 1
        np.testing.assert_array_equal(whole.vertices, family.make(seed).vertices)
        shapes.add(tuple(np.ptp(whole.vertices, axis=0).round(4)))
    assert len(shapes) == 8


def test_a_render_covers_what_the_silhouette_does_and_is_brighter_towards_the_light() -> None:
    angles = np.linspace(-math.pi / 2, math.pi / 2, 40)[1:-1]
    ball = lathe(np.column_stack([np.cos(angles), np.sin(angles)]) * BOUND, (0.5, 0.5, 0.5), 64)
    focal = 0.5 / math.tan(math.radians(15))
    image = MeshViews(ball, bake_light(ball)).render(camera_pose(0.0, 0.3), focal, 64)
    # A ball of radius r at distance d covers a disc of focal · r / √(d² − r²) in units of the side.
    radius = focal * BOUND / math.sqrt(3.8**2 - BOUND**2)
    assert image[..., 3].mean() == pytest.approx(math.pi * radius**2, rel=0.01)
    top_left, bottom_right = image[12:24, 16:28, 0].mean(), image[40:52, 36:48, 0].mean()
    assert top_left > 1.3 * bottom_right > 0.1


def test_light_does_not_reach_what_is_covered() -> None:
    plate = slab(superellipse(2, 2, 9), 0.05, (0.5, 0.5, 0.5))
    roof = plate.moved((0, 0, 0.2))
    both = assemble([plate, roof])
    colors = bake_light(both)
    facing_up = vertex_normals(both.vertices, both.faces)[:, 2] > 0.95
    inner = np.linalg.norm(both.vertices[:, :2], axis=1) < 0.3
    lower = both.vertices[:, 2] < 0
    assert colors[facing_up & inner & lower].mean() < 0.4 * colors[facing_up & inner & ~lower].mean()
