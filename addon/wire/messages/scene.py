"""Scenes: a model with a latent and a placement, and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_IMAGE_SIDE, check_controls, check_finite, check_name, check_range
from ..errors import InvalidRequest
from .common import IDENTITY4, Bounds, Matrix3, Matrix4
from .latent import Latent


@dataclass(frozen=True)
class SceneRef:
    """A scene to render or mesh: a model, a latent and a placement."""

    model: str
    latent: Latent = field(default_factory=Latent)
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
class Lens:
    """Distortion of a perspective camera.

    With r the tangent of the angle θ to the axis ("opencv") or θ itself ("fisheye"), a point lands at the radius

        P(r) = r (1 + k1 r² + k2 r⁴ + k3 r⁶ + k4 r⁸) / (1 + d1 r² + d2 r⁴ + d3 r⁶)

    k: k1 to k4. d: d1 to d3, which OpenCV's rational model calls k4 to k6. p: tangential p1, p2, of "opencv" alone.
    """

    model: Literal["pinhole", "opencv", "fisheye"] = "pinhole"
    k: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    p: tuple[float, float] = (0.0, 0.0)
    d: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_finite("the lens", (self.k, self.p, self.d))

    @property
    def is_pinhole(self) -> bool:
        """True if nothing is distorted."""
        return self.model != "fisheye" and not any((*self.k, *self.p, *self.d))


PINHOLE = Lens()


@dataclass(frozen=True)
class Camera:
    """A perspective camera, with or without distortion of its lens, or an orthographic one.

    world_from_camera is rigid, with OpenCV axes. intrinsics are [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels; for an
    orthographic camera fx and fy are pixels per metre. Pixel (0, 0) is top left, its centre at (0.5, 0.5).
    """

    world_from_camera: Matrix4
    intrinsics: Matrix3
    width: int
    height: int
    projection: Literal["perspective", "orthographic"] = "perspective"
    lens: Lens = PINHOLE

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
        if self.projection == "orthographic" and not self.lens.is_pinhole:
            raise InvalidRequest("an orthographic camera has no lens that distorts")
