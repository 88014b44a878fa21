"""Texture baking from the field: each texel gets the colour of the surface point that it covers.

A texel under a face is evaluated at its own point. One beside a face (bilinear filtering reads it too) is evaluated at
the nearest point of that face, and all others copy the nearest texel, so that neither filtering nor mipmaps ever read
a colour that is not of the surface.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meshing.color import Color, Encoding, sample_colors
from meshing.errors import InvalidMesh
from meshing.mesh import Floats, Mesh
from meshing.normals import smooth_normals
from meshing.progress import Progress, part, silent

BORDER = 1.5  # texels beside a face that are evaluated too
MOST_TEXELS = 1 << 22  # face and texel pairs looked at together


def bake_texture(
    mesh: Mesh,
    color: Color,
    size: int = 1024,
    *,
    encoding: Encoding = "srgb",
    along_normals: bool = False,
    batch_size: int = 1 << 18,
    progress: Progress = silent,
) -> Mesh:
    """Set a texture [size, size, 4] from the colours that a callable gives for points of the surface.

    Args:
        mesh: with texture coordinates (`unwrap_uvs`).
        color: as in `vertex_colors`.
        size: texels along a side, 16 to 16384.
        encoding: of the floats that `color` returns; the texture is sRGB.
        along_normals: as in `vertex_colors`.
        batch_size: most points in one call of `color`.
        progress: called for each batch.

    Raises:
        InvalidMesh: no texture coordinates, or a size out of range.
        InvalidField: the colour has a wrong shape or is not finite.
    """
    if mesh.uvs is None:
        raise InvalidMesh("The mesh has no texture coordinates: make them first (unwrap_uvs), then bake.")
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 16 <= size <= 16384:
        raise InvalidMesh(
            f"The texture's size must be a whole number from 16 to 16384, got {size!r}.",
            remedy={"action": "set_texture_size", "label": "Use 1024", "value": 1024.0},
        )
    texels, faces, weights = rasterize(mesh.uvs, int(size), progress=part(progress, 0.0, 0.3))
    if not len(texels):
        raise InvalidMesh("The texture coordinates cover no texel: make them again, or bake a larger texture.")
    points = np.einsum("nk,nkc->nc", weights, mesh.vertices[mesh.faces[faces]]).astype(np.float32)
    directions: Floats | None = None
    if along_normals:
        normals = mesh.normals if mesh.normals is not None else smooth_normals(mesh).normals
        assert normals is not None
        mean = np.einsum("nk,nkc->nc", weights, normals[mesh.faces[faces]])
        directions = (-mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    colors = sample_colors(
        color, points, directions, encoding, batch_size, part(progress, 0.3, 0.9), "Baking the texture"
    )
    progress(0.9, "Filling gaps between charts")
    texture = np.zeros((size, size, 4), np.uint8)
    empty = np.ones((size, size), bool)
    texture.reshape(-1, 4)[texels] = colors
    empty.reshape(-1)[texels] = False
    if empty.any():
        row, column = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
        texture = texture[row, column]
    progress(1.0, "Texture baked")
    return replace(mesh, texture=texture)


def rasterize(
    uvs: Floats,  # [F, 3, 2]
    size: int,
    *,
    progress: Progress = silent,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find the face that each texel of a square texture covers.

    Returns:
        texels [N] (row * size + column, top row first), faces [N], and barycentric weights [N, 3] in 0..1 of the point
        of the face nearest to the texel's centre (in texture space). Texels up to BORDER beside a face are in it.
    """
    corners = uvs.astype(np.float64) * size  # in texels, v upwards
    corners[..., 1] = size - corners[..., 1]
    low = np.clip(np.floor(corners.min(1) - BORDER - 0.5), 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(corners.max(1) + BORDER - 0.5), 0, size - 1).astype(np.int64)
    extent = high - low + 1  # [F, 2] columns, rows
    span = np.abs(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    drawn = np.flatnonzero(span > 1e-9)  # faces that have an area in the texture
    distance = np.full(size * size, np.inf, np.float32)
    face = np.full(size * size, -1, np.int64)
    weights = np.zeros((size * size, 3), np.float32)
    inwards, offsets = _sides(corners)
    # faces of about equal extent go together, so that a large one does not make the boxes of all others large
    step = 2.0 ** np.ceil(np.log2(np.maximum(extent[drawn], 8)) - 2).astype(np.int64)
    bucket = (np.ceil(extent[drawn] / step) * step).astype(np.int64)
    done = 0
    for width, height in np.unique(bucket, axis=0):
        members = drawn[(bucket == (width, height)).all(1)]
        chunk = max(1, MOST_TEXELS // int(width * height))
        for start in range(0, len(members), chunk):
            progress(done / max(len(drawn), 1), "Finding the texels of faces")
            some = members[start : start + chunk]
            done += len(some)
            column = low[some, :1] + np.arange(width)  # [n, width]
            row = low[some, 1:] + np.arange(height)  # [n, height]
            beside = (column <= high[some, :1])[:, None, :] & (row <= high[some, 1:])[:, :, None]
            for side in range(3):
                normal = inwards[some, side]
                over_columns = (column + 0.5) * normal[:, :1] - offsets[some, side, None]
                over_rows = (row + 0.5) * normal[:, 1:]
                beside &= over_columns[:, None, :] + over_rows[:, :, None] >= -BORDER
            number, j, i = np.nonzero(beside)
            texel = np.stack([column[number, i], row[number, j]], 1)
            away, near = _nearest(texel + 0.5, corners[some[number]])
            index = texel[:, 1] * size + texel[:, 0]
            close = np.flatnonzero(away <= BORDER)
            close = close[np.lexsort((some[number[close]], away[close], index[close]))]  # nearest face first
            close = close[np.unique(index[close], return_index=True)[1]]
            close = close[away[close] < distance[index[close]]]
            distance[index[close]] = away[close]
            face[index[close]] = some[number[close]]
            weights[index[close]] = near[close]
    texels = np.flatnonzero(face >= 0)
    progress(1.0, "Texels found")
    return texels, face[texels], weights[texels]


def _sides(
    corners: NDArray[np.float64],  # [F, 3, 2]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inward unit normals [F, 3, 2] of the sides, and offsets [F, 3]: p @ normal - offset >= 0 inside."""
    along = np.roll(corners, -1, axis=1) - corners
    turn = np.sign(_cross(along[:, 0], along[:, 1]))[:, None, None]
    length = np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-30)
    normals = np.stack([-along[..., 1], along[..., 0]], 2) * turn / length
    return normals, (normals * corners).sum(2)


def _nearest(
    points: NDArray[np.float64],  # [N, 2]
    corners: NDArray[np.float64],  # [N, 3, 2]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance [N] from points to triangles (0 inside), and barycentric weights [N, 3] of the nearest point."""
    a, b, c = np.moveaxis(corners, 1, 0)
    area = _cross(b - a, c - a)
    weights = np.stack(
        [_cross(b - points, c - points), _cross(c - points, a - points), _cross(a - points, b - points)], 1
    )
    weights /= area[:, None]
    outside = np.flatnonzero((weights < 0).any(1))
    distance = np.zeros(len(points))
    if len(outside):
        point = points[outside]
        best = np.full(len(outside), np.inf)
        chosen = np.zeros((len(outside), 3))
        for start, end in ((0, 1), (1, 2), (2, 0)):
            p, q = corners[outside, start], corners[outside, end]
            along = q - p
            t = np.clip(((point - p) * along).sum(1) / np.maximum((along**2).sum(1), 1e-30), 0, 1)
            away = np.linalg.norm(p + t[:, None] * along - point, axis=1)
            nearer = away < best
            best[nearer] = away[nearer]
            edge = np.zeros((len(outside), 3))
            edge[:, start], edge[:, end] = 1 - t, t
            chosen[nearer] = edge[nearer]
        distance[outside] = best
        weights[outside] = chosen
    return distance.astype(np.float32), weights.astype(np.float32)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
