"""ShadeGAN as a Generator and its Scene: shaded volume rendering, the model's info, and loading."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.volume import Pixels, Placement, Shell, cube, opaque_within, pose_prior, render_volume
from ..pigan.model import LOCKED_DIRECTION
from ..pigan.scene import WORLD_FROM_CANONICAL, wire_fov
from .model import ShadeGAN, ShadeGANConfig, SurfaceConfig

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=48, per_sample=7, samples=24)

LIGHT_CONTROLS = (
    Control("light_ambient", "Ambient Light", "Light from everywhere", 0.4, 0.0, 1.0),
    Control("light_diffuse", "Directed Light", "Strength of the light that comes from one direction", 0.6, 0.0, 1.0),
    Control("light_x", "Light from the Side", "Towards the right of the picture; 1 is 45 degrees", 0.0, -2.0, 2.0),
    Control("light_y", "Light from Above", "Upwards; 1 is 45 degrees", 0.3, -2.0, 2.0),
)


class ShadeGANScene:
    """One latent under one light in the world."""

    def __init__(self, network: ShadeGAN, ws: Tensor, light: Tensor, placement: Placement):
        self.network, self.ws, self.light, self.placement = network, ws, light, placement
        self.info = field_info(network.config, placement.metres_per_unit)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. The colour is the albedo: a mesh is lit by whoever renders it."""
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None:
            along = canonical.new_tensor(LOCKED_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        features = self.network.features(self.ws[None], canonical * (2 / self.network.config.box_side))
        density = self.network.positive(self.network.density(features)) / self.placement.metres_per_unit
        rgb = self.network.albedo(self.ws[None], features, along, self.light[None])
        return FieldSample(density.reshape(points.shape[:-1]), rgb.reshape(points.shape))

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
        """See Scene.render. samples_per_ray: coarse and fine together. A draft has half the rays each way and half the
        samples."""
        config = self.network.config
        steps = max(config.num_steps // 2, 4) if quality == "draft" else config.num_steps
        if samples_per_ray is not None:
            steps = max(samples_per_ray // 2, 3)
        return render_volume(
            camera,
            self.placement,
            Shell(config.half_depth, config.reach),
            self._rendered,
            steps=steps,
            quality=quality,
            jitter=jitter,
            progress=progress,
        )

    def _rendered(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        config = self.network.config
        draws = None if u is None else u[None]
        result = self.network.render(self.ws[None], self.light[None], origins[None], directions[None], t[None], u=draws)
        rgb, alpha = result.rgb[0], result.alpha[0]
        if config.white_back:  # white is for pictures; here what is behind shows through
            rgb = (rgb - (1 - alpha[:, None])).clamp(min=0)
        if config.last_back:
            alpha = torch.ones_like(alpha)
        return Pixels(rgb, alpha, result.distance[0] * alpha, result.normal[0])


def field_info(config: ShadeGANConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
    )


class ShadeGANGenerator:
    """ShadeGAN as a Generator (backend/generator.py)."""

    def __init__(self, network: ShadeGAN, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(WORLD_FROM_CANONICAL.to(self.device), metres_per_unit)
        self._mean_ws: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.density.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim]: the first normal numbers after seeding torch, as π-GAN's scripts draw them."""
        z = torch.randn(1, self.network.config.z_dim, generator=torch.Generator().manual_seed(seed))
        return z.to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. Truncation acts on frequencies and phases, around the mean of many z."""
        ws = self.network.mapping_network(z)
        if truncation_psi == 1:
            return ws
        if self._mean_ws is None:
            self._mean_ws = self.network.mean_ws()
        return self._mean_ws + truncation_psi * (ws - self._mean_ws)

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> ShadeGANScene:
        """See Generator.synthesize."""
        config = self.network.config
        if tuple(ws.shape) != (config.num_ws, 2 * config.hidden_dim):
            raise ValueError(f"ws must be [{config.num_ws}, {2 * config.hidden_dim}], got {list(ws.shape)}")
        values = [(controls or {}).get(control.name, control.default) for control in LIGHT_CONTROLS]
        light = torch.tensor([2 * values[0] - 1, 2 * values[1] - 1, *values[2:]], device=self.device)
        return ShadeGANScene(self.network, ws.to(self.device), light, self.placement)


def model_info(name: str, card: ModelCard, config: ShadeGANConfig, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a ShadeGAN."""
    field = field_info(config, card.metres_per_unit)
    prior = PosePrior(
        radius=card.metres_per_unit,
        fov=wire_fov(config.fov_degrees, config.image_size),
        azimuth=(-0.6, 0.6),
        elevation=(-0.31, 0.31),
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.z_dim,
        num_ws=config.num_ws,
        w_dim=2 * config.hidden_dim,
        num_geometry_ws=config.num_layers,
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=field.iso_level,
        iso_range=(field.iso_level / 10, field.iso_level * 10),
        bounds=field.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.image_size,
        controls=LIGHT_CONTROLS if config.shading else (),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> ShadeGANGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if values.get("surface") is not None:
        values["surface"] = SurfaceConfig(tuple(values["surface"]["channels"]))
    config = ShadeGANConfig(**values)
    network = ShadeGAN(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, sum(p.numel() for p in network.parameters()))
    return ShadeGANGenerator(network, info, card.metres_per_unit)
