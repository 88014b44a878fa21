"""A user's photograph as the image that a generator is to make: cropped, masked, square, of the model's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from addon.wire.errors import InvalidRequest, UnreadableFile

from ...generators.layers.encoder_image import SEEN, uniform_background

SMALLEST = 16
"""Pixels of the shorter side of a photograph; fewer do not tell shapes apart."""

FILL = 0.8
"""Share of the frame that the longer side of an object takes that was cut out."""


@dataclass(frozen=True)
class Photograph:
    """The wanted image.

    rgb: [n, n, 3] sRGB 0..1, premultiplied by alpha. alpha: [n, n], or None where nothing tells object from background.
    reframed: the object was cut out and centred, so that the camera's framing is not the model's. notes: what was done,
    sentences for the user.
    """

    rgb: Tensor
    alpha: Tensor | None
    reframed: bool
    notes: tuple[str, ...]

    def over(self, background: float) -> Tensor:
        """Return the image [n, n, 3] over a grey value."""
        return self.rgb if self.alpha is None else self.rgb + (1 - self.alpha[..., None]) * background


def prepare(
    pixels: NDArray[np.uint8],
    side: int,
    *,
    mask: NDArray[np.uint8] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    reframe: bool | None = None,
) -> Photograph:
    """Return a photograph [H, W, 4], RGBA, unpremultiplied, as a square of `side` pixels.

    Args:
        mask: [H, W], 255 on the object; None: the photograph's alpha, or else what differs from a border of one colour.
        crop: left, top, width and height of the part that is used, pixels; None: all of it.
        reframe: centre the object that mask or alpha shows. None: where the used part is not square.

    Raises:
        UnreadableFile: it is tiny, or nothing is seen in it.
        InvalidRequest: mask or crop do not fit it.
    """
    notes = []
    if mask is not None:
        if mask.shape != pixels.shape[:2]:
            raise InvalidRequest(
                f"The mask has {mask.shape[1]} × {mask.shape[0]} pixels, the photograph "
                f"{pixels.shape[1]} × {pixels.shape[0]}: they must be of one size."
            )
        pixels = np.concatenate((pixels[..., :3], mask[..., None]), -1)
    if crop is not None:
        left, top, width, height = crop
        if min(left, top) < 0 or min(width, height) < 1 or left + width > pixels.shape[1] or top + height > len(pixels):
            raise InvalidRequest(
                f"The crop {left}, {top}, {width} × {height} leaves the photograph, which has {pixels.shape[1]} × "
                f"{pixels.shape[0]} pixels."
            )
        pixels = pixels[top : top + height, left : left + width]
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise UnreadableFile(
            f"The photograph has only {width} × {height} pixels; at least {SMALLEST} × {SMALLEST} are needed to tell "
            "what is on it."
        )
    alpha: NDArray[np.float32] | None = pixels[..., 3].astype(np.float32) / 255
    assert alpha is not None
    if alpha.min() == 1:
        alpha = uniform_background(pixels[..., :3])
        if alpha is not None:
            notes.append("Its border is of one colour, which was taken as the background.")
    if alpha is None:
        notes.append("It has no mask, so its background is reproduced, too: give a mask if it is not the model's.")
    elif alpha.max() < SEEN:
        raise UnreadableFile("Nothing is seen in the photograph: it is transparent, masked or of one colour all over.")
    reframe = height != width if reframe is None else reframe
    reframed = reframe and alpha is not None
    middle, edge = np.array([height, width]) / 2, float(max(height, width))
    if reframed:
        assert alpha is not None
        seen = np.argwhere(alpha >= SEEN)
        low, high = seen.min(0), seen.max(0) + 1
        middle, edge = (low + high) / 2, float((high - low).max()) / FILL
        notes.append("The object was cut out and centred; where it was is solved with the camera.")
    elif height != width:
        edge = float(min(height, width))
        notes.append(f"Its middle square of {edge:.0f} pixels was used.")
    if edge < side:
        notes.append(f"It shows {edge:.0f} pixels where the model makes {side}: fine detail is the model's own.")
    layers = np.concatenate((pixels[..., :3] / np.float32(255), np.ones((height, width, 1), np.float32)), -1)
    if alpha is not None:
        layers[..., :3] *= alpha[..., None]
        layers[..., 3] = alpha
    square = torch.from_numpy(_window(layers, middle, edge, side))
    return Photograph(square[..., :3], None if alpha is None else square[..., 3], reframed, tuple(notes))


def _window(layers: NDArray[np.float32], middle: NDArray[np.float64], edge: float, side: int) -> NDArray[np.float32]:
    """Return the square of `edge` pixels about `middle` (row, column) as [side, side, channels], 0 beyond the image."""
    top, left = middle - edge / 2
    box = (left, top, left + edge, top + edge)
    height, width = layers.shape[:2]
    pad = int(max(0, -top, -left, top + edge - height, left + edge - width)) + 1
    padded = np.pad(layers, ((pad, pad), (pad, pad), (0, 0)))
    box = tuple(x + pad for x in box)
    kernel = Image.Resampling.BOX if edge >= side else Image.Resampling.BICUBIC
    channels = [
        Image.fromarray(np.ascontiguousarray(channel)).resize((side, side), kernel, box=box)
        for channel in np.moveaxis(padded, -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1).clip(0, 1)
