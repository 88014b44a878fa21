"""Faces end up counter-clockwise seen from outside, whatever they were."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from meshing import Mesh, outward


def ball(radius: float = 1.0, at: float = 0.0) -> Mesh:
    made = trimesh.creation.icosphere(2, radius)
    return Mesh(made.vertices + np.array([at, 0, 0]), made.faces)


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), faces)


def flipped(mesh: Mesh, which: np.ndarray | slice = slice(None)) -> Mesh:
    faces = mesh.faces.copy()
    faces[which] = faces[which][:, ::-1]
    return Mesh(mesh.vertices, faces)


RIGHT = {
    "one": ball(),
    "two": joined(ball(), ball(0.5, 3.0)),
    "hollow": joined(ball(), flipped(ball(0.5))),
    "hollow beside": joined(ball(), flipped(ball(0.5)), ball(0.7, 4.0)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_stays(name: str) -> None:
    mesh, notes = outward(RIGHT[name])
    assert mesh is RIGHT[name] and notes == ()


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_inside_out_is_turned(name: str) -> None:
    mesh, (note,) = outward(flipped(RIGHT[name]))
    assert "inside out" in note
    assert np.array_equal(mesh.faces, RIGHT[name].faces)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_mixed_winding_is_made_one(name: str, share: float) -> None:
    right = RIGHT[name]
    mixed = flipped(right, np.random.default_rng(1).random(len(right.faces)) < share)
    mesh, notes = outward(mixed)
    assert "wound against" in notes[0]
    assert mesh.is_closed and mesh.volume == pytest.approx(right.volume)
    assert np.allclose(mesh.face_normals_scaled, right.face_normals_scaled)


def test_one_of_two_bodies_inside_out_is_turned_alone() -> None:
    mesh, (note,) = outward(joined(ball(), flipped(ball(0.5, 3.0))))
    assert "Parts of the mesh" in note and np.array_equal(mesh.faces, RIGHT["two"].faces)


def test_an_open_or_flat_mesh_stays() -> None:
    square = Mesh(np.eye(4, 3), np.array([[0, 1, 2]]))
    assert outward(square)[0] is square
