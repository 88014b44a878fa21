"""Closed surfaces from stacks of rings: the building blocks of the procedural families.

A ring is a closed curve of points [k, 3]. Rings [m, k, 3] that each run counter-clockwise about the direction from the
first to the last become a closed surface, wound outwards (`skin`). Tubes, slabs and surfaces of revolution are such
stacks. Units are arbitrary (`assemble` scales), Z is up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]

BOUND = 1 / 1.03
"""Distance of the farthest vertex of an assembled object from the origin."""


@dataclass(frozen=True)
class Part:
    """One closed surface: vertices [V, 3], triangles [F, 3] wound outwards, sRGB of each vertex [V, 3] in 0 … 1."""

    vertices: Array
    faces: NDArray[np.int32]
    colors: Array

    def moved(self, offset: ArrayLike) -> Part:
        """Return the part, translated by `offset` [3]."""
        return self.mapped(lambda points: points + np.asarray(offset))

    def turned(self, angle: float, axis: int = 2) -> Part:
        """Return the part, rotated by `angle` radians about a coordinate axis through the origin."""
        cos, sin = math.cos(angle), math.sin(angle)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        rotation = np.eye(3)
        rotation[u, u], rotation[u, v], rotation[v, u], rotation[v, v] = cos, -sin, sin, cos
        return self.mapped(lambda points: points @ rotation.T)

    def mapped(self, deform: Callable[[Array], Array]) -> Part:
        """Return the part with its vertices [V, 3] replaced by `deform(vertices)`, a map that keeps orientation."""
        return replace(self, vertices=deform(self.vertices).astype(np.float32))


def skin(rings: ArrayLike, color: ArrayLike) -> Part:
    """Close a stack of rings [m, k, 3]. `color` is one sRGB [3], or one for each ring [m, 3]."""
    stack = np.asarray(rings, np.float32)
    m, k, _ = stack.shape
    around = np.arange(k)
    after, lower = (around + 1) % k, np.arange(m - 1)[:, None] * k
    a, b, c, d = lower + around, lower + after, lower + k + after, lower + k + around
    sides = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    top = (m - 1) * k
    first = np.stack([np.full(k, m * k), after, around], -1)
    last = np.stack([np.full(k, m * k + 1), top + around, top + after], -1)
    colors = np.broadcast_to(np.asarray(color, np.float32), (m, 3))
    return Part(
        np.concatenate([stack.reshape(-1, 3), stack[[0, -1]].mean(1)]),
        np.concatenate([sides, first, last]).astype(np.int32),
        np.concatenate([np.repeat(colors, k, 0), colors[[0, -1]]]),
    )


def superellipse(width: float, depth: float, exponent: float, count: int = 48) -> Array:
    """Return an outline [count, 2], counter-clockwise: an ellipse for exponent 2, nearly a rectangle for 9."""
    angle = np.arange(count) / count * 2 * math.pi
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = np.sign(cos) * np.abs(cos) ** (2 / exponent), np.sign(sin) * np.abs(sin) ** (2 / exponent)
    return np.stack([x * width / 2, y * depth / 2], -1).astype(np.float32)


def slab(outline: Array, thickness: float, color: ArrayLike, *, bevel: float = 0.4, dome: float = 0.0) -> Part:
    """Extrude an outline [k, 2] around the origin along z, from 0 to `thickness`, with rounded edges.

    `bevel` is the radius of the edge as a fraction of the thickness (at most 0.5), `dome` the additional height of the
    top's middle.
    """
    reach = float(np.linalg.norm(outline, axis=1).mean())
    radius = min(bevel, 0.5) * thickness
    edge = [(math.cos(angle), math.sin(angle)) for angle in np.linspace(0, math.pi / 2, 4)]
    inner = 1 - radius / reach
    inside = [inner * scale for scale in (0.2, 0.45, 0.7, 0.9)]
    profile = [(scale, 0.0) for scale in inside]
    profile += [(inner + radius / reach * cos, radius * (1 - sin)) for cos, sin in reversed(edge)]
    profile += [(inner + radius / reach * cos, thickness - radius * (1 - sin)) for cos, sin in edge]
    profile += [(scale, thickness) for scale in reversed(inside)]
    rings = [np.column_stack([outline * s, np.full(len(outline), z)]) for s, z in profile]
    if dome:
        for ring, (scale, _) in zip(rings[len(rings) // 2 :], profile[len(rings) // 2 :], strict=True):
            ring[:, 2] += dome * max(0.0, 1 - scale**2)
    return skin(rings, color)


def lathe(profile: ArrayLike, color: ArrayLike, sides: int = 32) -> Part:
    """Turn a profile [m, 2] (radius, z; from the bottom outwards and up) about the z axis. `color` as in `skin`."""
    circle = superellipse(2, 2, 2, sides)
    return skin([np.column_stack([circle * radius, np.full(sides, z)]) for radius, z in np.asarray(profile)], color)


def tube(
    path: ArrayLike, radii: ArrayLike, color: ArrayLike, *, sides: int = 12, exponent: float = 2.0, steps: int = 0
) -> Part:
    """Sweep a circle, or a superellipse, along a path [n, 3], with rounded ends.

    `radii` is one number, or one for each point [n], or two for each [n, 2]: half the width across, and along "up" (z
    as far as it is across the path; y on an upright path). `steps` resamples a path of few points. `color` is one sRGB.
    """
    points = np.asarray(path, np.float64)
    widths = np.array(
        np.broadcast_to(
            np.asarray(radii, np.float64).reshape(-1, np.ndim(radii) or 1)
            if np.ndim(radii) == 2
            else np.reshape(radii, (-1, 1)),
            (len(points), 2),
        )
    )
    if steps:
        given, wanted = np.linspace(0, 1, len(points)), np.linspace(0, 1, steps)
        points = np.stack([np.interp(wanted, given, column) for column in points.T], -1)
        widths = np.stack([np.interp(wanted, given, column) for column in widths.T], -1)
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    section = superellipse(2, 2, exponent, sides if exponent == 2 else 20)

    def ring(point: Array, up: Array, tangent: Array, width: Array) -> Array:
        across = np.cross(up, tangent)
        return point + section[:, :1] * width[0] * across + section[:, 1:] * width[1] * up

    up = np.array([0.0, 0.0, 1.0]) if abs(tangents[0, 2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    ups = []
    for tangent in tangents:  # parallel transport: the frame turns as little as it can
        up = up - tangent * (up @ tangent)
        up /= np.linalg.norm(up)
        ups.append(up)
    rings = [ring(*parts) for parts in zip(points, ups, tangents, widths, strict=True)]
    for end, direction in ((0, -1.0), (-1, 1.0)):
        cap = []
        for angle in np.linspace(0, math.pi / 2, 4)[1:]:
            length = widths[end].min() * (1.0 if exponent == 2 else 0.3)
            width = widths[end] - length * (1 - math.cos(angle)) * 0.98
            center = points[end] + direction * length * math.sin(angle) * tangents[end]
            cap.append(ring(center, ups[end], tangents[end], width))
        rings = rings + cap if end else cap[::-1] + rings
    return skin(rings, color)


def curve(points: ArrayLike, count: int = 24) -> Array:
    """Return a Catmull–Rom spline [count, 3] through control points [n, 3]."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i, s = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    cubic = 2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3
    return (cubic / 2).astype(np.float32)


def assemble(parts: list[Part]) -> Part:
    """Join parts, with the centre of the bounding box at the origin and the farthest vertex at `BOUND`."""
    vertices = np.concatenate([part.vertices for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    return Part(
        vertices * (BOUND / np.linalg.norm(vertices, axis=1).max()),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.colors for part in parts]),
    )


def vertex_normals(vertices: Array, faces: NDArray[np.int32]) -> Array:
    """Return unit normals [V, 3]: the mean of the faces' normals, weighted by area."""
    corners = vertices[faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(areas[:, axis], 3), len(vertices)) for axis in range(3)], -1
    )
    return (normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)).astype(np.float32)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Return sRGB [3]; hue has period 1."""
    wheel = np.abs((np.array([0, 4, 2]) / 6 + hue) % 1 * 6 - 3) - 1
    return (value * (1 - saturation * (1 - wheel.clip(0, 1)))).astype(np.float32)
