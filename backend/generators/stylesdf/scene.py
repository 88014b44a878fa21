"""StyleSDF as a Generator and its Scene: volume rendering and upsampling, the model's info, and loading."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering import compositing
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import cut_out, square_around
from ...scenes.volume import EMPTY, Placement, cube, from_centre, meets_ball, normals_from, opaque_within, pose_prior
from .model import StyleSDF, StyleSDFConfig

IMAGE_MEMORY = ImageMemory(1536 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""y up, facing +z becomes Z up, facing −Y: the front view of Blender."""

FRONT_DIRECTION = (0.0, 0.0, -1.0)
"""The viewing direction at the middle of a picture, in the camera's own frame or from in front."""


class StyleSDFScene:
    """One latent in the world."""

    def __init__(self, network: StyleSDF, ws: Tensor, placement: Placement):
        self.network, self.ws, self.placement = network, ws, placement
        self.info = field_info(network.config, placement.metres_per_unit)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. With static directions the colour is the one at the middle of a picture."""
        config = self.network.config
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None or config.static_directions:
            along = canonical.new_tensor(FRONT_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        raw = self.network.renderer.radiance(self.ws[None], canonical / self._unit, along)
        value = raw[..., 3] * self._unit * self.placement.metres_per_unit
        if not config.use_sdf:
            value = F.relu(raw[..., 3]) / self.placement.metres_per_unit
        return FieldSample(value.reshape(points.shape[:-1]), torch.sigmoid(raw[..., :3]).reshape(points.shape))

    @property
    def _unit(self) -> float:
        """Canonical length of one unit of the points that the renderer takes."""
        return self.network.config.half_depth if self.network.config.normalize_points else 1.0

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
        """See Scene.render. The features of a square around the view are grown to the decoder's own size and cut to
        the image. A draft is the renderer's own colours, with half the samples."""
        config = self.network.config
        n = config.thumbnail_size
        num_samples = samples_per_ray or (max(config.num_samples // 2, 4) if quality == "draft" else config.num_samples)
        view = square_around(camera).resized(n, n)
        rays = self.placement.canonical_rays(view)
        directions = rays.directions * (self.placement.metres_per_unit / rays.depth_from_distance)[:, None]
        seen_along = rays.directions
        if config.static_directions:
            still = replace(view, world_from_camera=torch.eye(4).to(view.world_from_camera))
            seen_along = still.rays().directions.reshape(-1, 3) * rays.origins.new_tensor([1.0, -1.0, -1.0])
        near = (from_centre(rays, view.projection) - config.half_depth).clamp(min=0.01 * config.half_depth)
        draws = None
        if jitter is not None:
            draws = torch.rand(1, n * n, num_samples, generator=jitter, device=jitter.device).to(near)
        progress(0.0, "rendering")
        result = self.network.renderer.render(
            self.ws[None],
            rays.origins[None],
            directions[None],
            seen_along[None],
            near[None],
            near[None] + 2 * config.half_depth,
            num_samples=num_samples,
            jitter=draws,
        )
        progress(0.4, "decoding")

        def square(value: Tensor) -> Tensor:
            return value.T.reshape(1, -1, n, n)

        alpha = result.weights[0].sum(-1).clamp(0, 1) * meets_ball(rays, config.reach)
        mean_t = (result.weights * result.t).sum(-1)[0] / result.weights[0].sum(-1).clamp(min=EMPTY)
        if quality == "full" and config.image_size:
            image = self.network.upsample(self.ws[None], square(result.features[0])) / 2 + 0.5
        else:
            image = square(compositing.unpremultiply(result.rgb[0], alpha.clamp(min=EMPTY)))
        depth = mean_t * self.placement.metres_per_unit
        normal = None
        if quality == "full":
            points = rays.origins + directions * mean_t[:, None]
            outward = self.placement.directions_to_world(normals_from(self._inside, points))
            normal = cut_out(square(outward), camera)
        shown_alpha = cut_out(square(alpha[:, None]), camera)[..., 0]
        shown = shown_alpha > EMPTY
        progress(1.0)
        return Image(
            rgb=cut_out(image, camera).clamp(0, 1),
            alpha=shown_alpha,
            depth=torch.where(shown, cut_out(square(depth[:, None]), camera)[..., 0], math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * shown[..., None],
        )

    def _inside(self, points: Tensor) -> Tensor:
        """Return a value [n] that grows towards the inside, at canonical points [n, 3]."""
        renderer = self.network.renderer
        value = renderer.distance(renderer.features(self.ws[None], points[None] / self._unit)).flatten()
        return -value if self.network.config.use_sdf else value


def field_info(config: StyleSDFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    bounds = cube(config.half_depth * metres_per_unit)
    if config.use_sdf:
        return FieldInfo(quantity="sdf", iso_level=0.0, bounds=bounds)
    level = opaque_within(2 * config.half_depth / 24) / metres_per_unit
    return FieldInfo(quantity="density", iso_level=level, bounds=bounds)


class StyleSDFGenerator:
    """StyleSDF as a Generator (backend/generator.py)."""

    def __init__(self, network: StyleSDF, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(WORLD_FROM_CANONICAL.to(self.device), metres_per_unit)
        self._means: tuple[Tensor, Tensor | None] | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.renderer.distance.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, style_dim]: the first normal numbers after seeding torch, as the official script draws them."""
        z = torch.randn(1, self.network.config.style_dim, generator=torch.Generator().manual_seed(seed))
        return z.to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping."""
        if truncation_psi != 1 and self._means is None:
            self._means = self.network.mean_latents()
        return self.network.mapping(z, truncation_psi=truncation_psi, means=self._means)

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> StyleSDFScene:
        """See Generator.synthesize."""
        expected = (self.network.config.num_ws, self.network.config.w_dim)
        if tuple(ws.shape) != expected:
            raise ValueError(f"ws must be {list(expected)}, got {list(ws.shape)}")
        return StyleSDFScene(self.network, ws.to(self.device), self.placement)


def model_info(name: str, card: ModelCard, config: StyleSDFConfig, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a StyleSDF."""
    field, half = field_info(config, card.metres_per_unit), config.half_depth * card.metres_per_unit
    prior = PosePrior(
        radius=card.metres_per_unit,
        fov=math.radians(config.fov_degrees),
        azimuth=(-0.6, 0.6),
        elevation=(-0.3, 0.3),
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.style_dim,
        num_ws=config.num_ws,
        w_dim=config.w_dim,
        num_geometry_ws=config.num_layers,
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity=field.quantity,
        iso_level=field.iso_level,
        iso_range=(-half / 4, half / 4) if config.use_sdf else (field.iso_level / 10, field.iso_level * 10),
        bounds=field.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.image_size or config.thumbnail_size,
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StyleSDFGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if "decoder_channels" in values:
        values["decoder_channels"] = tuple(values["decoder_channels"])
    config = StyleSDFConfig(**values)
    network = StyleSDF(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, sum(p.numel() for p in network.parameters()))
    return StyleSDFGenerator(network, info, card.metres_per_unit)
