"""EG3D as a Generator and its Scene: camera conditioning, rendering quality, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera, Rays
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering.boxes import box_interval
from ...scenes.generator import Part
from ...scenes.latent_generator import Editable, LatentGenerator, latent_model_info, load_network
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import EMPTY, cut_out, square_around
from ...scenes.trace import RayColors
from ..layers.config import config_from_json
from .fast import Precomputed
from .fused import RayFeatures, has_fused_gradients, render_planes
from .model import EG3D, EG3DConfig, activate_density, square_image

IMAGE_MEMORY = ImageMemory(768 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, -1.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Canonical y up becomes world Z up, and the subject, which faces canonical +z, faces world −Y. A model card's
`metres_per_unit` scales it."""


def official_focal_length(fov_degrees: float) -> float:
    """Focal length, in image sizes, of a field of view. The published helper has these literals for √2 and π."""
    return 1 / (math.tan(fov_degrees * 3.14159 / 360) * 1.414)


@dataclass(frozen=True)
class RenderSettings:
    """Amount of work for one image."""

    resolution: int
    """Rays along each side."""
    samples: tuple[int, int]
    """Coarse, fine."""
    superresolution: bool


@dataclass(frozen=True)
class CanonicalRays:
    """Rays of one image in the canonical frame, and the distances between which they are sampled."""

    origins: Tensor
    """[1, rays, 3]."""
    directions: Tensor
    """[1, rays, 3], unit."""
    near: Tensor
    """Broadcasts against [1, rays, 1]."""
    far: Tensor

    def in_box(self, box: Bounds) -> Tensor:
        """Rays [1, rays, 1] that meet the box."""
        near, far = box_interval(self.origins, self.directions, box)
        return (far > near)[..., None]


