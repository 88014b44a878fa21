"""What a shape costs as a dense grid, a hash grid, a tri-plane and a network of distances, at equal surface error.

`python -m backend train representations MESH --out FOLDER` fits one mesh with each of them in several sizes, meshes
what they hold with the same marching cubes, and asks of each resolution of the dense grid: which is the smallest of the
others that comes as near to the true surface, and what does it take in bytes, in seconds of fitting and of asking?

Vocabulary. The mesh is brought to a longest side of 1 about the origin; the `cube` around it is 1.04 wide. A grid of
*resolution* N has N³ lattice points, the faces of the cube included. All hold the signed distance cut to ±0.05
(Eq. 9 of arxiv.org/abs/1901.05103), the grid to ±3 of its cells.

- `DenseGrid`: N³ numbers and trilinear interpolation. Nothing is trained; values are measured near the surface only.
- `HashGrid`: the multiresolution hash encoding of arxiv.org/abs/2201.05989 and a network with one hidden layer.
- `TriPlane`: three planes of features, summed, and the same network (arxiv.org/abs/2112.07945, Sec. 4.1).
- `DistanceNetwork`: eight layers with a skip, as in DeepSDF, on the encoded position (Eq. 4 of
  arxiv.org/abs/2003.08934).

*Surface error*: mean distance of 30,000 points of one surface to the other surface, both ways, averaged, in per cent of
the longest side. Only points on the outside of the true solid count. A part that is missing counts by how far its
points are from what is there, so the error of a coarse grid is mostly what it does not see. Seconds are seconds of
processor time of one thread.

A killed run goes on where it was when it is started again with the same options. The folder gets `figures.json`,
`table.md`, `representations.png` (the meshes) and `representations_memory.png` (memory against error).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional

from meshing.errors import MeshingError
from meshing.grid import extract_surface
from meshing.io import import_mesh

from ..generators.deepsdf.mesh_distance import MeshDistance
from ..kernels.hash_encoding import HashSpec, hash_encode
from ..models.store import write_atomically
from ..nerf.mlp.encodings import positional_encoding
from .deepsdf_figures import Surface, compare, mesh_surface, outer_surface
from .demonstration import labelled_row, resumed, store

Array = NDArray[np.float32]
Report = Callable[[str], None]

AUTOSAVE_SECONDS = 30.0
HALF = 0.52
"""Half the side of the cube, in longest sides of the mesh."""
BOUNDS = ((-HALF,) * 3, (HALF,) * 3)
CLAMP = 0.05
"""Where distances are cut, in longest sides of the mesh."""
SLOPE = 1.5
"""Lipschitz bound that marching cubes is given of what was trained."""
UNREACHED = "not reached"


@dataclass(frozen=True)
class Recipe:
    """What is built, and how it is trained."""

    resolutions: tuple[int, ...] = (64, 128, 256, 512)  # of dense grids that are filled and meshed
    arithmetic: tuple[int, ...] = (1024,)  # of those that are only computed
    hash_sizes: tuple[int, ...] = (10, 12, 14, 16, 18)  # log2 of the entries of a level
    planes: tuple[tuple[int, int], ...] = ((32, 8), (64, 8), (128, 8))  # pixels a side, features
    widths: tuple[int, ...] = (64, 128)  # of the eight layers
    levels: int = 12  # of the hash grid, from 16 to `finest` cells
    finest: int = 512
    frequencies: int = 8  # of the position, that the distance network is given
    steps: int = 800
    network_steps: int = 2000  # of the distance network, which learns more slowly
    points_per_step: int = 16384
    network_points: int = 4096
    samples: int = 600_000  # distances that training draws from
    mesh_resolution: int = 256  # at which what was trained is meshed for its error
    tile: int = 300  # pixels of each picture
    seed: int = 0


class DenseGrid(nn.Module):
    """Signed distances on a lattice, interpolated. values [N, N, N], indexed [x, y, z]."""

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, points: Tensor) -> Tensor:
        """Signed distance at points [N, 3] of the cube. [N]"""
        places = points.flip(-1)[None, None, None] / HALF  # grid_sample's x runs along the last axis
        found = functional.grid_sample(self.values[None, None], places, padding_mode="border", align_corners=True)
        return found.reshape(-1)


def _head(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class HashGrid(nn.Module):
    """A hash encoding and a small network."""

    def __init__(self, spec: HashSpec, hidden: int = 64) -> None:
        super().__init__()
        self.spec = spec
        self.table = nn.Parameter(torch.empty(spec.num_entries, spec.num_features).uniform_(-1e-4, 1e-4))
        self.head = _head(spec.width, hidden)

    def forward(self, points: Tensor) -> Tensor:
        """Signed distance at points [N, 3] of the cube. [N]"""
        found: Tensor = CLAMP * self.head(hash_encode((points / HALF + 1) / 2, self.table, self.spec))
        return found[..., 0]


class TriPlane(nn.Module):
    """Features on the planes XY, XZ and YZ, summed, and a small network."""

    AXES = ((0, 1), (0, 2), (1, 2))

    def __init__(self, size: int, num_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.planes = nn.Parameter(0.01 * torch.randn(3, num_features, size, size))
        self.head = _head(num_features, hidden)

    def forward(self, points: Tensor) -> Tensor:
        """Signed distance at points [N, 3] of the cube. [N]"""
        places = torch.stack([points[:, axes] for axes in self.AXES])[:, None] / HALF  # [3, 1, N, 2]
        features = functional.grid_sample(self.planes, places, padding_mode="border", align_corners=True)
        found: Tensor = CLAMP * self.head(features.sum(0)[:, 0].T)
        return found[..., 0]


class DistanceNetwork(nn.Module):
    """Layers of one width on the encoded position, with the encoding once more in the middle."""

    def __init__(self, width: int, frequencies: int, depth: int = 8) -> None:
        super().__init__()
        self.frequencies, encoded = frequencies, 3 + 6 * frequencies
        self.before = self._layers(encoded, width, depth // 2)
        self.after = self._layers(width + encoded, width, depth - depth // 2)
        self.last = nn.Linear(width, 1)

    @staticmethod
    def _layers(inputs: int, width: int, count: int) -> nn.Sequential:
        widths = [inputs, *[width] * count]
        return nn.Sequential(*(x for a, b in itertools.pairwise(widths) for x in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, points: Tensor) -> Tensor:
        """Signed distance at points [N, 3] of the cube. [N]"""
        encoded = positional_encoding(points / HALF, self.frequencies)
        found: Tensor = CLAMP * self.last(self.after(torch.cat((self.before(encoded), encoded), -1)))
        return found[..., 0]


@dataclass(frozen=True)
class Candidate:
    """One representation in one size."""

    family: str
    name: str
    build: Callable[[], nn.Module]
    steps: int
    points_per_step: int
    rate: float  # of Adam


def candidates(recipe: Recipe) -> list[Candidate]:
    """Everything that is trained, each family from small to large."""
    found = []
    for log2_size in recipe.hash_sizes:
        spec = HashSpec(recipe.levels, 2, log2_size, min(16, recipe.finest), recipe.finest)
        build: Callable[[], nn.Module] = partial(HashGrid, spec)
        found.append(Candidate("hash grid", f"hash 2^{log2_size}", build, recipe.steps, recipe.points_per_step, 5e-3))
    for size, features in recipe.planes:
        build, name = partial(TriPlane, size, features), f"planes {size}² × {features}"
        found.append(Candidate("tri-plane", name, build, recipe.steps, recipe.points_per_step, 5e-3))
    for width in recipe.widths:
        build, name = partial(DistanceNetwork, width, recipe.frequencies), f"8 × {width}"
        found.append(Candidate("SDF network", name, build, recipe.network_steps, recipe.network_points, 1e-3))
    return found


def num_bytes(module: nn.Module) -> int:
    """Bytes that a representation keeps: all its numbers, in float32."""
    return sum(x.numel() * x.element_size() for x in (*module.parameters(), *module.buffers()))


def grid_bytes(resolution: int) -> int:
    """Bytes of a dense grid: N³ numbers of four bytes."""
    return 4 * resolution**3


def normalised(vertices: Array) -> Array:
    """The mesh with its longest side at 1, about the origin. [V, 3]"""
    low, high = vertices.min(0), vertices.max(0)
    return ((vertices - (low + high) / 2) / (high - low).max()).astype(np.float32)


def filled(distance: MeshDistance, resolution: int, cells: float = 3.0, first: int = 16, last: int = 4) -> DenseGrid:
    """A dense grid: exact within `cells` of its cells from the surface, cut to that distance elsewhere.

    The lattice is cut into blocks, from `first` to `last` points wide; a block whose centre is further away than its
    half diagonal and the cut has one sign and is not looked at any more.
    """
    step = 2 * HALF / (resolution - 1)
    cut = cells * step
    count = -(-resolution // first)
    values = np.full((count * first,) * 3, cut, np.float32)
    blocks = np.indices((count,) * 3, np.int32).reshape(3, -1).T * first
    size = first
    while len(blocks):
        centres = (blocks + (size - 1) / 2) * step - HALF
        found = distance.signed_distance(centres.astype(np.float32))
        far = np.abs(found) > (size - 1) / 2 * step * math.sqrt(3) + cut
        offsets = np.indices((size,) * 3, np.int32).reshape(3, -1).T
        inside = blocks[far & (found < 0)]
        if len(inside):
            values[tuple(np.moveaxis(inside[:, None] + offsets, -1, 0))] = -cut
        blocks = blocks[~far]
        if size == last:
            break
        size //= 2
        halves = np.indices((2, 2, 2), np.int32).reshape(3, -1).T * size
        blocks = (blocks[:, None] + halves).reshape(-1, 3)
    for part in np.array_split(blocks, -(-len(blocks) // 4096) or 1):
        index = part[:, None] + offsets
        found = distance.signed_distance((index * step - HALF).astype(np.float32))
        values[tuple(np.moveaxis(index, -1, 0))] = found.clip(-cut, cut)
    return DenseGrid(torch.from_numpy(values[:resolution, :resolution, :resolution].copy()))


def distance_samples(distance: MeshDistance, count: int, seed: int) -> Tensor:
    """Points of the cube and their signed distance, [count, 4]: a quarter anywhere, the rest round the surface."""
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
    """Train one candidate, or go on from `state`. The module, and seconds of processor time."""
    torch.manual_seed(recipe.seed)
    module = candidate.build()
    spent = torch.zeros((), dtype=torch.float64)
    module.register_buffer("seconds", spent)  # so that it is stored with the rest
    optimizer = torch.optim.Adam(module.parameters(), candidate.rate, betas=(0.9, 0.99), eps=1e-15)
    config = {**asdict(recipe), "name": candidate.name}
    step = resumed(state, config, module, optimizer)
    seconds, saved = float(spent), time.monotonic()
    module.train()
    while step < candidate.steps:
        started = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = candidate.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / candidate.steps)))
        random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        batch = samples[torch.randint(len(samples), (candidate.points_per_step,), generator=random)]
        # only the truth is cut: what starts beyond the cut must feel a gradient
        loss = functional.l1_loss(module(batch[:, :3]), batch[:, 3].clamp(-CLAMP, CLAMP)) / CLAMP
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        seconds += time.process_time() - started
        if step % max(1, candidate.steps // 8) == 0:
            report(f"{candidate.name}: step {step}/{candidate.steps}, loss {loss.item():.4f}, {seconds:.0f} s")
        if time.monotonic() - saved > AUTOSAVE_SECONDS or step == candidate.steps:
            spent.fill_(seconds)
            store(state, config, module, optimizer, step)
            saved = time.monotonic()
    del module.seconds
    return module.eval().requires_grad_(False), seconds


def query(module: nn.Module, points: Array, chunk: int = 1 << 16) -> Array:
    """Values at points [N, 3]. [N]"""
    with torch.no_grad():
        return torch.cat([module(part) for part in torch.from_numpy(points).split(chunk)]).numpy()


@dataclass(frozen=True)
class Meshed:
    """What marching cubes made of a field. vertices and faces are empty where it met no surface."""

    vertices: Array
    faces: NDArray[np.int32]
    seconds: float


def meshed(module: nn.Module, resolution: int, clamp: float, slope: float) -> Meshed:
    """The zero level of a representation on a lattice of `resolution` points a side."""
    started = time.process_time()
    try:
        mesh = extract_surface(lambda p: query(module, p), BOUNDS, resolution, 0.0, lipschitz=slope, clamp=clamp)
    except MeshingError:  # nothing there, which a coarse grid of thin parts may well say
        return Meshed(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), time.process_time() - started)
    return Meshed(mesh.vertices, mesh.faces, time.process_time() - started)


def measure(module: nn.Module, made: Meshed, truth: Surface, samples: Tensor, recipe: Recipe) -> dict[str, Any]:
    """Bytes, surface error (% of the longest side), normal consistency, and seconds for a million points and a mesh.

    Error and consistency are None where there is no surface.
    """
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


def smallest(rows: Mapping[str, dict[str, Any]], family: str, error: float) -> str | None:
    """Name of the smallest of a family whose surface error is at most `error`."""
    ours = {name: row for name, row in rows.items() if row["family"] == family and row["error"] is not None}
    good = [(row["bytes"], name) for name, row in ours.items() if row["error"] <= error]
    return min(good)[1] if good else None


def demonstrate(
    vertices: Array, faces: NDArray[np.int32], recipe: Recipe, out: Path, report: Report = lambda text: None
) -> dict[str, dict[str, Any]]:
    """Build, train and measure everything; write figures, table and pictures. Returns the rows by name."""
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


# ------------------------------------------------------------------------------------------------- tables and pictures


def readable_bytes(count: float) -> str:
    """As 1.05 MB: three digits, powers of ten."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def table(rows: Mapping[str, dict[str, Any]], recipe: Recipe) -> str:
    """Two Markdown tables: each resolution with the smallest of each family that is as good, and everything built."""
    families = [f for f in dict.fromkeys(row["family"] for row in rows.values()) if f != "dense grid"]
    lines = [
        f"| resolution | surface error | dense grid | {' | '.join(families)} |",
        "|---" * (3 + len(families)) + "|",
    ]
    for resolution in recipe.resolutions:
        row = rows[f"grid {resolution}³"]
        cells = [f"{resolution}³", _shown(row["error"], " %"), _cost(row)]
        for family in families:
            name = None if row["error"] is None else smallest(rows, family, row["error"])
            cells.append(UNREACHED if name is None else f"{name}: {_cost(rows[name])}")
        lines.append(f"| {' | '.join(cells)} |")
    last = max(recipe.resolutions)
    for resolution in recipe.arithmetic:  # memory grows with the cube; what is near the surface with the square
        row, factor = rows[f"grid {last}³"], (resolution / last) ** 2
        cost = f"{readable_bytes(grid_bytes(resolution))}, {row['fit_seconds'] * factor:.0f} s, "
        cost += f"{row['query_seconds']:.2f} s, {row['mesh_seconds'] * factor:.0f} s (computed)"
        lines.append(f"| {resolution}³ | not measured | {cost} |{' |' * len(families)}")
    lines += [
        "",
        "| | memory | fit | million points | mesh | surface error | normals |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {readable_bytes(row['bytes'])} | {row['fit_seconds']:.1f} s | {row['query_seconds']:.2f} s "
            f"| {row['mesh_seconds']:.1f} s | {_shown(row['error'], ' %')} | {_shown(row['normals'])} |"
        )
    return "\n".join(lines) + "\n"


