"""A Scene is anything that answers `field(points)` and `render(camera)`.

Meshing, rendering, export and everything later know only this, so each works with every model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest, NotSupported, Remedy
from addon.wire.messages import Bounds

from .cameras import Camera
from .progress import Progress, silent
from .rendering import compositing


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
    z, inf where empty; normal [H, W, 3] world unit vectors, 0 where empty, or None. note: a sentence for the user,
    where what is shown is not quite what was asked for."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None = None
    note: str = ""


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
        scene_from_world = torch.linalg.inv(self.world_from_scene.cpu().double()).to(points)
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
        scene_from_world = torch.linalg.inv(self.world_from_scene.cpu().double()).to(camera.world_from_camera)
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


def value_of(scene: Scene, points: Tensor) -> Tensor:
    """Return the value of a scene's field [...] at points [..., 3], by its own `value(points)` if it has such a way
    round its colours."""
    own = getattr(scene, "value", None)
    return scene.field(points).value if own is None else own(points)


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
            rgb[part] = compositing.straight(compositing.composite(weights, colors), alpha[part])
            mean = (weights * t).sum(-1) / alpha[part].clamp(min=1e-9)
            distance[part] = torch.where(alpha[part] > FAINT, mean, math.inf)
        shape = (camera.height, camera.width)
        depth = (distance * rays.depth_from_distance.reshape(-1)).reshape(shape)
        return Image(rgb.reshape(*shape, 3), alpha.reshape(shape), depth)


def box_interval(origins: Tensor, directions: Tensor, box: Bounds) -> tuple[Tensor, Tensor]:
    """Return where rays [n, 3] enter a box and leave it, as distances [n]; a ray that misses it leaves before it
    enters. What lies behind the origin counts as entered."""
    low, high = (torch.tensor(corner).to(origins) for corner in box)
    safe = torch.where(directions.abs() < 1e-12, 1e-12, directions)
    one, other = (low - origins) / safe, (high - origins) / safe
    near = torch.minimum(one, other).amax(-1).clamp(min=0)
    return near, torch.maximum(one, other).amin(-1)
