"""StyleNeRF as a Generator and its Scene: rendering and upsampling, the model's info, and loading."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.errors import NotSupported
from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.generator import Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import EMPTY, cut_out, square_around
from ...scenes.trace import RayColors, RayTraced
from ...scenes.volume import cube, opaque_within, pose_prior
from ..layers.config import config_from_json
from ..layers.stylegan2 import check_shape
from .fast import PrecomputedUpsampler, can_precompute
from .model import StyleNeRF, StyleNeRFConfig

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = (
    (0.0, 1.0, 0.0, 0.0),
    (-1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Z stays up; the subject, which faces canonical +x, faces world −Y. A model card's `metres_per_unit` scales it."""


BACKGROUND_SEED = Control(
    name="background_seed",
    label="Background",
    description="Which of the model's random backgrounds",
    default=0.0,
    minimum=0.0,
    maximum=1000.0,
    unit="integer",
)
SHOW_BACKGROUND = Control(
    name="show_background",
    label="Show Background",
    description="An opaque picture with its background; without, the picture's alpha is that of the foreground",
    default=1.0,
    minimum=0.0,
    maximum=1.0,
    unit="switch",
)

POINTS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class FeatureImage:
    """Volume-rendered square image of features [1, 3 + f, n, n], and the geometry behind its pixels."""

    features: Tensor
    alpha: Tensor
    """[1, 1, n, n], of the foreground."""
    depth: Tensor
    """[1, 1, n, n], mean of the foreground, canonical units along the camera's z."""
    origins: Tensor
    """[1, rays, 3], canonical."""
    rays: Tensor
    """[1, rays, 3], canonical; as long as one canonical unit of depth."""


