"""Image sheets of the recipes: progress images, contact sheets and labelled rows, as PIL images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image as PIL
from PIL import ImageDraw, ImageFont
from torch import Tensor

from ..scenes.protocol import Image


def to_pil(image: Tensor) -> PIL.Image:
    """Return an image [H, W, 3 or 4], 0..1, as a PIL image."""
    return PIL.fromarray((image.detach().clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy())


def composited(image: Image, background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)) -> PIL.Image:
    """Return a render over a colour, or with its alpha if `background` is None."""
    alpha = image.alpha[..., None]
    if background is None:
        return to_pil(torch.cat([image.rgb, alpha], dim=-1))
    return to_pil(image.rgb * alpha + (1 - alpha) * image.rgb.new_tensor(background))


def enlarged(image: Tensor, scale: int) -> PIL.Image:
    """Return an image [3, H, W] in -1..1 at `scale` times its size."""
    made = to_pil(image.permute(1, 2, 0) * 0.5 + 0.5)
    return made.resize((made.width * scale, made.height * scale), PIL.Resampling.LANCZOS)


def image_grid(images: list[PIL.Image], columns: int) -> PIL.Image:
    """Return images of one size in rows of `columns`, on white."""
    width, height = images[0].size
    grid = PIL.new("RGB", (columns * width, -(-len(images) // columns) * height), "white")
    for index, image in enumerate(images):
        grid.paste(image, (index % columns * width, index // columns * height))
    return grid


def labelled_row(panels: Mapping[str, Tensor], side: int, caption: int = 22) -> PIL.Image:
    """Return images [H, W, 3], 0..1, side by side, each `side` pixels high with its name below."""
    images = []
    for panel in panels.values():
        width = round(side * panel.shape[1] / panel.shape[0])
        images.append(to_pil(panel).resize((width, side), PIL.Resampling.NEAREST))
    gap = 6
    row = PIL.new("RGB", (sum(image.width for image in images) + gap * (len(images) - 1), side + caption), "white")
    draw, font, left = ImageDraw.Draw(row), ImageFont.load_default(14), 0
    for name, image in zip(panels, images, strict=True):
        row.paste(image, (left, 0))
        draw.text((left + image.width / 2, side + caption / 2), name, "black", font, anchor="mm")
        left += image.width + gap
    return row
