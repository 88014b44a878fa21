"""Mesh: accepted arrays and measurements."""

from __future__ import annotations

import numpy as np
import pytest

from meshing import InvalidMesh, Mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_a_tetrahedron_is_closed_with_volume_one_sixth():
    mesh = Mesh(VERTICES, FACES)
    assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int32
    assert mesh.volume == pytest.approx(1 / 6)
    assert mesh.area == pytest.approx(1.5 + np.sqrt(3) / 2)
    assert mesh.euler_number == 2
    assert mesh.is_closed


def test_a_missing_or_a_turned_face_is_not_closed():
    assert not Mesh(VERTICES, FACES[1:]).is_closed
    turned = FACES.copy()
    turned[0] = turned[0, ::-1]
    assert not Mesh(VERTICES, turned).is_closed
    assert Mesh(VERTICES, FACES[:, ::-1]).volume == pytest.approx(-1 / 6)


def test_volume_does_not_depend_on_where_the_mesh_is():
    assert Mesh(VERTICES + 1000, FACES).volume == pytest.approx(1 / 6, rel=1e-3)


def test_an_empty_mesh_is_a_mesh():
    mesh = Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))
    assert mesh.volume == 0 and mesh.area == 0 and mesh.euler_number == 0
    assert not mesh.is_closed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": VERTICES[:, :2]}, "vertices must have the shape"),
        ({"vertices": VERTICES * np.nan}, "not finite"),
        ({"faces": FACES + 1}, "outside 0..3"),
        ({"faces": FACES - 1}, "outside 0..3"),
        ({"faces": FACES[:, :2]}, "faces must have the shape"),
        ({"normals": VERTICES[:2]}, "normals"),
        ({"colors": np.zeros((4, 3))}, "colors"),
        ({"uvs": np.zeros((4, 2))}, "uvs"),
        ({"texture": np.zeros((8, 8, 3))}, "texture"),
    ],
)
def test_arrays_that_are_not_a_mesh_are_refused(change, message):
    with pytest.raises(InvalidMesh, match=message):
        Mesh(**{"vertices": VERTICES, "faces": FACES, **change})
