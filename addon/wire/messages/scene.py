"""Scenes: a latent of a model, its placement, and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_IMAGE_SIDE, MAX_SEED, check_controls, check_finite, check_name, check_range, check_sha256
from ..errors import InvalidRequest
from ..options import check_options, option
from .common import IDENTITY4, Bounds, Matrix3, Matrix4


@dataclass(frozen=True)
class Latent:
    """A point of a model's latent space: two seeds and how they mix, or a stored code.

    mix_geometry and mix_appearance interpolate linearly in w from seed_a (0) to seed_b (1); a model without separate
    appearance uses mix_geometry for all of its ws.
    """

    seed_a: int = field(
        default=0,
        metadata=option(
            "Seed A",
            "Random seed of the latent. With both mixes at 0, each number is another shape of the model",
            minimum=0,
            maximum=MAX_SEED,
        ),
    )
    seed_b: int = field(
        default=0,
        metadata=option("Seed B", "Random seed of a second latent, for mixing", minimum=0, maximum=MAX_SEED),
    )
    mix_geometry: float = field(
        default=0.0,
        metadata=option(
            "Mix Geometry",
            "Interpolation of the geometry from the first latent (0) to the second (1)",
            unit="factor",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    mix_appearance: float = field(
        default=0.0,
        metadata=option(
            "Mix Appearance",
            "Interpolation of the colours from the first latent (0) to the second (1), for models that separate them",
            unit="factor",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    truncation_psi: float = field(
        default=1.0,
        metadata=option(
            "Truncation",
            "Truncation ψ: lower values stay closer to the average shape, with fewer artefacts and less variety; "
            "1 is the full range",
            unit="factor",
            minimum=0.0,
            maximum=2.0,
            soft_maximum=1.0,
        ),
    )
    code: str = ""  # sha256 of a packed CodeBlob (kept by `complete`, or uploaded); replaces seed_a where set
    style_mix: tuple[int, ...] = ()  # rows of ws that are taken from seed_b entirely (style mixing per layer)
    condition: tuple[float, float] | None = None  # (azimuth, elevation), radians, of the camera that conditions a
    # pose-conditioned model (ModelInfo.pose_conditioned); None = its front. Independent of the rendered view.

    def __post_init__(self) -> None:
        for row in self.style_mix:
            check_range("style_mix", row, 0, 511)
        for angle in self.condition or ():
            check_range("condition", angle, -2 * math.pi, 2 * math.pi)
        check_options(self, {"seed_a": "seed A", "seed_b": "seed B"})
        if self.code:
            check_sha256("code", self.code)


@dataclass(frozen=True)
class SceneRef:
    """A scene to render or mesh: a model, a latent and a placement."""

    model: str
    latent: Latent = Latent()
    controls: dict[str, float] = field(default_factory=dict)  # by Control.name; others have their default
    world_from_scene: Matrix4 = IDENTITY4  # any invertible affine transform
    crop: Bounds | None = None  # a density is empty outside. In the scene's own frame, metres

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
    """A latent as an array, for storing it in a document. ws: float32 [num_ws, w_dim]. `Latent.code` is the sha256 of
    these packed bytes."""

    ws: np.ndarray
