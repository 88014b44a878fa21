"""A density cropped to a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest, NotSupported, Remedy
from addon.wire.messages import Bounds

from ..cameras import Camera
from ..progress import Progress, silent
from ..rendering import compositing
from ..rendering.boxes import box_interval
from .protocol import FieldInfo, FieldSample, Image, Scene, value_of

CROPPED_SAMPLES = {"full": 256, "draft": 96}
"""Samples of a ray within the box, where the scene cannot crop by itself."""
CHUNK_SAMPLES = 1 << 18
FAINT = 1e-2  # a pixel of less alpha has no depth


def cropped(scene: Scene, box: Bounds) -> Scene:
    """Return a density of which nothing is left outside the box, in the scene's own frame.

    Raises:
        NotSupported: the scene is no density.
        InvalidRequest: the box and the scene have nothing in common.
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
class CroppedScene:
    """A density that is 0 outside a box. Rendered by the scene's own `within(box)` if it has one, else by the
    quadrature of `compositing` between the box's faces."""

    scene: Scene
    box: Bounds  # within the scene's bounds

    @property
    def info(self) -> FieldInfo:
        """The scene's info with the box for bounds."""
        return replace(self.scene.info, bounds=self.box)

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
        within = getattr(self.scene, "within", None)
        if within is not None:
            return within(self.box).render(
                camera, samples_per_ray=samples_per_ray, quality=quality, jitter=jitter, progress=progress
            )
        num_samples = samples_per_ray or CROPPED_SAMPLES[quality]
        rays = camera.rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        near, far = box_interval(origins, directions, self.box)
        hit = (far > near).nonzero()[:, 0]
        rgb, alpha, distance = torch.zeros_like(origins), torch.zeros_like(near), torch.full_like(near, math.inf)
        for part in hit.split(max(CHUNK_SAMPLES // num_samples, 1)):
            progress(float(part[0]) / len(near), "Rendering")
            step = (far[part] - near[part]) / num_samples
            place = torch.arange(num_samples).to(step) + (
                0.5 if jitter is None else torch.rand(len(part), num_samples, generator=jitter).to(step)
            )
            t = near[part, None] + place * step[:, None]
            points = origins[part, None] + t[..., None] * directions[part, None]
            sample = self.scene.field(points, directions[part, None].expand_as(points))
            weights = compositing.weights_from_alpha(compositing.opacity(sample.value, step[:, None]))
            alpha[part] = weights.sum(-1)
            colors = torch.ones_like(points) if sample.rgb is None else sample.rgb
            rgb[part] = compositing.unpremultiply(compositing.composite(weights, colors), alpha[part])
            mean = (weights * t).sum(-1) / alpha[part].clamp(min=1e-9)
            distance[part] = torch.where(alpha[part] > FAINT, mean, math.inf)
        shape = (camera.height, camera.width)
        depth = (distance * rays.depth_from_distance.reshape(-1)).reshape(shape)
        return Image(rgb.reshape(*shape, 3), alpha.reshape(shape), depth)
