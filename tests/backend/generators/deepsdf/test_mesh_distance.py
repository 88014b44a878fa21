"""Signed distances to meshes that are open, overlapping or plain wrong."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from backend.generators.deepsdf.mesh_distance import MeshDistance


def _points(count: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.2, 1.2, (count, 3)).astype(np.float32)


def test_distance_to_a_sphere_is_radius_minus_length() -> None:
    sphere = trimesh.creation.icosphere(5)
    points = _points()
    got = MeshDistance(sphere.vertices, sphere.faces).signed_distance(points)
    np.testing.assert_allclose(got, np.linalg.norm(points, axis=1) - 1, atol=2e-3)


def test_overlapping_boxes_have_one_inside() -> None:
    a, b = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 1))
    b.apply_translation((0.5, 0.25, 0))
    both = trimesh.util.concatenate([a, b])
    points = _points()
    inside = (np.abs(points) < 0.5).all(1) | (np.abs(points - [0.5, 0.25, 0]) < 0.5).all(1)
    got = MeshDistance(both.vertices, both.faces).signed_distance(points)
    clear = np.abs(got) > 1e-3
    np.testing.assert_array_equal((got < 0)[clear], inside[clear])


def test_a_box_with_a_missing_face_still_has_an_inside() -> None:
    box = trimesh.creation.box((1, 1, 1))
    open_box = MeshDistance(box.vertices, box.faces[:-2])
    assert open_box.signed_distance(np.zeros((1, 3), np.float32))[0] < 0
    assert (open_box.signed_distance(np.float32([[0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9], [-0.9, 0, 0]])) > 0).all()


def test_surface_points_lie_on_the_surface_by_area() -> None:
    box = trimesh.creation.box((1, 1, 0.5))
    distance = MeshDistance(box.vertices, box.faces)
    points, normals = distance.surface_points(20_000, np.random.default_rng(0))
    assert np.abs(distance.signed_distance(points)).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    top_or_bottom = np.mean(np.abs(normals[:, 2]) > 0.5)
    assert abs(top_or_bottom - 0.5) < 0.02


def test_rays_meet_the_nearest_face_and_normals_look_back() -> None:
    box = trimesh.creation.box((1, 1, 1))
    origins = np.float32([[0, 0, 3], [0.2, 0.1, -3], [2, 2, 2]])
    directions = np.float32([[0, 0, -1], [0, 0, 1], [0, 0, 1]])
    distance, normal = MeshDistance(box.vertices, box.faces).first_hit(origins, directions)
    np.testing.assert_allclose(distance, [2.5, 2.5, np.inf])
    np.testing.assert_allclose(normal, [[0, 0, 1], [0, 0, -1], [0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("vertices", "faces", "why"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), int), "no faces"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "not finite"),
    ],
)
def test_a_mesh_that_is_none_is_refused(vertices: np.ndarray, faces: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MeshDistance(vertices, faces)