def _shown(value: float | None, unit: str = "") -> str:
    return "no surface" if value is None else f"{value:.3f}{unit}"


def _cost(row: Mapping[str, Any]) -> str:
    return (
        f"{readable_bytes(row['bytes'])}, {row['fit_seconds']:.1f} s, {row['query_seconds']:.2f} s, "
        f"{row['mesh_seconds']:.1f} s"
    )


COLORS = {"dense grid": "#444444", "hash grid": "#c2410c", "tri-plane": "#0f766e", "SDF network": "#6d28d9"}


def chart(rows: Mapping[str, dict[str, Any]], width: int = 900, height: int = 520) -> Picture.Image:
    """Memory against surface error, both logarithmic."""
    shown = {name: row for name, row in rows.items() if row["error"]}
    page = Picture.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    left, right, top, bottom = 70, width - 30, 20, height - 50
    memory = np.log10([row["bytes"] for row in shown.values()])
    errors = np.log10([row["error"] for row in shown.values()])
    (x0, x1), (y0, y1) = ((v.min() - 0.15, v.max() + 0.35) for v in (memory, errors))

    def place(count: float, error: float) -> tuple[float, float]:
        x, y = (math.log10(count) - x0) / (x1 - x0), (math.log10(error) - y0) / (y1 - y0)
        return left + x * (right - left), bottom - y * (bottom - top)

    for power in range(math.ceil(x0), math.floor(x1) + 1):
        x, _ = place(10**power, 10**y0)
        draw.line((x, top, x, bottom), "#dddddd")
        draw.text((x, bottom + 8), readable_bytes(10**power), "black", font, anchor="mt")
    for value in (v * 10.0**p for p in range(math.floor(y0), math.ceil(y1)) for v in (1, 2, 5)):
        if y0 <= math.log10(value) <= y1:
            _, y = place(10**x0, value)
            draw.line((left, y, right, y), "#dddddd")
            draw.text((left - 6, y), f"{value:g} %", "black", font, anchor="rm")
    draw.rectangle((left, top, right, bottom), outline="black")
    draw.text(((left + right) / 2, height - 6), "memory", "black", font, anchor="mb")
    draw.text((left + 8, top + 8), "surface error, % of the longest side", "black", font)
    for number, (family, color) in enumerate(COLORS.items()):
        ours = {name: place(row["bytes"], row["error"]) for name, row in shown.items() if row["family"] == family}
        draw.line(list(ours.values()), color, 2)
        for name, (x, y) in ours.items():
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
            short = name if family == "SDF network" else name.split(" ", 1)[1]
            draw.text((x + 6, y - 4), plain(short), color, font, "lb")
        draw.text((right - 10, top + 10 + 18 * number), family, color, font, anchor="rt")
    return page


