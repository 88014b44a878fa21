"""Signed distance to a triangle mesh that may be open, made of many overlapping parts and not watertight.

The distance is that to the nearest triangle. The sign is that of the generalised winding number (Jacobson et al. 2013):
inside where it is above one half, so parts that overlap, or that leave a hole open, still have an inside; parity of
ray crossings would flip there. Both come from one traversal of Warp's bounding volume hierarchy, which sums the winding
of far branches as dipoles (Barill et al. 2018), so a query costs O(log faces).
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.warp_runtime import wp

Array = NDArray[np.float32]

WINDING_THRESHOLD = 0.5
WINDING_ACCURACY = 2.0
"""A branch is summed as one dipole beyond this many of its radii; 2 is the value of Barill et al."""


class MeshDistance:
    """Signed distance to one mesh, negative inside. Vertices [V, 3], faces [F, 3], wound outwards."""

    def __init__(self, vertices: Array, faces: NDArray[np.integer[Any]]) -> None:
        if len(faces) == 0:
            raise ValueError("the mesh has no faces; a signed distance needs at least one triangle")
        if not np.isfinite(vertices).all():
            raise ValueError("the mesh has vertices that are not finite numbers")
        self.vertices = np.ascontiguousarray(vertices, np.float32)
        self.faces = np.ascontiguousarray(faces, np.int32)
        self._mesh = wp.Mesh(
            wp.array(self.vertices, dtype=wp.vec3, device="cpu"),
            wp.array(self.faces.ravel(), dtype=wp.int32, device="cpu"),
            support_winding_number=True,
        )

    def signed_distance(self, points: Array) -> Array:
        """Distance at points [..., 3] to the nearest triangle, in the mesh's own unit. [...]"""
        flat = np.ascontiguousarray(points, np.float32).reshape(-1, 3)
        distance = wp.zeros(len(flat), dtype=wp.float32, device="cpu")
        arguments = [self._mesh.id, wp.array(flat, dtype=wp.vec3, device="cpu"), distance]
        wp.launch(_kernel(), len(flat), arguments, device="cpu")
        return distance.numpy().reshape(points.shape[:-1])

    def surface_points(self, count: int, random: np.random.Generator) -> tuple[Array, Array]:
        """Points drawn uniformly by area, and the normals of their faces. [count, 3], [count, 3]"""
        corner, edge_u, edge_v = self._triangles()
        normal = np.cross(edge_u, edge_v)
        area = np.linalg.norm(normal, axis=1)
        face = random.choice(len(area), count, p=area / area.sum())
        u, v = random.random((2, count, 1), dtype=np.float32)
        fold = u + v > 1  # the far half of the parallelogram, folded back onto the triangle
        u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
        points = corner[face] + u * edge_u[face] + v * edge_v[face]
        return points.astype(np.float32), (normal[face] / area[face, None]).astype(np.float32)

    def first_hit(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """Return the first hit of rays [..., 3] with unit directions: distance [...], inf where they miss, and the
        normal of the face, turned towards the ray's origin, [..., 3], 0 where they miss."""
        shape = directions.shape[:-1]
        rays = [
            wp.array(
                np.ascontiguousarray(np.broadcast_to(x, directions.shape), np.float32).reshape(-1, 3),
                dtype=wp.vec3,
                device="cpu",
            )
            for x in (origins, directions)
        ]
        count = math.prod(shape)
        distance = wp.full(count, math.inf, dtype=wp.float32, device="cpu")
        normal = wp.zeros(count, dtype=wp.vec3, device="cpu")
        wp.launch(_ray_kernel(), count, [self._mesh.id, *rays, distance, normal], device="cpu")
        return distance.numpy().reshape(shape), normal.numpy().reshape(*shape, 3)

    def _triangles(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        corners = self.vertices[self.faces].astype(np.float64)
        return corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


@cache
def _kernel() -> Any:
    """Compiled at the first call, so that importing the module costs nothing."""

    @wp.kernel
    def query(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), distance: wp.array(dtype=wp.float32)):  # type: ignore[valid-type, no-untyped-def]
        thread = wp.tid()
        point = points[thread]
        hit = wp.mesh_query_point_sign_winding_number(
            mesh, point, 1.0e6, wp.static(WINDING_ACCURACY), wp.static(WINDING_THRESHOLD)
        )
        nearest = wp.mesh_eval_position(mesh, hit.face, hit.u, hit.v)
        distance[thread] = hit.sign * wp.length(nearest - point)

    return query


@cache
def _ray_kernel() -> Any:

    @wp.kernel
    def cast(  # type: ignore[no-untyped-def]
        mesh: wp.uint64,
        origins: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        directions: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
        distance: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
        normal: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    ):
        thread = wp.tid()
        hit = wp.mesh_query_ray(mesh, origins[thread], directions[thread], 1.0e6)
        if hit.result:
            distance[thread] = hit.t
            facing = wp.sign(wp.dot(hit.normal, directions[thread]))
            normal[thread] = -facing * hit.normal

    return cast
