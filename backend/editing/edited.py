"""A scene with an edit: inside the edit's region it has the field of another scene."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..cameras import Camera, Rays, flattened
from ..progress import Progress, silent
from ..rendering import compositing
from ..scenes.protocol import FieldInfo, FieldSample, Image, Scene
from ..scenes.trace import RayColors
from .mixing import RAYS_AT_ONCE, sampled
from .region import Region

EMPTY = 1e-3
"""Pixels of less alpha have no depth."""


class EditedScene:
    """The scene `below` with one layer of edits. Rays that miss the region have the very pixels of `below`; to others
    the difference that the edited field makes is added (mixing.py)."""

    def __init__(self, below: Scene, edited: Scene, region: Region) -> None:
        self.below, self.edited, self.region = below, edited, region

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        return self.below.info

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""
        below = self.below.field(points, directions)
        inside = self.region.holds(points)
        if not inside.any():
            return below
        seen_along = None if directions is None else directions.expand_as(points)[inside]
        edited = self.edited.field(points[inside], seen_along)
        value = below.value.masked_scatter(inside, edited.value)
        if below.rgb is None or edited.rgb is None:
            return FieldSample(value, below.rgb)
        return FieldSample(value, below.rgb.masked_scatter(inside[..., None], edited.rgb))

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace."""
        below = self.below.trace(rays, samples=samples, jitter=jitter)
        return self._with_difference(below, flattened(rays), rays.origins.shape[:-1])

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image."""
        below = self.below.image(camera, jitter=jitter)
        return self._with_difference(below, flattened(camera.rays()), (camera.height, camera.width))

    def _with_difference(self, below: RayColors, rays: Rays, shape: tuple[int, ...]) -> RayColors:
        found = self.difference(rays)
        if found is None:
            return below
        places, change = found
        flat = below.reshape(len(rays.origins))
        alpha = flat.alpha.index_add(0, places, change.alpha).clamp(0, 1)
        rgb = flat.rgb.index_add(0, places, change.rgb).clamp(min=0)
        distance = flat.distance.index_add(0, places, change.distance).clamp(min=0)
        return RayColors(torch.minimum(rgb, alpha[:, None]), alpha, distance).reshape(*shape)

    def difference(self, rays: Rays) -> tuple[Tensor, RayColors] | None:
        """Return which rays of [n] meet the region, by number, and what the edit adds to their pixels; None: none."""
        places = torch.nonzero(self.region.meets(rays))[:, 0]
        if not len(places):
            return None
        parts = []
        for part in places.split(RAYS_AT_ONCE):
            samples = sampled(self.below, rays.at(part))
            inside = self.region.holds(samples.points)
            edited = self.edited.field(*samples.along(inside))
            parts.append(samples.replaced(inside, edited.value, edited.rgb))
        rgb, alpha, distance = (torch.cat([getattr(x, name) for x in parts]) for name in ("rgb", "alpha", "distance"))
        return places, RayColors(rgb, alpha, distance)

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
        """See Scene.render. Normals are those of the scene below."""
        image = self.below.render(
            camera, samples_per_ray=samples_per_ray, quality=quality, jitter=jitter, progress=progress
        )
        rays = camera.to(image.rgb.device).rays()
        scale = rays.depth_from_distance
        distance = torch.where(torch.isfinite(image.depth), image.depth / scale, torch.zeros_like(scale))
        alpha = image.alpha
        below = RayColors(image.rgb * alpha[..., None], alpha, distance * alpha)
        found = self._with_difference(below, flattened(rays), (camera.height, camera.width))
        shown = found.alpha > EMPTY
        depth = torch.where(shown, found.distance / found.alpha.clamp(min=EMPTY) * scale, torch.inf)
        rgb = compositing.unpremultiply(found.rgb, found.alpha, EMPTY).clamp(0, 1)
        return replace(image, rgb=rgb, alpha=found.alpha, depth=depth)
