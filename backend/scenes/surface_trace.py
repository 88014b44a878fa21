"""Differentiable pixels of bare surfaces: hit points by implicit differentiation, and soft silhouettes.

Vocabulary. A *signed* value is negative inside the surface and zero on it; its unit is the field's own. The *clearance*
of a ray is the signed distance of its innermost (or, where it misses, nearest) sample from the surface, metres: the
signed value over the length of its gradient. A ray covers its pixel by half where the clearance is zero, and by nothing
or all half a `width` away; that is how the silhouette moves with the surface, the camera and the latent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..cameras import Rays
from .surface_image import CLAY, clay_shade
from .trace import RayColors

NEWTON_STEPS = 4
GRAZING = 0.02
"""Smallest cosine between a ray and the gradient that a hit point is moved along the ray with."""
SMALLEST_GRADIENT = 1e-6
REACH = 8.0
"""Widths of a silhouette by which a hit point may be moved at most: no further where the gradient vanishes."""
RAYS_AT_ONCE = 1 << 13
"""Rays whose samples are searched at once."""


class Surface(Protocol):
    """The zero level of a field."""

    def signed(self, points: Tensor) -> Tensor:
        """Return signed values [...] at world points [..., 3]. Differentiable."""

    def gradient(self, points: Tensor) -> Tensor:
        """Return the gradient [n, 3] of the signed values, by metre, at world points [n, 3]. Differentiable."""

    def may_touch(self, points: Tensor) -> Tensor:
        """Say which world points [..., 3] may lie in the surface or close to it: the others are not evaluated."""


@dataclass(frozen=True)
class SurfacePixels:
    """Pixels of rays [n]; differentiable. alpha: [n]; distance: [n] metres; points, normals: [n, 3] world."""

    alpha: Tensor
    distance: Tensor
    points: Tensor
    normals: Tensor


def trace_surface(
    surface: Surface,
    origins: Tensor,
    directions: Tensor,
    interval: tuple[Tensor, Tensor],
    crossing: Tensor,
    width: Tensor,
    samples: int,
) -> SurfacePixels:
    """Return the pixels of world rays, differentiable in the rays and in whatever the surface depends on.

    Args:
        origins, directions: [n, 3], metres; unit directions.
        interval: distances [n] between which each ray may meet the surface.
        crossing: [n] where each ray first crosses the surface, approximately; inf where it does not. A ray that starts
            inside crosses it where its interval begins.
        width: [n] metres over which a silhouette fades.
        samples: of a ray, for its clearance.
    """
    near, far = interval
    place, empty = innermost(surface, origins, directions, interval, samples)
    distance = near + place * (far - near)
    points = origins + distance[:, None] * directions
    gradient = surface.gradient(points)
    clearance = surface.signed(points) / gradient.norm(dim=-1).clamp(min=SMALLEST_GRADIENT)
    alpha = torch.where(empty, 0.0, (0.5 - clearance / width).clamp(0, 1))

    hit = torch.nonzero(torch.isfinite(crossing))[:, 0]
    entered = crossing[hit] <= near[hit]
    at_hit = hit_distance(surface, origins[hit], directions[hit], crossing[hit], REACH * width[hit].detach())
    at_hit = torch.where(entered, near[hit], at_hit)
    distance = distance.index_copy(0, hit, at_hit)
    points = origins + distance[:, None] * directions
    at_hit_gradient = torch.where(entered[:, None], -directions[hit], surface.gradient(points[hit]))
    return SurfacePixels(
        alpha, distance, points, functional.normalize(gradient.index_copy(0, hit, at_hit_gradient), dim=-1)
    )


@torch.no_grad()
def innermost(
    surface: Surface, origins: Tensor, directions: Tensor, interval: tuple[Tensor, Tensor], samples: int
) -> tuple[Tensor, Tensor]:
    """Return the place of each ray's smallest signed value in its interval, 0..1 [n], and whether nothing is there."""
    places = (torch.arange(samples, device=origins.device).to(origins) + 0.5) / samples
    found, empty = [], []
    for o, d, near, far in zip(*(x.split(RAYS_AT_ONCE) for x in (origins, directions, *interval)), strict=True):
        t = near[:, None] + places * (far - near)[:, None]
        points = o[:, None] + t[..., None] * d[:, None]
        signed = torch.full_like(t, torch.inf)
        asked = surface.may_touch(points)
        signed[asked] = surface.signed(points[asked])
        least, index = signed.min(-1)
        found.append(places[index])
        empty.append(torch.isinf(least))
    return torch.cat(found), torch.cat(empty)


