"""Evaluate the DeepSDF starter model: on chairs it was not trained on, and against voxel grids of as many values.

`python -m backend.training.deepsdf.evaluate CHAIRS` (the folder that data/chairs.py filled) prints the figures and
draws the images of docs/pictures. The measures are those of `training/surfaces.py`, distances in millimetres.

Voxels: a grid of truncated signed distances, or of occupancy, sampled at the lattice points of the chair's own bounding
box, interpolated between them and meshed by the same marching cubes at its own resolution.

- *alone*: one chair, one small network without a code (`fit_single`), against a grid with as many values.
- *family*: the starter decoder and all its codes divided by the number of chairs it holds, against a grid of so many
  values for each chair: the share of memory that each representation uses for a chair.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageDraw
from skimage.measure import marching_cubes

from meshing.grid import extract_surface

from ...cameras import Camera, from_wire, orbit
from ...generators.deepsdf.mesh_distance import MeshDistance
from ...generators.deepsdf.reconstruct import reconstruct
from ...generators.deepsdf.scene import WORLD_FROM_CANONICAL, DeepSDF
from ...generators.deepsdf.single_shape import fit_single
from ...models.library import load_model
from ...models.store import model_folder
from ...scenes.surface_image import CLAY, clay_shade
from ..data import chairs
from ..images import composited, image_grid, to_pil
from ..surfaces import Array, compare, mesh_surface, outer_surface

RESOLUTION = 128
DOCS_IMAGES = Path(__file__).resolve().parents[3] / "docs" / "pictures"


def network_mesh(model: DeepSDF, code: torch.Tensor, resolution: int = RESOLUTION) -> tuple[Array, NDArray[np.int32]]:
    """Return vertices and faces of the zero level, canonical units."""

    def field(points: Array) -> Array:
        with torch.no_grad():
            value = model.sdf(torch.from_numpy(points), code).clamp(-model.clamp, model.clamp)
        return value.numpy()

    mesh = extract_surface(field, model.bounds, resolution, 0.0, lipschitz=model.lipschitz, clamp=model.clamp)
    return mesh.vertices, mesh.faces


def grid_mesh(
    distance: MeshDistance, num_values: int, *, occupancy: bool = False
) -> tuple[Array, NDArray[np.int32], tuple[int, ...]]:
    """Return the surface of a voxel grid of at most `num_values` values over the mesh's box, and the grid's shape."""
    low, high = distance.vertices.min(0), distance.vertices.max(0)
    edge = float((np.prod(high - low) / num_values) ** (1 / 3))
    shape = np.maximum(np.floor((high - low) / edge).astype(int) + 1, 2)
    while np.prod(shape) > num_values:
        shape[shape.argmax()] -= 1
    spacing = (high - low) / (shape - 1)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    values = distance.signed_distance((low + index * spacing).astype(np.float32)).clip(-0.1, 0.1)
    if occupancy:
        values = np.where(values < 0, -0.5, 0.5).astype(np.float32)
    values = np.pad(values, 1, constant_values=0.1)  # the surface may touch the box
    if values.min() >= 0:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), tuple(shape.tolist())
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=tuple(spacing), gradient_direction="ascent")
    return (vertices - spacing + low).astype(np.float32), faces.astype(np.int32), tuple(shape.tolist())


def held_out(model: DeepSDF, folder: Path, count: int, report: Callable[[str], None]) -> list[dict[str, float]]:
    """Reconstruct each held-out chair from its distance samples (Eq. 10); compare with the voxel grid of the family's
    share."""
    rows = []
    parameters = sum(p.numel() for p in model.decoder.parameters())
    share = (parameters + model.codes.numel()) // len(model.codes)
    for seed in range(chairs.NUM_SHAPES - chairs.NUM_HELD_OUT, chairs.NUM_SHAPES)[:count]:
        vertices, faces, metres = chairs.canonical_mesh(folder / "meshes" / f"chair{seed:04d}.npz")
        distance, random = MeshDistance(vertices, faces), np.random.default_rng(seed)
        with np.load(folder / "samples" / f"chair{seed:04d}.npz") as archive:
            samples = torch.from_numpy(archive["samples"])
        code, loss = reconstruct(model.sdf, samples, model.code_mean, iterations=300, points_per_step=1024, rate=0.02)
        truth = outer_surface(distance, random)
        chamfer, normals = compare(truth, mesh_surface(*network_mesh(model, code), random))
        row = {"seed": seed, "loss": loss, "chamfer_mm": 1000 * metres * chamfer, "normals": normals}
        grid_vertices, grid_faces, _ = grid_mesh(distance, share)
        if len(grid_faces):
            chamfer, normals = compare(truth, mesh_surface(grid_vertices, grid_faces, random))
            row |= {"share_grid_chamfer_mm": 1000 * metres * chamfer, "share_grid_normals": normals}
        rows.append(row)
        report(json.dumps(row))
    return rows


def contact_sheet(model: DeepSDF, size: int = 224) -> PIL.Image:
    """Return renders of 16 new chairs, and of 8 steps from one to another."""
    camera = from_wire(orbit(model.info, size))
    codes = [model.mapping(model.sample_z(seed))[0] for seed in range(16)]
    codes += [torch.lerp(codes[1], codes[6], step / 7) for step in range(8)]
    return image_grid([composited(model.synthesize(code).render(camera)) for code in codes], 8)


def shaded(vertices: Array, faces: NDArray[np.int32], camera: Camera) -> PIL.Image:
    """Render a canonical mesh with the lighting of the model's own renders. camera: canonical units, world axes."""
    rotation = np.array(WORLD_FROM_CANONICAL, np.float32)
    rays = camera.rays()
    origins, directions = (x.numpy() @ rotation for x in (rays.origins, rays.directions))
    _, normal = MeshDistance(vertices, faces).first_hit(origins, directions)
    axes = torch.from_numpy(rotation.T) @ camera.world_from_camera[:3, :3]
    normals = torch.from_numpy(normal.copy())
    hit = normals.norm(dim=-1, keepdim=True) > 0
    shade = clay_shade(normals, axes, torch.from_numpy(rotation[2]))
    rgb = torch.where(hit, torch.tensor(CLAY) * shade[..., None], 1.0)
    return to_pil(rgb)


