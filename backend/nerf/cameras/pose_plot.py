"""Plot of camera poses: true, perturbed and refined, from above and from the side."""

from __future__ import annotations

import torch
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from torch import Tensor

COLORS = {"truth": (120, 120, 120), "before": (214, 69, 42), "after": (24, 110, 200)}
OVERSAMPLING = 3
PLANES = (("from above", 0, 1), ("from the side", 0, 2))


def plot_poses(truth: Tensor, before: Tensor, after: Tensor, *, size: int = 360, most: int = 40) -> Picture.Image:
    """Draw cameras [N, 4, 4] against the true ones, before and after refinement, from above and from the side.

    World coordinates; before and after are given in the true world (aligned). At most `most` cameras are drawn.
    """
    every = slice(None, None, max(1, -(-len(truth) // most)))
    sets = {
        name: poses[every].double().cpu() for name, poses in (("truth", truth), ("before", before), ("after", after))
    }
    centres = torch.cat([poses[:, :3, 3] for poses in sets.values()])
    middle = (centres.amin(0) + centres.amax(0)) / 2
    reach = float((centres - middle).abs().amax()) * 1.15
    cone = reach * 0.09 * torch.tensor([[0.0, 0, 0], [-0.6, -0.6, 1], [0.6, -0.6, 1], [0.6, 0.6, 1], [-0.6, 0.6, 1]])
    edges = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
    caption, side = 22, size * OVERSAMPLING
    page = Picture.new("RGB", (2 * size, 2 * (size + caption)), "white")
    font = ImageFont.load_default(14)
    for column, name in enumerate(("before", "after")):
        for row, (view, across, up) in enumerate(PLANES):
            panel = Picture.new("RGB", (side, side), "white")
            draw = ImageDraw.Draw(panel)

            def place(points: Tensor, across: int = across, up: int = up) -> list[tuple[float, float]]:
                moved = (points - middle) / reach
                return [((1 + p[across]) * side / 2, (1 - p[up]) * side / 2) for p in moved.tolist()]

            for a, b in zip(sets["truth"], sets[name]):
                draw.line(place(torch.stack((a[:3, 3], b[:3, 3]))), COLORS[name], 2)
            for kind in ("truth", name):
                for pose in sets[kind]:
                    corners = place(cone.double() @ pose[:3, :3].T + pose[:3, 3])
                    for first, second in edges:
                        draw.line((corners[first], corners[second]), COLORS[kind], 3)
            top = row * (size + caption)
            page.paste(panel.resize((size, size), Picture.Resampling.LANCZOS), (column * size, top))
            label = f"{name}, {view}" + (" (grey: true)" if row == 0 else "")
            ImageDraw.Draw(page).text((column * size + size / 2, top + size + caption / 2), label, "black", font, "mm")
    return page