def hit_distance(surface: Surface, origins: Tensor, directions: Tensor, start: Tensor, reach: Tensor) -> Tensor:
    """Return where rays cross the surface [n], from distances close by [n], at most `reach` [n] away.

    Eq. 3 of arxiv.org/abs/2003.09852: t = t0 − f(o + t0 v) / (n·v), t0 and n·v being constants; value and derivatives
    are those of the crossing.
    """
    start = start.detach()
    t = start
    for _ in range(NEWTON_STEPS):
        with torch.no_grad():
            slope, value = _slope(surface, origins, directions, t)
            moved = t - value / slope
            t = torch.where((moved - start).abs() <= reach, moved, t)
    slope, _ = _slope(surface, origins, directions, t)
    step = surface.signed(origins + t[:, None] * directions) / slope
    return torch.where(step.abs() <= reach, t - step, t)


def _slope(surface: Surface, origins: Tensor, directions: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivative of the signed values along rays and the values, [n] both, constants. The derivative is
    below zero, for the rays go in."""
    with torch.enable_grad():
        points = (origins + t[:, None] * directions).detach().requires_grad_()
        value = surface.signed(points)
        (gradient,) = torch.autograd.grad(value.sum(), points)
    slope = (gradient * directions.detach()).sum(-1)
    steepest = -GRAZING * gradient.norm(dim=-1).clamp(min=SMALLEST_GRADIENT)
    return torch.minimum(slope, steepest), value.detach()


def trace_clay(
    surface: Surface,
    rays: Rays,
    axes: Tensor,
    interval: tuple[Tensor, Tensor],
    crossing: Tensor,
    width: Callable[[Rays, Tensor], Tensor],
    samples: int,
    openness: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> RayColors:
    """Return the pixels of a surface of clay (surface_image.py), differentiable. See `trace_surface`.

    Args:
        rays: world rays [n].
        axes: of the lamp's camera [3, 3], or of one for each ray [n, 3, 3].
        width: of the silhouettes, metres, from rays and distances along them [n].
        openness: factor on the brightness [n] at world points with normals [n, 3].
    """
    near, far = interval
    rgb, normal = torch.zeros_like(rays.origins), torch.zeros_like(rays.origins)
    alpha, distance = torch.zeros_like(near), torch.zeros_like(near)
    meeting = torch.nonzero(far > near)[:, 0]
    if len(meeting):
        some, near, far = rays.at(meeting), near[meeting], far[meeting]
        at = width(some, (near + far) / 2)
        made = trace_surface(surface, some.origins, some.directions, (near, far), crossing[meeting], at, samples)
        some_axes = axes if axes.ndim == 2 else axes[meeting]
        shade = clay_shade(made.normals, some_axes.to(made.normals), made.normals.new_tensor([0.0, 0.0, 1.0]))
        if openness is not None:
            shade = shade * openness(made.points, made.normals)
        clay = shade[:, None] * shade.new_tensor(CLAY)
        alpha = alpha.index_copy(0, meeting, made.alpha)
        rgb = rgb.index_copy(0, meeting, clay * made.alpha[:, None])
        normal = normal.index_copy(0, meeting, made.normals * made.alpha[:, None])
        distance = distance.index_copy(0, meeting, made.distance * made.alpha)
    return RayColors(rgb, alpha, distance, normal)
