"""Tasks `render` and `generate`: one view of a scene, and small images of many latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .common import check_controls, check_name, check_range
from .scene import Camera, Latent, SceneRef


@dataclass(frozen=True)
class RenderRequest:
    """Task `render` -> ImageResult: one view of one scene."""

    scene: SceneRef
    camera: Camera
    quality: Literal["draft", "full"] = "full"
    samples_per_ray: int = 0  # 0 = the model's own
    with_normal: bool = False

    def __post_init__(self) -> None:
        check_range("samples_per_ray", self.samples_per_ray, 0, 1024)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One view. rgba: float32 [H, W, 4], sRGB, straight alpha. depth: float32 [H, W], metres along the camera's z, inf
    where empty. normal: float32 [H, W, 3], world, unit length, 0 where empty; or None. note: a sentence for the user,
    where what is shown is not quite what was asked for (a viewpoint that the model was never trained on)."""

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
    size: int = 128  # pixels, each image
    camera: Camera | None = None
    controls: dict[str, float] = field(default_factory=dict)  # as in SceneRef, of all of them
    quality: Literal["draft", "full"] = "full"

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_range("size", self.size, 8, 1024)
        check_range("number of latents", len(self.latents), 1, 256)
        check_controls(self.controls)


@dataclass(frozen=True, eq=False)
class SheetResult:
    """Small images of several latents. images: uint8 [N, H, W, 4], sRGB, straight alpha."""

    images: np.ndarray
    seconds: float = 0.0
