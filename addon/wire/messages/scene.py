"""Scenes: a latent of a model, its placement, and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import InvalidRequest
from .common import (
    IDENTITY4,
    MAX_IMAGE_SIDE,
    MAX_SEED,
    Bounds,
    Matrix3,
    Matrix4,
    check_controls,
    check_finite,
    check_name,
    check_range,
    check_sha256,
)


@dataclass(frozen=True)
class Latent:
    """Which shape: two seeds and how they mix, or a stored code.

    mix_geometry and mix_appearance interpolate linearly in w from seed_a (0) to seed_b (1); a model without separate
    appearance uses mix_geometry for all of its ws.
    """

    seed_a: int = 0
    seed_b: int = 0
    mix_geometry: float = 0.0
    mix_appearance: float = 0.0
    truncation_psi: float = 1.0
    code: str = ""  # sha256 of a packed CodeBlob (kept by `complete`, or uploaded); replaces seed_a where set
    style_mix: tuple[int, ...] = ()  # these rows of ws come from seed_b whole (style mixing, layer by layer)
    condition: tuple[float, float] | None = None  # (azimuth, elevation), radians, of the camera that a pose-conditioned
    # model (ModelInfo.pose_conditioned) is told of; None = its front. The view that is rendered is another camera.

    def __post_init__(self) -> None:
        for row in self.style_mix:
            check_range("style_mix", row, 0, 511)
        for angle in self.condition or ():
            check_range("condition", angle, -2 * math.pi, 2 * math.pi)
        check_range("seed A", self.seed_a, 0, MAX_SEED)
        check_range("seed B", self.seed_b, 0, MAX_SEED)
        check_range("mix_geometry", self.mix_geometry, 0.0, 1.0)
        check_range("mix_appearance", self.mix_appearance, 0.0, 1.0)
        check_range("truncation_psi", self.truncation_psi, 0.0, 2.0)
        if self.code:
            check_sha256("code", self.code)


@dataclass(frozen=True)
class SceneRef:
    """What to render or mesh: a model with a latent, and where it stands."""

    model: str
    latent: Latent = Latent()
    controls: dict[str, float] = field(default_factory=dict)  # by Control.name; missing ones take their default
    world_from_scene: Matrix4 = IDENTITY4  # any invertible affine transform
    crop: Bounds | None = None  # of a density: what lies outside is empty. In the scene's own frame, metres

    def __post_init__(self) -> None:
        check_name("model", self.model)
        if self.crop is not None:
            check_finite("crop", self.crop)
            if any(high <= low for low, high in zip(*self.crop)):
                raise InvalidRequest("the crop box is inside out: each maximum must be above its minimum")
        check_finite("world_from_scene", self.world_from_scene)
        if self.world_from_scene[3] != (0.0, 0.0, 0.0, 1.0):
            raise InvalidRequest("the last row of world_from_scene must be 0 0 0 1")
        if abs(np.linalg.det(np.array(self.world_from_scene)[:3, :3])) < 1e-12:
            raise InvalidRequest("world_from_scene has no inverse: a scale of the object is zero")
        check_controls(self.controls)


@dataclass(frozen=True)
class Camera:
    """A pinhole or orthographic camera.

    world_from_camera is rigid, with OpenCV axes. intrinsics are [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels; for an
    orthographic camera fx and fy are pixels per metre. Pixel (0, 0) is top left, its centre at (0.5, 0.5).
    """

    world_from_camera: Matrix4
    intrinsics: Matrix3
    width: int
    height: int
    projection: Literal["perspective", "orthographic"] = "perspective"

    def __post_init__(self) -> None:
        check_range("width", self.width, 1, MAX_IMAGE_SIDE)
        check_range("height", self.height, 1, MAX_IMAGE_SIDE)
        check_finite("world_from_camera", self.world_from_camera)
        check_finite("intrinsics", self.intrinsics)
        rotation = np.array(self.world_from_camera)[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            raise InvalidRequest("world_from_camera is not a rotation and a translation: remove scale and mirroring")
        if self.world_from_camera[3] != (0.0, 0.0, 0.0, 1.0):
            raise InvalidRequest("the last row of world_from_camera must be 0 0 0 1")
        if self.intrinsics[0][0] <= 0 or self.intrinsics[1][1] <= 0:
            raise InvalidRequest("the focal lengths in intrinsics must be positive")


@dataclass(frozen=True, eq=False)
class CodeBlob:
    """A latent as an array, so that a document can carry it. ws: float32 [num_ws, w_dim]. `Latent.code` is the sha256
    of these packed bytes."""

    ws: np.ndarray
