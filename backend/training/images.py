"""From a training checkpoint to a model folder, with its card and thumbnail."""

from __future__ import annotations

import torch
from PIL import Image as Picture

from ..scenes.protocol import Image


def picture(image: Image, background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)) -> Picture.Image:
    """A rendered view as a PIL picture: over a colour, or with its alpha."""
    alpha = image.alpha[..., None]
    if background is None:
        pixels = torch.cat([image.rgb, alpha], dim=-1)
    else:
        pixels = image.rgb * alpha + (1 - alpha) * torch.tensor(background)
    return Picture.fromarray((pixels.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy())


def sheet(pictures: list[Picture.Image], columns: int) -> Picture.Image:
    """Pictures of one size in rows."""
    width, height = pictures[0].size
    page = Picture.new("RGB", (columns * width, -(-len(pictures) // columns) * height), "white")
    for index, one in enumerate(pictures):
        page.paste(one, (index % columns * width, index // columns * height))
    return page
