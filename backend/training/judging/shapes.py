"""Shapes of a generator against held-out shapes: minimum matching distance, coverage, and 1-nearest-neighbour accuracy.

Sec. 4 of arxiv.org/abs/1707.02392 and Sec. 5 of arxiv.org/abs/1906.12320, with the Chamfer distance of point clouds:
the mean distance of a point to the nearest point of the other cloud, both ways, averaged. Each shape is first brought
to the unit sphere: the centre of its bounding box at the origin, its farthest point at 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from addon.wire.errors import LatheError, UnusableDataset
from meshing.cleanup import CleanUp, clean

from ...generators.deepsdf.mesh_distance import MeshDistance
from ...progress import Progress, silent
from ...scenes.generator import Generator
from ...tasks.mesh import extract
from .sampling import scene_of

Array = NDArray[np.float32]
POINTS = 2048
FORMATS = (".npz", ".obj", ".ply", ".glb", ".stl")


@dataclass(frozen=True)
class ShapeFigures:
    """Generated against held-out shapes; lengths in parts of the object's radius."""

    matching_distance: float  # mean over held-out shapes of the Chamfer distance to the nearest generated one
    coverage: float  # share of held-out shapes that are the nearest of some generated one
    neighbour_accuracy: float  # 1-NN classification of generated and held-out shapes: 0.5 is best, 1 tells them apart
    failed: int  # seeds without a surface
    shapes: int


def unit_points(vertices: Array, faces: NDArray[np.int32], random: np.random.Generator) -> Array:
    """Return points [2048, 3] on a mesh, brought to the unit sphere."""
    center = (vertices.min(0) + vertices.max(0)) / 2
    points, _ = MeshDistance(vertices, faces).surface_points(POINTS, random)
    points = points - center
    return (points / np.linalg.norm(vertices - center, axis=1).max()).astype(np.float32)


def chamfer(first: Sequence[Array], second: Sequence[Array]) -> NDArray[np.float64]:
    """Return the Chamfer distances [n, m] of point clouds [k, 3]."""
    trees = [[cKDTree(points) for points in clouds] for clouds in (first, second)]
    out = np.empty((len(first), len(second)))
    for i, a in enumerate(trees[0]):
        for j, b in enumerate(trees[1]):
            out[i, j] = (b.query(a.data)[0].mean() + a.query(b.data)[0].mean()) / 2
    return out


def compare_shapes(generated: Sequence[Array], real: Sequence[Array], failed: int = 0) -> ShapeFigures:
    """Compare two sets of point clouds in the unit sphere."""
    across, within, real_within = chamfer(generated, real), chamfer(generated, generated), chamfer(real, real)
    whole = np.block([[within, across], [across.T, real_within]])
    np.fill_diagonal(whole, np.inf)
    made = np.arange(len(whole)) < len(generated)
    return ShapeFigures(
        float(across.min(0).mean()),
        len(set(across.argmin(1).tolist())) / len(real),
        float((made[whole.argmin(1)] == made).mean()),
        failed,
        len(generated),
    )


def generated_points(
    generator: Generator, seeds: Sequence[int], resolution: int = 48, progress: Progress = silent
) -> tuple[list[Array], int]:
    """Mesh a generator's scenes and return their points [2048, 3] in the unit sphere, and how many seeds have none."""
    random, found = np.random.default_rng(0), []
    for number, seed in enumerate(seeds):
        progress(number / len(seeds), f"Shape {number + 1} of {len(seeds)}")
        scene = scene_of(generator, seed)
        try:
            mesh = extract(scene, resolution, scene.info.iso_level, generator.device, silent)
            mesh = clean(mesh, CleanUp(least_fraction=0.05, measure="area"))
        except LatheError:
            continue
        if len(mesh.faces):
            found.append(unit_points(mesh.vertices, mesh.faces, random))
    return found, len(seeds) - len(found)


def read_shapes(folder: Path, at_most: int = 64) -> list[Array]:
    """Read the meshes of a folder as points [2048, 3] in the unit sphere. A .npz file has `vertices` and `faces`.

    Raises:
        UnusableDataset: there are fewer than two, or one cannot be read.
    """
    random, found = np.random.default_rng(0), []
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS) if folder.is_dir() else []
    for path in paths[:at_most]:
        try:
            if path.suffix.lower() == ".npz":
                with np.load(path) as arrays:
                    vertices, faces = arrays["vertices"], arrays["faces"]
            else:
                mesh = trimesh.load(path, force="mesh")
                vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
            found.append(unit_points(vertices.astype(np.float32), faces.astype(np.int32), random))
        except (OSError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise UnusableDataset(f"{path} cannot be read as a mesh ({error}).") from error
    if len(found) < 2:
        raise UnusableDataset(f"{folder} holds {len(found)} meshes ({', '.join(FORMATS)}); at least two are needed.")
    return found
