"""A fitted NeRF (arxiv.org/abs/2003.08934) as a Scene, and loading one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import relu

from addon.wire.messages import Bounds
from backend.cameras import Camera
from backend.progress import Progress, silent
from backend.rendering import compositing
from backend.rendering.color import srgb_from_linear
from backend.scenes.protocol import FieldInfo, FieldSample, Image

from ...models.image_memory import MEBI, ImageMemory
from ...scenes.stored import StoredScene, density_model_info
from ...scenes.trace import RayTraced

if TYPE_CHECKING:
    from backend.models.card import ModelCard
from .network import (
    ISO_LEVEL,
    NO_PLACEMENT,
    NeRF,
    NetworkConfig,
    Placement,
    RayColors,
    RenderConfig,
    _enlarged,
    ndc_rays,
)

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=160)

CHUNK_RAYS = 512


class NeRFScene(RayTraced):
    """A fitted NeRF as a Scene. World is the capture's own frame (Z up for Blender captures), metres as captured.

    The networks see their own frame, in which the capture has the size of the paper's; near and far are measured there.
    """

    def __init__(self, nerf: NeRF, info: FieldInfo, placement: Placement = NO_PLACEMENT) -> None:
        self.nerf = nerf.eval()
        self._info = info
        self.placement = placement

    @property
    def info(self) -> FieldInfo:
        """density, in 1/metre."""
        return self._info

    def tensors(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return kind, constructor and weights: what a model folder or a scene file holds, and `load` takes."""
        constructor = constructor_of(
            self.nerf.coarse.config,
            self.nerf.fine.config,
            self.nerf.config,
            self.info.bounds,
            iso_level=self.info.iso_level,
            placement=self.placement,
        )
        return "nerf", constructor, {name: tensor.detach() for name, tensor in self.nerf.state_dict().items()}

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from above."""
        if directions is None:
            directions = torch.tensor([0.0, 0.0, -1.0], dtype=points.dtype, device=points.device)
        metres = self.placement.metres_per_unit
        points = (points - points.new_tensor(self.placement.middle)) / metres
        scale: Tensor | float = 1.0
        if self.nerf.config.ndc:
            points, scale = ndc_points(points, self.nerf.config.ndc_focal)
        raw = self.nerf.fine(points, directions)
        rgb = torch.sigmoid(raw[..., :3])
        if self.nerf.config.linear:
            rgb = srgb_from_linear(rgb)
        return FieldSample(relu(raw[..., 3]) * scale / metres, rgb)

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
        """See Scene.render. samples_per_ray is split between the passes as the network's own number is.

        near and far are those of the capture, measured along the camera's z as published. For a camera that stands
        elsewhere than those of the capture they move with the middle of the bounds. draft: a quarter of the side.
        """
        if quality == "draft":
            small = camera.resized(-(-camera.width // 4), -(-camera.height // 4))
            image = self.render(small, samples_per_ray=samples_per_ray, jitter=jitter, progress=progress)
            return _enlarged(image, camera.width, camera.height)
        camera = camera.to(next(self.nerf.parameters()).device)
        own_from_world = torch.eye(4, device=camera.world_from_camera.device) / self.placement.metres_per_unit
        own_from_world[:3, 3] = -own_from_world.new_tensor(self.placement.middle) / self.placement.metres_per_unit
        own_from_world[3, 3] = 1.0
        camera = camera.transformed(own_from_world)
        config = self._sampled_for(camera, samples_per_ray)
        rays = camera.rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        # t is measured along the camera's z, in the networks' own unit whatever the scale of the camera's matrix
        units = camera.world_from_camera[:3, 2].norm()
        speed = 1.0 / (rays.depth_from_distance.reshape(-1, 1).clamp(min=0.05) * units)
        rgb, alpha, depth = [], [], []
        for start in range(0, len(origins), CHUNK_RAYS):
            progress(start / len(origins), "Rendering")
            part = slice(start, start + CHUNK_RAYS)
            seen, t = self._colors(origins[part], directions[part], speed[part], config, jitter)
            premultiplied = seen.rgb - (1.0 - seen.alpha[..., None]) if config.white_background else seen.rgb
            straight = compositing.unpremultiply(premultiplied, seen.alpha)
            rgb.append(srgb_from_linear(straight) if config.linear else straight)
            alpha.append(seen.alpha)
            depth.append(torch.where(seen.alpha > 0.5, t / units, torch.inf))
        shape = (camera.height, camera.width)
        return Image(
            torch.cat(rgb).reshape(*shape, 3).clamp(0, 1),
            torch.cat(alpha).reshape(shape).clamp(0, 1),
            torch.cat(depth).reshape(shape),
        )

    def _sampled_for(self, camera: Camera, samples_per_ray: int | None) -> RenderConfig:
        """The network's sampling, for this many samples and for a camera at this distance."""
        config = self.nerf.config
        if samples_per_ray is not None:
            total = config.coarse_samples + config.fine_samples
            coarse = max(3, round(samples_per_ray * config.coarse_samples / total))
            config = replace(config, coarse_samples=coarse, fine_samples=max(1, samples_per_ray - coarse))
        if config.ndc:
            return config
        forward = torch.nn.functional.normalize(camera.world_from_camera[:3, 2], dim=0)
        middle = forward.new_tensor(self.info.bounds).mean(0) - forward.new_tensor(self.placement.middle)
        middle = middle / self.placement.metres_per_unit
        moved = float((middle - camera.world_from_camera[:3, 3]) @ forward) - (config.near + config.far) / 2
        if abs(moved) <= (config.far - config.near) / 4:
            return config
        nearest = min(config.near, 0.02 * config.far)
        return replace(
            config, near=max(config.near + moved, nearest), far=max(config.far + moved, nearest + config.far / 10)
        )

    def _colors(
        self,
        origins: Tensor,
        directions: Tensor,
        speed: Tensor,
        config: RenderConfig,
        jitter: torch.Generator | None,
    ) -> tuple[RayColors, Tensor]:
        """What rays with unit directions see, and its depth [...] along the camera's z, in the networks' unit."""
        if not config.ndc:
            fine = self.nerf.render_rays(origins, directions * speed, directions, generator=jitter, config=config).fine
            return fine, fine.depth / fine.alpha
        focal_x, focal_y = config.ndc_focal
        ahead = directions[..., 2] < -1e-3  # the capture looks along −z; nothing is known behind it
        forward = torch.where(ahead[..., None], directions, directions.new_tensor([0.0, 0.0, -1.0]))
        warped = ndc_rays(origins, forward, 1.0, 1.0 / focal_x, 1.0 / focal_y)
        fine = self.nerf.render_rays(*warped, forward, generator=jitter, config=config).fine
        z = 2.0 / (warped[0][..., 2] + fine.depth / fine.alpha * warped[1][..., 2] - 1.0)
        distance = (z - origins[..., 2]) / forward[..., 2]
        return replace(fine, alpha=torch.where(ahead, fine.alpha, 0.0)), distance / speed[..., 0]


