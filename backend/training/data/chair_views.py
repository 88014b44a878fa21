"""Rendered views of the chairs of `chairs.py`: the training data of models that learn from images.

`python -m backend.training.data.chair_views MESHES OUT` reads `MESHES/chair0000.npz` … (stage 1 of `chairs.py`) and
writes one `OUT/chair0000.npz` for each, about 2 s on one core; it resumes where it was stopped. Warp casts rays at the
meshes on the CPU. `load_views(OUT, seeds)` reads them back.

World of the images: right-handed, Z up, the front of the chair along −Y, the center of its bounding box at the
origin; the unit is the canonical one of `chairs.py` (the farthest vertex at 1 / 1.03), so all chairs have one size.
Seeds below `NUM_TRAIN` are for training, `HELD_OUT` are the 13 chairs that the cards measure on.

Each chair gets `NUM_VARIANTS` sets of random materials (a colour for legs, seat and back, plain, striped or checked;
woods have a grain) and is rendered `VIEWS_PER_VARIANT` times in each. One file holds V = 24 views:

| array | | |
|---|---|---|
| `images` | [V, 64, 64, 3] uint8 | sRGB, over white |
| `masks` | [V, 64, 64] uint8 | coverage of the pixel, 255 is all of it |
| `depths` | [V, 64, 64] float16 | along the camera's z, of the nearest of the pixel's rays; inf where all miss |
| `azimuths`, `elevations` | [V] float32 | radians; azimuth 0 sees the front, π/2 the +X side (`cameras.orbit`) |
| `world_from_camera` | [V, 4, 4] float32 | OpenCV axes; every camera looks at the origin from `DISTANCE` |
| `intrinsics` | [3, 3] float32 | pixels, centres at +0.5; the same for all |
| `variants` | [V] uint8 | index of the chair's materials |
| `distances` | [32, 32, 32] float16 | signed distance (negative inside) at the centres of the voxels of the cube
  ±`CUBE_HALF`, indexed [z, y, x]; `occupancy(distances)` turns it into voxels that keep thin slats |
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from addon.wire.errors import UnreadableFile

from ...cameras import Camera, intrinsics_from_fov, look_at
from ...generators.deepsdf.mesh_distance import MeshDistance
from ...generators.deepsdf.scene import WORLD_FROM_CANONICAL
from . import chairs

Array = NDArray[np.float32]

NUM_TRAIN = chairs.NUM_SHAPES - chairs.NUM_HELD_OUT
HELD_OUT = range(NUM_TRAIN, NUM_TRAIN + 13)
SIZE = 64
SUPERSAMPLING = 2
NUM_VARIANTS = 4
VIEWS_PER_VARIANT = 6
DISTANCE = 3.0
"""Distance of the camera from the origin, canonical units."""
FOV = math.radians(38.0)
ELEVATIONS = (0.0, math.radians(35.0))
VOXELS = 32
CUBE_HALF = 0.95

KEY_LIGHT = np.array([-0.48, -0.64, 0.6], np.float32)
"""Unit vector towards the light, in world axes: the shading is fixed to the chair, as its colours are."""
AMBIENT, KEY, SKY = 0.42, 0.50, 0.12

WOODS = np.array([[0.55, 0.36, 0.20], [0.36, 0.22, 0.13], [0.74, 0.56, 0.36], [0.25, 0.24, 0.24]], np.float32)


@dataclass(frozen=True)
class Material:
    """Two sRGB colours, and the period of their alternation along each world axis in canonical units; 0: none."""

    first: Array  # [3]
    second: Array  # [3]
    periods: tuple[float, float, float]

    def at(self, points: Array) -> Array:
        """Return albedo [n, 3] at world points [n, 3]."""
        odd = np.zeros(len(points), bool)
        for axis, period in enumerate(self.periods):
            if period:
                odd ^= np.floor(points[:, axis] / period + 0.5).astype(int) % 2 == 1
        return np.where(odd[:, None], self.second, self.first)


def random_materials(random: np.random.Generator) -> tuple[Material, Material, Material]:
    """Return materials of legs, seat and back."""
    legs = WOODS[random.integers(len(WOODS))] * random.uniform(0.85, 1.15)
    grain = Material(legs, legs * 0.82, (0.0, 0.0, random.uniform(0.10, 0.2)))
    hue, period = random.random(), random.uniform(0.14, 0.24)
    cloth, other = hsv(hue, random.uniform(0.45, 0.9), random.uniform(0.6, 0.95)), hsv(hue + 0.5, 0.2, 0.9)
    pattern = random.choice(4, p=(0.4, 0.2, 0.2, 0.2))  # plain, upright stripes, bands, checks
    across, along = period * (pattern in (1, 3)), period * (pattern in (2, 3))
    seat = Material(cloth, other, (across, along, 0.0))
    back = Material(cloth, other, (across, 0.0, along)) if random.random() < 0.7 else grain
    return grain, seat, back


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Return sRGB [3]; hue has period 1."""
    wheel = np.abs((np.array([0, 4, 2]) / 6 + hue) % 1 * 6 - 3) - 1
    return (value * (1 - saturation * (1 - wheel.clip(0, 1)))).astype(np.float32)