class EG3DScene:
    """One latent placed in the world.

    `image` is the whole pipeline and `trace` the neural rendering of single rays, both by the reference path, which the
    fused kernel computes where it can (fused.py); `render` is the fast one (fast.py), which is precomputed when it is
    first asked for. A scene made with `differentiable=True`
    makes its planes anew each time, for ws and weights may have changed.
    """

    def __init__(
        self,
        network: EG3D,
        ws: Tensor,
        metres_per_unit: float,
        *,
        reference: bool = False,
        differentiable: bool = False,
    ):
        self.network, self.metres_per_unit, self.reference = network, metres_per_unit, reference
        self.ws, self.differentiable = ws if differentiable else ws.detach(), differentiable
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        self.info = field_info(network.config, metres_per_unit)
        self._fast: tuple[Precomputed | None, Tensor] | None = None

    @property
    def planes(self) -> Tensor:
        """Planes of `field`, `trace` and `image` [1, 3, features, height, width]."""
        return self.network.backbone(self.ws[None]) if self.differentiable else self.fast_path()[1]

    def fast_path(self) -> tuple[Precomputed | None, Tensor]:
        """Return all that `render` needs of ws, without gradients (None: it takes the reference path), and planes."""
        if self._fast is None or self.differentiable:
            with torch.no_grad():
                made = None if self.reference else Precomputed(self.network, self.ws.detach())
                self._fast = made, self.network.backbone(self.ws[None]) if made is None else made.planes
        return self._fast

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Density and raw colour at world points [..., 3]; zero outside the planes. See Scene.field."""
        canonical = points @ self.canonical_from_world[:3, :3].T + self.canonical_from_world[:3, 3]
        raw, values = self.network.density_and_features(self.planes, canonical.reshape(1, -1, 3))
        inside = (canonical.abs() <= canonical.new_tensor(self.network.config.rendering.bounds[1])).all(dim=-1)
        density = activate_density(raw).reshape(points.shape[:-1]) / self.metres_per_unit
        return FieldSample(density * inside, values[..., :3].reshape(points.shape).clamp(0, 1))

    def settings(self, quality: Literal["draft", "full"], samples_per_ray: int | None) -> RenderSettings:
        """Settings of a quality; samples_per_ray: coarse and fine together."""
        r = self.network.config.rendering
        coarse, fine = r.depth_resolution, r.depth_resolution_importance
        if quality == "draft":
            coarse, fine = max(coarse // 3, 4), fine // 3
        if samples_per_ray is not None:
            share = samples_per_ray // 2 if fine > 0 else 0
            coarse, fine = max(samples_per_ray - share, 4), share
        resolution = max(r.neural_resolution // 2, min(r.neural_resolution, 32))
        return RenderSettings(
            resolution if quality == "draft" else r.neural_resolution, (coarse, fine), quality == "full"
        )

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """Return the raw colours of single rays, before the superresolution. See Scene.trace.

        Rays count as those of a perspective camera at their origins. samples: coarse and fine together.
        """
        shape = rays.origins.shape[:-1]
        matrix = self.canonical_from_world.to(rays.origins)
        origins = (rays.origins @ matrix[:3, :3].T + matrix[:3, 3]).reshape(1, -1, 3)
        directions = (rays.directions @ self.rotation.to(rays.directions)).reshape(1, -1, 3)
        canonical = self._with_limits(origins, directions, "perspective")
        settings = self.settings("full", samples)
        noise, u = self._draws(canonical, settings.samples, jitter)
        made = self._rendered(canonical, noise, u, settings.samples)
        hit = canonical.in_box(self.network.config.rendering.bounds)
        rgb = made.features[..., :3] / 2 + 0.5
        if self.network.config.rendering.white_back:
            rgb = rgb - (1 - made.alpha)
        alpha = made.alpha * hit
        distance = made.distance * alpha * self.metres_per_unit
        return RayColors((rgb * hit)[0], alpha[0, :, 0], distance[0, :, 0]).reshape(*shape)

    def _rendered(
        self, rays: CanonicalRays, jitter: Tensor | None, u: Tensor | None, samples: tuple[int, int]
    ) -> RayFeatures:
        """Render rays differentiably: by the fused kernel if rays need no gradient, else by the network."""
        planes, arguments = self.planes, (rays.origins, rays.directions, rays.near, rays.far)
        if has_fused_gradients(planes, *arguments):
            return render_planes(self.network, planes, *arguments, jitter=jitter, u=u, samples=samples)
        made = self.network.render_rays(planes, *arguments, jitter=jitter, u=u, samples=samples).composite
        return RayFeatures(made.features, made.alpha, made.distance)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. Colours are the network's own, which may lie outside 0..1 where `render` clamps them."""
        settings = self.settings("full", None)
        rays = self._camera_rays(camera, settings.resolution)[0]
        noise, u = self._draws(rays, settings.samples, jitter)
        features, alpha, distance = map(square_image, self._rendered(rays, noise, u, settings.samples))
        rgb = cut_out(self.network.superresolution(features, self.ws[None]) / 2 + 0.5, camera)
        small_alpha = self._alpha(alpha, rays)
        alpha = cut_out(small_alpha, camera)[..., 0]
        distance = cut_out(distance * small_alpha * self.metres_per_unit, camera)[..., 0]
        return RayColors(rgb * alpha[..., None], alpha, distance)

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
        settings = self.settings(quality, samples_per_ray)
        n = settings.resolution
        rays, depth_from_distance = self._camera_rays(camera, n)
        fast, planes = self.fast_path()
        noise, u = self._draws(rays, settings.samples, jitter)
        arguments = (rays.origins, rays.directions, rays.near, rays.far)
        if fast is None:
            rendering = self.network.render(planes, *arguments, jitter=noise, u=u, samples=settings.samples)
        else:
            rendering = fast.render(*arguments, noise, u, settings.samples, progress)
        alpha = self._alpha(rendering.alpha, rays)
        progress(0.5, "superresolution" if settings.superresolution else "")
        if not settings.superresolution:
            image = rendering.features[:, :3]
        elif fast is None:
            image = self.network.superresolution(rendering.features, self.ws[None])
        else:
            image = fast.superresolution(rendering.features)
        depth = rendering.distance * depth_from_distance
        normal = None
        if quality == "full":
            points = rays.origins[0] + rendering.distance.reshape(-1, 1) * rays.directions[0]
            normal = cut_out(self._normals(planes, points).T.reshape(1, 3, n, n), camera)
        shown_alpha = cut_out(alpha, camera)[..., 0]
        progress(1.0)
        return Image(
            rgb=cut_out(image / 2 + 0.5, camera).clamp(0, 1),
            alpha=shown_alpha,
            depth=torch.where(shown_alpha > EMPTY, cut_out(depth, camera)[..., 0], math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * (shown_alpha > EMPTY)[..., None],
        )

    def _camera_rays(self, camera: Camera, resolution: int) -> tuple[CanonicalRays, Tensor]:
        """Return the rays of the square around a world camera, and metres of depth by canonical distance."""
        view = square_around(camera).transformed(self.canonical_from_world.to(camera.world_from_camera))
        rays = view.resized(resolution, resolution).rays()
        origins, directions = rays.origins.reshape(1, -1, 3), rays.directions.reshape(1, -1, 3)
        return self._with_limits(origins, directions, camera.projection), rays.depth_from_distance

    def _with_limits(self, origins: Tensor, directions: Tensor, projection: str) -> CanonicalRays:
        """Return the rays with the trained range of distances, which is measured from the camera and moves with it."""
        r = self.network.config.rendering
        near, far = self.network.ray_limits(origins, directions)
        if r.ray_start is not None:
            if projection == "perspective":
                distance = origins.norm(dim=-1, keepdim=True)
            else:
                distance = -(origins * directions).sum(dim=-1, keepdim=True)
            near, far = near + distance - r.camera_radius, far + distance - r.camera_radius
        near = near.clamp(min=0.01 * r.box_warp)
        shortest = 0.01 * r.box_warp if r.ray_box is None else 0.0
        return CanonicalRays(origins, directions, near, torch.maximum(far, near + shortest))

    def _alpha(self, alpha: Tensor, rays: CanonicalRays) -> Tensor:
        """Return the opacity of an image [1, 1, n, n]: 0 for rays that miss the planes."""
        hit = square_image(rays.in_box(self.network.config.rendering.bounds))
        return (alpha * hit).clamp(0, 1)

    def _draws(
        self, rays: CanonicalRays, samples: tuple[int, int], generator: torch.Generator | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the random numbers of the coarse and of the fine samples, or None without a generator."""
        if generator is None:
            return None, None
        batch, num_rays, _ = rays.origins.shape
        device = rays.origins.device
        jitter = torch.rand(batch, num_rays, samples[0], 1, generator=generator, device=device)
        u = torch.rand(batch, num_rays, samples[1], generator=generator, device=device)
        return jitter.to(rays.origins), u.to(rays.origins)

    def _normals(self, planes: Tensor, points: Tensor) -> Tensor:
        """Return world normals [points, 3]: against the gradient of density at canonical points [points, 3]."""
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            raw, _ = self.network.density_and_features(planes, points[None])
            (gradient,) = torch.autograd.grad(raw.sum(), points)
        return F.normalize(-gradient @ self.rotation.T, dim=-1)


def field_info(config: EG3DConfig, metres_per_unit: float) -> FieldInfo:
    """The field of every scene of this network."""
    x, y, z = (half * metres_per_unit for half in config.rendering.bounds[1])
    bounds = (-x, -z, -y), (x, z, y)  # WORLD_FROM_CANONICAL
    return FieldInfo("density", iso_level(metres_per_unit), bounds=bounds, image_space=True)


def iso_level(metres_per_unit: float) -> float:
    """Density, 1/metre, of the surface: where the published meshes are cut, at 10 before the activation."""
    return math.log1p(math.exp(10 - 1)) / metres_per_unit


class EG3DGenerator(LatentGenerator[EG3D]):
    """EG3D as a Generator."""

    world_from_canonical = torch.tensor(WORLD_FROM_CANONICAL)[:3, :3]
    seeds = "numpy"

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return ws of z and the camera that the network is conditioned on."""
        c = None
        if self.network.config.condition_dim > 0:
            c = self.condition_vector(condition).to(z).expand(len(z), -1)
        return self.network.mapping(z, c)

    def find_center(self) -> Tensor:
        """Return the mean w of the training, for each row."""
        return self.network.mapping_network.w_mean.repeat(self.info.num_ws, 1)

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
            pose[:3, 3] /= self.placement.metres_per_unit
            size = torch.tensor([[square.width], [square.height], [1.0]], device=self.device)
            intrinsics = square.intrinsics / size
        return torch.cat([pose.flatten(), intrinsics.flatten()])[None]

    def synthesize(
        self,
        ws: Tensor,
        controls: dict[str, float] | None = None,
        *,
        reference: bool = False,
        differentiable: bool = False,
    ) -> EG3DScene:
        """See Generator.synthesize. reference: `render` takes the reference path, too."""
        metres = self.placement.metres_per_unit
        return EG3DScene(self.network, self.checked(ws), metres, reference=reference, differentiable=differentiable)

    def editable_parts(self) -> Mapping[Part, Editable]:
        """Planes and decoder make density and raw colour; the superresolution makes the image."""
        n = self.network
        return {
            "geometry": (n.backbone, n.decoder),
            "appearance": (n.superresolution,),
            "late layers": (n.superresolution.blocks[-1],),
        }

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for. The superresolution's strengths of noise are left out where it adds none."""
        upper = self.network.superresolution
        unused: set[nn.Parameter] = set()
        if upper.config.noise == "none":
            unused = {p for name, p in upper.named_parameters() if name.endswith("noise_strength")}
        return [p for p in super().parameters_for(part) if p not in unused]


def model_info(name: str, card: ModelCard, network: EG3D) -> ModelInfo:
    """Return the panel's description of an EG3D."""
    config, scale = network.config, card.metres_per_unit
    num_ws = network.backbone.num_ws
    return latent_model_info(
        name,
        card,
        network,
        field_info(config, scale),
        z_dim=config.z_dim,
        ws=(num_ws, config.w_dim),
        # Blocks up to 32² place and shape, later ones and the superresolution colour (StyleGAN's coarse and middle).
        num_geometry_ws=min(8, num_ws - 1),
        prior=PosePrior(
            radius=config.rendering.camera_radius * scale,
            fov=2 * math.atan(0.5 / official_focal_length(config.rendering.fov_degrees)),
            azimuth=(-0.5, 0.5),
            elevation=(-0.35, 0.35),
        ),
        image_size=config.superresolution.resolutions[1],
        pose_conditioned=config.condition_dim > 0 and config.condition_scale != 0,
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> EG3DGenerator:
    """Return the generator in a model folder."""
    network = load_network(EG3D(config_from_json(EG3DConfig, card.constructor)), tensors)
    return EG3DGenerator(network, model_info(name, card, network), card.metres_per_unit)
