"""ShadeGAN as a Generator and its Scene: shaded volume rendering, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera, Rays
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
from ...scenes.protocol import FieldInfo, FieldSample
from ...scenes.trace import RayColors
from ...scenes.volume import Placement, Shell, VolumeScene, cube, even_around, opaque_within
from ..pigan.model import LOCKED_DIRECTION
from ..pigan.scene import WORLD_FROM_CANONICAL
from .fast import FoldedField, ShadedField
from .model import ShadeGAN, ShadeGANConfig, SurfaceConfig, predicted_along

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=48, per_sample=7, samples=24)

TRACE_PSNR = 40.0
"""dB, as of π-GAN: `render` leaves out samples."""

TRACKED_PSNR = 30.0
"""dB, least agreement of tracked samples with all samples on some rays of a view, for which they are used."""

TRACKED_RAYS = 64

ON_SPHERE = 1e-3
"""How far from the training sphere a camera may be for tracked samples."""

LIGHT_CONTROLS = (
    Control("light_ambient", "Ambient Light", "Light from all directions", 0.4, 0.0, 1.0),
    Control("light_diffuse", "Directed Light", "Strength of the light that comes from one direction", 0.6, 0.0, 1.0),
    Control("light_x", "Light from the Side", "Towards the right of the image; 1 is 45 degrees", 0.0, -2.0, 2.0),
    Control("light_y", "Light from Above", "Upwards; 1 is 45 degrees", 0.3, -2.0, 2.0),
)


class ShadeGANScene(VolumeScene):
    """One latent under one light in the world."""

    def __init__(
        self, network: ShadeGAN, ws: Tensor, light: Tensor, placement: Placement, *, differentiable: bool = False
    ):
        config = network.config
        super().__init__(
            placement, Shell(config.half_depth, config.reach), field_info(config, placement.metres_per_unit)
        )
        self.network, self.ws, self.light, self.differentiable = network, ws, light, differentiable
        self._fast: ShadedField | None = None

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

    def num_steps(self, samples: int | None, quality: Literal["draft", "full"]) -> int:
        """See VolumeScene.num_steps. `samples` counts coarse and fine ones. A draft has half the samples."""
        if samples is not None:
            return max(samples // 2, 3)
        num_steps = self.network.config.num_steps
        return max(num_steps // 2, 4) if quality == "draft" else num_steps

    def reference_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays."""
        config = self.network.config
        draws = None if u is None else u[None]
        result = self.network.render(self.ws[None], self.light[None], origins[None], directions[None], t[None], u=draws)
        rgb, alpha = result.rgb[0], result.alpha[0]
        if config.white_back:  # white belongs to official images; here the background shows through
            rgb = (rgb - (1 - alpha[:, None])).clamp(min=0)
        if config.last_back:
            alpha = torch.ones_like(alpha)
        return RayColors(rgb, alpha, result.distance[0] * alpha, result.normal[0])

    def raw_density(self, points: Tensor) -> Tensor:
        """See VolumeScene.raw_density."""
        return self.network.geometry(self.ws[None], points[None], normals=False)[0].flatten()

    def fast_field(self) -> ShadedField:
        """Return the field with ws and light folded into its weights; of a differentiable scene, whose ws and weights
        may change between two renders, a new one each time."""
        if self._fast is None or self.differentiable:
            self._fast = self._folded(skips_empty=True)
        return self._fast

    def _folded(self, *, skips_empty: bool) -> ShadedField:
        field = FoldedField(self.network, self.ws.detach(), self.light)
        return ShadedField(
            field,
            self.shell,
            self.ws.detach(),
            hierarchical=True,
            last_back=self.network.config.last_back,
            skips_empty=skips_empty,
        )

    @torch.no_grad()
    def tracked(
        self, rays: Rays, projection: Literal["perspective", "orthographic"], hit: Tensor
    ) -> tuple[ShadedField, Tensor] | None:
        """See VolumeScene.tracked: samples around the surface that the surface network predicts (section 3.3).

        For views from the training sphere, within its field of view, and where some rays with these samples show
        what they show with all: so a prediction that misses the surface is not used.
        """
        config = self.network.config
        radius = rays.origins.norm(dim=-1)
        if config.surface is None or projection != "perspective" or not len(hit):
            return None
        if float((radius - (config.ray_start + config.ray_end) / 2).abs().max()) > ON_SPHERE:
            return None
        x, y, z = rays.origins[0].unbind()
        pose = torch.stack(((y / radius[0]).acos(), torch.atan2(z, x)))
        predicted = self.network.predicted_t(self.ws[None], pose[None])[0]
        t = predicted_along(predicted, rays.origins, rays.directions, config)
        if t[hit].isnan().any():
            return None
        t = t[:, None] + torch.linspace(
            -config.surface.delta / 2, config.surface.delta / 2, config.surface.num_steps
        ).to(t)
        some = hit[torch.randperm(len(hit), generator=torch.Generator().manual_seed(0))[:TRACKED_RAYS].to(hit)]
        origins, directions = rays.origins[some], rays.directions[some]
        everywhere = even_around(radius[some, None], config.half_depth, config.num_steps)
        expected = self.reference_rays(origins, directions, everywhere, None)
        field = self._folded(skips_empty=False)
        field.probe(origins, directions, t[some])
        found = field.render_rays(origins, directions, t[some], None)
        off = torch.cat((found.rgb - expected.rgb, (found.alpha - expected.alpha)[:, None]), -1)
        return (field, t) if float(off.square().mean()) < 10 ** (-TRACKED_PSNR / 10) else None


def field_info(config: ShadeGANConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
        trace_psnr=TRACE_PSNR if config.surface is None else TRACKED_PSNR,
    )


class ShadeGANGenerator(LatentGenerator[ShadeGAN]):
    """ShadeGAN as a Generator. Seeds are π-GAN's."""

    world_from_canonical = WORLD_FROM_CANONICAL
    without_edits = ("mapping_network.", "surface.")  # only `render` uses the surface network: no gradient arrives

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return frequencies and phases. Truncation acts on them, around the mean of many z."""
        return self.network.mapping_network(z)

    def find_center(self) -> Tensor:
        """See LatentGenerator.find_center."""
        return self.network.mean_ws()

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> ShadeGANScene:
        """See Generator.synthesize."""
        ws = self.checked(ws)
        ambient, diffuse, x, y = (control_value(controls, control) for control in LIGHT_CONTROLS)
        light = torch.tensor([2 * ambient - 1, 2 * diffuse - 1, x, y]).to(ws)
        return ShadeGANScene(self.network, ws, light, self.placement, differentiable=differentiable)

    def editable_parts(self) -> Mapping[Part, Editable]:
        """Density ends the FiLM layers before the colour layer, and normals are its gradient; the colour layer makes
        albedo alone. The late layers are those two branches and the last two FiLM layers, as in π-GAN."""
        n = self.network
        return {
            "geometry": (n.layers, n.density),
            "appearance": (n.color_layer, n.color),
            "late layers": (*n.layers[-2:], n.density, n.color_layer, n.color),
        }


def model_info(name: str, card: ModelCard, network: ShadeGAN) -> ModelInfo:
    """Return the info that the panel shows of a ShadeGAN."""
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
        controls=LIGHT_CONTROLS if config.shading else (),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> ShadeGANGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if values.get("surface") is not None:
        values["surface"] = SurfaceConfig(**tuples_of(values["surface"]))
    network = load_network(ShadeGAN(ShadeGANConfig(**values)), tensors)
    return ShadeGANGenerator(network, model_info(name, card, network), card.metres_per_unit)
