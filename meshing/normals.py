"""Smooth vertex normals, from the faces or from the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meshing.errors import InvalidField, InvalidMesh
from meshing.mesh import Mesh
from meshing.progress import Progress, silent

# corners of a tetrahedron: four samples give the gradient where central differences take six
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)


def smooth_normals(mesh: Mesh, weight: Literal["angle", "area"] = "angle", *, progress: Progress = silent) -> Mesh:
    """Set vertex normals to the mean of the faces round a vertex, weighted by their angle there, or by their area.

    Angles make the result independent of how the faces are cut (Thürmer and Wüthrich, 1998). Faces thinner than the
    rounding of their corners count with neither; a vertex without another takes the mean of its neighbours, or +Z.
    """
    if weight not in ("angle", "area"):
        raise InvalidMesh(f'The weight of normals must be "angle" or "area", got {weight!r}.')
    progress(0.0, "Computing normals")
    scaled = mesh.face_normals_scaled
    corners = mesh.corners.astype(np.float64)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1, initial=0)
    rounding = 4 * float(np.finfo(np.float32).eps) * np.abs(mesh.vertices).max(initial=0)
    scaled[np.linalg.norm(scaled, axis=1) <= longest * rounding] = 0
    total = np.zeros((len(mesh.vertices), 3))
    for corner in range(3):
        progress(corner / 3, "Computing normals")
        if weight == "angle":
            one = _unit(corners[:, (corner + 1) % 3] - corners[:, corner])
            other = _unit(corners[:, (corner + 2) % 3] - corners[:, corner])
            angle = np.arccos(np.clip(np.einsum("ij,ij->i", one, other), -1, 1))
            share = _unit(scaled) * angle[:, None]
        else:
            share = scaled
        for axis in range(3):
            total[:, axis] += np.bincount(mesh.faces[:, corner], share[:, axis], len(mesh.vertices))
    total = _unit(total)
    lost = np.isin(mesh.faces, np.flatnonzero((total == 0).all(1)))  # face corners
    if lost.any():
        rows, columns = np.nonzero(lost)
        mean = total[mesh.faces[rows]].sum(1)
        for axis in range(3):
            total[:, axis] += np.bincount(mesh.faces[rows, columns], mean[:, axis], len(total))
        total = _unit(total)
    progress(1.0, "Normals computed")
    return replace(mesh, normals=_or_up(total))


def field_normals(
    mesh: Mesh,
    field: Callable[[NDArray[np.float32]], ArrayLike],
    *,
    inside: Literal["negative", "positive"] = "negative",
    step: float | None = None,
    gradient: Callable[[NDArray[np.float32]], ArrayLike] | None = None,
    batch_size: int = 1 << 18,
    progress: Progress = silent,
) -> Mesh:
    """Set vertex normals to the direction in which the field leaves the inside.

    Args:
        mesh: its vertices are where the field is asked.
        field: values [N] at points [N, 3] metres; asked at four points round each vertex.
        inside: the sign of the field, less its level, inside.
        step: metres between vertex and samples; None: an eighth of the median edge.
        gradient: gradients [N, 3] at points [N, 3], where it is known (autograd); the field is not evaluated then.
        batch_size: most points in one call.
        progress: called once a batch.

    Raises:
        InvalidField: wrong shape, or not finite.
    """
    if step is None:
        ends = mesh.corners[: 1 << 16]
        step = float(np.median(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1))) / 8 if len(mesh.faces) else 1e-3
    points_each = 1 if gradient is not None else 4
    out = np.empty((len(mesh.vertices), 3))
    chunk = max(1, batch_size // points_each)
    for start in range(0, len(mesh.vertices), chunk):
        progress(start / len(mesh.vertices), "Computing normals from the field")
        points = mesh.vertices[start : start + chunk]
        if gradient is not None:
            slope = np.asarray(gradient(points), np.float64)
            if slope.shape != points.shape:
                raise InvalidField(f"The gradient must be of the shape {list(points.shape)}, got {list(slope.shape)}.")
        else:
            around = (points[:, None] + np.float32(step) * TETRAHEDRON).reshape(-1, 3)
            values = np.asarray(field(around), np.float64)
            if values.size != len(around):
                raise InvalidField(f"The field must return [{len(around)}] numbers, got {list(values.shape)}.")
            slope = values.reshape(-1, 4) @ TETRAHEDRON
        if not np.isfinite(slope).all():
            raise InvalidField("The field is not finite near the surface: its normals cannot be computed.")
        out[start : start + chunk] = slope if inside == "negative" else -slope
    progress(1.0, "Normals computed")
    return replace(mesh, normals=_or_up(_unit(out)))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _or_up(normals: NDArray[np.float64]) -> NDArray[np.float32]:
    normals[(normals == 0).all(1)] = (0, 0, 1)
    return normals.astype(np.float32)
