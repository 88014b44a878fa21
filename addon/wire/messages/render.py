"""Tasks `render` and `generate`: one view of a scene, and small images of many latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import check_controls, check_name, check_range
from ..options import Choice, check_options, option
from .latent import Latent
from .scene import Camera, SceneRef


@dataclass(frozen=True)
class RenderRequest:
    """Task `render` -> ImageResult: one view of one scene."""

    scene: SceneRef
    camera: Camera
    quality: Literal["draft", "full"] = field(
        default="full",
        metadata=option(
            "Quality",
            "Quality of each image",
            choices=(
                Choice("draft", "Draft", "Fast, with fewer samples"),
                Choice("full", "Full", "The full quality of the model"),
            ),
        ),
    )
    samples_per_ray: int = field(
        default=0,
        metadata=option("Samples", "Samples along each ray; 0 uses the model's own number", minimum=0, maximum=1024),
    )
    with_normal: bool = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One view. rgba: float32 [H, W, 4], sRGB, straight alpha. depth: float32 [H, W], metres along the camera's z, inf
    where empty. normal: float32 [H, W, 3], world, unit length, 0 where empty; or None. note: a sentence for the user if
    the image differs from the request (a viewpoint outside the model's training poses)."""

    rgba: np.ndarray
    depth: np.ndarray
    normal: np.ndarray | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class GenerateRequest:
    """Task `generate` -> SheetResult: one small image of each latent, from the model's own view or the camera given."""

    model: str
    latents: tuple[Latent, ...]
    size: int = field(
        default=128,
        metadata=option("Size", "Pixels along each side of the images", unit="pixels", minimum=8, maximum=1024),
    )
    camera: Camera | None = None
    controls: dict[str, float] = field(default_factory=dict)  # as in SceneRef, the same for all images
    quality: Literal["draft", "full"] = field(
        default="full",
        metadata=option(
            "Quality",
            "Quality of each image",
            choices=(
                Choice("draft", "Draft", "Fast, with fewer samples"),
                Choice("full", "Full", "The full quality of the model"),
            ),
        ),
    )

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_options(self)
        check_range("number of latents", len(self.latents), 1, 256)
        check_controls(self.controls)


@dataclass(frozen=True, eq=False)
class SheetResult:
    """Small images of several latents. images: uint8 [N, H, W, 4], sRGB, straight alpha."""

    images: np.ndarray
    seconds: float = 0.0