def seat_height(vertices: Array, faces: NDArray[np.int32]) -> float:
    """Return the height with the most upward-facing area."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1) / 2
    upwards = normal[:, 2] > 1.6 * area
    counts, edges = np.histogram(corners[upwards, :, 2].mean(1), 64, (-1, 1), weights=area[upwards])
    return float(edges[counts.argmax()] + 1 / 64)


def camera(azimuth: float, elevation: float, size: int = SIZE) -> Camera:
    """Return the camera of a view; angles in radians."""
    level = DISTANCE * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), DISTANCE * math.sin(elevation))
    pose, intrinsics = look_at(eye, (0.0, 0.0, 0.0)), intrinsics_from_fov(FOV, size, size)
    return Camera(torch.tensor(pose), torch.tensor(intrinsics), size, size)


def render(
    mesh: MeshDistance, seat: float, materials: tuple[Material, Material, Material], view: Camera
) -> tuple[Array, Array, Array]:
    """Render a mesh in the world: sRGB over white [H, W, 3], coverage [H, W] and depth [H, W]."""
    rays = view.resized(view.width * SUPERSAMPLING, view.height * SUPERSAMPLING).rays()
    origins, directions = rays.origins.numpy(), rays.directions.numpy()
    distance, normal = mesh.first_hit(origins, directions)
    hit = np.isfinite(distance)
    points = origins[hit] + distance[hit, None] * directions[hit]
    legs, cushion, back = (material.at(points) for material in materials)
    height = points[:, 2:]
    albedo = np.where(height < seat - 0.12, legs, np.where(height < seat + 0.03, cushion, back))
    shade = AMBIENT + KEY * (normal[hit] @ KEY_LIGHT).clip(0) + SKY * (0.5 + 0.5 * normal[hit, 2])
    rgb = np.ones((*hit.shape, 3), np.float32)
    rgb[hit] = (albedo * shade[:, None]).clip(0, 1)
    depth = distance * rays.depth_from_distance.numpy()
    fine = (view.height, SUPERSAMPLING, view.width, SUPERSAMPLING)
    return (
        rgb.reshape(*fine, 3).mean((1, 3)),
        hit.reshape(fine).mean((1, 3), dtype=np.float32),
        depth.reshape(fine).min((1, 3)),
    )


def voxel_centers() -> Array:
    """Return world points [32, 32, 32, 3], indexed [z, y, x]."""
    ticks = ((np.arange(VOXELS, dtype=np.float32) + 0.5) / VOXELS * 2 - 1) * CUBE_HALF
    z, y, x = np.meshgrid(ticks, ticks, ticks, indexing="ij")
    return np.stack((x, y, z), -1)


def occupancy(distances: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask of the solid voxels: those whose center is inside, or outside by less than a third of a voxel."""
    return np.asarray(distances < 2 * CUBE_HALF / VOXELS / 3)


def views_of(vertices: Array, faces: NDArray[np.int32], seed: int) -> dict[str, NDArray]:
    """Return the arrays of one file (see the module) for a mesh in the frame of `chairs.canonical_mesh`."""
    random = np.random.default_rng(seed)
    vertices = vertices @ np.array(WORLD_FROM_CANONICAL, np.float32).T
    mesh, seat = MeshDistance(vertices, faces), seat_height(vertices, faces)
    found: dict[str, list[NDArray]] = {"images": [], "masks": [], "depths": [], "world_from_camera": []}
    azimuths, elevations, variants = [], [], []
    for variant in range(NUM_VARIANTS):
        materials = random_materials(random)
        for sector in range(VIEWS_PER_VARIANT):
            azimuth = (sector + random.random()) / VIEWS_PER_VARIANT * 2 * math.pi
            elevation = random.uniform(*ELEVATIONS)
            view = camera(azimuth, elevation)
            rgb, coverage, depth = render(mesh, seat, materials, view)
            found["images"].append((rgb * 255 + 0.5).astype(np.uint8))
            found["masks"].append((coverage * 255 + 0.5).astype(np.uint8))
            found["depths"].append(depth.astype(np.float16))
            found["world_from_camera"].append(view.world_from_camera.numpy())
            azimuths.append(azimuth)
            elevations.append(elevation)
            variants.append(variant)
    return {name: np.stack(arrays) for name, arrays in found.items()} | {
        "azimuths": np.array(azimuths, np.float32),
        "elevations": np.array(elevations, np.float32),
        "variants": np.array(variants, np.uint8),
        "intrinsics": view.intrinsics.numpy(),
        "distances": mesh.signed_distance(voxel_centers()).astype(np.float16),
    }


def write_views(meshes: Path, out: Path, seeds: range) -> None:
    """Render the chairs of these seeds that are missing in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = out / f"chair{seed:04d}.npz"
        if path.exists():
            continue
        started = time.perf_counter()
        vertices, faces, _ = chairs.canonical_mesh(meshes / path.name)
        chairs.write_arrays(path, compressed=True, **views_of(vertices, faces, seed))
        print(f"chair {seed}: {time.perf_counter() - started:.1f} s", flush=True)


def load_views(folder: Path, seeds: range, names: tuple[str, ...] = ("images",)) -> dict[str, NDArray]:
    """Return arrays of several chairs, stacked [chairs, …].

    Raises:
        UnreadableFile: a chair is missing.
    """
    found: dict[str, list[NDArray]] = {name: [] for name in names}
    for seed in seeds:
        path = folder / f"chair{seed:04d}.npz"
        if not path.exists():
            raise UnreadableFile(f"{path} is missing: run python -m backend.training.data.chair_views MESHES {folder}.")
        with np.load(path) as archive:
            for name in names:
                found[name].append(archive[name])
    return {name: np.stack(arrays) for name, arrays in found.items()}


def main(arguments: list[str]) -> None:
    """Render the chairs, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", type=Path, help="the folder meshes/ that backend.training.data.chairs filled")
    parser.add_argument("out", type=Path, help="folder for the views")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--end", type=int, default=HELD_OUT.stop, help="seed after the last")
    options = parser.parse_args(arguments)
    write_views(options.meshes, options.out, range(options.first, options.end))


if __name__ == "__main__":
    main(sys.argv[1:])
