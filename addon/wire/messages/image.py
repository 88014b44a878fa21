"""Tasks `image_to_shape` and `transfer_texture`: latents from an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import check_name, check_sha256
from .latent import Latent


@dataclass(frozen=True)
class ImageToShapeRequest:
    """Task `image_to_shape` -> ImageToShapeResult: the latent of the shape in an image (3D-VAE-GAN), by models with
    that capability."""

    model: str
    picture: str  # sha256 of an uploaded image file of any size; its alpha channel, if any, is the mask

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_sha256("picture", self.picture)


@dataclass(frozen=True)
class TransferTextureRequest:
    """Task `transfer_texture` -> ImageToShapeResult: the shape of a latent with the texture of an image (Visual
    Object Networks), by models with that capability."""

    model: str
    latent: Latent  # the shape
    picture: str  # as in ImageToShapeRequest

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_sha256("picture", self.picture)


@dataclass(frozen=True, eq=False)
class ImageToShapeResult:
    """The latent of an image. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it. seen: uint8
    [H, W, 3] sRGB, the image as the network saw it. notes: sentences for the user on how it was preprocessed."""

    ws: np.ndarray
    code: str
    seen: np.ndarray
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
