"""Compare a dense grid, a hash grid, a tri-plane and a distance network at equal surface error of one shape.

`python -m backend train representations MESH --out FOLDER` fits one mesh with each of them in several sizes, meshes
them with the same marching cubes, and finds for each resolution of the dense grid the smallest of the others with at
most its surface error: its bytes, its seconds of fitting, and its seconds of querying.

Vocabulary. The mesh is scaled to a longest side of 1 about the origin; the `cube` around it is 1.04 wide. A grid of
*resolution* N has N³ lattice points, the faces of the cube included. All representations hold the signed distance
truncated at ±0.05 (Eq. 9 of arxiv.org/abs/1901.05103), the grid at ±3 of its cells. See `models` for each of them.

*Surface error*: mean distance of 30,000 points of one surface to the other surface, both ways, averaged, in per cent of
the longest side, on the outside of the true solid only. A missing part counts with the distance of its points from the
rest of the surface, so the error of a coarse grid is mostly thin parts that it misses. Seconds are CPU time of one
thread, so this experiment has no --device.

A killed run resumes when it is started again with the same options. The folder gets `figures.json`, `table.md`,
`representations.png` (the meshes) and `representations_memory.png` (memory against error).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meshing import import_mesh
from meshing.errors import MeshingError
from meshing.grid import extract_surface

from ....files import write_atomically
from ....generators.deepsdf.mesh_distance import MeshDistance
from ...runs import Loop, State, log, update
from ...surfaces import Surface, compare, mesh_surface, outer_surface
from .config import Candidate, Recipe, candidates
from .models import BOUNDS, CLAMP, HALF, SLOPE, Array, filled, num_bytes
from .report import chart, gallery, table

Report = Callable[[str], None]

AUTOSAVE_SECONDS = 30.0


def normalised(vertices: Array) -> Array:
    """Return vertices [V, 3] scaled to a longest side of 1 and centered at the origin."""
    low, high = vertices.min(0), vertices.max(0)
    return ((vertices - (low + high) / 2) / (high - low).max()).astype(np.float32)


def distance_samples(distance: MeshDistance, count: int, seed: int) -> Tensor:
    """Sample points of the cube and their signed distance [count, 4]: a quarter anywhere, the rest near the surface."""
    random = np.random.default_rng(seed)
    points = [random.uniform(-HALF, HALF, (2 * count // 8, 3))]
    for part, spread in ((2, 0.02), (2, 0.006), (2, 0.0015)):  # eighths, longest sides
        surface, _ = distance.surface_points(part * count // 8, random)
        points.append(surface + random.normal(0, spread, surface.shape))
    positions = np.concatenate(points).clip(-HALF, HALF).astype(np.float32)
    random.shuffle(positions)
    values = [distance.signed_distance(part) for part in np.array_split(positions, -(-count // 100_000))]
    return torch.from_numpy(np.concatenate([positions, np.concatenate(values)[:, None]], 1))


def train(
    candidate: Candidate, samples: Tensor, recipe: Recipe, state: Path, report: Report
) -> tuple[nn.Module, float]:
    """Train one candidate, or resume from `state`. Returns the module, and seconds of CPU time."""
    torch.manual_seed(recipe.seed)
    module = candidate.build()
    spent = torch.zeros((), dtype=torch.float64)
    module.register_buffer("seconds", spent)  # stored with the rest
    optimizer = torch.optim.Adam(module.parameters(), candidate.rate, betas=(0.9, 0.99), eps=1e-15)
    config = {**asdict(recipe), "name": candidate.name}
    loop = Loop(
        State(config, {"network": module}, {"": optimizer}), state, candidate.steps,
        report_steps=max(1, candidate.steps // 8), checkpoint_seconds=AUTOSAVE_SECONDS,
        progress=lambda fraction, text: report(f"{candidate.name}: {text}"),
    )  # fmt: skip
    module.train()
    for step in loop:
        started = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = candidate.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / candidate.steps)))
        random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        batch = samples[torch.randint(len(samples), (candidate.points_per_step,), generator=random)]
        # only the target is truncated: predictions beyond the truncation need a gradient
        loss = functional.l1_loss(module(batch[:, :3]), batch[:, 3].clamp(-CLAMP, CLAMP)) / CLAMP
        update(optimizer, loss)
        spent += time.process_time() - started
        loop.report(f"loss {loss.item():.4f}  {float(spent):.0f} s")
    del module.seconds
    return module.eval().requires_grad_(False), float(spent)


def query(module: nn.Module, points: Array, chunk: int = 1 << 16) -> Array:
    """Return values [N] at points [N, 3]."""
    with torch.no_grad():
        return torch.cat([module(part) for part in torch.from_numpy(points).split(chunk)]).numpy()


@dataclass(frozen=True)
class Meshed:
    """Marching cubes of a field. vertices and faces are empty if it has no surface."""

    vertices: Array
    faces: NDArray[np.int32]
    seconds: float


def meshed(module: nn.Module, resolution: int, clamp: float, slope: float) -> Meshed:
    """Mesh the zero level of a representation on a lattice of `resolution` points a side."""
    started = time.process_time()
    try:
        mesh = extract_surface(lambda p: query(module, p), BOUNDS, resolution, 0.0, lipschitz=slope, clamp=clamp)
    except MeshingError:  # no surface: a coarse grid can miss thin parts entirely
        return Meshed(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), time.process_time() - started)
    return Meshed(mesh.vertices, mesh.faces, time.process_time() - started)


def measure(module: nn.Module, made: Meshed, truth: Surface, samples: Tensor, recipe: Recipe) -> dict[str, Any]:
    """Return bytes, surface error (% of the longest side), normal consistency, and seconds for a million points and a
    mesh. Error and consistency are None if there is no surface."""
    random = np.random.default_rng(recipe.seed)
    row: dict[str, Any] = {"bytes": num_bytes(module), "faces": len(made.faces), "mesh_seconds": round(made.seconds, 2)}
    error, normals = None, None
    if len(made.faces):
        found = compare(truth, mesh_surface(made.vertices, made.faces, random))
        error, normals = round(100 * found[0], 5), round(found[1], 4)
    points = samples[: 1 << 18, :3].numpy()
    query(module, points[: 1 << 14])
    started = time.process_time()
    query(module, points)
    row["query_seconds"] = round((time.process_time() - started) * 1e6 / len(points), 3)
    return {**row, "error": error, "normals": normals}


def demonstrate(
    vertices: Array, faces: NDArray[np.int32], recipe: Recipe, out: Path, report: Report = lambda text: None
) -> dict[str, dict[str, Any]]:
    """Build, train and measure all representations; write figures, table and images. Returns the rows by name."""
    out.mkdir(parents=True, exist_ok=True)
    distance = MeshDistance(normalised(vertices), faces)
    truth = outer_surface(distance, np.random.default_rng(recipe.seed))
    record = out / "figures.json"
    wanted = json.loads(json.dumps({**asdict(recipe), "faces": len(faces)}))
    rows: dict[str, dict[str, Any]] = {}
    if record.exists():
        kept = json.loads(record.read_text())
        if kept["recipe"] != wanted:
            raise ValueError(f"{record} belongs to other options: give an empty folder")
        rows = kept["rows"]

    def keep(name: str, row: dict[str, Any]) -> None:
        rows[name] = row
        write_atomically(record, (json.dumps({"recipe": wanted, "rows": rows}, indent=1) + "\n").encode())
        report(f"{name}: {json.dumps(row)}")

    everything = {*(f"grid {n}³" for n in recipe.resolutions), *(one.name for one in candidates(recipe))}
    samples = torch.zeros(0, 4)
    if everything - rows.keys():
        started = time.process_time()
        samples = distance_samples(distance, recipe.samples, recipe.seed)
        report(f"{len(samples)} distances in {time.process_time() - started:.0f} s")
    for resolution in recipe.resolutions:
        name = f"grid {resolution}³"
        if name not in rows:
            started = time.process_time()
            grid = filled(distance, resolution)
            seconds = time.process_time() - started
            made = meshed(grid, resolution, float(grid.values.max()), 1.0)
            save_mesh(out, name, made)
            row = measure(grid, made, truth, samples, recipe)
            keep(name, {"family": "dense grid", "resolution": resolution, "fit_seconds": round(seconds, 2), **row})
    for candidate in candidates(recipe):
        if candidate.name not in rows:
            state = out / f"{candidate.name.replace(' ', '_')}.safetensors"
            module, seconds = train(candidate, samples, recipe, state, report)
            made = meshed(module, recipe.mesh_resolution, CLAMP, SLOPE)
            save_mesh(out, candidate.name, made)
            row = measure(module, made, truth, samples, recipe)
            keep(candidate.name, {"family": candidate.family, "fit_seconds": round(seconds, 2), **row})
    (out / "table.md").write_text(table(rows, recipe))
    chart(rows).save(out / "representations_memory.png", optimize=True)
    gallery(distance, rows, out, recipe.tile).save(out / "representations.png", optimize=True)
    return rows


def save_mesh(out: Path, name: str, made: Meshed) -> None:
    """Save a mesh for the gallery, so that a resumed run need not extract it again."""
    folder = out / "meshes"
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name.replace(' ', '_')}.npz", vertices=made.vertices, faces=made.faces)


def main(arguments: list[str]) -> None:
    """Run the experiment, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backend train representations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Recipe()
    parser.add_argument("mesh", type=Path, help="a mesh: .obj, .ply, .glb or .stl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures and the images")
    parser.add_argument(
        "--resolutions", type=int, nargs="+", default=list(default.resolutions), help="resolutions of dense grids"
    )
    parser.add_argument("--steps", type=int, default=default.steps, help="steps of hash grids and tri-planes")
    parser.add_argument(
        "--network-steps", type=int, default=default.network_steps, help="training steps of distance networks"
    )
    parser.add_argument(
        "--widths", type=int, nargs="+", default=list(default.widths), help="widths of distance networks"
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of initialisation and samples")
    options = parser.parse_args(arguments)
    recipe = Recipe(
        resolutions=tuple(options.resolutions),
        steps=options.steps,
        network_steps=options.network_steps,
        widths=tuple(options.widths),
        seed=options.seed,
    )
    torch.set_num_threads(1)

    made = import_mesh(options.mesh)
    demonstrate(made.vertices, made.faces, recipe, options.out, log)
    sys.stdout.write((options.out / "table.md").read_text())
