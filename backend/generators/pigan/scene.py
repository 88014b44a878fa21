"""π-GAN as a Generator and its Scene: volume rendering, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...scenes.generator import Part
from ...scenes.latent_generator import (
    Editable,
    LatentGenerator,
    control_value,
    latent_model_info,
    load_network,
    tuples_of,
)
from ...scenes.marched import MarchedField
from ...scenes.protocol import FieldInfo, FieldSample
from ...scenes.trace import RayColors
from ...scenes.volume import Placement, Shell, VolumeScene, cube
from .fast import FoldedField
from .model import LOCKED_DIRECTION, PiGAN, PiGANConfig

IMAGE_MEMORY = ImageMemory(192 * MEBI, per_pixel=48, per_sample=7, samples=96)

WORLD_FROM_CANONICAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""y up, facing +z becomes Z up, facing −Y: the front view of Blender."""

TRACE_PSNR = 40.0
"""dB. Strides are chosen to give 50 on random rays; small and sharp fields came to 44, others to 64 and more."""

LOCK_VIEW = Control(
    "lock_view", "Lock View Dependence", "Colours as seen from in front, in every view", 0.0, 0.0, 1.0, "switch"
)


class PiGANScene(VolumeScene):
    """One latent in the world."""

    def __init__(self, network: PiGAN, ws: Tensor, placement: Placement, *, lock_view: bool, differentiable: bool):
        config = network.config
        super().__init__(
            placement, Shell(config.half_depth, config.reach), field_info(config, placement.metres_per_unit)
        )
        self.network, self.ws, self.lock_view, self.differentiable = network, ws, lock_view, differentiable
        self._fast: MarchedField | None = None

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from in front."""
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None or self.lock_view:
            along = canonical.new_tensor(LOCKED_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        rgb, density = self.network.radiance(self.ws[None], canonical, along).split((3, 1), -1)
        density = self.network.positive(density) / self.placement.metres_per_unit
        return FieldSample(density.reshape(points.shape[:-1]), rgb.reshape(points.shape))

    def num_steps(self, samples: int | None, quality: Literal["draft", "full"]) -> int:
        """See VolumeScene.num_steps. `samples` counts coarse and fine ones. A draft has a third of the samples."""
        config = self.network.config
        if samples is not None:
            return max(samples // (2 if config.hierarchical else 1), 3)
        return max(config.num_steps // 3, 4) if quality == "draft" else config.num_steps

    def reference_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays."""
        config = self.network.config
        draws = None if u is None else u[None]
        result = self.network.render(
            self.ws[None], origins[None], directions[None], t[None], u=draws, lock_view=self.lock_view
        )
        rgb, alpha = result.rgb[0], result.alpha[0]
        if config.white_back:  # white belongs to official images; here the background shows through
            rgb = rgb - (1 - alpha[:, None])
        # with last_back the background belongs to the subject's own volume
        return RayColors(rgb, torch.ones_like(alpha) if config.last_back else alpha, result.distance[0])

    def raw_density(self, points: Tensor) -> Tensor:
        """See VolumeScene.raw_density."""
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def fast_field(self) -> MarchedField:
        """Return the field with ws folded into its weights; of a differentiable scene, whose ws and weights may change
        between two renders, a new one each time."""
        if self._fast is None or self.differentiable:
            config = self.network.config
            folded = FoldedField(self.network, self.ws.detach(), lock_view=self.lock_view)
            self._fast = MarchedField(
                folded, self.shell, self.ws.detach(), hierarchical=config.hierarchical, last_back=config.last_back
            )
        return self._fast


def field_info(config: PiGANConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=config.iso_level / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
        trace_psnr=TRACE_PSNR,
    )


class PiGANGenerator(LatentGenerator[PiGAN]):
    """π-GAN as a Generator."""

    world_from_canonical = WORLD_FROM_CANONICAL

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return frequencies and phases. Truncation acts on them, around the mean of many z."""
        return self.network.mapping_network(z)

    def find_center(self) -> Tensor:
        """See LatentGenerator.find_center."""
        return self.network.mean_ws()

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> PiGANScene:
        """See Generator.synthesize."""
        lock_view = control_value(controls, LOCK_VIEW) >= 0.5
        return PiGANScene(
            self.network, self.checked(ws), self.placement, lock_view=lock_view, differentiable=differentiable
        )

    def editable_parts(self) -> Mapping[Part, Editable]:
        """Density ends the FiLM layers before the colour layer, which only colour passes through. The late layers are
        those two branches and the last two FiLM layers, whose sines make the finest detail."""
        n = self.network
        volume = [n.embedding] if n.config.embedding_channels else []
        return {
            "geometry": [*volume, n.layers, n.density],
            "appearance": [n.color_layer, n.color],
            "late layers": [*n.layers[-2:], n.density, n.color_layer, n.color],
        }


def model_info(name: str, card: ModelCard, network: PiGAN) -> ModelInfo:
    """Return the info that the panel shows of a π-GAN."""
    config = network.config
    return latent_model_info(
        name,
        card,
        network,
        field_info(config, card.metres_per_unit),
        z_dim=config.z_dim,
        ws=(config.num_ws, 2 * config.hidden_dim),
        num_geometry_ws=config.num_layers,
        prior=PosePrior(
            radius=card.metres_per_unit,
            fov=math.radians(config.fov_degrees),
            azimuth=(-0.6, 0.6),
            elevation=(-0.31, 0.31),
        ),
        image_size=config.image_size,
        controls=(LOCK_VIEW,),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> PiGANGenerator:
    """Return the generator in a model folder."""
    network = load_network(PiGAN(PiGANConfig(**tuples_of(card.constructor))), tensors)
    return PiGANGenerator(network, model_info(name, card, network), card.metres_per_unit)
