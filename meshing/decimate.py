"""Decimation: quadric edge collapse (Garland and Heckbert, 1997) by fast-simplification."""

from __future__ import annotations

import logging

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from meshing.cleanup import drop_degenerate, select_faces
from meshing.errors import InvalidMesh
from meshing.mesh import Mesh
from meshing.normals import smooth_normals
from meshing.progress import Progress, silent

log = logging.getLogger(__name__)

STAGE = 4  # faces become fewer by at most this factor in one call of the library, which cannot be interrupted
AGGRESSION = (5.0, 7.0, 3.0)  # tried in turn until a closed mesh stays closed


def decimate(mesh: Mesh, target_faces: int, *, progress: Progress = silent) -> Mesh:
    """Reduce a mesh to about `target_faces` faces (never more than a few above); a mesh with fewer is returned as is.

    A closed mesh stays closed where the library manages; if it does not, that is logged, and clean-up can fill the
    holes. Colours are taken from the nearest point among the old vertices, normals are computed anew.

    Raises:
        InvalidMesh: a target below 4, or a mesh that has texture coordinates already (decimate before the UVs).
    """
    if isinstance(target_faces, bool) or not isinstance(target_faces, (int, np.integer)) or target_faces < 4:
        raise InvalidMesh(f"The target must be a whole number of at least 4 faces, got {target_faces!r}.")
    if mesh.uvs is not None:
        raise InvalidMesh("A mesh that has its texture already cannot lose faces: decimate before the UVs are made.")
    if len(mesh.faces) <= target_faces:
        progress(1.0, "Few enough faces already")
        return mesh
    source = mesh
    mesh = drop_degenerate(mesh)
    middle = mesh.vertices.mean(0, dtype=np.float64)
    size = max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-30)
    points = (mesh.vertices.astype(np.float64) - middle) / size  # the library's thresholds are absolute
    faces = mesh.faces
    closed = mesh.is_closed
    topology = mesh.euler_number if closed else None
    stages = max(1, int(np.ceil(np.log(len(faces) / target_faces) / np.log(STAGE))))
    for stage in range(stages):
        progress(0.9 * stage / stages, "Reducing faces")
        count = max(target_faces, len(faces) // STAGE) if stage + 1 < stages else target_faces
        points, faces = _collapse(points, faces, count, topology)
    progress(0.9, "Carrying over colours")
    result = Mesh((points * size + middle).astype(np.float32), faces)
    result = select_faces(result, np.ones(len(faces), bool))
    if closed and not result.is_closed:
        log.warning("the mesh is not closed any more at %d faces", len(result.faces))
    if mesh.colors is not None and len(result.vertices):
        result = Mesh(result.vertices, result.faces, None, _resampled(source, result.vertices))
    if mesh.normals is not None:
        result = smooth_normals(result)
    progress(1.0, "Faces reduced")
    return result


def _collapse(
    points: NDArray[np.float64], faces: NDArray[np.int32], count: int, topology: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """One call of the library, repeated with another aggression while it breaks a closed mesh or stops early.

    Of the results, one with the topology (the Euler number of a closed mesh) kept comes before one with fewer faces.
    """
    best: tuple[NDArray[np.float64], NDArray[np.int32]] | None = None
    best_rank = (-1, 0, 0)
    for aggression in AGGRESSION:
        new_points, new_faces = fast_simplification.simplify(points, faces, target_count=int(count), agg=aggression)
        new_faces = new_faces.astype(np.int32)
        shape = Mesh(new_points, new_faces)
        whole = topology is None or (shape.is_closed and shape.euler_number == topology)
        rank = (int(whole), int(len(new_faces) <= count * 1.02 + 4), -len(new_faces))
        if rank > best_rank:
            best, best_rank = (np.asarray(new_points, np.float64), new_faces), rank
        if rank[:2] == (1, 1):
            break
    assert best is not None
    return best


def _resampled(mesh: Mesh, points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours [N, 4] at points near the mesh: the three nearest vertices, weighted by their inverse distance."""
    assert mesh.colors is not None
    distance, index = KDTree(mesh.vertices).query(points, k=min(3, len(mesh.vertices)))
    distance, index = distance.reshape(len(points), -1), index.reshape(len(points), -1)
    weight = 1 / np.maximum(distance, 1e-12)
    weight /= weight.sum(1, keepdims=True)
    return np.rint(np.einsum("nk,nkc->nc", weight, mesh.colors[index].astype(np.float64))).astype(np.uint8)