def ndc_points(points: Tensor, ndc_focal: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Take world points [..., 3] into normalised device coordinates (Eq. 14 of appendix C, near plane 1).

    Also returns the scale [...] of densities there, 1/metre for each 1/unit: the mean stretch of the warp; 0 in front
    of the near plane, where nothing was seen.
    """
    z = points[..., 2].clamp(max=-1.0)
    x_scale, y_scale = -2.0 * ndc_focal[0], -2.0 * ndc_focal[1]
    warped = torch.stack((x_scale * points[..., 0] / z, y_scale * points[..., 1] / z, 1.0 + 2.0 / z), -1)
    stretch = (2.0 * x_scale * y_scale / z**4) ** (1 / 3)
    return warped, torch.where(points[..., 2] <= -1.0, stretch, 0.0)


def constructor_of(
    coarse: NetworkConfig,
    fine: NetworkConfig,
    render: RenderConfig,
    bounds: Bounds,
    *,
    iso_level: float = ISO_LEVEL,
    placement: Placement = NO_PLACEMENT,
) -> dict[str, Any]:
    """What `load` builds the scene from, as plain JSON; goes into the card, where it may be edited."""
    return {
        "coarse": asdict(coarse),
        "fine": asdict(fine),
        "render": asdict(render),
        "bounds": [list(corner) for corner in bounds],
        "iso_level": iso_level,
        "placement": asdict(placement),
    }


def scene_from(constructor: Mapping[str, Any], tensors: dict[str, Tensor]) -> NeRFScene:
    """Build the scene that `NeRFScene.tensors` described. Raises KeyError, TypeError or RuntimeError."""

    def known(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    coarse, fine = NetworkConfig(**known(constructor["coarse"])), NetworkConfig(**known(constructor["fine"]))
    with torch.device("meta"):  # takes no memory until the tensors are known to fit
        nerf = NeRF(coarse, fine, RenderConfig(**known(constructor["render"])))
    nerf.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    nerf.requires_grad_(False).to(next(iter(tensors.values())).device)
    low, high = constructor["bounds"]
    info = FieldInfo("density", float(constructor["iso_level"]), (tuple(low), tuple(high)))
    return NeRFScene(nerf, info, Placement(**known(constructor["placement"])))


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StoredScene:
    """The stored scene of a model folder. Raises KeyError, ValueError, TypeError or RuntimeError if it does not fit."""
    scene = scene_from(card.constructor, tensors)
    config = scene.nerf.config
    count = sum(parameter.numel() for parameter in scene.nerf.parameters())
    radius = (1.5 if config.ndc else (config.near + config.far) / 2) * scene.placement.metres_per_unit
    info = density_model_info(name, card, scene.info, num_parameters=count, radius=radius, image_size=128)
    return StoredScene(info, scene, next(iter(tensors.values())).device)
