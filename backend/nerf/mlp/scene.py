"""A fitted NeRF (arxiv.org/abs/2003.08934) as a Scene, and loading one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, relu

from addon.wire.messages import Bounds

from ...cameras import Camera, Rays
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering.color import srgb_from_linear
from ...rendering.compositing import unpremultiply
from ...scenes.generator import Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.stored import StoredScene, density_model_info
from ...scenes.trace import RayColors, RayTraced
from .ndc import ndc_points, ndc_rays
from .network import NeRF, NetworkConfig, PassColors, RenderConfig

if TYPE_CHECKING:
    from ...models.card import ModelCard

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=160)

CHUNK_RAYS = 512

BLENDER_BOUNDS: Bounds = ((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5))
"""A box that holds each of the paper's synthetic scenes."""

ISO_LEVEL = 25.0
"""1/metre. Default level of the surface: 4 cm of it stop two thirds of the light."""


@dataclass(frozen=True)
class NeRFPlacement:
    """The networks' own frame in the world: world = middle + metres_per_unit · own. Names as in card.json."""

    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres
    metres_per_unit: float = 1.0


NO_PLACEMENT = NeRFPlacement()


class NeRFScene(RayTraced):
    """A fitted NeRF as a Scene. World is the capture's own frame (Z up for Blender captures), metres as captured.

    The networks work in a frame of their own, where the capture has the size of the paper's; near and far are measured
    there.
    """

    def __init__(self, nerf: NeRF, info: FieldInfo, placement: NeRFPlacement = NO_PLACEMENT) -> None:
        self.nerf = nerf.eval()
        self._info = info
        self.placement = placement

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        return self._info

    def tensors(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return kind, constructor and weights, as a model folder or a scene file holds them, and `load` takes them."""
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

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for: of the fine network, which makes the pixels; the coarse one places samples.

        geometry: trunk and density layer; appearance: the layers after them; late layers: the last two.
        """
        parts = {
            "geometry": ("trunk", "density"),
            "appearance": ("bottleneck", "view", "rgb"),
            "late layers": ("view", "rgb"),
            "all": ("trunk", "density", "bottleneck", "view", "rgb"),
        }
        layers = [layer for name, layer in self.nerf.fine.named_children() if name in parts[part]]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace. samples: as of `render`.

        The pixels are those of the fine network. Sample positions are constants, also those that the coarse network
        draws.
        """
        like, metres = next(self.nerf.parameters()), self.placement.metres_per_unit
        shape = rays.origins.shape[:-1]
        origins, directions = (x.reshape(-1, 3).to(like) for x in (rays.origins, rays.directions))
        origins = (origins - origins.new_tensor(self.placement.middle)) / metres
        cosine = rays.depth_from_distance.reshape(-1).to(like)
        axis = _optical_axis(directions, cosine)
        config = self._sampled_for(origins.detach().mean(0), normalize(axis, dim=0), samples)
        speed = 1.0 / (cosine[:, None] / axis.norm()).clamp(min=0.05)  # t is measured along the optical axis
        config = replace(config, white_background=False)
        colors, depth = self._colors(origins, directions, speed, config, jitter)
        alpha, rgb = colors.alpha, colors.rgb
        if config.linear:
            rgb = srgb_from_linear(unpremultiply(rgb, alpha)) * alpha[:, None]
        return RayColors(rgb, alpha, alpha * depth * speed[:, 0] * metres).reshape(*shape)

    def _own_camera(self, camera: Camera) -> Camera:
        """Transform a world camera to the networks' frame and device."""
        camera = camera.to(next(self.nerf.parameters()).device)
        own_from_world = torch.eye(4).to(camera.world_from_camera) / self.placement.metres_per_unit
        own_from_world[:3, 3] = -own_from_world.new_tensor(self.placement.middle) / self.placement.metres_per_unit
        own_from_world[3, 3] = 1.0
        return camera.transformed(own_from_world)

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

        near and far are those of the capture, measured along the camera's z as in the paper. For a camera at another
        distance than those of the capture they move with the center of the bounds. draft: a quarter of the side.
        """
        if quality == "draft":
            small = camera.resized(-(-camera.width // 4), -(-camera.height // 4))
            image = self.render(small, samples_per_ray=samples_per_ray, jitter=jitter, progress=progress)
            return _resized(image, camera.width, camera.height)
        camera = self._own_camera(camera)
        pose = camera.world_from_camera
        config = self._sampled_for(pose[:3, 3], normalize(pose[:3, 2], dim=0), samples_per_ray)
        rays = camera.rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        # t is measured along the camera's z, in the networks' own unit whatever the scale of the camera's matrix
        units = camera.world_from_camera[:3, 2].norm()
        speed = 1.0 / (rays.depth_from_distance.reshape(-1, 1).clamp(min=0.05) * units)
        rgb, alpha, depth = [], [], []
        for start in range(0, len(origins), CHUNK_RAYS):
            progress(start / len(origins), "Rendering")
            part = slice(start, start + CHUNK_RAYS)
            colors, t = self._colors(origins[part], directions[part], speed[part], config, jitter)
            premultiplied = colors.rgb - (1.0 - colors.alpha[..., None]) if config.white_background else colors.rgb
            straight = unpremultiply(premultiplied, colors.alpha)
            rgb.append(srgb_from_linear(straight) if config.linear else straight)
            alpha.append(colors.alpha)
            depth.append(torch.where(colors.alpha > 0.5, t / units, torch.inf))
        shape = (camera.height, camera.width)
        return Image(
            torch.cat(rgb).reshape(*shape, 3).clamp(0, 1),
            torch.cat(alpha).reshape(shape).clamp(0, 1),
            torch.cat(depth).reshape(shape),
        )

    def _sampled_for(self, origin: Tensor, forward: Tensor, samples_per_ray: int | None) -> RenderConfig:
        """Return the sampling of a camera at origin [3] that looks along forward [3], in the networks' frame."""
        config = self.nerf.config
        if samples_per_ray is not None:
            total = config.coarse_samples + config.fine_samples
            coarse = max(3, round(samples_per_ray * config.coarse_samples / total))
            config = replace(config, coarse_samples=coarse, fine_samples=max(1, samples_per_ray - coarse))
        if config.ndc:
            return config
        center = forward.new_tensor(self.info.bounds).mean(0) - forward.new_tensor(self.placement.middle)
        center = center / self.placement.metres_per_unit
        moved = float((center - origin) @ forward) - (config.near + config.far) / 2
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
    ) -> tuple[PassColors, Tensor]:
        """Return the fine pass of rays [R, 3] with unit directions, and its depth [R] along the camera's z, in the
        networks' unit."""
        if not config.ndc:
            fine = self.nerf.render_rays(origins, directions * speed, directions, generator=jitter, config=config).fine
            return fine, fine.depth / fine.alpha.clamp(min=1e-10)
        focal_x, focal_y = config.ndc_focal
        ahead = directions[..., 2] < -1e-3  # the capture looks along −z; nothing is known behind it
        forward = torch.where(ahead[..., None], directions, directions.new_tensor([0.0, 0.0, -1.0]))
        warped = ndc_rays(origins, forward, 1.0, 1.0 / focal_x, 1.0 / focal_y)
        fine = self.nerf.render_rays(*warped, forward, generator=jitter, config=config).fine
        z = 2.0 / (warped[0][..., 2] + fine.depth / fine.alpha.clamp(min=1e-10) * warped[1][..., 2] - 1.0)
        distance = (z - origins[..., 2]) / forward[..., 2]
        return replace(fine, alpha=torch.where(ahead, fine.alpha, 0.0)), distance / speed[..., 0]


