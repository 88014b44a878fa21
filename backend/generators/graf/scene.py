"""GRAF as a Generator and its Scene: volume rendering, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...scenes.generator import Part
from ...scenes.latent_generator import Editable, LatentGenerator, latent_model_info, load_network, tuples_of
from ...scenes.marched import MarchedField
from ...scenes.protocol import FieldInfo, FieldSample
from ...scenes.trace import RayColors
from ...scenes.volume import Placement, Shell, VolumeScene, cube, opaque_within
from .fast import FastField
from .model import GRAF, SKIP_AFTER, GRAFConfig

IMAGE_MEMORY = ImageMemory(192 * MEBI, per_pixel=48, per_sample=13, samples=64)

WORLD_FROM_CANONICAL = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""z stays up; azimuth 0 of the training cameras, on +x, comes to the front, −Y."""

TRACE_PSNR = 40.0
"""dB. Strides are chosen to give 50 on random rays; 53 and more were measured."""

FRONT_DIRECTION = (-1.0, 0.0, 0.0)
"""The viewing direction of colours that are asked for without one."""


class GRAFScene(VolumeScene):
    """One pair of codes in the world."""

    def __init__(self, network: GRAF, ws: Tensor, placement: Placement, *, differentiable: bool):
        config = network.config
        shell = Shell(config.half_depth, config.reach, by_depth=True)
        super().__init__(placement, shell, field_info(config, placement.metres_per_unit))
        self.network, self.ws, self.differentiable = network, ws, differentiable
        self._fast: MarchedField | None = None

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

    def num_steps(self, samples: int | None, quality: Literal["draft", "full"]) -> int:
        """See VolumeScene.num_steps. A draft has half the samples."""
        num_samples = self.network.config.num_samples
        return samples or (max(num_samples // 2, 4) if quality == "draft" else num_samples)

    def reference_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays. There are no fine samples."""
        result = self.network.render(self.ws[None], origins[None], directions[None], t=t[None])
        rgb, alpha = result.rgb[0], result.alpha[0]
        if self.network.config.white_background:  # white belongs to official images; here the background shows through
            rgb = rgb - (1 - alpha[:, None])
        return RayColors(rgb, alpha, result.depth[0])

    def raw_density(self, points: Tensor) -> Tensor:
        """See VolumeScene.raw_density."""
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def fast_field(self) -> MarchedField:
        """Return the field with the codes folded into its biases; of a differentiable scene, whose ws and weights may
        change between two renders, a new one each time."""
        if self._fast is None or self.differentiable:
            ws = self.ws.detach()
            self._fast = MarchedField(FastField(self.network, ws), self.shell, ws)
        return self._fast


def field_info(config: GRAFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
        trace_psnr=TRACE_PSNR,
    )


class GRAFGenerator(LatentGenerator[GRAF]):
    """GRAF as a Generator."""

    world_from_canonical = WORLD_FROM_CANONICAL

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return the two codes. GRAF has no mapping network: truncation scales z towards its mean, zero."""
        return self.network.ws_from_z(z)

    def find_center(self) -> Tensor:
        """Return the codes of z = 0, the mean of the normal distribution that z is drawn from."""
        return self.network.ws_from_z(next(self.network.parameters()).new_zeros(self.info.z_dim))

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> GRAFScene:
        """See Generator.synthesize."""
        return GRAFScene(self.network, self.checked(ws), self.placement, differentiable=differentiable)

    def editable_parts(self) -> Mapping[Part, Editable]:
        """Density ends the layers that see the shape code; what follows (the bottleneck and the layers that see the
        appearance code) makes colour alone. The late layers are those behind the one where the point joins again."""
        n = self.network
        appearance = (n.bottleneck, n.color_layer, n.color)
        return {
            "geometry": (n.layers, n.density),
            "appearance": appearance,
            "late layers": (*n.layers[SKIP_AFTER + 1 :], n.density, *appearance),
        }


def model_info(name: str, card: ModelCard, network: GRAF) -> ModelInfo:
    """Return the info that the panel shows of a GRAF."""
    config = network.config
    return latent_model_info(
        name,
        card,
        network,
        field_info(config, card.metres_per_unit),
        z_dim=config.z_dim,
        ws=(2, config.w_dim),
        num_geometry_ws=1,
        prior=PosePrior(
            radius=sum(config.radius) / 2 * card.metres_per_unit,
            fov=math.radians(config.fov_degrees),
            elevation=(0.0, math.pi / 2),
            default_elevation=math.pi / 8,
        ),
        image_size=config.image_size,
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GRAFGenerator:
    """Return the generator in a model folder."""
    network = load_network(GRAF(GRAFConfig(**tuples_of(card.constructor))), tensors)
    return GRAFGenerator(network, model_info(name, card, network), card.metres_per_unit)
