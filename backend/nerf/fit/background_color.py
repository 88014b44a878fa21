"""What lies behind an object in pictures without alpha, where that is one plain colour: studio photographs, renders
over white.

Nothing says so but the pictures: nearly all of their borders have that colour, and a good part of each picture. An
object may have the backdrop's colour, too, or be as bright as it, so no outline is taken from it.

Colours are named "white", "black" or "#rrggbb", in sRGB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..datasets import Pixels

TOLERANCE = 8
"""How far, of 255, a channel may be from the colour: what JPEG does to a plain one."""

BORDER = 0.85
"""Share of all border pixels that have the colour."""

SHARE = 0.15
"""Share of a picture that has it, the median; less may be the black rim of an undistorted photograph."""


def find_backdrop(pictures: Sequence[Pixels]) -> str | None:
    """Return the name of the plain colour behind pictures without alpha; None where there is none."""
    borders = [_border(pixels.rgb)[_border(_used(pixels))] for pixels in pictures]
    every = np.concatenate(borders).astype(np.int16)
    if len(every) < sum(len(_border(pixels.rgb)) for pixels in pictures) / 2:
        return None  # masks hide what is there
    color = np.median(every, 0).round().astype(np.int16)

    def share(rgb: np.ndarray) -> float:
        return float((np.abs(rgb.astype(np.int16) - color).max(-1) <= TOLERANCE).mean())

    if share(every) < BORDER or float(np.median([share(pixels.rgb) for pixels in pictures])) < SHARE:
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
    """Return what a fit with this background takes to be behind pictures without alpha, as `color_of` knows it."""
    return "black" if background in ("random", "transparent") else background


def _used(pixels: Pixels) -> np.ndarray:
    """The pixels that masks leave: bool [H, W]."""
    return np.ones(pixels.rgb.shape[:2], bool) if pixels.mask is None else pixels.mask


def _border(picture: np.ndarray) -> np.ndarray:
    """The outermost pixels of [H, W, ...]: [N, ...]."""
    return np.concatenate((picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]))
