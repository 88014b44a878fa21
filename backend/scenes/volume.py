"""Volumetric scenes of generators: placement of the model's own frame in the world, sampling, rendering, tracing.

Vocabulary. *Canonical* is a generator's own frame; its unit is `metres_per_unit` metres. The canonical origin is the
world's. `t` are distances along unit canonical rays. The *shell* is where those rays are sampled: within a fixed
distance of the origin.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Bounds, PosePrior

from ..cameras import Camera, Rays
from ..models.card import ModelCard
from ..progress import Progress, silent
from ..rendering import compositing, sampling
from .protocol import FieldInfo, FieldSample, Image
from .trace import RayColors

EMPTY = 1e-3
"""Pixels of less alpha have no depth and no normal."""

RAYS_AT_ONCE = 1024


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

    def canonical_from_world(self, like: Tensor) -> Tensor:
        """Return the affine transform [4, 4] of points, in the type and on the device of `like`."""
        matrix = torch.eye(4).to(like)
        matrix[:3, :3] = self.rotation.T.to(matrix) / self.metres_per_unit
        return matrix

    def canonical_rays(self, camera: Camera) -> Rays:
        """Return the rays of a world camera in the canonical frame, [height · width, 3]; depths stay metres."""
        rays = camera.transformed(self.canonical_from_world(camera.world_from_camera)).rays()
        return Rays(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), rays.depth_from_distance.flatten())

    def rays_to_canonical(self, rays: Rays) -> Rays:
        """Return world rays [..., 3] in the canonical frame, flat as [rays, 3]; depths stay metres."""
        return Rays(
            self.to_canonical(rays.origins).reshape(-1, 3),
            self.directions_to_canonical(rays.directions).reshape(-1, 3),
            rays.depth_from_distance.flatten() * self.metres_per_unit,
        )


def cube(half: float) -> Bounds:
    """Return the box from −half to half, metres."""
    return (-half, -half, -half), (half, half, half)


def distance_to_center(rays: Rays, projection: Literal["perspective", "orthographic"]) -> Tensor:
    """Return the distance [rays, 1] along each ray at which the shell around the origin is centred: that of the camera
    from the origin for a perspective, that of the closest point otherwise."""
    if projection == "perspective":
        return rays.origins.contiguous().norm(dim=-1, keepdim=True)
    return -(rays.origins * rays.directions).sum(-1, keepdim=True)


def even_around(center: Tensor, half: float, num_samples: int) -> Tensor:
    """Return t [rays, num_samples] within half of `center` [rays, 1], none of it behind the camera."""
    near = (center - half).clamp(min=0.01 * half)
    return sampling.even(near, torch.maximum(center + half, near + 0.01 * half), num_samples)


def meets_ball(rays: Rays, radius: float) -> Tensor:
    """Return whether rays [rays] meet the ball around the origin in front of the camera."""
    along = -(rays.origins * rays.directions).sum(-1)
    closest = (rays.origins + rays.directions * along[:, None]).norm(dim=-1)
    return (closest <= radius) & (along + radius > 0)


def normals_from(density: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Return unit normals [n, 3] against the gradient of density [n] at points [n, 3]."""
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(density(points).sum(), points)
    return F.normalize(-gradient, dim=-1)


@dataclass(frozen=True)
class Shell:
    """The sampled part of rays: within half_depth of the origin's distance, on rays that pass the origin within
    `reach`."""

    half_depth: float
    reach: float
    by_depth: bool = False  # t is even in depth along the camera's axis, rather than in distance


