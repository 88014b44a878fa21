"""Vertex colours from a colour field, a callable on points; bake.py does the same for textures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meshing.errors import InvalidField
from meshing.mesh import Bytes, Floats, Mesh
from meshing.normals import smooth_normals
from meshing.progress import Progress, silent

# color(points [N, 3] metres) -> [N, 3 or 4], or color(points, directions [N, 3] unit) when `along_normals` is set
Color = Callable[..., ArrayLike]
Encoding = Literal["srgb", "linear"]


def vertex_colors(
    mesh: Mesh,
    color: Color,
    *,
    encoding: Encoding = "srgb",
    along_normals: bool = False,
    batch_size: int = 1 << 18,
    progress: Progress = silent,
) -> Mesh:
    """Set vertex colours.

    Args:
        mesh: its vertices are where the colour is asked.
        color: maps points [N, 3] (metres) to RGB or RGBA [N, 3 or 4], floats in 0..1 or uint8.
        encoding: of the floats that `color` returns; vertex colours are sRGB.
        along_normals: also pass unit directions [N, 3] that look at the surface from straight above, for colours that
            depend on the view; taken from the mesh's normals, or smooth ones.
        batch_size: most points in one call.
        progress: called once a batch.

    Raises:
        InvalidField: a wrong shape, or not finite.
    """
    directions = None
    if along_normals:
        normals = mesh.normals if mesh.normals is not None else smooth_normals(mesh).normals
        directions = None if normals is None else -normals
    colors = sample_colors(color, mesh.vertices, directions, encoding, batch_size, progress, "Colouring vertices")
    progress(1.0, "Vertices coloured")
    return replace(mesh, colors=colors)


def sample_colors(
    color: Color,
    points: Floats,  # [N, 3]
    directions: Floats | None,  # [N, 3]
    encoding: Encoding,
    batch_size: int,
    progress: Progress,
    text: str,
) -> Bytes:
    """RGBA sRGB bytes [N, 4] of points, evaluated in batches."""
    out = np.empty((len(points), 4), np.uint8)
    for start in range(0, len(points), batch_size):
        progress(start / len(points), text)
        batch = slice(start, start + batch_size)
        given = color(points[batch]) if directions is None else color(points[batch], directions[batch])
        out[batch] = to_bytes(given, len(points[batch]), encoding)
    return out


def to_bytes(given: ArrayLike, count: int, encoding: Encoding) -> Bytes:
    """RGBA sRGB bytes [N, 4] from RGB or RGBA [N, 3 or 4], floats in 0..1 or uint8."""
    colors = np.asarray(given)
    if colors.shape not in ((count, 3), (count, 4)):
        raise InvalidField(f"The colour must be of the shape [{count}, 3 or 4], got {list(colors.shape)}.")
    if colors.dtype != np.uint8:
        values = colors.astype(np.float64)
        if not np.isfinite(values).all():
            raise InvalidField("The colour of some points is not a finite number: the model may have diverged.")
        values = np.clip(values, 0, 1)
        if encoding == "linear":
            values[:, :3] = srgb_from_linear(values[:, :3])
        colors = np.rint(values * 255).astype(np.uint8)
    if colors.shape[1] == 4:
        return colors
    return np.concatenate([colors, np.full((count, 1), 255, np.uint8)], axis=1)


def srgb_from_linear(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sRGB transfer function (IEC 61966-2-1), 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def linear_from_srgb(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of the sRGB transfer function (IEC 61966-2-1), 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)
