"""How good the starter model is, on chairs it was not trained on, and next to voxels with as many numbers.

`python -m backend.training.deepsdf_figures CHAIRS` (the folder of chairs.py) prints the figures and draws the
pictures of docs/pictures.

Measures, on the outer surface only (what lies inside another part cannot be seen and is no part of the shape):

- Chamfer distance: mean distance of 30,000 points of one surface to the other surface (not to points on it: two
  samplings of one chair are already 3.4 mm apart), both ways, averaged. Millimetres.
- Normal consistency: mean |cosine| between the normals of a point and of the nearest of 30,000 points, both ways,
  averaged. Two samplings of one chair reach 0.977.

Voxels. A grid of truncated signed distances, or of occupancy, sampled at the lattice points of the chair's own bounding
box, interpolated between them and meshed by the same marching cubes at its own resolution.

- *alone*: one chair, one small network without a code (`fit_single`), against a grid with as many values.
- *family*: the starter decoder and all its codes divided by the number of chairs it holds, against a grid of so many
  values for each chair: what each representation spends on a chair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..generators.deepsdf.mesh_distance import MeshDistance

Array = NDArray[np.float32]
NUM_POINTS = 30_000


@dataclass(frozen=True)
class Surface:
    """A surface, points on its outside, and their normals. [N, 3], [N, 3]"""

    distance: MeshDistance
    points: Array
    normals: Array


def outer_surface(distance: MeshDistance, random: np.random.Generator, count: int = NUM_POINTS) -> Surface:
    """Points on the boundary of the solid: those just in front of which it is empty."""
    points, normals = distance.surface_points(3 * count, random)
    outside = distance.signed_distance(points + 2e-3 * normals) > 1e-3
    return Surface(distance, points[outside][:count], normals[outside][:count])


def mesh_surface(vertices: Array, faces: NDArray[np.int32], random: np.random.Generator) -> Surface:
    """Points on a mesh without inner parts."""
    distance = MeshDistance(vertices, faces)
    return Surface(distance, *distance.surface_points(NUM_POINTS, random))


def compare(truth: Surface, found: Surface) -> tuple[float, float]:
    """Chamfer distance (unit of the points) and normal consistency."""
    distances, cosines = [], []
    for a, b in ((truth, found), (found, truth)):
        distances.append(np.abs(b.distance.signed_distance(a.points)).mean())
        _, index = cKDTree(b.points).query(a.points)
        cosines.append(np.abs((a.normals * b.normals[index]).sum(-1)).mean())
    return float(np.mean(distances)), float(np.mean(cosines))
