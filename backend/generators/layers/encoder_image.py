"""Input image of an image encoder: the object of any image, centred on a small white square as in training.

The training images show a whole object in the middle, over white. An image may have any size and aspect ratio. Where
alpha, or a border of one colour, tells object from background, the object is cut out, centred, and scaled to its size
in training; otherwise the image is only padded and resized.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from addon.wire.errors import UnreadableFile
from meshing.images import open_image

FILL = 0.86
"""Share of the frame that the longer side of an object takes, as in the training images."""
SEEN = 0.5
"""Pixels of at least this alpha are the object when its extent is measured."""
BORDER_SPREAD = 12.0
"""A border whose pixels differ from their median by less than this, of 255, is a background of one colour."""
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class EncoderImage:
    """pixels [3, size, size], sRGB 0..1, over white; notes: what was done to the image, for the user."""

    pixels: Tensor
    notes: tuple[str, ...]


def read_image(data: bytes, name: str = "image") -> NDArray[np.uint8]:
    """Return an image file's pixels, upright: [H, W, 4] RGBA, unpremultiplied, alpha 255 where the file has none.

    Raises:
        UnreadableFile: not an image that can be read, or a huge one.
    """
    try:
        with open_image(io.BytesIO(data), max_pixels=MAX_PIXELS) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # Pillow itself would clip them
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return np.array(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UnreadableFile(f"The {name} cannot be read ({error}). Choose a PNG or JPEG image.") from error


def encoder_image(pixels: NDArray[np.uint8], size: int) -> EncoderImage:
    """Return the image [H, W, 4], RGBA, as the encoder takes it.

    Raises:
        UnreadableFile: nothing is seen in it: transparent everywhere, or of one colour.
    """
    height, width = pixels.shape[:2]
    alpha = pixels[..., 3].astype(np.float32) / 255
    notes = []
    if alpha.min() < 1:
        notes.append("Its alpha was taken as the mask, over white.")
    else:
        if (height, width) == (size, size):
            return EncoderImage(_tensor(pixels[..., :3]), ())
        found = uniform_background(pixels[..., :3])
        if found is not None:
            alpha = found
            notes.append("Its border is of one colour, which was taken as the background and made white.")
    rgb = pixels[..., :3].astype(np.float32) * alpha[..., None] + 255 * (1 - alpha[..., None])
    seen = np.argwhere(alpha >= SEEN)
    if not len(seen):
        raise UnreadableFile("Nothing is seen in the image: it is transparent, or of one colour, all over.")
    if alpha.min() < 1:
        low, high = seen.min(0), seen.max(0) + 1
        edge = float((high - low).max()) / FILL
        middle = (low + high) / 2
        notes.append(f"The object was centred and brought to {size} × {size} pixels.")
    else:
        edge, middle = float(max(height, width)), np.array([height, width]) / 2
        padded = "" if height == width else "padded to a square and "
        notes.append(f"It has {width} × {height} pixels; it was {padded}brought to {size} × {size}.")
    return EncoderImage(_tensor(_window(rgb, middle, edge, size)), tuple(notes))


def uniform_background(rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return alpha [H, W] of what differs from the border's colour, or None where the border has several."""
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(np.float32)
    color = np.median(border, axis=0)
    if np.abs(border - color).max(-1).mean() > BORDER_SPREAD:
        return None
    difference = np.abs(rgb.astype(np.float32) - color).max(-1)
    return np.clip((difference - BORDER_SPREAD) / BORDER_SPREAD, 0, 1).astype(np.float32)


def _window(rgb: NDArray[np.float32], middle: NDArray[np.float64], edge: float, size: int) -> NDArray[np.uint8]:
    """Return the square of `edge` pixels about `middle` (row, column), white beyond the image, as [size, size, 3]."""
    image = Image.fromarray(np.clip(rgb + 0.5, 0, 255).astype(np.uint8))
    whole = max(round(edge), 1)
    top, left = (round(float(m) - whole / 2) for m in middle)
    square = Image.new("RGB", (whole, whole), "white")
    square.paste(image, (-left, -top))
    return np.array(square.resize((size, size), Image.Resampling.BOX if whole > size else Image.Resampling.BICUBIC))


def _tensor(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1).contiguous()
