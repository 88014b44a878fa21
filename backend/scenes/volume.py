"""Where a generator's own frame lies in the world, and what its volumetric scenes do alike.

Vocabulary. *Canonical* is a generator's own frame; its unit is `metres_per_unit` metres. The canonical origin is the
world's. `t` are distances along unit canonical rays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Bounds, PosePrior

from ..cameras import Camera, Rays
from ..models.card import ModelCard
from ..progress import Progress
from ..rendering import compositing, sampling
from .protocol import Image

EMPTY = 1e-3
"""Pixels of less alpha have no depth and no normal."""


@dataclass(frozen=True)
class Placement:
    """rotation [3, 3] world from canonical; metres_per_unit."""

    rotation: Tensor
    metres_per_unit: float

    def to_canonical(self, points: Tensor) -> Tensor:
        """Return canonical points [..., 3] of world points."""
        return points @ (self.rotation.to(points) / self.metres_per_unit)

    def directions_to_canonical(self, directions: Tensor) -> Tensor:
        """Return canonical unit directions [..., 3] of world ones."""
        return directions @ self.rotation.to(directions)

    def directions_to_world(self, directions: Tensor) -> Tensor:
        """Return world directions [..., 3] of canonical ones."""
        return directions @ self.rotation.to(directions).T

    def canonical_rays(self, camera: Camera) -> Rays:
        """Return the rays of a world camera in the canonical frame, [height · width, 3]; depths stay metres."""
        matrix = torch.eye(4).to(camera.world_from_camera)
        matrix[:3, :3] = self.rotation.T.to(matrix) / self.metres_per_unit
        rays = camera.transformed(matrix).rays()
        return Rays(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), rays.depth_from_distance.flatten())


def cube(half: float) -> Bounds:
    """Return the box from −half to half, metres."""
    return (-half, -half, -half), (half, half, half)


def from_centre(rays: Rays, camera: Camera) -> Tensor:
    """Return how far along each ray the origin's shell lies [rays, 1]: the distance of the camera for a perspective."""
    if camera.projection == "perspective":
        return rays.origins.contiguous().norm(dim=-1, keepdim=True)
    return -(rays.origins * rays.directions).sum(-1, keepdim=True)


def even_around(middle: Tensor, half: float, num_samples: int) -> Tensor:
    """Return t [rays, num_samples] within half of `middle` [rays, 1], none of it behind the camera."""
    near = (middle - half).clamp(min=0.01 * half)
    return sampling.even(near, torch.maximum(middle + half, near + 0.01 * half), num_samples)


def meets_ball(rays: Rays, radius: float) -> Tensor:
    """Say which rays [rays] meet the ball around the origin in front of the camera."""
    along = -(rays.origins * rays.directions).sum(-1)
    closest = (rays.origins + rays.directions * along[:, None]).norm(dim=-1)
    return (closest <= radius) & (along + radius > 0)


