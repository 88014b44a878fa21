"""A Scene is anything that answers `field(points)` and `render(camera)`.

Meshing, rendering, export and everything later know only this, so each works with every model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from addon.wire.messages import Bounds

from .cameras import Camera
from .progress import Progress, silent


@dataclass(frozen=True)
class FieldInfo:
    """What kind of field a Scene holds."""

    quantity: Literal["density", "sdf"]
    iso_level: float  # where the surface is: 1/metre for density, metres for sdf
    bounds: Bounds  # world box that holds everything, metres
    has_surface: bool = True
    has_color: bool = True
    lipschitz: float | None = None  # of an sdf: bound on |gradient|, None where unknown
    clamp: float | None = None  # an sdf truncated at ± this distance, metres; None if it is not


@dataclass(frozen=True)
class FieldSample:
    """value [...] (density 1/metre, or sdf in metres, negative inside); rgb [..., 3] sRGB 0..1, or None."""

    value: Tensor
    rgb: Tensor | None = None


@dataclass(frozen=True)
class Image:
    """rgb [H, W, 3] sRGB 0..1, straight (not multiplied by alpha); alpha [H, W]; depth [H, W] metres along the camera's
    z, inf where empty; normal [H, W, 3] world unit vectors, 0 where empty, or None."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None = None


class Scene(Protocol):
    """A field with bounds."""

    @property
    def info(self) -> FieldInfo:
        """What kind of field this is."""

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Evaluate at world points [..., 3] (metres). Differentiable.

        directions: unit viewing directions [..., 3], or None for view-independent colour.
        """

    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """Render one view. samples_per_ray=None: the model's own. quality="draft": an image of the same size, made
        with less work. jitter=None: same inputs, same image. Raises Cancelled through `progress`."""


@dataclass(frozen=True)
class PlacedScene:
    """A scene moved by an invertible affine transform, as an object in Blender is.

    The sdf of a stretched scene is scaled by the smallest stretch, which keeps it a lower bound of the distance.
    """

    scene: Scene
    world_from_scene: Tensor  # [4, 4]

    @property
    def info(self) -> FieldInfo:
        """The scene's info, with the world box of its moved bounds."""
        info = self.scene.info
        low, high = (torch.tensor(corner, dtype=torch.float64) for corner in info.bounds)
        corners = torch.cartesian_prod(*torch.stack((low, high), -1))
        matrix = self.world_from_scene.double().cpu()
        moved = corners @ matrix[:3, :3].T + matrix[:3, 3]
        bounds: Bounds = (tuple(moved.amin(0).tolist()), tuple(moved.amax(0).tolist()))
        scale = self._value_scale()
        return replace(
            info,
            bounds=bounds,
            iso_level=info.iso_level * scale,
            clamp=None if info.clamp is None else info.clamp * scale,
        )

    def _value_scale(self) -> float:
        stretches = torch.linalg.svdvals(self.world_from_scene[:3, :3].double().cpu())
        if self.scene.info.quantity == "sdf":
            return float(stretches[-1])
        return float(1 / stretches.prod() ** (1 / 3))

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""
        scene_from_world = torch.linalg.inv(self.world_from_scene.double()).to(points)
        local = points @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
        if directions is not None:
            directions = torch.nn.functional.normalize(directions @ scene_from_world[:3, :3].T, dim=-1)
        sample = self.scene.field(local, directions)
        return FieldSample(sample.value * self._value_scale(), sample.rgb)

    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """See Scene.render."""
        scene_from_world = torch.linalg.inv(self.world_from_scene.double()).to(camera.world_from_camera)
        image = self.scene.render(
            camera.transformed(scene_from_world),
            samples_per_ray=samples_per_ray,
            quality=quality,
            jitter=jitter,
            progress=progress,
        )
        if image.normal is None:
            return image
        # normals are covectors: n_world = M^-T n_scene
        return replace(
            image,
            normal=torch.nn.functional.normalize(image.normal @ scene_from_world[:3, :3].to(image.normal), dim=-1),
        )
