"""Optional capabilities of generators and scenes.

Tasks ask whether an object has the methods of such a Protocol, never for a model's class. A generator names those that
it offers in `ModelInfo.capabilities`, because it may lack the weights for one that its class has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..progress import Progress, silent


@dataclass(frozen=True)
class Completion:
    """A shape that fits a scan. ws [num_ws, w_dim]; error: mean |distance| of the scan's points to it, metres."""

    ws: Tensor
    error: float


@runtime_checkable
class Completes(Protocol):
    """A generator that finds the shape of a partial scan. Capability "complete"."""

    def complete(
        self,
        points: Tensor,
        normals: Tensor | None = None,
        origins: Tensor | None = None,
        *,
        iterations: int = 800,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Completion:
        """Return the most probable shape through the points [N, 3] of a surface, world metres.

        normals: [N, 3], outward, where they were measured. origins: [N, 3] from where each point was seen; between the
        two is free space. Raises UnreadableFile where the scan lies elsewhere than the model's shapes.
        """


@dataclass(frozen=True)
class EncodedImage:
    """The latent of an image. ws [num_ws, w_dim]; seen [3, height, width], sRGB 0..1: the image as the encoder got it;
    notes: how it was preprocessed, messages for the user."""

    ws: Tensor
    seen: Tensor
    notes: tuple[str, ...]


@runtime_checkable
class EncodesImages(Protocol):
    """A generator with an image encoder. Capability "image_to_shape"."""

    def encode_image(self, pixels: NDArray[np.uint8]) -> EncodedImage:
        """Return the latent of the shape in an image [H, W, 4], RGBA, unpremultiplied. Raises UnreadableFile where
        nothing is seen in it."""


@runtime_checkable
class TransfersTexture(Protocol):
    """A generator that reads textures off images. Capability "transfer_texture"."""

    def transfer_texture(self, ws: Tensor, pixels: NDArray[np.uint8]) -> EncodedImage:
        """Return the shape of ws [num_ws, w_dim] with the texture of an image [H, W, 4], RGBA, unpremultiplied. Raises
        UnreadableFile where nothing is seen in it."""


@runtime_checkable
class MayBeEmpty(Protocol):
    """A scene that some latents leave without a surface."""

    @property
    def empty_reason(self) -> str:
        """The reason why the scene has no surface at its level, a message for the user; "" if it has one."""


@runtime_checkable
class HasVoxels(Protocol):
    """A scene that is a grid of voxels."""

    @property
    def values(self) -> Tensor:
        """Occupancy or signed distance [D, H, W]."""

    @property
    def world_from_grid(self) -> Tensor:
        """[4, 4], metres; grid coordinates x, y, z go along W, H, D, from -1 to 1."""
