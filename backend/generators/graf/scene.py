"""GRAF as a Generator and its Scene: volume rendering, the model's info, and loading."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering.marching import Occupancy, Strides, march, strides_for
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.volume import Pixels, Placement, Shell, chords, cube, opaque_within, pose_prior, render_volume
from .fast import FastField
from .model import GRAF, GRAFConfig

IMAGE_MEMORY = ImageMemory(192 * MEBI, per_pixel=48, per_sample=13, samples=64)

WORLD_FROM_CANONICAL = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""z stays up; azimuth 0 of the training cameras, on +x, comes to the front, −Y."""

FRONT_DIRECTION = (-1.0, 0.0, 0.0)
"""The viewing direction of colours that are asked for without one."""

OCCUPANCY_RESOLUTION = 32
WORTH_SKIPPING = 0.9
"""With more of its cells occupied than this, a grid is not asked."""

PROBES = 48
"""Rays that say which samples may be interpolated."""


class GRAFScene:
    """One pair of codes in the world: what depends on ws alone is made once."""

    def __init__(self, network: GRAF, ws: Tensor, placement: Placement):
        self.network, self.ws, self.placement = network, ws, placement
        self.info = field_info(network.config, placement.metres_per_unit)
        with torch.no_grad():
            self.fast = FastField(network, ws)
        self._occupancy: Occupancy | None = None
        self._strides: dict[int, Strides] = {}
        self._shell = Shell(network.config.half_depth, network.config.reach, by_depth=True)

    @property
    def occupancy(self) -> Occupancy:
        """Where density may be positive; made when first asked for."""
        if self._occupancy is None:
            half = self.network.config.reach
            self._occupancy = Occupancy(self.fast, half, OCCUPANCY_RESOLUTION, like=self.ws)
        return self._occupancy

    @property
    def _occupied(self) -> Occupancy | None:
        return self.occupancy if self.occupancy.share < WORTH_SKIPPING else None

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from in front and level."""
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None:
            along = canonical.new_tensor(FRONT_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        color, density = self.network.radiance(self.ws[None], canonical, along).split((3, 1), -1)
        density = F.relu(density) / self.placement.metres_per_unit
        return FieldSample(density.reshape(points.shape[:-1]), torch.sigmoid(color).reshape(points.shape))

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
        """See Scene.render. A draft has half the rays each way and half the samples. reference: by the network
        itself, every sample evaluated."""
        config = self.network.config
        steps = max(config.num_samples // 2, 4) if quality == "draft" else config.num_samples
        return render_volume(
            camera,
            self.placement,
            self._shell,
            self._reference if reference else self._fast,
            steps=samples_per_ray or steps,
            quality=quality,
            jitter=jitter,
            progress=progress,
            density=self._reference_density if reference else self._density,
        )

    def _reference_density(self, points: Tensor) -> Tensor:
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def _density(self, points: Tensor) -> Tensor:
        return self.network.density(self.fast.features(points)).flatten()

    def _reference(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        result = self.network.render(self.ws[None], origins[None], directions[None], t=t[None])
        rgb, alpha = result.rgb[0], result.alpha[0]
        if self.network.config.white_background:  # white is for pictures; here what is behind shows through
            rgb = rgb - (1 - alpha[:, None])
        return Pixels(rgb, alpha, result.depth[0])

    def _strides_for(self, steps: int) -> Strides:
        if steps not in self._strides:
            rays = chords(self._shell, PROBES, steps, self.ws)
            self._strides[steps] = strides_for(self.fast, *rays, occupied=self._occupied)
        return self._strides[steps]

    def _fast(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        strides = self._strides_for(t.shape[-1])
        result = march(self.fast, origins, directions, t, occupied=self._occupied, strides=strides)
        return Pixels(result.rgb, result.alpha, result.t)


def field_info(config: GRAFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
    )


class GRAFGenerator:
    """GRAF as a Generator (backend/generator.py)."""

    def __init__(self, network: GRAF, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(WORLD_FROM_CANONICAL.to(self.device), metres_per_unit)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.density.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim]: the first normal numbers after seeding torch, as the official evaluation draws them."""
        z = torch.randn(1, self.network.config.z_dim, generator=torch.Generator().manual_seed(seed))
        return z.to(self.device)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. GRAF has none: z is scaled towards its mean, which is zero."""
        return self.network.ws_from_z(z) * truncation_psi

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> GRAFScene:
        """See Generator.synthesize."""
        if tuple(ws.shape) != (2, self.network.config.w_dim):
            raise ValueError(f"ws must be [2, {self.network.config.w_dim}], got {list(ws.shape)}")
        return GRAFScene(self.network, ws.to(self.device), self.placement)


def model_info(name: str, card: ModelCard, config: GRAFConfig, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a GRAF."""
    field = field_info(config, card.metres_per_unit)
    prior = PosePrior(
        radius=sum(config.radius) / 2 * card.metres_per_unit,
        fov=math.radians(config.fov_degrees),
        elevation=(0.0, math.pi / 2),
        default_elevation=math.pi / 8,
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.z_dim,
        num_ws=2,
        w_dim=config.w_dim,
        num_geometry_ws=1,
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
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GRAFGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if "radius" in values:
        values["radius"] = tuple(values["radius"])
    config = GRAFConfig(**values)
    network = GRAF(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, sum(p.numel() for p in network.parameters()))
    return GRAFGenerator(network, info, card.metres_per_unit)
