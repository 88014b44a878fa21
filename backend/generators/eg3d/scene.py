"""EG3D as a Generator and its Scene: camera conditioning, rendering quality, the model's info, and loading."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import EMPTY, cut_out, square_around
from ...scenes.volume import pose_prior
from ..layers.stylegan2 import check_shape

if TYPE_CHECKING:
    from .fast import Prepared
from .model import (
    EG3D,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    Rendering,
    RenderingConfig,
    SuperresolutionConfig,
    activate_density,
    slab,
)

IMAGE_MEMORY = ImageMemory(768 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, -1.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Canonical y up becomes world Z up, and the subject, which faces canonical +z, faces world −Y. A model card's
`metres_per_unit` scales it."""


# ---------------------------------------------------------------------------------------------------------------------
# In the world


def official_focal_length(fov_degrees: float) -> float:
    """Focal length, in image sizes, of a field of view. The published helper has these literals for √2 and π."""
    return 1 / (math.tan(fov_degrees * 3.14159 / 360) * 1.414)


@dataclass(frozen=True)
class Quality:
    """How much work a picture is."""

    resolution: int
    """Rays along each side."""
    samples: tuple[int, int]
    """Coarse, fine."""
    superresolution: bool


class EG3DScene:
    """One latent, in the world: planes and all else that depends on ws alone are made once."""

    def __init__(self, network: EG3D, ws: Tensor, metres_per_unit: float, *, reference: bool = False):
        self.network, self.ws, self.metres_per_unit = network, ws, metres_per_unit
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        with torch.no_grad():
            self.prepared = None if reference else _prepare(network, ws)
            self.planes = network.backbone(ws[None]) if self.prepared is None else self.prepared.planes
        self.info = field_info(network.config, metres_per_unit)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Density and raw colour at world points [..., 3]; nothing outside the planes. See Scene.field."""
        canonical = points @ self.canonical_from_world[:3, :3].T + self.canonical_from_world[:3, 3]
        raw, values = self.network.density_and_features(self.planes, canonical.reshape(1, -1, 3))
        inside = (canonical.abs() <= self.network.config.rendering.box_warp / 2).all(dim=-1)
        density = activate_density(raw).reshape(points.shape[:-1]) / self.metres_per_unit
        return FieldSample(density * inside, values[..., :3].reshape(points.shape).clamp(0, 1))

    def quality(self, quality: Literal["draft", "full"], samples_per_ray: int | None) -> Quality:
        """What the two words mean here; samples_per_ray: coarse and fine together."""
        r = self.network.config.rendering
        coarse, fine = r.depth_resolution, r.depth_resolution_importance
        if quality == "draft":
            coarse, fine = max(coarse // 3, 4), fine // 3
        if samples_per_ray is not None:
            share = samples_per_ray // 2 if fine > 0 else 0
            coarse, fine = max(samples_per_ray - share, 4), share
        resolution = max(r.neural_resolution // 2, min(r.neural_resolution, 32))
        return Quality(resolution if quality == "draft" else r.neural_resolution, (coarse, fine), quality == "full")

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
        """See Scene.render. A draft renders fewer rays and samples and leaves the superresolution out."""
        work = self.quality(quality, samples_per_ray)
        n = work.resolution
        view = square_around(camera).transformed(self.canonical_from_world.to(camera.world_from_camera))
        view_rays = view.resized(n, n).rays()
        origins, directions = view_rays.origins.reshape(1, -1, 3), view_rays.directions.reshape(1, -1, 3)
        near, far = self._limits(origins, directions, camera.projection)
        rendering = self._rendered(origins, directions, near, far, work.samples, jitter, progress)
        enter, leave = slab(origins, directions, self.network.config.rendering.box_warp)
        hit = (leave > enter.clamp(min=0)).reshape(1, 1, n, n)
        alpha = (rendering.alpha * hit).clamp(0, 1)
        progress(0.5, "superresolution" if work.superresolution else "")
        if not work.superresolution:
            image = rendering.features[:, :3]
        elif self.prepared is None:
            image = self.network.superresolution(rendering.features, self.ws[None])
        else:
            image = self.prepared.superresolution(rendering.features)
        depth = rendering.distance * view_rays.depth_from_distance
        normal = None
        if quality == "full":
            points = origins[0] + rendering.distance.reshape(-1, 1) * directions[0]
            normal = cut_out(self._normals(points).T.reshape(1, 3, n, n), camera)
        shown_alpha = cut_out(alpha, camera)[..., 0]
        progress(1.0)
        return Image(
            rgb=cut_out(image / 2 + 0.5, camera).clamp(0, 1),
            alpha=shown_alpha,
            depth=torch.where(shown_alpha > EMPTY, cut_out(depth, camera)[..., 0], math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * (shown_alpha > EMPTY)[..., None],
        )

    def _limits(self, origins: Tensor, directions: Tensor, projection: str) -> tuple[Tensor, Tensor]:
        """Where rays start and end, [1, rays, 1]: the trained shell around the camera, moved with the camera."""
        r = self.network.config.rendering
        near, far = self.network.ray_limits(origins, directions)
        if r.ray_start is not None:
            if projection == "perspective":
                distance = origins.norm(dim=-1, keepdim=True)
            else:
                distance = -(origins * directions).sum(dim=-1, keepdim=True)
            near, far = near + distance - r.camera_radius, far + distance - r.camera_radius
        near = near.clamp(min=0.01 * r.box_warp)
        return near, torch.maximum(far, near + 0.01 * r.box_warp)

    def _rendered(
        self,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        samples: tuple[int, int],
        generator: torch.Generator | None,
        progress: Progress,
    ) -> Rendering:
        batch, num_rays, _ = origins.shape
        jitter = u = None
        if generator is not None:
            jitter = torch.rand(batch, num_rays, samples[0], 1, generator=generator, device=origins.device)
            u = torch.rand(batch, num_rays, samples[1], generator=generator, device=origins.device)
        if self.prepared is None:
            return self.network.render(self.planes, origins, directions, near, far, jitter=jitter, u=u, samples=samples)
        return self.prepared.render(origins, directions, near, far, jitter, u, samples, progress)

    def _normals(self, points: Tensor) -> Tensor:
        """World normals [points, 3]: against the gradient of density at canonical points [points, 3]."""
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            raw, _ = self.network.density_and_features(self.planes, points[None])
            (gradient,) = torch.autograd.grad(raw.sum(), points)
        return F.normalize(-gradient @ self.rotation.T, dim=-1)


def field_info(config: EG3DConfig, metres_per_unit: float) -> FieldInfo:
    """The field of every scene of this network."""
    half = config.rendering.box_warp / 2 * metres_per_unit
    return FieldInfo(quantity="density", iso_level=iso_level(metres_per_unit), bounds=cube(half))


def cube(half: float) -> Bounds:
    return (-half, -half, -half), (half, half, half)


def iso_level(metres_per_unit: float) -> float:
    """Density, 1/metre, of the surface: where the published meshes are cut, at 10 before the activation."""
    return math.log1p(math.exp(10 - 1)) / metres_per_unit


def _prepare(network: EG3D, ws: Tensor) -> Prepared:
    from .fast import Prepared  # which is built on this module

    return Prepared(network, ws)


class EG3DGenerator:
    """EG3D as a Generator (backend/generator.py)."""

    def __init__(self, network: EG3D, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info, self.metres_per_unit = network.eval().requires_grad_(False), info, metres_per_unit

    @property
    def device(self) -> torch.device:
        return self.network.mapping_network.w_mean.device

    def sample_z(self, seed: int) -> Tensor:
        """z [1, z_dim] as `gen_samples.py` draws it."""
        z = np.random.RandomState(seed).randn(1, self.network.config.z_dim)
        return torch.from_numpy(z).float().to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping."""
        c = None
        if self.network.config.condition_dim > 0:
            c = self.condition_vector(condition).expand(len(z), -1)
        return self.network.mapping(z, c, truncation_psi=truncation_psi)

    def condition_vector(self, camera: Camera | None) -> Tensor:
        """The 25 numbers [1, 25] of a world camera: canonical pose, row by row, and intrinsics over the image size."""
        r = self.network.config.rendering
        if camera is None:
            focal = official_focal_length(r.fov_degrees)
            pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], device=self.device))
            pose[2, 3] = r.camera_radius
            intrinsics = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], device=self.device)
        else:
            square = square_around(camera).to(self.device)
            pose = torch.tensor(WORLD_FROM_CANONICAL, device=self.device).T @ square.world_from_camera
            pose[:3, 3] /= self.metres_per_unit
            size = torch.tensor([[square.width], [square.height], [1.0]], device=self.device)
            intrinsics = square.intrinsics / size
        return torch.cat([pose.flatten(), intrinsics.flatten()])[None]

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None, *, reference: bool = False) -> EG3DScene:
        """See Generator.synthesize. reference: without the preparations that make rendering fast."""
        check_shape("ws", ws, (self.network.backbone.num_ws, self.network.config.w_dim))
        return EG3DScene(self.network, ws.to(self.device), self.metres_per_unit, reference=reference)