@torch.no_grad()
def _optical_axis(directions: Tensor, depth_from_distance: Tensor) -> Tensor:
    """Return the vector g [3] with directions [R, 3] · g = depth_from_distance [R], by least squares of minimal norm:
    the unit optical axis of a camera (divided by its scale); the direction of a single ray."""
    a, b = directions.double().cpu(), depth_from_distance.double().cpu()
    return (torch.linalg.pinv(a.T @ a, hermitian=True, rtol=1e-9) @ (a.T @ b)).to(directions)


def constructor_of(
    coarse: NetworkConfig,
    fine: NetworkConfig,
    render: RenderConfig,
    bounds: Bounds,
    *,
    iso_level: float = ISO_LEVEL,
    placement: NeRFPlacement = NO_PLACEMENT,
) -> dict[str, Any]:
    """Return the arguments of `scene_from` as plain JSON; they go into the card, where they may be edited."""
    return {
        "coarse": asdict(coarse),
        "fine": asdict(fine),
        "render": asdict(render),
        "bounds": [list(corner) for corner in bounds],
        "iso_level": iso_level,
        "placement": asdict(placement),
    }


def scene_from(constructor: Mapping[str, Any], tensors: dict[str, Tensor]) -> NeRFScene:
    """Return the scene of what `NeRFScene.tensors` returned. Raises KeyError, TypeError or RuntimeError."""

    def known(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    coarse, fine = NetworkConfig(**known(constructor["coarse"])), NetworkConfig(**known(constructor["fine"]))
    with torch.device("meta"):  # takes no memory until the tensors are known to fit
        nerf = NeRF(coarse, fine, RenderConfig(**known(constructor["render"])))
    nerf.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    nerf.requires_grad_(False).to(next(iter(tensors.values())).device)
    low, high = constructor["bounds"]
    info = FieldInfo("density", float(constructor["iso_level"]), (tuple(low), tuple(high)), rough=True)
    return NeRFScene(nerf, info, NeRFPlacement(**known(constructor["placement"])))


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StoredScene:
    """Return the stored scene of a model folder.

    Raises:
        KeyError, ValueError, TypeError, RuntimeError: the tensors do not fit the card.
    """
    scene = scene_from(card.constructor, tensors)
    config = scene.nerf.config
    count = sum(parameter.numel() for parameter in scene.nerf.parameters())
    radius = (1.5 if config.ndc else (config.near + config.far) / 2) * scene.placement.metres_per_unit
    info = density_model_info(name, card, scene.info, num_parameters=count, radius=radius, image_size=128)
    return StoredScene(info, scene, next(iter(tensors.values())).device)


def _resized(image: Image, width: int, height: int) -> Image:
    """Return an image at another size: colour and alpha interpolated, depth of the nearest pixel."""
    stacked = torch.cat((image.rgb * image.alpha[..., None], image.alpha[..., None]), -1).permute(2, 0, 1)[None]
    smooth = interpolate(stacked, (height, width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    depth = interpolate(image.depth[None, None], (height, width), mode="nearest")[0, 0]
    rgb = unpremultiply(smooth[..., :3], smooth[..., 3])
    return Image(rgb.clamp(0, 1), smooth[..., 3], depth)
