"""Images of coloured meshes: light baked into the vertices once, then any number of views by ray casting (Warp, CPU).

The light is fixed to the object, as its colours are, so that all views agree: each vertex gets the irradiance of a sky
with a broad bright lobe, occluded by the object itself (ambient occlusion with directional light; 64 directions).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ...kernels.warp_runtime import wp
from .families.solids import Array, Part, vertex_normals

KEY_LIGHT = np.array([-0.42, -0.55, 0.72], np.float32)
"""Unit vector towards the middle of the bright lobe, world axes."""
SKY, GROUND, KEY, KEY_SHARPNESS = 0.74, 0.44, 2.1, 8.0
"""Radiance of sky and ground, the lobe's, and its exponent: KEY · (cos θ)^KEY_SHARPNESS."""
DIRECTIONS = 64
SUPERSAMPLING = 3
"""Rays along each side of a pixel."""


def bake_light(mesh: Part, least: float = 0.0) -> Array:
    """Return the sRGB [V, 3] of the vertices, lit and shadowed by the object itself, at least by `least`: vertices that
    lie inside another part would darken the seam."""
    directions = fibonacci_sphere(DIRECTIONS)
    up = 0.5 + 0.5 * directions[:, 2]
    radiance = GROUND + (SKY - GROUND) * up + KEY * (directions @ KEY_LIGHT).clip(0) ** KEY_SHARPNESS
    normals = vertex_normals(mesh.vertices, mesh.faces)
    solid = wp_mesh(mesh)
    irradiance = wp.zeros(len(normals), dtype=wp.float32, device="cpu")
    inputs = [
        solid.id,
        wp.array(mesh.vertices, dtype=wp.vec3, device="cpu"),
        wp.array(normals, dtype=wp.vec3, device="cpu"),
        wp.array(directions, dtype=wp.vec3, device="cpu"),
        wp.array((radiance * 4 / DIRECTIONS).astype(np.float32), dtype=wp.float32, device="cpu"),
        irradiance,
    ]
    wp.launch(kernels()[0], len(normals), inputs, device="cpu")
    return (mesh.colors * irradiance.numpy().clip(least)[:, None]).clip(0, 1).astype(np.float32)


def fibonacci_sphere(count: int) -> Array:
    """Return unit vectors [count, 3], spread evenly."""
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, index * math.pi * (3 - math.sqrt(5))
    level = np.sqrt(1 - z * z)
    return np.stack([level * np.cos(angle), level * np.sin(angle), z], -1).astype(np.float32)


class MeshViews:
    """Renderer of one mesh whose vertices carry their final colours [V, 3]."""

    def __init__(self, mesh: Part, colors: Array) -> None:
        self._mesh = wp_mesh(mesh)
        self._colors = wp.array(np.ascontiguousarray(colors, np.float32), dtype=wp.vec3, device="cpu")

    def render(self, world_from_camera: Array, focal: float, side: int) -> Array:
        """Return RGBA [side, side, 4] in 0 … 1, not premultiplied; `world_from_camera` [4, 4] with OpenCV axes, `focal`
        in units of the image's side, the principal point in its middle. Colours are sRGB; averaged as stored."""
        rgba = wp.zeros(side * side, dtype=wp.vec4, device="cpu")
        pose = wp.mat44(*np.asarray(world_from_camera, float).ravel())
        inputs = [self._mesh.id, self._colors, pose, float(focal), side, SUPERSAMPLING, rgba]
        wp.launch(kernels()[1], (side, side), inputs, device="cpu")
        return rgba.numpy().reshape(side, side, 4)


def wp_mesh(mesh: Part) -> Any:
    """Return the mesh as Warp's bounding volume hierarchy."""
    return wp.Mesh(
        wp.array(np.ascontiguousarray(mesh.vertices, np.float32), dtype=wp.vec3, device="cpu"),
        wp.array(np.ascontiguousarray(mesh.faces, np.int32).ravel(), dtype=wp.int32, device="cpu"),
    )


@cache
def kernels() -> tuple[Any, Any]:
    """Compiled at the first call, so that importing the module costs nothing."""

    @wp.kernel
    def bake(  # type: ignore[no-untyped-def]
        mesh: wp.uint64,
        points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        normals: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        directions: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        radiance: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
        irradiance: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
    ):
        thread = wp.tid()
        normal = normals[thread]
        origin = points[thread] + normal * 2.0e-3
        total = wp.float32(0.0)
        for index in range(directions.shape[0]):
            cosine = wp.dot(normal, directions[index])
            if cosine > 0.0 and not wp.mesh_query_ray_anyhit(mesh, origin, directions[index], 3.0):
                total += cosine * radiance[index]
        irradiance[thread] = total

    @wp.kernel
    def render(  # type: ignore[no-untyped-def]
        mesh: wp.uint64,
        colors: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        world_from_camera: wp.mat44,
        focal: float,
        side: int,
        fine: int,
        rgba: wp.array(dtype=wp.vec4),  # type: ignore[valid-type]
    ):
        row, column = wp.tid()  # type: ignore[misc]
        eye = wp.transform_point(world_from_camera, wp.vec3(0.0, 0.0, 0.0))
        color = wp.vec3(0.0, 0.0, 0.0)
        hits = wp.float32(0.0)
        for sample in range(fine * fine):
            x = (float(column) + (float(sample % fine) + 0.5) / float(fine)) / float(side) - 0.5
            y = (float(row) + (float(sample // fine) + 0.5) / float(fine)) / float(side) - 0.5
            direction = wp.normalize(wp.transform_vector(world_from_camera, wp.vec3(x, y, focal)))
            middle = -wp.dot(eye, direction)
            if wp.length_sq(eye + middle * direction) < 1.0:  # objects lie inside the unit sphere
                hit = wp.mesh_query_ray(mesh, eye, direction, 1.0e6)  # type: ignore[arg-type]
                if hit.result:
                    a = colors[wp.mesh_get_index(mesh, hit.face * 3)]
                    b = colors[wp.mesh_get_index(mesh, hit.face * 3 + 1)]
                    c = colors[wp.mesh_get_index(mesh, hit.face * 3 + 2)]
                    color += hit.u * a + hit.v * b + (1.0 - hit.u - hit.v) * c
                    hits += 1.0
        if hits > 0.0:
            color = color / hits
        rgba[row * side + column] = wp.vec4(color[0], color[1], color[2], hits / float(fine * fine))

    return bake, render