def chords(shell: Shell, count: int, num_samples: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return origins and directions [count, 3] of rays that cross the volume anyhow, always the same, and t
    [count, num_samples]: for questions about a field that a few rays can answer."""
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    middle = (2 * torch.rand(count, 3, generator=generator) - 1) * (shell.half_depth / math.sqrt(3))
    t = torch.linspace(shell.half_depth, 3 * shell.half_depth, num_samples).expand(count, -1)
    return (middle - 2 * shell.half_depth * directions).to(like), directions.to(like), t.to(like)


def normals_from(density: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Return unit normals [n, 3] against the gradient of density [n] at points [n, 3]."""
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(density(points).sum(), points)
    return F.normalize(-gradient, dim=-1)


RAYS_AT_ONCE = 1024


@dataclass(frozen=True)
class Pixels:
    """What canonical rays gave. rgb [rays, 3] premultiplied; alpha [rays]; t [rays] Σ w t; normal [rays, 3] canonical,
    or None."""

    rgb: Tensor
    alpha: Tensor
    t: Tensor
    normal: Tensor | None = None


@dataclass(frozen=True)
class Shell:
    """Where rays are sampled: within half_depth of the origin's distance, if they come within reach of the origin."""

    half_depth: float
    reach: float
    by_depth: bool = False  # t is even in depth along the camera's axis, rather than in distance


def render_volume(
    camera: Camera,
    placement: Placement,
    shell: Shell,
    render_rays: Callable[[Tensor, Tensor, Tensor, Tensor | None], Pixels],
    *,
    steps: int,
    quality: Literal["draft", "full"],
    jitter: torch.Generator | None,
    progress: Progress,
    density: Callable[[Tensor], Tensor] | None = None,
) -> Image:
    """Render a world camera in chunks of rays. A draft has half the rays each way.

    Args:
        render_rays: origins, unit directions [rays, 3], coarse t [rays, steps], u like t or None → Pixels.
        density: canonical points [n, 3] → density [n], for normals where render_rays gives none; None leaves them out.
    """
    scale = 2 if quality == "draft" else 1
    view = camera.resized(math.ceil(camera.width / scale), math.ceil(camera.height / scale))
    rays = placement.canonical_rays(view)
    t = even_around(from_centre(rays, view), shell.half_depth, steps)
    if shell.by_depth:
        t = t * (placement.metres_per_unit / rays.depth_from_distance)[:, None]
    u = None
    if jitter is not None:
        t = sampling.stratified(t, torch.rand(t.shape, generator=jitter, device=jitter.device).to(t))
        u = torch.rand(t.shape, generator=jitter, device=jitter.device).to(t)
    rgb, normal = torch.zeros_like(rays.origins), torch.zeros_like(rays.origins)
    alpha, mean_t = torch.zeros_like(t[:, 0]), torch.zeros_like(t[:, 0])
    hit = meets_ball(rays, shell.reach).nonzero().squeeze(-1)
    has_normal = False
    for start in range(0, len(hit), RAYS_AT_ONCE):
        progress(start / len(hit), "rendering")
        part = hit[start : start + RAYS_AT_ONCE]
        origins, directions = rays.origins[part], rays.directions[part]
        pixels = render_rays(origins, directions, t[part], None if u is None else u[part])
        rgb[part], alpha[part] = compositing.unpremultiply(pixels.rgb, pixels.alpha), pixels.alpha
        mean_t[part] = pixels.t / pixels.alpha.clamp(min=EMPTY)
        canonical_normal = pixels.normal
        if canonical_normal is None and density is not None and quality == "full":
            canonical_normal = normals_from(density, origins + directions * mean_t[part, None])
        if canonical_normal is not None:
            normal[part] = placement.directions_to_world(canonical_normal)
            has_normal = True
    progress(1.0)
    depth = mean_t * rays.depth_from_distance
    return assembled(camera, view.width, view.height, rgb, alpha, depth, normal if has_normal else None)


def assembled(
    camera: Camera, width: int, height: int, rgb: Tensor, alpha: Tensor, depth: Tensor, normal: Tensor | None
) -> Image:
    """Return the Image of a camera from pixels of a grid [height · width], resized where the camera has more.

    rgb: [n, 3] straight; depth: [n] metres; normal: world [n, 3] or None.
    """
    parts = [rgb * alpha[:, None], alpha[:, None], depth[:, None] * alpha[:, None]]
    parts += [] if normal is None else [normal * alpha[:, None]]
    planes = torch.cat(parts, -1).reshape(height, width, -1)
    if (width, height) != (camera.width, camera.height):
        planes = F.interpolate(
            planes.permute(2, 0, 1)[None], size=(camera.height, camera.width), mode="bilinear", align_corners=False
        )[0].permute(1, 2, 0)
    alpha = planes[..., 3]
    shown = alpha > EMPTY
    divided = planes / alpha.clamp(min=EMPTY)[..., None]
    return Image(
        rgb=(divided[..., :3] * shown[..., None]).clamp(0, 1),
        alpha=alpha.clamp(0, 1),
        depth=torch.where(shown, divided[..., 4], torch.full_like(alpha, math.inf)),
        normal=None if normal is None else F.normalize(planes[..., 5:8], dim=-1) * shown[..., None],
    )


def pose_prior(card: ModelCard, default: PosePrior) -> PosePrior:
    """Return the card's pose prior, the kind's own where it says nothing."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in card.pose_prior.items()}
    return replace(default, **fields)


def opaque_within(length: float) -> float:
    """Return the density at which a ray loses half its light within `length`."""
    return math.log(2) / length