def plain(name: str) -> str:
    """Return a name in letters that the pictures' font has."""
    return name.replace("³", "^3").replace("²", "^2").replace("×", "x")


def save_mesh(out: Path, name: str, made: Meshed) -> None:
    """Keep a mesh for the picture, so that a run that goes on need not make it again."""
    folder = out / "meshes"
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name.replace(' ', '_')}.npz", vertices=made.vertices, faces=made.faces)


@dataclass(frozen=True)
class Frame:
    """A view without perspective that shows a mesh whole."""

    across: NDArray[np.float64]  # unit vectors of the picture
    upward: NDArray[np.float64]
    forward: NDArray[np.float64]
    middle: tuple[float, float]  # along across and upward
    half: float

    @classmethod
    def around(cls, vertices: Array) -> Frame:
        """Return the view from the front (-y), a little from the left and above, that holds these points, Z up."""
        forward = np.array([0.45, 0.8, -0.4])
        forward /= np.linalg.norm(forward)
        across = np.cross(forward, [0, 0, 1])
        across /= np.linalg.norm(across)
        upward = np.cross(across, forward)
        places = vertices @ np.stack((across, upward), 1)
        low, high = places.min(0), places.max(0)
        middle = (low + high) / 2
        return cls(across, upward, forward, (middle[0], middle[1]), 0.52 * float((high - low).max()))


