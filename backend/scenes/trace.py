"""Differentiable rays: what `Scene.trace` and `Scene.image` return.

`render` shows a scene and is fast; `trace` explains it and has gradients, with respect to the rays, the latent `ws`
and the weights. Training, inversion, scribbles and score distillation go through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from addon.wire.errors import NotSupported
from addon.wire.messages import Bounds

from ..cameras import Camera, Rays
from ..rendering import compositing
from ..rendering.boxes import box_interval


@dataclass(frozen=True)
class RayColors:
    """Pixels of rays [...], or of an image [height, width]; differentiable.

    rgb: [..., 3] sRGB, premultiplied by alpha (composited over black).
    alpha: [...] 0..1.
    distance: [...] metres along each unit ray, Σ w t (premultiplied by alpha, as rgb is).
    normal: [..., 3] world, premultiplied by alpha; None where the model makes none.
    """

    rgb: Tensor
    alpha: Tensor
    distance: Tensor
    normal: Tensor | None = None

    def over(self, background: Tensor | float) -> Tensor:
        """Composite over a background (a float, or broadcastable to [..., 3]). Returns [..., 3] sRGB."""
        return self.rgb + (1 - self.alpha[..., None]) * background

    def mean_distance(self, smallest_alpha: float = 1e-4) -> Tensor:
        """Mean distance [...] of what was hit, metres; infinite where alpha is below `smallest_alpha`."""
        mean = self.distance / self.alpha.clamp(min=smallest_alpha)
        return torch.where(self.alpha > smallest_alpha, mean, torch.inf)

    def reshape(self, *shape: int) -> RayColors:
        """Return the same pixels with leading shape `shape`."""
        return RayColors(
            self.rgb.reshape(*shape, 3),
            self.alpha.reshape(shape),
            self.distance.reshape(shape),
            None if self.normal is None else self.normal.reshape(*shape, 3),
        )


class RayTraced:
    """A scene whose pixels are single rays: `image(camera)` is `trace(camera.rays())`."""

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace."""
        raise NotSupported("This scene has no colour for single rays.")

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image."""
        return self.trace(camera.rays(), jitter=jitter)


class DensityField(Protocol):
    """Density [...] (1/metre) and rgb [..., 3] or None, at world points seen along unit directions [..., 3]."""

    def __call__(self, points: Tensor, directions: Tensor, /) -> tuple[Tensor, Tensor | None]: ...


def trace_density(
    field: DensityField, rays: Rays, box: Bounds, samples: int, jitter: torch.Generator | None = None
) -> RayColors:
    """Volume-render a density between the faces of a box, with samples at the centres of equal steps (Eq. 3 of
    arxiv.org/abs/2003.08934). Differentiable in rays and in whatever the field depends on.

    jitter: draws each sample within its step instead. A field without colour is white.
    """
    shape = rays.origins.shape[:-1]
    origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
    near, far = box_interval(origins, directions, box)
    hit = far > near
    step = torch.where(hit, far - near, torch.zeros_like(near)) / samples
    if jitter is None:
        place = torch.arange(samples, device=step.device).to(step) + 0.5
    else:
        drawn = torch.rand(len(step), samples, generator=jitter, device=jitter.device).to(step)
        place = torch.arange(samples, device=step.device).to(step) + drawn
    t = near[:, None] + place * step[:, None]
    points = origins[:, None] + t[..., None] * directions[:, None]
    density, rgb = field(points, directions[:, None].expand_as(points))
    weights = compositing.weights_from_alpha(compositing.opacity(density, step[:, None]))
    colors = torch.ones_like(points) if rgb is None else rgb
    return RayColors(compositing.composite(weights, colors), weights.sum(-1), (weights * t).sum(-1)).reshape(*shape)
