"""Table, chart and gallery of the comparison of representations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageDraw, ImageFont
from torch import Tensor

from ....generators.deepsdf.mesh_distance import MeshDistance
from ...images import labelled_row
from .config import Recipe
from .models import Array, grid_bytes

UNREACHED = "not reached"


def smallest(rows: Mapping[str, dict[str, Any]], family: str, error: float) -> str | None:
    """Return the name of the smallest of a family whose surface error is at most `error`, or None."""
    ours = {name: row for name, row in rows.items() if row["family"] == family and row["error"] is not None}
    good = [(row["bytes"], name) for name, row in ours.items() if row["error"] <= error]
    return min(good)[1] if good else None


def readable_bytes(count: float) -> str:
    """Return bytes as "1.05 MB": three digits, powers of ten."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def table(rows: Mapping[str, dict[str, Any]], recipe: Recipe) -> str:
    """Return two Markdown tables: the smallest of each family for each resolution's error, and all rows."""
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
    for resolution in recipe.arithmetic:  # memory grows with the cube, work near the surface with the square
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


def chart(rows: Mapping[str, dict[str, Any]], width: int = 900, height: int = 520) -> PIL.Image:
    """Draw memory against surface error, both logarithmic."""
    shown = {name: row for name, row in rows.items() if row["error"]}
    page = PIL.new("RGB", (width, height), "white")
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
    """Return a name in characters that the images' font has."""
    return name.replace("³", "^3").replace("²", "^2").replace("×", "x")


@dataclass(frozen=True)
class Frame:
    """Orthographic view of a whole mesh."""

    across: NDArray[np.float64]  # unit vectors of the image
    upward: NDArray[np.float64]
    forward: NDArray[np.float64]
    center: tuple[float, float]  # along across and upward
    half: float

    @classmethod
    def around(cls, vertices: Array) -> Frame:
        """Return the view from the front (-y), slightly from the left and above, that contains these points, Z up."""
        forward = np.array([0.45, 0.8, -0.4])
        forward /= np.linalg.norm(forward)
        across = np.cross(forward, [0, 0, 1])
        across /= np.linalg.norm(across)
        upward = np.cross(across, forward)
        places = vertices @ np.stack((across, upward), 1)
        low, high = places.min(0), places.max(0)
        center = (low + high) / 2
        return cls(across, upward, forward, (center[0], center[1]), 0.52 * float((high - low).max()))


def shaded(distance: MeshDistance, frame: Frame, size: int, scale: int = 2) -> Tensor:
    """Render a mesh in a view, lit from above: [size, size, 3], 0..1."""
    side = ((np.arange(size * scale) + 0.5) / (size * scale) * 2 - 1) * frame.half
    x, y = side[None, :, None] + frame.center[0], frame.center[1] - side[:, None, None]
    origins = x * frame.across + y * frame.upward - 3 * frame.forward
    directions = np.broadcast_to(frame.forward, origins.shape).astype(np.float32)
    reached, normals = distance.first_hit(origins.astype(np.float32), directions)
    light = frame.upward + 0.6 * frame.across - 0.9 * frame.forward
    light /= np.linalg.norm(light)
    brightness = 0.25 + 0.7 * (normals @ light).clip(0, None)
    image = np.where(np.isfinite(reached), brightness, 1.0).astype(np.float32)
    small = image.reshape(size, scale, size, scale).mean((1, 3))
    return torch.from_numpy(small)[..., None].expand(-1, -1, 3)


def gallery(distance: MeshDistance, rows: Mapping[str, dict[str, Any]], out: Path, size: int) -> PIL.Image:
    """Draw the mesh and the grids in the first row; in the second, of each family, the one closest in memory to the
    second grid, and the most accurate."""
    grids = [name for name, row in rows.items() if row["family"] == "dense grid"]
    target = math.log(rows[grids[min(1, len(grids) - 1)]]["bytes"] / 4)
    families = [f for f in dict.fromkeys(row["family"] for row in rows.values()) if f != "dense grid"]
    nearest = [
        min((n for n in rows if rows[n]["family"] == f), key=lambda n: abs(math.log(rows[n]["bytes"]) - target))
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
    page = PIL.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    for number, strip in enumerate(strips):
        page.paste(strip, (0, number * strips[0].height))
    return page