class FastField(Protocol):
    """A field precomputed for fast rendering, in the canonical frame."""

    def render_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None, /) -> RayColors:
        """Render rays. See VolumeScene.reference_rays."""

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at points [n, 3]. Differentiable in points."""


class VolumeScene(ABC):
    """A scene that is volume-rendered along rays through a shell around the origin.

    A model adds its field, its number of samples, the reference path of its rays and, if it has one, a fast path.
    """

    def __init__(self, placement: Placement, shell: Shell, info: FieldInfo):
        self.placement, self.shell, self.info = placement, shell, info

    @abstractmethod
    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field."""

    @abstractmethod
    def num_steps(self, samples: int | None, quality: Literal["draft", "full"]) -> int:
        """Return the number of coarse samples of a ray. samples: of a ray in all; None: the model's own number."""

    @abstractmethod
    def reference_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """Render canonical rays by the network itself, differentiable: the path the paper describes.

        Args:
            origins, directions: [rays, 3], directions of unit length.
            t: coarse samples [rays, steps].
            u: [rays, steps] in [0, 1), draws of the fine samples; None spaces them evenly.

        Returns:
            Pixels [rays]: distance in canonical units; normal canonical, None where `normals_from` makes them.
        """

    @abstractmethod
    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3] by the network itself."""

    def fast_field(self) -> FastField | None:
        """Return the precomputed field that `render` uses; None: it uses the reference path."""
        return None

    def tracked(self, rays: Rays, columns: int | None) -> Tensor | None:
        """Return coarse t [rays, steps] around the surface, fewer than `num_steps`, where a model predicts it.

        Args:
            rays: of a perspective view, canonical, [rays].
            columns: pixels in a row of an image that these are the rays of, row by row; None: single rays.

        Returns:
            None where all of the shell is to be sampled.
        """
        return None

    def tracked_field(self, origins: Tensor, directions: Tensor, t: Tensor) -> FastField | None:
        """Return the `fast_field` for tracked samples t [rays, steps] of rays that meet the shell."""
        return self.fast_field()

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace. The shell is centred at each ray origin's own distance from the world's origin, as for
        perspective cameras. Rays that miss it have alpha 0."""
        return self._traced(rays, "perspective", samples, jitter)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image."""
        return self._traced(camera.rays(), camera.projection, None, jitter)

    def _traced(
        self,
        rays: Rays,
        projection: Literal["perspective", "orthographic"],
        samples: int | None,
        jitter: torch.Generator | None,
    ) -> RayColors:
        shape = rays.origins.shape[:-1]
        canonical = self.placement.rays_to_canonical(rays)
        tracked = samples is None and projection == "perspective"
        t = self.tracked(canonical, shape[-1] if len(shape) == 2 else None) if tracked else None
        t, u = self._samples(canonical, projection, self.num_steps(samples, "full"), jitter, t)
        hit = meets_ball(canonical, self.shell.reach).nonzero().squeeze(-1)
        parts = [
            self.reference_rays(
                canonical.origins[part], canonical.directions[part], t[part], None if u is None else u[part]
            )
            for part in hit.split(RAYS_AT_ONCE)
        ]

        def gathered(values: list[Tensor]) -> Tensor:
            found = torch.cat(values)
            return found.new_zeros(len(t), *found.shape[1:]).index_copy(0, hit, found)

        normals = [part.normal for part in parts if part.normal is not None]
        return RayColors(
            gathered([part.rgb for part in parts]),
            gathered([part.alpha for part in parts]),
            gathered([part.distance for part in parts]) * self.placement.metres_per_unit,
            self.placement.directions_to_world(gathered(normals)) if normals else None,
        ).reshape(*shape)

    def _samples(
        self,
        rays: Rays,
        projection: Literal["perspective", "orthographic"],
        steps: int,
        jitter: torch.Generator | None,
        tracked: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return coarse t [rays, steps] of canonical rays, and the draws of their fine samples. tracked: see `tracked`;
        taken in place of even ones."""
        if tracked is None:
            t = even_around(distance_to_center(rays, projection), self.shell.half_depth, steps)
            if self.shell.by_depth:
                t = t * (self.placement.metres_per_unit / rays.depth_from_distance)[:, None]
        else:
            t = tracked
        if jitter is None:
            return t, None
        t = sampling.stratified(t, torch.rand(t.shape, generator=jitter, device=jitter.device).to(t))
        return t, torch.rand(t.shape, generator=jitter, device=jitter.device).to(t)

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
        reference: bool = False,
    ) -> Image:
        """Render a world camera in chunks of rays. See Scene.render. A draft has half the rays each way.

        reference: by the network itself, every sample evaluated.
        """
        scale = 2 if quality == "draft" else 1
        view = camera.resized(math.ceil(camera.width / scale), math.ceil(camera.height / scale))
        rays = self.placement.canonical_rays(view)
        tracked = None
        if samples_per_ray is None and quality == "full" and view.projection == "perspective":
            tracked = self.tracked(rays, view.width)
        t, u = self._samples(rays, view.projection, self.num_steps(samples_per_ray, quality), jitter, tracked)
        rgb, normal = torch.zeros_like(rays.origins), torch.zeros_like(rays.origins)
        alpha, mean_t = torch.zeros_like(t[:, 0]), torch.zeros_like(t[:, 0])
        hit = meets_ball(rays, self.shell.reach).nonzero().squeeze(-1)
        fast = None
        if not reference and len(hit):
            fast = (
                self.fast_field()
                if tracked is None
                else self.tracked_field(rays.origins[hit], rays.directions[hit], t[hit])
            )
        render_rays = self.reference_rays if fast is None else fast.render_rays
        raw_density = self.raw_density if fast is None else fast.raw_density
        has_normal = False
        for start in range(0, len(hit), RAYS_AT_ONCE):
            progress(start / len(hit), "rendering")
            part = hit[start : start + RAYS_AT_ONCE]
            origins, directions = rays.origins[part], rays.directions[part]
            pixels = render_rays(origins, directions, t[part], None if u is None else u[part])
            rgb[part], alpha[part] = compositing.unpremultiply(pixels.rgb, pixels.alpha), pixels.alpha
            mean_t[part] = pixels.distance / pixels.alpha.clamp(min=EMPTY)
            canonical_normal = pixels.normal
            if canonical_normal is None and quality == "full":
                canonical_normal = normals_from(raw_density, origins + directions * mean_t[part, None])
            if canonical_normal is not None:
                normal[part] = self.placement.directions_to_world(canonical_normal)
                has_normal = True
        progress(1.0)
        depth = mean_t * rays.depth_from_distance
        return assembled(camera, view.width, view.height, rgb, alpha, depth, normal if has_normal else None)


def assembled(
    camera: Camera, width: int, height: int, rgb: Tensor, alpha: Tensor, depth: Tensor, normal: Tensor | None
) -> Image:
    """Return the Image of a camera from pixels of a grid [height · width], resized where the camera has more.

    rgb: [n, 3], not premultiplied; depth: [n] metres; normal: world [n, 3] or None.
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
    """Return the card's pose prior, with the model's own for what it leaves out."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in card.pose_prior.items()}
    return replace(default, **fields)


def opaque_within(length: float) -> float:
    """Return the density at which a ray loses half its light within `length`."""
    return math.log(2) / length
