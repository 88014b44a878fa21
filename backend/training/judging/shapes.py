"""Shapes of a generator against held-out shapes: minimum matching distance, coverage, and 1-nearest-neighbour accuracy.

Sec. 4 of arxiv.org/abs/1707.02392 and Sec. 5 of arxiv.org/abs/1906.12320, with the Chamfer distance of point clouds:
the mean distance of a point to the nearest point of the other cloud, both ways, averaged. Each shape is first brought
to the unit sphere: the centre of its bounding box at the origin, its farthest point at 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from addon.wire.errors import LatheError, UnusableDataset
from meshing.cleanup import CleanUp, clean
from meshing.grid import extract_surface
from meshing.mesh import Mesh
from meshing.read import import_mesh

from ...progress import Progress, silent
from ...scenes.generator import Generator
from ...scenes.protocol import Scene, value_of
from ..data.families import FAMILIES, Family
from .sampling import scene_of

Array = NDArray[np.float32]
POINTS = 2048
COARSE_POINTS = 128
FORMATS = (".npz", ".obj", ".ply", ".glb", ".stl")


@dataclass(frozen=True)
class ShapeFigures:
    """Generated against held-out shapes; lengths in parts of the object's radius."""

    matching_distance: float  # mean over held-out shapes of the Chamfer distance to the nearest generated one
    coverage: float  # share of held-out shapes that are the nearest of some generated one
    neighbour_accuracy: float  # 1-NN classification of generated and held-out shapes: 0.5 is best, 1 tells them apart
    shapes: int  # generated
    failed: int  # seeds without a surface
    copies: float | None = None  # share of generated shapes that are nearer to a training shape than 95 % of the
    # held-out ones are; 0.05 is expected of new shapes


def unit_points(vertices: Array, faces: NDArray[np.int32], random: np.random.Generator) -> Array:
    """Return points [2048, 3] drawn uniformly on a mesh, brought to the unit sphere."""
    center = (vertices.min(0) + vertices.max(0)) / 2
    mesh = trimesh.Trimesh((vertices - center) / np.linalg.norm(vertices - center, axis=1).max(), faces, process=False)
    points, _ = trimesh.sample.sample_surface(mesh, POINTS, seed=random)
    return np.asarray(points, np.float32)


def chamfer(first: Sequence[Array], second: Sequence[Array]) -> NDArray[np.float64]:
    """Return the Chamfer distances [n, m] of point clouds [k, 3]."""
    trees = [[cKDTree(points) for points in clouds] for clouds in (first, second)]
    out = np.empty((len(first), len(second)))
    for i, a in enumerate(trees[0]):
        for j, b in enumerate(trees[1]):
            out[i, j] = (b.query(a.data)[0].mean() + a.query(b.data)[0].mean()) / 2
    return out


def nearest_shapes(clouds: Sequence[Array], others: Sequence[Array], candidates: int = 8) -> NDArray[np.float64]:
    """Return the Chamfer distance [n] of each point cloud to the nearest of the others, among those that are nearest by
    a few of their points."""
    few = [torch.from_numpy(np.stack([points[:COARSE_POINTS] for points in some])) for some in (clouds, others)]
    nearest = []
    for cloud, points in zip(clouds, few[0], strict=True):
        between = torch.cdist(points.expand(len(others), -1, -1), few[1])
        order = (between.amin(1).mean(1) + between.amin(2).mean(1)).argsort()[:candidates]
        nearest.append(chamfer([cloud], [others[i] for i in order.tolist()]).min())
    return np.array(nearest)


def compare_shapes(
    generated: Sequence[Array], real: Sequence[Array], training: Sequence[Array] = (), failed: int = 0
) -> ShapeFigures:
    """Compare two sets of point clouds in the unit sphere; with those of the training, look for copies."""
    across, within, real_within = chamfer(generated, real), chamfer(generated, generated), chamfer(real, real)
    whole = np.block([[within, across], [across.T, real_within]])
    np.fill_diagonal(whole, np.inf)
    made = np.arange(len(whole)) < len(generated)
    copies = None
    if training:
        nearest, usual = (nearest_shapes(clouds, training) for clouds in (generated, real))
        copies = float((nearest < np.quantile(usual, 0.05)).mean())
    return ShapeFigures(
        matching_distance=float(across.min(0).mean()),
        coverage=len(set(across.argmin(1).tolist())) / len(real),
        neighbour_accuracy=float((made[whole.argmin(1)] == made).mean()),
        shapes=len(generated),
        failed=failed,
        copies=copies,
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
            mesh = clean(surface(scene, resolution, generator.device), CleanUp(least_fraction=0.05, measure="area"))
        except LatheError:
            continue
        if len(mesh.faces):
            found.append(unit_points(mesh.vertices, mesh.faces, random))
    return found, len(seeds) - len(found)


def surface(scene: Scene, resolution: int, device: torch.device) -> Mesh:
    """Return the surface of a scene by marching cubes, closed where it leaves the bounds."""
    info, signed = scene.info, scene.info.quantity == "sdf"

    def values(points: Array) -> Array:
        with torch.no_grad():
            found: Array = value_of(scene, torch.from_numpy(points).to(device)).float().cpu().numpy()
        return found

    return extract_surface(
        values, info.bounds, resolution + 1, info.iso_level, inside="negative" if signed else "positive",
        lipschitz=(info.lipschitz or math.inf) if signed else None, clamp=info.clamp, cap=True, relative=not signed,
        batch_size=1 << 16,
    )  # fmt: skip


def read_shapes(folder: Path, at_most: int) -> list[Array]:
    """Return the shapes of a folder as points [2048, 3] in the unit sphere.

    Of a set that `data.family_views` rendered they are the objects of its images, made again by their seeds; of any
    other folder its meshes, where a .npz file has `vertices` and `faces`. None where there are no meshes.

    Raises:
        UnusableDataset: a mesh cannot be read.
    """
    random = np.random.default_rng(0)
    if (found := family_of(folder)) is not None:
        family, seeds = found
        made = (family.make(seed) for seed in seeds[:at_most])
        return [unit_points(part.vertices.astype(np.float32), part.faces, random) for part in made]
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS) if folder.is_dir() else []
    shapes = []
    for path in paths[:at_most]:
        try:
            if path.suffix.lower() == ".npz":
                with np.load(path) as arrays:
                    vertices, faces = arrays["vertices"], arrays["faces"]
            else:
                mesh = import_mesh(path)
                vertices, faces = mesh.vertices, mesh.faces
            shapes.append(unit_points(vertices.astype(np.float32), faces.astype(np.int32), random))
        except (OSError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise UnusableDataset(f"{path} cannot be read as a mesh ({error}).") from error
    return shapes


def family_of(folder: Path) -> tuple[Family, list[int]] | None:
    """Return the procedural family that the images of a folder show, and the seeds of their objects."""
    try:
        data = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
        family = FAMILIES[data["distribution"]["family"]]
        return family, sorted({int(frame["object"]) for frame in data["frames"]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