def alone(
    model: DeepSDF, folder: Path, seeds: list[int], steps: int, report: Callable[[str], None], size: int = 300
) -> tuple[list[dict[str, float]], PIL.Image]:
    """Compare one chair in one network with grids of as many values.

    Returns the figures, and an image with a row for each chair, which also shows its reconstruction by the starter
    model and a grid of the family's share.
    """
    share = (sum(p.numel() for p in model.decoder.parameters()) + model.codes.numel()) // len(model.codes)
    camera = from_wire(orbit(model.info, 2 * size))
    world_from_camera = camera.world_from_camera.clone()
    world_from_camera[:3, 3] /= model.metres_per_unit
    camera = Camera(world_from_camera, camera.intrinsics, camera.width, camera.height)
    rows, images, names = [], [], []
    for seed in seeds:
        vertices, faces, metres = chairs.canonical_mesh(folder / "meshes" / f"chair{seed:04d}.npz")
        distance, random = MeshDistance(vertices, faces), np.random.default_rng(seed)
        world = (vertices @ np.array(WORLD_FROM_CANONICAL, np.float32).T).astype(np.float32)
        single = fit_single(world, faces, steps=steps).model
        values = sum(p.numel() for p in single.decoder.parameters())
        found, found_faces = network_mesh(single, single.code_mean)
        distances, occupancy = grid_mesh(distance, values), grid_mesh(distance, values, occupancy=True)
        meshes = {
            f"one network, {values:,} values": (found * single.metres_per_unit, found_faces),
            f"distances, {'x'.join(map(str, distances[2]))} voxels": distances[:2],
            f"occupancy, {'x'.join(map(str, occupancy[2]))} voxels": occupancy[:2],
        }
        truth, row = outer_surface(distance, random), {"seed": float(seed), "values": float(values)}
        for name, mesh in zip(("network", "distance_grid", "occupancy_grid"), meshes.values(), strict=True):
            chamfer, normals = compare(truth, mesh_surface(*mesh, random))
            row |= {f"{name}_chamfer_mm": 1000 * metres * chamfer, f"{name}_normals": normals}
        rows.append(row)
        report(json.dumps(row))

        with np.load(folder / "samples" / f"chair{seed:04d}.npz") as archive:
            samples = torch.from_numpy(archive["samples"])
        code, _ = reconstruct(model.sdf, samples, model.code_mean, iterations=300, points_per_step=1024, rate=0.02)
        of_share = grid_mesh(distance, share)
        meshes = {"mesh (not trained on)": (vertices, faces)} | meshes
        meshes[f"starter model, {share:,} values a chair"] = network_mesh(model, code)
        meshes[f"distances, {'x'.join(map(str, of_share[2]))} voxels"] = of_share[:2]
        images += [shaded(*mesh, camera).resize((size, size), PIL.Resampling.LANCZOS) for mesh in meshes.values()]
        names += list(meshes)
    page = image_grid(images, 6)
    draw = ImageDraw.Draw(page)
    for index, name in enumerate(names):
        draw.text((index % 6 * size + 8, index // 6 * size + 6), name, fill="black")
    return rows, page


def averages(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return mean and median of each measure over the chairs."""
    found: dict[str, float] = {"chairs": len(rows)}
    for name in rows[0]:
        if name not in ("seed", "loss", "values"):
            values = [row[name] for row in rows if name in row]
            found[name] = float(np.mean(values))
            found[f"{name}_median"] = float(np.median(values))
    return found


def main(arguments: list[str]) -> None:
    """Print the figures and draw the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chairs", type=Path, help="the folder that backend.training.data.chairs filled")
    parser.add_argument("--model", default="deepsdf_chairs", help="name of a DeepSDF model")
    parser.add_argument("--count", type=int, default=chairs.NUM_HELD_OUT, help="held-out chairs to measure")
    parser.add_argument("--alone", type=int, default=3, help="held-out chairs that each get a network of their own")
    parser.add_argument("--steps", type=int, default=2000, help="training steps for one chair")
    parser.add_argument("--only", choices=["held_out", "alone", "contact_sheet"])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load_model(model_folder(options.model))
    if not isinstance(model, DeepSDF):
        raise TypeError(f"{options.model} is not a DeepSDF")
    first = chairs.NUM_SHAPES - chairs.NUM_HELD_OUT

    def report(text: str) -> None:
        print(text, flush=True)

    figures: dict[str, dict[str, float]] = {}
    if options.only in (None, "contact_sheet"):
        contact_sheet(model).save(DOCS_IMAGES / "deepsdf_contact_sheet.png", optimize=True)
    if options.only in (None, "held_out"):
        figures["held_out"] = averages(held_out(model, options.chairs, options.count, report))
    if options.only in (None, "alone"):
        rows, page = alone(model, options.chairs, list(range(first, first + options.alone)), options.steps, report)
        figures["alone"] = averages(rows)
        page.save(DOCS_IMAGES / "deepsdf_vs_voxels.png", optimize=True)
    report(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
