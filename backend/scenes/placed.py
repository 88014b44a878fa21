"""A scene moved by an affine transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import Bounds

from ..cameras import Camera, Rays
from ..progress import Progress, silent
from .protocol import FieldInfo, FieldSample, Image, Scene
from .trace import RayColors


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
        matrix = self.world_from_scene.cpu().double()
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
        stretches = torch.linalg.svdvals(self.world_from_scene[:3, :3].cpu().double())
        if self.scene.info.quantity == "sdf":
            return float(stretches[-1])
        return float(1 / stretches.prod() ** (1 / 3))

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""
        scene_from_world = self._scene_from_world().to(points)
        local = points @ scene_from_world[:3, :3].T + scene_from_world[:3, 3]
        if directions is not None:
            directions = torch.nn.functional.normalize(directions @ scene_from_world[:3, :3].T, dim=-1)
        sample = self.scene.field(local, directions)
        return FieldSample(sample.value * self._value_scale(), sample.rgb)

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace. Distances are metres of the world."""
        scene_from_world = self._scene_from_world().to(rays.origins)
        directions = rays.directions @ scene_from_world[:3, :3].T
        stretch = directions.norm(dim=-1)  # scene units for each metre along the ray
        moved = Rays(
            rays.origins @ scene_from_world[:3, :3].T + scene_from_world[:3, 3],
            directions / stretch[..., None],
            rays.depth_from_distance / stretch,
        )
        return self._to_world(self.scene.trace(moved, samples=samples, jitter=jitter), stretch)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image."""
        scene_from_world = self._scene_from_world().to(camera.world_from_camera)
        stretch = (camera.rays().directions @ scene_from_world[:3, :3].T).norm(dim=-1)
        return self._to_world(self.scene.image(camera.transformed(scene_from_world), jitter=jitter), stretch)

    def _scene_from_world(self) -> Tensor:
        return torch.linalg.inv(self.world_from_scene.cpu().double())

    def _to_world(self, pixels: RayColors, stretch: Tensor) -> RayColors:
        normal = pixels.normal
        if normal is not None:  # covectors: n_world = M^-T n_scene, as long as they were
            turned = normal @ self._scene_from_world()[:3, :3].to(normal)
            normal = torch.nn.functional.normalize(turned, dim=-1) * normal.norm(dim=-1, keepdim=True)
        return replace(pixels, distance=pixels.distance / stretch, normal=normal)

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
        scene_from_world = self._scene_from_world().to(camera.world_from_camera)
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
