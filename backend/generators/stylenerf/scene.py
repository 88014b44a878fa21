"""StyleNeRF as a Generator and its Scene: rendering and upsampling, the model's info, and loading."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Bounds, Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import EMPTY, cut_out, square_around
from ...scenes.volume import pose_prior
from ..layers.stylegan2 import check_shape

if TYPE_CHECKING:
    from .fast import PreparedUpsampler
from .model import CameraConfig, FieldConfig, MappingConfig, RendererConfig, StyleNeRF, StyleNeRFConfig, UpsamplerConfig

IMAGE_MEMORY = ImageMemory(512 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = (
    (0.0, 1.0, 0.0, 0.0),
    (-1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Z stays up; the subject, which faces canonical +x, faces world −Y. A model card's `metres_per_unit` scales it."""


# ---------------------------------------------------------------------------------------------------------------------
# In the world

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


class StyleNeRFScene:
    """One latent, in the world."""

    def __init__(
        self,
        network: StyleNeRF,
        ws: Tensor,
        codes: tuple[Tensor | None, Tensor | None],
        metres_per_unit: float,
        *,
        show_background: bool = True,
        reference: bool = False,
    ):
        self.network, self.ws, self.codes, self.metres_per_unit = network, ws[None], codes, metres_per_unit
        self.show_background = show_background or network.config.background is None
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        self.info = field_info(network.config, metres_per_unit)
        with torch.no_grad():
            self.upsampler = None if reference else _prepare(network, self.ws)

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
        n = c.renderer.resolution
        samples = c.renderer.num_samples if quality == "full" else max(c.renderer.num_samples // 2, 3)
        if samples_per_ray is not None:
            samples = max(samples_per_ray // (2 if c.renderer.hierarchical else 1), 3)
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
            progress(0.5 * len(parts) * len(some) / (n * n))
        features = torch.cat([part.features for part in parts], dim=1).mT.unflatten(2, (n, n))
        alpha = torch.cat([part.weights.sum(dim=-1) for part in parts], dim=1)  # [1, rays]
        depth = torch.cat([part.surface_depth for part in parts], dim=1) / alpha.clamp(min=1e-6)
        image, features = self.network.colour_and_features(features)
        if quality == "full":
            if self.upsampler is None:
                image = self.network.upsample(features, image, self.ws)[-1]
            else:
                image = self.upsampler(features, image)
        normal = None
        if quality == "full":
            points = origins[0] + depth.reshape(-1, 1) * rays[0]
            normal = cut_out(self._normals(points).T.reshape(1, 3, n, n), camera)
        foreground = cut_out(alpha.reshape(1, 1, n, n), camera)[..., 0].clamp(0, 1)
        shown_depth = cut_out(depth.reshape(1, 1, n, n), camera)[..., 0] * self.metres_per_unit
        progress(1.0)
        return Image(
            rgb=cut_out(image / 2 + 0.5, camera).clamp(0, 1),
            alpha=torch.ones_like(foreground) if self.show_background else foreground,
            depth=torch.where(foreground > EMPTY, shown_depth, math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * (foreground > EMPTY)[..., None],
        )

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
    bounds: Bounds = ((-half, -half, -half), (half, half, half))
    # Half opaque over the average distance between two samples.
    step = 2 * half / (config.renderer.num_samples * (2 if config.renderer.hierarchical else 1))
    return FieldInfo(quantity="density", iso_level=math.log(2) / step, bounds=bounds)


def _prepare(network: StyleNeRF, ws: Tensor) -> PreparedUpsampler | None:
    from .fast import PreparedUpsampler, can_prepare  # which are built on this module

    doubles = all(
        b == 2 * a
        for a, b in itertools.pairwise([network.config.renderer.resolution, *network.config.upsampler.resolutions])
    )
    return PreparedUpsampler(network, ws) if doubles and can_prepare(network.config.upsampler) else None


class StyleNeRFGenerator:
    """StyleNeRF as a Generator (backend/generator.py)."""

    def __init__(self, network: StyleNeRF, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info, self.metres_per_unit = network.eval().requires_grad_(False), info, metres_per_unit

    @property
    def device(self) -> torch.device:
        return self.network.mapping_network.w_mean.device

    def sample_z(self, seed: int) -> Tensor:
        """z [1, z_dim] as the published demo draws it."""
        return self._code(seed, self.network.config.z_dim)

    def _code(self, seed: int, length: int) -> Tensor:
        return torch.from_numpy(np.random.RandomState(seed).randn(1, length)).float().to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. A class-conditional network is told of no class."""
        c = self.network.config
        labels = z.new_zeros(len(z), c.condition_dim) if c.condition_dim > 0 else None
        return self.network.mapping(z, labels, truncation_psi=truncation_psi)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, reference: bool = False
    ) -> StyleNeRFScene:
        """See Generator.synthesize. reference: without the preparations that make rendering fast."""
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
        )


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


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def config_from_json(constructor: dict[str, Any]) -> StyleNeRFConfig:
    """The config that `dataclasses.asdict` made a card's constructor of."""
    parts: dict[str, Any] = {
        "foreground": FieldConfig,
        "background": FieldConfig,
        "mapping": MappingConfig,
        "camera": CameraConfig,
        "renderer": RendererConfig,
        "upsampler": UpsamplerConfig,
    }
    made = {k: v if v is None or k not in parts else parts[k](**_tuples(v)) for k, v in constructor.items()}
    return StyleNeRFConfig(**made)


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StyleNeRFGenerator:
    """The generator in a model folder."""
    network = StyleNeRF(config_from_json(card.constructor))
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    return StyleNeRFGenerator(network, model_info(name, card, network), card.metres_per_unit)
