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
from ...scenes.volume import Placement, Shell, VolumeScene, cube, meets_ball, opaque_within
from ..pigan.model import LOCKED_DIRECTION, official_fov
from ..pigan.scene import WORLD_FROM_CANONICAL
from .fast import FoldedField, ShadedField
from .model import ShadeGAN, ShadeGANConfig, SurfaceConfig, around, averaged_cells, places_in_view

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=48, per_sample=7, samples=24)

TRACE_PSNR = 40.0
"""dB, as of π-GAN: `render` leaves out samples."""

PROBED_RAYS = 64
"""Rays of a view that decide which of the samples around the surface may be interpolated."""

ON_SPHERE = 1e-3
"""How far from the training sphere a camera may be for tracked samples."""

SAME_PLACE = 1e-6
"""How far apart origins of rays from one camera may be."""

INSIDE = 1e-3
"""How far beyond the predicted view, in halves of it, a ray may be."""

SURFACE_TRACKING = Control(
    "surface_tracking",
    "Surface Tracking",
    "Fewer samples, around the surface that the model predicts for this view; off: along the whole ray",
    1.0,
    0.0,
    1.0,
    "switch",
)

LIGHT_CONTROLS = (
    Control("light_ambient", "Ambient Light", "Light from all directions", 0.4, 0.0, 1.0),
    Control("light_diffuse", "Directed Light", "Strength of the light that comes from one direction", 0.6, 0.0, 1.0),
    Control("light_x", "Light from the Side", "Towards the right of the image; 1 is 45 degrees", 0.0, -2.0, 2.0),
    Control("light_y", "Light from Above", "Upwards; 1 is 45 degrees", 0.3, -2.0, 2.0),
)


class ShadeGANScene(VolumeScene):
    """One latent under one light in the world."""

    def __init__(
        self,
        network: ShadeGAN,
        ws: Tensor,
        light: Tensor,
        placement: Placement,
        *,
        tracked_poses: PosePrior | None = None,
        differentiable: bool = False,
    ):
        """tracked_poses: views whose samples are taken around the predicted surface; None: all rays are sampled."""
        config = network.config
        super().__init__(
            placement, Shell(config.half_depth, config.reach), field_info(config, placement.metres_per_unit)
        )
        self.network, self.ws, self.light, self.differentiable = network, ws, light, differentiable
        self.tracked_poses = tracked_poses if network.config.tracks else None
        self._fast: ShadedField | None = None
        self._fast_around_surface: ShadedField | None = None

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

    def tracked(self, rays: Rays, columns: int | None) -> Tensor | None:
        """See VolumeScene.tracked: t around the surface that the surface network predicts (section 3.3).

        For rays from one trained pose. The prediction covers the official image, whose field of view depends on its
        size (`official_fov`): these rays' own where they are such an image, else that of the trained size, within
        which they must lie. A pixel takes the mean of what it sees of the prediction; a single ray, whose pixel is not
        known, the cell that it hits.
        """
        config, surface = self.network.config, self.network.config.surface
        if self.tracked_poses is None or surface is None or not len(rays.origins):
            return None
        x, y, z = rays.origins[0].unbind()
        pose = torch.stack(((y / rays.origins[0].norm()).acos(), torch.atan2(z, x)))
        rays = rays.detached()
        if not self._is_trained(rays.origins, *pose.detach().tolist()):
            return None
        place = places_in_view(rays.origins, rays.directions)
        seen = place[meets_ball(rays, self.shell.reach)].abs().flatten()
        pixel = (place[1] - place[0]).norm() if columns is not None and columns > 1 else place.new_zeros(())
        edge = math.tan(official_fov(config.fov_degrees, config.image_size) / 2)
        farthest = float(seen.max() + pixel / 2) if len(seen) else 0.0
        if columns is not None:
            own = math.tan(official_fov(config.fov_degrees, columns) / 2)
            edge = own if abs(farthest - own) < INSIDE * own else edge
        if not farthest <= edge * (1 + INSIDE):  # also where the first pixels lie behind the camera
            return None
        predicted = self.network.predicted_t(self.ws[None], pose[None])[0]
        cells = len(predicted) / (2 * edge)
        middle, half = (place + edge) * cells, pixel / 2 * cells
        return around(averaged_cells(predicted, middle - half, middle + half), surface.num_steps, surface.delta)

    def _is_trained(self, origins: Tensor, pitch: float, yaw: float) -> bool:
        """Return whether canonical origins [rays, 3] are one, on the training sphere, in one of the trained poses."""
        config, poses = self.network.config, self.tracked_poses
        on_sphere = abs(float(origins[0].norm()) - (config.ray_start + config.ray_end) / 2) < ON_SPHERE
        at_one_place = float((origins - origins[0]).abs().max()) < SAME_PLACE
        among = poses is not None and is_among(poses, math.pi / 2 - yaw, math.pi / 2 - pitch)
        return on_sphere and at_one_place and among

    def tracked_field(self, origins: Tensor, directions: Tensor, t: Tensor) -> ShadedField:
        """See VolumeScene.tracked_field."""
        if self._fast_around_surface is None or self.differentiable:
            field = self._folded(skips_empty=False)
            some = torch.randperm(len(t), generator=torch.Generator().manual_seed(0))[:PROBED_RAYS].to(t.device)
            field.probe(origins[some], directions[some], t[some])
            self._fast_around_surface = field
        return self._fast_around_surface


def is_among(poses: PosePrior, azimuth: float, elevation: float) -> bool:
    """Return whether a pose (radians) is among those of a prior, or beyond by half as much again: for a range of two
    deviations, as ours of the official ones, within three."""

    def off(value: float, ends: tuple[float, float]) -> float:
        return abs(value - (ends[0] + ends[1]) / 2) / (ends[1] - ends[0] + 1e-9)

    turned = azimuth - 2 * math.pi * round((azimuth - sum(poses.azimuth) / 2) / (2 * math.pi))
    return max(off(turned, poses.azimuth), off(elevation, poses.elevation)) <= 0.75


def field_info(config: ShadeGANConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
        trace_psnr=TRACE_PSNR,
    )


class ShadeGANGenerator(LatentGenerator[ShadeGAN]):
    """ShadeGAN as a Generator. Seeds are π-GAN's."""

    world_from_canonical = WORLD_FROM_CANONICAL
    without_edits = ("mapping_network.", "surface.")

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
        poses = self.info.pose_prior if control_value(controls, SURFACE_TRACKING) >= 0.5 else None
        return ShadeGANScene(
            self.network, ws, light, self.placement, tracked_poses=poses, differentiable=differentiable
        )

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
        controls=(*(LIGHT_CONTROLS if config.shading else ()), *((SURFACE_TRACKING,) if config.tracks else ())),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> ShadeGANGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if values.get("surface") is not None:
        values["surface"] = SurfaceConfig(**tuples_of(values["surface"]))
    network = load_network(ShadeGAN(ShadeGANConfig(**values)), tensors)
    return ShadeGANGenerator(network, model_info(name, card, network), card.metres_per_unit)