def model_info(name: str, card: ModelCard, config: EG3DConfig, num_parameters: int) -> ModelInfo:
    """What the panel needs to know of an EG3D."""
    scale, r = card.metres_per_unit, config.rendering
    level = iso_level(scale)
    num_ws = 2 * int(math.log2(config.backbone.resolution)) - 2
    prior = PosePrior(
        radius=r.camera_radius * scale,
        fov=2 * math.atan(0.5 / official_focal_length(r.fov_degrees)),
        azimuth=(-0.5, 0.5),
        elevation=(-0.35, 0.35),
    )
    info = field_info(config, scale)
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.z_dim,
        num_ws=num_ws,
        w_dim=config.w_dim,
        # Blocks up to 32² place and shape, later ones and the superresolution colour (StyleGAN's coarse and middle).
        num_geometry_ws=min(8, num_ws - 1),
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=level,
        iso_range=(level / 10, level * 10),
        bounds=info.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.superresolution.resolutions[1],
        pose_conditioned=config.condition_dim > 0 and config.condition_scale != 0,
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def config_from_json(constructor: dict[str, Any]) -> EG3DConfig:
    """The config that `dataclasses.asdict` made a card's constructor of."""
    parts: dict[str, Any] = {
        "mapping": MappingConfig,
        "backbone": BackboneConfig,
        "superresolution": SuperresolutionConfig,
        "rendering": RenderingConfig,
    }
    values = dict(constructor)
    for name, part in parts.items():
        if name in values:
            values[name] = part(**_tuples(values[name]))
    return EG3DConfig(**values)


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> EG3DGenerator:
    """The generator in a model folder."""
    network = EG3D(config_from_json(card.constructor))
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    count = sum(p.numel() for p in network.parameters())
    return EG3DGenerator(network, model_info(name, card, network.config, count), card.metres_per_unit)
