"""Smoothing: less noise, the same volume, the same faces."""

from __future__ import annotations

import numpy as np

from meshing import Mesh
from meshing.grid import extract_surface
from meshing.normals import smooth_normals
from meshing.smooth import smooth_surface
from tests.meshing.fields import BOX, dense, sphere, torus


def rough(mesh: Mesh, radius: float) -> float:
    return float(np.std(np.linalg.norm(mesh.vertices, axis=1) - radius))


def noisy(seed: int = 0) -> Mesh:
    vertices, faces = dense(sphere(radius=0.8), BOX, 48, 0.0, "negative")
    return Mesh(vertices + np.random.default_rng(seed).normal(0, 0.006, vertices.shape), faces)


def test_noise_goes_and_the_volume_stays():
    mesh = noisy()
    made = smooth_surface(mesh, 10)
    assert rough(made, 0.8) < 0.4 * rough(mesh, 0.8)
    assert abs(made.volume / (4 / 3 * np.pi * 0.8**3) - 1) < 0.01
    assert np.array_equal(made.faces, mesh.faces) and made.is_closed


def test_more_rounds_smooth_more_and_none_change_nothing():
    mesh = noisy()
    assert rough(smooth_surface(mesh, 20), 0.8) < rough(smooth_surface(mesh, 3), 0.8) < rough(mesh, 0.8)
    assert smooth_surface(mesh, 0) is mesh


def test_a_thin_ring_stays_as_thick():
    vertices, faces = dense(torus(major=0.7, minor=0.06), BOX, 64, 0.0, "negative")  # three cells across
    mesh = Mesh(vertices, faces)
    assert abs(smooth_surface(mesh, 10).volume / mesh.volume - 1) < 0.03


def test_nothing_leaves_the_bounds():
    cut = ((-1.0, -1.0, -1.0), (1.0, 1.0, 0.3))
    made = extract_surface(sphere(radius=0.8), cut, 48, 0.0, inside="negative", cap=True)
    free, kept = smooth_surface(made, 10), smooth_surface(made, 10, cut)
    assert free.vertices[:, 2].max() > 0.3 + 1e-4  # growing again, the cap's rim goes beyond
    assert kept.vertices[:, 2].max() <= 0.3 + 1e-6 and abs(kept.volume / made.volume - 1) < 0.01


def test_normals_that_do_not_fit_any_more_are_dropped_and_nothing_is_nothing():
    mesh = smooth_normals(noisy())
    assert mesh.normals is not None and smooth_surface(mesh, 5).normals is None
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))
    assert smooth_surface(empty, 5) is empty
