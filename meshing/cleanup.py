"""Repair of surfaces from learned fields: floaters, holes, zero-length edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from meshing.errors import InvalidMesh
from meshing.mesh import Mesh
from meshing.progress import Progress, part, silent

Measure = Literal["volume", "area", "faces"]


@dataclass(frozen=True)
class CleanUp:
    """Steps of `clean`, in this order."""

    degenerate: bool = True  # contract edges of no length
    keep_largest: bool = False  # drop every component but the largest
    least_fraction: float = 0.0  # drop components smaller than this part of the largest
    measure: Measure = "volume"  # what "large" means; "area" for open surfaces
    holes: bool = True  # close holes
    hole_edges: int | None = None  # of at most this many edges; None: of any size


def clean(mesh: Mesh, settings: CleanUp | None = None, *, progress: Progress = silent) -> Mesh:
    """Apply the steps that `settings` names."""
    settings = settings or CleanUp()
    if settings.degenerate:
        mesh = drop_degenerate(mesh, progress=part(progress, 0.0, 0.3))
    if settings.keep_largest:
        mesh = keep_largest(mesh, settings.measure, progress=part(progress, 0.3, 0.6))
    elif settings.least_fraction > 0:
        mesh = drop_small(mesh, settings.least_fraction, settings.measure, progress=part(progress, 0.3, 0.6))
    if settings.holes:
        mesh = fill_holes(mesh, settings.hole_edges, progress=part(progress, 0.6, 1.0))
    progress(1.0, "Cleaned up")
    return mesh


def component_labels(mesh: Mesh) -> NDArray[np.int32]:
    """The component [F] of each face, numbered from 0; faces that share a vertex are of one component."""
    a, b, c = mesh.faces.T
    ends = (np.concatenate([a, b]), np.concatenate([b, c]))
    graph = sparse.coo_matrix((np.ones(len(ends[0]), bool), ends), shape=(len(mesh.vertices),) * 2)
    _, labels = csgraph.connected_components(graph, directed=False)
    return np.unique(labels[a], return_inverse=True)[1].astype(np.int32)


def component_sizes(mesh: Mesh, labels: NDArray[np.int32], measure: Measure = "volume") -> NDArray[np.float64]:
    """The size of each component: cubic metres (of a cavity: of the hollow), square metres, or number of faces."""
    if measure == "faces":
        return np.bincount(labels).astype(np.float64)
    if measure == "area":
        return np.bincount(labels, np.linalg.norm(mesh.face_normals_scaled, axis=1) / 2).astype(np.float64)
    if measure != "volume":
        raise InvalidMesh(f'The measure must be "volume", "area" or "faces", got {measure!r}.')
    corners = mesh.corners.astype(np.float64)
    count = np.bincount(labels)
    middle = np.stack([np.bincount(labels, corners[..., axis].mean(1)) / count for axis in range(3)], 1)
    a, b, c = np.moveaxis(corners - middle[labels][:, None], 1, 0)
    return np.abs(np.bincount(labels, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6))


def keep_largest(mesh: Mesh, measure: Measure = "volume", *, progress: Progress = silent) -> Mesh:
    """Keep the largest component; cavities are components of their own and go too."""
    progress(0.0, "Finding components")
    if not len(mesh.faces):
        return mesh
    labels = component_labels(mesh)
    progress(0.5, "Dropping all but the largest component")
    largest = select_faces(mesh, labels == component_sizes(mesh, labels, measure).argmax())
    progress(1.0, "Kept the largest component")
    return largest


def drop_small(mesh: Mesh, fraction: float, measure: Measure = "volume", *, progress: Progress = silent) -> Mesh:
    """Drop the components (floaters) smaller than `fraction` (0..1) of the largest one."""
    if not 0 <= fraction <= 1:
        raise InvalidMesh(f"The fraction must be from 0 to 1, got {fraction}.")
    progress(0.0, "Finding components")
    if not len(mesh.faces):
        return mesh
    labels = component_labels(mesh)
    progress(0.5, "Dropping small components")
    sizes = component_sizes(mesh, labels, measure)
    rest = select_faces(mesh, (sizes >= fraction * sizes.max())[labels])
    progress(1.0, "Small components dropped")
    return rest


def drop_degenerate(mesh: Mesh, length: float | None = None, *, progress: Progress = silent) -> Mesh:
    """Contract edges of at most `length` metres (default: a ten-millionth of the size), and drop the faces that vanish.

    Two faces on the same three vertices, which a contraction can leave behind, go too: they enclose nothing. A closed
    mesh stays closed. Texture coordinates of the faces that stay are kept.
    """
    progress(0.0, "Finding edges of no length")
    if not len(mesh.faces):
        return mesh
    if length is None:
        length = 1e-7 * float(np.ptp(mesh.vertices, axis=0).max())
    ends = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    points = mesh.vertices.astype(np.float64)
    short = ends[np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1) <= length]
    faces = mesh.faces
    if len(short):
        size = len(mesh.vertices)
        graph = sparse.coo_matrix((np.ones(len(short), bool), (short[:, 0], short[:, 1])), shape=(size, size))
        _, labels = csgraph.connected_components(graph, directed=False)
        first = np.full(int(labels.max()) + 1, size, np.int64)
        np.minimum.at(first, labels, np.arange(size))
        faces = first[labels][faces].astype(np.int32)
    progress(0.5, "Dropping faces of no area")
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    corners = np.sort(faces, axis=1).astype(np.int64)
    odd = (faces[:, 0] < faces[:, 1]) ^ (faces[:, 1] < faces[:, 2]) ^ (faces[:, 2] < faces[:, 0])
    key = corners[:, 0] + (corners[:, 1] + corners[:, 2] * len(mesh.vertices)) * len(mesh.vertices)
    if len(mesh.vertices) >= 2**20:  # the product would not fit
        key = np.unique(corners, axis=0, return_inverse=True)[1].reshape(-1)
    index = np.flatnonzero(whole)
    order = index[np.lexsort((odd[index], key[index]))]
    opposite = np.flatnonzero((key[order[1:]] == key[order[:-1]]) & (odd[order[1:]] != odd[order[:-1]]))
    whole[order[opposite]] = whole[order[opposite + 1]] = False
    rest = select_faces(replace(mesh, faces=faces), whole)
    progress(1.0, "Faces of no area dropped")
    return rest


def fill_holes(mesh: Mesh, max_edges: int | None = None, *, progress: Progress = silent) -> Mesh:
    """Close holes of at most `max_edges` edges: three edges with a face, others with a fan round their middle.

    Colours and normals of a new middle vertex are the mean of its rim. A mesh with a texture cannot be filled: the new
    faces would have no place in it.

    Raises:
        InvalidMesh: the mesh has texture coordinates.
    """
    progress(0.0, "Finding holes")
    loops = [loop for loop in boundary_loops(mesh) if max_edges is None or len(loop) <= max_edges]
    if not loops:
        return mesh
    if mesh.uvs is not None:
        raise InvalidMesh("Holes cannot be filled in a mesh that has its texture already: fill them before the UVs.")
    vertices, faces = [mesh.vertices], [mesh.faces]
    colors = None if mesh.colors is None else [mesh.colors]
    normals = None if mesh.normals is None else [mesh.normals]
    count = len(mesh.vertices)
    for number, loop in enumerate(loops):
        if number % 64 == 0:
            progress(number / len(loops), "Filling holes")
        if len(loop) == 3:
            faces.append(loop[None, ::-1].astype(np.int32))
            continue
        following = np.roll(loop, -1)
        faces.append(np.stack([following, loop, np.full(len(loop), count)], axis=1).astype(np.int32))
        vertices.append(mesh.vertices[loop].mean(0, keepdims=True))
        if colors is not None:
            colors.append(colors[0][loop].mean(0, keepdims=True).round().astype(np.uint8))
        if normals is not None:
            mean = normals[0][loop].mean(0, keepdims=True)
            normals.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        count += 1
    progress(1.0, "Holes filled")
    return Mesh(
        np.concatenate(vertices),
        np.concatenate(faces),
        None if normals is None else np.concatenate(normals),
        None if colors is None else np.concatenate(colors),
    )


def boundary_loops(mesh: Mesh) -> list[NDArray[np.int64]]:
    """The rims of the holes, each as vertices [N] in the direction of its faces."""
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    keys = edges[:, 0] * len(mesh.vertices) + edges[:, 1]
    back = edges[:, 1] * len(mesh.vertices) + edges[:, 0]
    rim = edges[~np.isin(keys, back)]
    following: dict[int, list[int]] = {}
    for start, end in rim.tolist():
        following.setdefault(start, []).append(end)
    loops = []
    for start in rim[:, 0].tolist():
        path: list[int] = []
        seen: dict[int, int] = {}
        here = start
        while following.get(here):
            if here in seen:  # a rim that touches itself in a vertex: cut off the loop that has closed
                loops.append(np.array(path[seen[here] :]))
                for vertex in path[seen[here] :]:
                    del seen[vertex]
                del path[len(path) - len(loops[-1]) :]
            seen[here] = len(path)
            path.append(here)
            here = following[here].pop()
        if len(path) >= 3 and here == path[0]:
            loops.append(np.array(path))
    return [loop for loop in loops if len(loop) >= 3]


def select_faces(mesh: Mesh, keep: NDArray[np.bool_]) -> Mesh:
    """The mesh of the faces where `keep` [F] is true, without unused vertices."""
    faces = mesh.faces[keep]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces.reshape(-1)] = True
    numbers = np.cumsum(used, dtype=np.int32) - 1
    return Mesh(
        mesh.vertices[used],
        numbers[faces],
        None if mesh.normals is None else mesh.normals[used],
        None if mesh.colors is None else mesh.colors[used],
        None if mesh.uvs is None else mesh.uvs[keep],
        mesh.texture,
    )
