"""Detection of a plain background in images without alpha: studio photographs, renders over white.

It shows in the images alone: nearly all of their border pixels have the colour, and a good part of each image. The
object may have that colour too, or be as bright, so no outline is taken from it.

Colours are named "white", "black" or "#rrggbb", in sRGB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..datasets import Pixels

TOLERANCE = 8
"""Largest difference of a channel from the colour, of 255: the noise of JPEG."""

BORDER = 0.85
"""Share of all border pixels that must have the colour."""

SHARE = 0.15
"""Share of an image that must have it, the median; less may be the black rim of an undistorted photograph."""


def find_background_color(images: Sequence[Pixels]) -> str | None:
    """Return the name of the plain background colour of images without alpha, None where there is none."""
    borders = [_border(pixels.rgb)[_border(_used(pixels))] for pixels in images]
    every = np.concatenate(borders).astype(np.int16)
    if len(every) < sum(len(_border(pixels.rgb)) for pixels in images) / 2:
        return None  # masks hide the border
    color = np.median(every, 0).round().astype(np.int16)

    def share(rgb: np.ndarray) -> float:
        return float((np.abs(rgb.astype(np.int16) - color).max(-1) <= TOLERANCE).mean())

    if share(every) < BORDER or float(np.median([share(pixels.rgb) for pixels in images])) < SHARE:
        return None
    name = "#" + "".join(f"{channel:02x}" for channel in color.tolist())
    return {"#ffffff": "white", "#000000": "black"}.get(name, name)


def color_of(name: str) -> tuple[float, float, float]:
    """Return sRGB 0..1 of "white", "black" or "#rrggbb". Raises ValueError for other words."""
    digits = {"white": "ffffff", "black": "000000"}.get(name, name.removeprefix("#"))
    if not re.fullmatch("[0-9a-fA-F]{6}", digits):
        raise ValueError(f"a colour is white, black or #rrggbb, got {name!r}")
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def background_color(background: str) -> str:
    """Return the colour name that a fit with this background assumes behind images without alpha."""
    return "black" if background in ("random", "transparent") else background


def _used(pixels: Pixels) -> np.ndarray:
    """Return the pixels that masks leave: bool [H, W]."""
    return np.ones(pixels.rgb.shape[:2], bool) if pixels.mask is None else pixels.mask


def _border(image: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of [H, W, ...]: [N, ...]."""
    return np.concatenate((image[0], image[-1], image[1:-1, 0], image[1:-1, -1]))