def shaded(distance: MeshDistance, frame: Frame, size: int, scale: int = 2) -> Tensor:
    """A mesh in a view, lit from above. [size, size, 3] in 0..1"""
    side = ((np.arange(size * scale) + 0.5) / (size * scale) * 2 - 1) * frame.half
    x, y = side[None, :, None] + frame.middle[0], frame.middle[1] - side[:, None, None]
    origins = x * frame.across + y * frame.upward - 3 * frame.forward
    directions = np.broadcast_to(frame.forward, origins.shape).astype(np.float32)
    reached, normals = distance.first_hit(origins.astype(np.float32), directions)
    light = frame.upward + 0.6 * frame.across - 0.9 * frame.forward
    light /= np.linalg.norm(light)
    brightness = 0.25 + 0.7 * (normals @ light).clip(0, None)
    image = np.where(np.isfinite(reached), brightness, 1.0).astype(np.float32)
    small = image.reshape(size, scale, size, scale).mean((1, 3))
    return torch.from_numpy(small)[..., None].expand(-1, -1, 3)


def gallery(distance: MeshDistance, rows: Mapping[str, dict[str, Any]], out: Path, size: int) -> Picture.Image:
    """The mesh and the grids in the first row; below, of each family, the nearest to the memory of the second grid."""
    grids = [name for name, row in rows.items() if row["family"] == "dense grid"]
    middle = math.log(rows[grids[min(1, len(grids) - 1)]]["bytes"] / 4)
    families = [f for f in dict.fromkeys(row["family"] for row in rows.values()) if f != "dense grid"]
    nearest = [
        min((n for n in rows if rows[n]["family"] == f), key=lambda n: abs(math.log(rows[n]["bytes"]) - middle))
        for f in families
    ]
    best = [min((n for n in rows if rows[n]["family"] == f), key=lambda n: rows[n]["error"] or 100) for f in families]
    frame = Frame.around(distance.vertices)
    lines = [{"the mesh": shaded(distance, frame, size)}, {}]
    for line, names in zip(lines, (grids, [*dict.fromkeys([*nearest, *best])]), strict=True):
        for name in names:
            with np.load(out / "meshes" / f"{name.replace(' ', '_')}.npz") as archive:
                kept = archive["vertices"], archive["faces"]
            caption = f"{plain(name)}, {readable_bytes(rows[name]['bytes'])}"
            blank = torch.ones(size, size, 3)
            line[caption] = shaded(MeshDistance(*kept), frame, size) if len(kept[1]) else blank
    strips = [labelled_row(line, size) for line in lines if line]
    page = Picture.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    for number, strip in enumerate(strips):
        page.paste(strip, (0, number * strips[0].height))
    return page


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backend train representations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Recipe()
    parser.add_argument("mesh", type=Path, help="a mesh: .obj, .ply, .glb or .stl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures and the pictures")
    parser.add_argument("--resolutions", type=int, nargs="+", default=list(default.resolutions), help="of dense grids")
    parser.add_argument("--steps", type=int, default=default.steps, help="of hash grids and tri-planes")
    parser.add_argument("--network-steps", type=int, default=default.network_steps, help="of distance networks")
    parser.add_argument("--widths", type=int, nargs="+", default=list(default.widths), help="of distance networks")
    parser.add_argument("--seed", type=int, default=default.seed)
    options = parser.parse_args(arguments)
    recipe = Recipe(
        resolutions=tuple(options.resolutions),
        steps=options.steps,
        network_steps=options.network_steps,
        widths=tuple(options.widths),
        seed=options.seed,
    )
    torch.set_num_threads(1)

    def report(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    made = import_mesh(options.mesh)
    demonstrate(made.vertices, made.faces, recipe, options.out, report)
    sys.stdout.write((options.out / "table.md").read_text())
