"""Thumbnails stored as strings in a .blend file, and their icons in the panel.

Blender does not save icons, so each thumbnail is stored with the latent that it shows.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import bpy.utils.previews
import numpy as np

from .png import bytes_from_float

SIDE = 64
MAX_ICONS = 512

_icons: Any = None  # Blender's collection of icons, by the hash of the thumbnail


def pack(image: np.ndarray) -> str:
    """Return an image [H, W, 4], sRGB with unpremultiplied alpha, top row first, as a string, at most SIDE² pixels."""
    pixels = bytes_from_float(image)
    step = -(-max(pixels.shape[:2]) // SIDE)
    height, width = (max(side // step, 1) for side in pixels.shape[:2])
    blocks = pixels[: height * step, : width * step].astype(np.float32)
    if step > 1 and min(pixels.shape[:2]) >= step:
        blocks = blocks.reshape(height, step, width, step, 4).mean((1, 3))
    else:
        blocks = pixels[::step, ::step].astype(np.float32)
    small = np.round(blocks).astype(np.uint8)
    head = bytes(small.shape[:2])
    return base64.b64encode(head + zlib.compress(small.tobytes())).decode()


def unpack(text: str) -> np.ndarray:
    """Return the image uint8 [H, W, 4] of a string made by `pack`. Raises ValueError for any other string."""
    data = base64.b64decode(text, validate=True)
    if len(data) < 2 or not 0 < data[0] <= SIDE or not 0 < data[1] <= SIDE:
        raise ValueError("a thumbnail begins with its height and its width")
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(data[2:], 4 * SIDE * SIDE)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(pixels) != 4 * data[0] * data[1]:
        raise ValueError(f"a thumbnail of {data[0]} × {data[1]} pixels has {len(pixels)} bytes")
    return np.frombuffer(pixels, np.uint8).reshape(data[0], data[1], 4)


def icon(text: str) -> int:
    """Return the icon of a packed image; 0 if there is none."""
    if _icons is None or not text:
        return 0
    name = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    if name not in _icons:
        try:
            image = unpack(text)
        except ValueError:  # edited by hand
            return 0
        if len(_icons) >= MAX_ICONS:
            _icons.clear()
        pixels = image[::-1].astype(np.float32) / 255
        pixels[..., :3] *= pixels[..., 3:]  # Blender draws icons as premultiplied
        square = np.zeros((SIDE, SIDE, 4), np.float32)
        top, left = (SIDE - image.shape[0]) // 2, (SIDE - image.shape[1]) // 2
        square[top : top + image.shape[0], left : left + image.shape[1]] = pixels
        made = _icons.new(name)
        made.image_size = (SIDE, SIDE)
        made.image_pixels_float.foreach_set(square.ravel())
        made.icon_size = (SIDE // 2, SIDE // 2)  # the size in lists and buttons
        made.icon_pixels_float.foreach_set(square.reshape(SIDE // 2, 2, SIDE // 2, 2, 4).mean((1, 3)).ravel())
    return int(_icons[name].icon_id)


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    bpy.utils.previews.remove(_icons)
    _icons = None
