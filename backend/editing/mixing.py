"""Rays through a field that another field replaces in a region, relative to what they show without it.

Both fields are composited with the same samples, so that the difference has no error where there is none: it is added
to pixels that the first scene made in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cameras import Rays
from ..rendering import compositing
from ..rendering.boxes import box_interval
from ..scenes.protocol import Scene
from ..scenes.trace import RayColors

SAMPLES = 64
"""Of a ray."""

RAYS_AT_ONCE = 256


@dataclass(frozen=True)
class Samples:
    """Samples of rays [n], and the field there: t, density [n, S]; step [n, 1]; points, rgb [n, S, 3]."""

    t: Tensor
    step: Tensor
    points: Tensor
    directions: Tensor  # [n, 3]
    density: Tensor
    rgb: Tensor

    def at(self, index: Tensor) -> Samples:
        """Return some of the rays."""
        return Samples(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def along(self, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Return points and viewing directions [m, 3] of the samples in a mask [n, S]."""
        return self.points[inside], self.directions[:, None].expand_as(self.points)[inside]

    def difference(self, density: Tensor, rgb: Tensor) -> RayColors:
        """Return the difference that another field makes to the pixels [n]: density [n, S], rgb [n, S, 3].
        Differentiable in both."""
        before, after = (
            compositing.weights_from_alpha(compositing.opacity(x, self.step)) for x in (self.density, density)
        )
        return RayColors(
            compositing.composite(after, rgb) - compositing.composite(before, self.rgb),
            after.sum(-1) - before.sum(-1),
            (after * self.t).sum(-1) - (before * self.t).sum(-1),
        )

    def replaced(self, inside: Tensor, density: Tensor, rgb: Tensor | None) -> RayColors:
        """Return the difference of a field that is another one in a mask [n, S]: density [m], rgb [m, 3] (None keeps
        the colours) of its samples. Differentiable in both."""
        colors = self.rgb if rgb is None else self.rgb.masked_scatter(inside[..., None], rgb)
        return self.difference(self.density.masked_scatter(inside, density), colors)


@torch.no_grad()
def sampled(scene: Scene, rays: Rays) -> Samples:
    """Return the samples of rays [n] through the box of a scene, at the centres of equal steps."""
    near, far = box_interval(rays.origins, rays.directions, scene.info.bounds)
    step = ((far - near).clamp(min=0) / SAMPLES)[:, None]
    t = near[:, None] + (torch.arange(SAMPLES).to(step) + 0.5) * step
    points = rays.origins[:, None] + t[..., None] * rays.directions[:, None]
    density, rgb = torch.zeros_like(t), torch.ones_like(points)
    for part in torch.arange(len(t), device=t.device).split(RAYS_AT_ONCE):
        flat = points[part].reshape(-1, 3)
        field = scene.field(flat, rays.directions[part, None].expand_as(points[part]).reshape(-1, 3))
        density[part] = field.value.reshape(t[part].shape)
        if field.rgb is not None:
            rgb[part] = field.rgb.reshape(points[part].shape)
    return Samples(t, step, points, rays.directions, density, rgb)
