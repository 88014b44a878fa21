"""A density cropped to a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest, NotSupported, Remedy
from addon.wire.messages import Bounds

from ..cameras import Camera, Rays
from ..progress import Progress, silent
from ..rendering import compositing
from ..rendering.boxes import box_interval
from .protocol import FieldInfo, FieldSample, Image, Scene, value_of
from .trace import RayColors, RayTraced, trace_density

CROPPED_SAMPLES = {"full": 256, "draft": 96}
"""Samples of a ray within the box, where the scene cannot crop by itself."""
CHUNK_SAMPLES = 1 << 18
FAINT = 1e-2  # a pixel of less alpha has no depth


def cropped(scene: Scene, box: Bounds) -> Scene:
    """Return a density that is zero outside the box, in the scene's own frame.

    Raises:
        NotSupported: the scene is a distance.
        InvalidRequest: the box and the scene do not overlap.
    """
    info = scene.info
    if info.quantity != "density":
        raise NotSupported("Only a radiance field can be cropped: turn the crop box off.")
    low = tuple(max(pair) for pair in zip(info.bounds[0], box[0], strict=True))
    high = tuple(min(pair) for pair in zip(info.bounds[1], box[1], strict=True))
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise InvalidRequest(
            "The crop box lies beside the field: nothing would be left.", remedy=Remedy("reset_crop", "Reset the Crop")
        )
    inside: Bounds = (low, high)  # type: ignore[assignment]
    return CroppedScene(scene, inside)


@dataclass(frozen=True)
class CroppedScene(RayTraced):
    """A density that is 0 outside a box.

    Its pixels are those of the scene's own `within(box)` if it has one, else those of the quadrature of `compositing`
    between the faces of the box.
    """

    scene: Scene
    box: Bounds  # within the scene's bounds

    @property
    def info(self) -> FieldInfo:
        """The scene's info with the box as bounds."""
        own = self._own
        return replace(self.scene.info, bounds=self.box, image_space=own is not None and own.info.image_space)

    @cached_property
    def _own(self) -> Scene | None:
        """The scene that crops by itself, if it can."""
        within = getattr(self.scene, "within", None)
        return None if within is None else within(self.box)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""
        sample = self.scene.field(points, directions)
        return FieldSample(torch.where(self._inside(points), sample.value, 0.0), sample.rgb)

    def value(self, points: Tensor) -> Tensor:
        """See value_of."""
        return torch.where(self._inside(points), value_of(self.scene, points), 0.0)

    def _inside(self, points: Tensor) -> Tensor:
        low, high = (torch.tensor(corner).to(points) for corner in self.box)
        return ((points >= low) & (points <= high)).all(-1)

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace: the quadrature between the faces of the box, or the scene's own."""
        if self._own is not None:
            return self._own.trace(rays, samples=samples, jitter=jitter)
        return trace_density(self._colored, rays, self.box, samples or CROPPED_SAMPLES["full"], jitter)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image."""
        return super().image(camera, jitter=jitter) if self._own is None else self._own.image(camera, jitter=jitter)

    def _colored(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor | None]:
        sample = self.scene.field(points, directions)  # samples lie in the box
        return sample.value, sample.rgb

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """See Scene.render. Samples lie in the middle of equal steps from where a ray enters the box to its exit."""
        if self._own is not None:
            return self._own.render(
                camera, samples_per_ray=samples_per_ray, quality=quality, jitter=jitter, progress=progress
            )
        num_samples = samples_per_ray or CROPPED_SAMPLES[quality]
        rays = camera.rays()
        flat = Rays(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), rays.depth_from_distance.reshape(-1))
        near, far = box_interval(flat.origins, flat.directions, self.box)
        hit = (far > near).nonzero()[:, 0]
        rgb, alpha, distance = torch.zeros_like(flat.origins), torch.zeros_like(near), torch.full_like(near, math.inf)
        for part in hit.split(max(CHUNK_SAMPLES // num_samples, 1)):
            progress(float(part[0]) / len(near), "Rendering")
            pixels = self.trace(flat.at(part), samples=num_samples, jitter=jitter)
            alpha[part] = pixels.alpha
            rgb[part] = compositing.unpremultiply(pixels.rgb, pixels.alpha)
            distance[part] = pixels.mean_distance(FAINT)
        shape = (camera.height, camera.width)
        depth = (distance * flat.depth_from_distance).reshape(shape)
        return Image(rgb.reshape(*shape, 3), alpha.reshape(shape), depth)
