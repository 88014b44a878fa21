"""400 procedural chairs as meshes and signed-distance samples: the training data of the starter models.

Two stages, because the chairs come from infinigen (BSD-3), which needs an environment of its own:

1. `python -m backend.training.data.chairs meshes OUT` in an environment with `infinigen==1.15.5`, `bpy==4.2.0`,
   `numpy<2` and the requirements that infinigen does not declare (scikit-learn OpenEXR json5 python-fcl rtree
   zarr vnoise tqdm coacd geomdl imageio matplotlib opencv-python-headless pandas psutil scikit-image shapely submitit).
   Writes one `meshes/chair0000.npz` per seed (about 0.6 s each).
2. `python -m backend.training.data.chairs samples OUT` in the project's environment.
   Writes one `samples/chair0000.npz` for each mesh (about 1 s).

Both resume where they were stopped. Nothing here is needed to use the trained models.

Frame of the samples: DeepSDF's, that is ShapeNetCore v2's: y up, the front of the chair along -z, the center of the
bounding box at the origin, and the vertex farthest from it at 1 / 1.03. This is the *canonical* unit of the recipes.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from addon.wire.errors import UnreadableFile

NUM_SHAPES = 400
NUM_HELD_OUT = 24
"""Seeds from NUM_SHAPES - NUM_HELD_OUT upwards are never trained on."""

CANONICAL_FROM_INFINIGEN = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], np.float32)
"""infinigen: z up, the chair faces +x. ShapeNetCore v2: y up, facing -z. A rotation."""

METRES_PER_UNIT = 0.6111
"""Median size of the training chairs: one canonical unit in metres."""

LICENCE = "GPL-3.0-or-later; trained on procedural chairs made with infinigen (BSD-3-Clause)"
"""Licence of models trained on them."""

SPHERE_MARGIN = 1.03
NEAR_SURFACE_VARIANCES = (0.0025, 0.00025)
"""Sec. 5.1 of arxiv.org/abs/1901.05103: Gaussian noise of these two variances per axis is added to surface points."""

NEAR_SURFACE_SAMPLES = 30_000
"""Number for each of the two variances."""

UNIFORM_SAMPLES = 6_000
"""Number in the cube [-1, 1]³: the paper's few samples that keep empty space empty."""


def write_meshes(out: Path) -> None:
    """Generate the mesh of every seed. Only this function needs infinigen."""
    import bpy
    from infinigen.assets.objects.seating.chairs import ChairFactory

    folder = out / "meshes"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(NUM_SHAPES):
        path = folder / f"chair{seed:04d}.npz"
        if path.exists():
            continue
        bpy.ops.wm.read_factory_settings(use_empty=True)
        chair = ChairFactory(seed).create_asset(i=0)
        mesh = chair.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        mesh.calc_loop_triangles()
        vertices = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", vertices)
        faces = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
        world = np.array(chair.matrix_world, np.float32)
        placed = vertices.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
        write_arrays(path, v=placed, f=faces.reshape(-1, 3))
        print(f"chair {seed}: {len(mesh.vertices)} vertices", flush=True)


def canonical_mesh(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Read a mesh of stage 1 in the frame of the samples: vertices [V, 3], faces [F, 3], and metres per unit."""
    with np.load(path) as archive:
        vertices, faces = archive["v"] @ CANONICAL_FROM_INFINIGEN.T, archive["f"]
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    metres_per_unit = float(np.linalg.norm(vertices, axis=1).max() * SPHERE_MARGIN)
    return (vertices / metres_per_unit).astype(np.float32), faces, metres_per_unit


def sample_signed_distance(distance: Any, random: np.random.Generator) -> np.ndarray:
    """Sample points and their signed distance for one mesh (Sec. 5.1), in random order. [N, 4]: x, y, z, sdf"""
    points = [random.uniform(-1, 1, (UNIFORM_SAMPLES, 3))]
    for variance in NEAR_SURFACE_VARIANCES:
        surface, _ = distance.surface_points(NEAR_SURFACE_SAMPLES, random)
        points.append(surface + random.normal(0, np.sqrt(variance), surface.shape))
    positions = np.concatenate(points).astype(np.float32)
    random.shuffle(positions)
    return np.concatenate([positions, distance.signed_distance(positions)[:, None]], axis=1)


def write_samples(out: Path, part: int = 0, parts: int = 1) -> None:
    """Write the samples of every mesh of stage 1, or of each `parts`-th one, to `samples/`."""
    from backend.generators.deepsdf.mesh_distance import MeshDistance

    folder = out / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(part, NUM_SHAPES, parts):
        path = folder / f"chair{seed:04d}.npz"
        if path.exists():
            continue
        vertices, faces, metres_per_unit = canonical_mesh(out / "meshes" / path.name)
        distance = MeshDistance(vertices, faces)
        samples = sample_signed_distance(distance, np.random.default_rng(seed))
        write_arrays(path, samples=samples, metres_per_unit=np.array(metres_per_unit, np.float32))
        print(f"chair {seed}: {np.mean(samples[:, 3] < 0):.0%} of the samples inside", flush=True)


def load_samples(out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the samples of all shapes [NUM_SHAPES, N, 4] and their metres per unit [NUM_SHAPES].

    Raises:
        UnreadableFile: a chair is missing.
    """
    samples, scales = [], []
    for seed in range(NUM_SHAPES):
        path = out / "samples" / f"chair{seed:04d}.npz"
        if not path.exists():
            raise UnreadableFile(f"{path} is missing: run both stages of backend.training.data.chairs first.")
        with np.load(path) as archive:
            samples.append(archive["samples"])
            scales.append(archive["metres_per_unit"])
    return np.stack(samples), np.stack(scales)


def write_arrays(path: Path, *, compressed: bool = False, **arrays: np.ndarray) -> None:
    """Write a .npz file atomically: a killed run leaves no partial file that looks finished."""
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)
    os.replace(partial, path)


def main(arguments: list[str]) -> None:
    """Run one of the two stages, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["meshes", "samples"])
    parser.add_argument("out", type=Path, help="folder for meshes/ and samples/")
    parser.add_argument("--part", type=int, default=0, help="samples: number of this part, for several processes")
    parser.add_argument("--parts", type=int, default=1, help="samples: number of parts")
    options = parser.parse_args(arguments)
    if options.stage == "meshes":
        write_meshes(options.out)
    else:
        write_samples(options.out, options.part, options.parts)


if __name__ == "__main__":
    main(sys.argv[1:])