class StyleNeRFScene(RayTraced):
    """One latent placed in the world.

    Single rays have features but no colour; `image` is the whole pipeline by the reference path. `render` takes the
    fast upsampler (fast.py), which is precomputed when it is first asked for.
    """

    def __init__(
        self,
        network: StyleNeRF,
        ws: Tensor,
        codes: tuple[Tensor | None, Tensor | None],
        metres_per_unit: float,
        *,
        show_background: bool = True,
        reference: bool = False,
        differentiable: bool = False,
    ):
        self.network, self.codes, self.metres_per_unit, self.reference = network, codes, metres_per_unit, reference
        self.ws = (ws if differentiable else ws.detach())[None]
        self.show_background = show_background or network.config.background is None
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        self.info = field_info(network.config, metres_per_unit)

    @cached_property
    def fast_upsampler(self) -> PrecomputedUpsampler | None:
        """Upsampler of `render`, without gradients; None where the reference path was asked for or is the only one."""
        c = self.network.config
        doubles = all(b == 2 * a for a, b in itertools.pairwise([c.renderer.resolution, *c.upsampler.resolutions]))
        if self.reference or not doubles or not can_precompute(c.upsampler):
            return None
        with torch.no_grad():
            return PrecomputedUpsampler(self.network, self.ws.detach())

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Density and raw colour of the foreground at world points [..., 3]. See Scene.field."""
        canonical = points @ self.canonical_from_world[:3, :3].T + self.canonical_from_world[:3, 3]
        colours, densities = [], []
        for some in canonical.reshape(-1, 3).split(POINTS_AT_ONCE):
            values, raw = self._evaluate(some[None])
            colours.append(values[0, :, :3])
            densities.append(self.network.density(raw[0, :, 0]))
        density = torch.cat(densities).reshape(points.shape[:-1]) / self.metres_per_unit
        return FieldSample(density, (torch.cat(colours).reshape(points.shape) / 2 + 0.5).clamp(0, 1))

    def _evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.foreground(self.network.warp(points), self.network.split(self.ws)[0], self.codes[0])

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. Nothing is random here.

        Colours are the network's own, which may lie outside 0..1 where `render` clamps them.
        """
        made = self._feature_image(camera, self.network.config.renderer.num_samples)
        image, features = self.network.colour_and_features(made.features)
        rgb = cut_out(self.network.upsample(features, image, self.ws)[-1] / 2 + 0.5, camera)
        alpha = cut_out(made.alpha, camera)[..., 0]
        if self.show_background:
            alpha = torch.ones_like(alpha)
        along_ray = made.depth * made.rays.norm(dim=-1).reshape(made.depth.shape) * self.metres_per_unit
        return RayColors(rgb * alpha[..., None], alpha, cut_out(along_ray, camera)[..., 0] * alpha)

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
        """See Scene.render. A draft renders fewer samples and leaves the upsampler out; nothing here is random."""
        c = self.network.config
        samples = c.renderer.num_samples if quality == "full" else max(c.renderer.num_samples // 2, 3)
        if samples_per_ray is not None:
            samples = max(samples_per_ray // (2 if c.renderer.hierarchical else 1), 3)
        made = self._feature_image(camera, samples, lambda fraction: progress(0.5 * fraction))
        image, features = self.network.colour_and_features(made.features)
        normal = None
        if quality == "full":
            if self.fast_upsampler is None:
                image = self.network.upsample(features, image, self.ws)[-1]
            else:
                image = self.fast_upsampler(features, image)
            points = made.origins[0] + made.depth.reshape(-1, 1) * made.rays[0]
            normal = cut_out(self._normals(points).T.reshape(1, 3, *made.depth.shape[2:]), camera)
        foreground = cut_out(made.alpha, camera)[..., 0].clamp(0, 1)
        depth = cut_out(made.depth, camera)[..., 0] * self.metres_per_unit
        progress(1.0)
        return Image(
            rgb=cut_out(image / 2 + 0.5, camera).clamp(0, 1),
            alpha=torch.ones_like(foreground) if self.show_background else foreground,
            depth=torch.where(foreground > EMPTY, depth, math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * (foreground > EMPTY)[..., None],
        )

    def _feature_image(
        self, camera: Camera, samples: int, report: Callable[[float], None] = lambda fraction: None
    ) -> FeatureImage:
        """Volume-render the square around a world camera. report: called with the fraction of rays that are done."""
        c = self.network.config
        n = c.renderer.resolution
        view = square_around(camera).transformed(self.canonical_from_world.to(camera.world_from_camera))
        view_rays = view.resized(n, n).rays()
        origins = view_rays.origins.reshape(1, -1, 3)
        # Canonical length of one canonical unit of depth along the camera's z.
        rays = (view_rays.directions / view_rays.depth_from_distance[..., None]).reshape(1, -1, 3)
        rays = rays * self.metres_per_unit
        if camera.projection == "perspective":
            distance = origins.norm(dim=-1, keepdim=True)
        else:
            distance = -(origins * F.normalize(rays, dim=-1)).sum(dim=-1, keepdim=True)
        # The trained range around the camera, moved with the camera.
        near = (distance - c.camera.radius + c.camera.near).clamp(min=0.01)
        far = torch.maximum(distance - c.camera.radius + c.camera.far, near + 0.01)
        parts = []
        for some in torch.arange(n * n, device=rays.device).split(POINTS_AT_ONCE // samples):
            parts.append(
                self.network.render(
                    self.ws,
                    origins[:, some],
                    rays[:, some],
                    self.codes,
                    near=near[:, some],
                    far=far[:, some],
                    num_samples=samples,
                )
            )
            report(len(parts) * len(some) / (n * n))
        features = torch.cat([part.features for part in parts], dim=1).mT.unflatten(2, (n, n))
        alpha = torch.cat([part.weights.sum(dim=-1) for part in parts], dim=1)  # [1, rays]
        depth = torch.cat([part.surface_depth for part in parts], dim=1) / alpha.clamp(min=1e-6)
        return FeatureImage(features, alpha.reshape(1, 1, n, n), depth.reshape(1, 1, n, n), origins, rays)

    def _normals(self, points: Tensor) -> Tensor:
        """World normals [points, 3]: against the gradient of density at canonical points [points, 3]."""
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            _, raw = self._evaluate(points[None])
            (gradient,) = torch.autograd.grad(raw.sum(), points)
        return F.normalize(-gradient @ self.rotation.T, dim=-1)


def field_info(config: StyleNeRFConfig, metres_per_unit: float) -> FieldInfo:
    """The field of every scene of this network: the box that the published meshes are cut from."""
    half = (config.camera.far - config.camera.near) / 2 * metres_per_unit
    # Half opaque over the average distance between two samples.
    step = 2 * half / (config.renderer.num_samples * (2 if config.renderer.hierarchical else 1))
    return FieldInfo("density", opaque_within(step), bounds=cube(half), image_space=True)


class StyleNeRFGenerator:
    """StyleNeRF as a `Generator`."""

    def __init__(self, network: StyleNeRF, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info, self.metres_per_unit = network.eval().requires_grad_(False), info, metres_per_unit

    @property
    def device(self) -> torch.device:
        return self.network.mapping_network.w_mean.device

    def sample_z(self, seed: int) -> Tensor:
        """z [1, z_dim] as the published demo draws it."""
        return self._code(seed, self.network.config.z_dim)

    def _code(self, seed: int, length: int) -> Tensor:
        drawn = torch.from_numpy(np.random.RandomState(seed).randn(1, length)).float()
        return drawn.to(self.network.mapping_network.w_mean)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. A class-conditional network is told of no class."""
        c = self.network.config
        labels = z.new_zeros(len(z), c.condition_dim) if c.condition_dim > 0 else None
        return self.network.mapping(z, labels, truncation_psi=truncation_psi)

    def mean_ws(self) -> Tensor:
        """See Generator.mean_ws."""
        return self.network.mapping_network.w_mean.repeat(self.network.num_ws, 1)

    def synthesize(
        self,
        ws: Tensor,
        controls: dict[str, float] | None = None,
        *,
        reference: bool = False,
        differentiable: bool = False,
    ) -> StyleNeRFScene:
        """See Generator.synthesize. reference: `render` takes the reference path, too."""
        c = self.network.config
        check_shape("ws", ws, (self.network.num_ws, c.w_dim))
        controls = controls or {}
        seed = round(controls.get(BACKGROUND_SEED.name, BACKGROUND_SEED.default))
        codes = tuple(
            self._code(seed, part.z_dim) if part is not None and part.z_dim > 0 else None
            for part in (c.foreground, c.background)
        )
        return StyleNeRFScene(
            self.network,
            ws.to(self.device),
            (codes[0], codes[1]),
            self.metres_per_unit,
            show_background=controls.get(SHOW_BACKGROUND.name, SHOW_BACKGROUND.default) >= 0.5,
            reference=reference,
            differentiable=differentiable,
        )

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for.

        Geometry: the foreground field as far as its density goes. Appearance: its colours and features, the background
        and the upsampler. Late layers: the last block of the upsampler.
        """
        network = self.network
        field = network.foreground
        shape = {id(p) for layer in (field.first, field.layers) for p in layer.parameters()}
        shape |= {id(p) for p in (field.features if field.config.merged else field.density).parameters()}
        if part == "late layers":
            if not len(network.blocks):
                raise NotSupported("This StyleNeRF has no upsampler whose last layers could be edited.")
            return list(network.blocks[-1].parameters())
        everything = [p for n, p in network.named_parameters() if not n.startswith("mapping_network.")]
        if part == "all":
            return everything
        return [p for p in everything if (id(p) in shape) == (part == "geometry")]


def model_info(name: str, card: ModelCard, network: StyleNeRF) -> ModelInfo:
    """What the panel needs to know of a StyleNeRF."""
    c, scale = network.config, card.metres_per_unit
    info = field_info(c, scale)
    prior = PosePrior(
        radius=c.camera.radius * scale,
        fov=math.radians(c.camera.fov_degrees),
        azimuth=c.camera.azimuth,
        elevation=(math.pi / 2 - c.camera.polar[1], math.pi / 2 - c.camera.polar[0]),
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=c.z_dim,
        num_ws=network.num_ws,
        w_dim=c.w_dim,
        num_geometry_ws=min(c.foreground.num_layers, network.num_ws - 1),
        num_parameters=sum(p.numel() for p in network.parameters()),
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=info.iso_level,
        iso_range=(info.iso_level / 20, info.iso_level * 20),
        bounds=info.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=(c.stages or (c.renderer.resolution,))[-1],
        controls=() if c.background is None else (BACKGROUND_SEED, SHOW_BACKGROUND),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StyleNeRFGenerator:
    """The generator in a model folder."""
    network = StyleNeRF(config_from_json(StyleNeRFConfig, card.constructor))
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    return StyleNeRFGenerator(network, model_info(name, card, network), card.metres_per_unit)
