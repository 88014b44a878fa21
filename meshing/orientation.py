"""Orientation of faces: a consistent winding, outwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from meshing.mesh import Ints, Mesh

FLAT = 1e-9
"""A part whose signed volume is less than this share of its box's has no outside: it is left as it is."""


def outward(mesh: Mesh) -> tuple[Mesh, tuple[str, ...]]:
    """Return the mesh with faces that are counter-clockwise seen from outside, and notes on what was turned.

    Within each connected part the faces follow the majority. A part of negative volume is turned, unless it lies inside
    the others: then it is the wall of a cavity. Normals are dropped where anything was turned.
    """
    faces, uvs = mesh.faces.copy(), None if mesh.uvs is None else mesh.uvs.copy()
    label, against = _parts(faces)
    turned = np.zeros(len(faces), bool)
    for part in np.unique(label):
        mine = label == part
        turned[mine] = against[mine] if 2 * against[mine].sum() <= mine.sum() else ~against[mine]
    mixed = int(turned.sum())
    _turn(faces, uvs, turned)
    corners = mesh.vertices.astype(np.float64)[faces]
    parts = [np.flatnonzero(label == part) for part in np.unique(label)]
    volumes = [_volume(corners[part]) for part in parts]
    inside_out = np.zeros(len(faces), bool)
    whole = sum(volumes) < 0
    for part, volume in zip(parts, volumes, strict=True):
        size = float(np.prod(np.ptp(corners[part].reshape(-1, 3), axis=0)))
        if (-volume if whole else volume) >= -FLAT * size:
            inside_out[part] = whole and volume < 0
            continue
        rest = np.ones(len(faces), bool)
        rest[part] = False
        winding = _winding(corners[rest], corners[part[0], 0])
        cavity = (-winding if whole else winding) > 0.5
        inside_out[part] = cavity if whole else not cavity
    _turn(faces, uvs, inside_out)
    notes = []
    if mixed:
        notes.append(f"{mixed} of {len(faces)} faces were wound against their neighbours, and were turned.")
    if inside_out.any():
        what = "The mesh" if inside_out.all() else f"Parts of the mesh ({int(inside_out.sum())} faces)"
        notes.append(f"{what} was inside out (its faces looked inwards), and was turned.")
    if not notes:
        return mesh, ()
    return replace(mesh, faces=faces, uvs=uvs, normals=None), tuple(notes)


def _turn(faces: Ints, uvs: NDArray[np.float32] | None, which: NDArray[np.bool_]) -> None:
    faces[which] = faces[which][:, ::-1]
    if uvs is not None:
        uvs[which] = uvs[which][:, ::-1]


def _parts(faces: Ints) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the connected part of each face [F], over edges of exactly two faces, and whether it is wound against the
    first face of its part [F]."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    forward = edges[:, 0] < edges[:, 1]
    key = edges.min(1) * (int(faces.max()) + 1) + edges.max(1)
    order = np.argsort(key, kind="stable")
    _, start, count = np.unique(key[order], return_index=True, return_counts=True)
    first = order[start[count == 2]]
    second = order[start[count == 2] + 1]
    one, other, same = first // 3, second // 3, forward[first] == forward[second]
    size = len(faces)
    # weight 1: wound alike, 2: against each other
    graph = sparse.coo_matrix((np.where(same, 2, 1), (one, other)), shape=(size, size)).tocsr()
    graph = graph.maximum(graph.T)
    number, label = csgraph.connected_components(graph, directed=False)
    against = np.zeros(size, bool)
    roots = np.unique(label, return_index=True)[1][:number]
    for root in roots[np.bincount(label, minlength=number) > 1]:
        reached, before = csgraph.breadth_first_order(graph, root, directed=False)
        reached = reached[1:]
        flips = np.asarray(graph[before[reached], reached]).reshape(-1) == 2
        for face, parent, flip in zip(reached.tolist(), before[reached].tolist(), flips.tolist(), strict=True):
            against[face] = against[parent] ^ flip
    return label, against


def _volume(corners: NDArray[np.float64]) -> float:
    """Return the signed volume of faces [F, 3, 3] about their middle (divergence theorem)."""
    a, b, c = np.moveaxis(corners - corners.reshape(-1, 3).mean(0), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _winding(corners: NDArray[np.float64], point: NDArray[Any]) -> float:
    """Return the winding number of faces [F, 3, 3] about a point: the sum of their solid angles over 4π (Van Oosterom
    and Strackee 1983)."""
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    above = np.einsum("ij,ij->i", a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))
