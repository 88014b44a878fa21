"""StyleNeRF as a Generator and its Scene: rendering and upsampling, the model's info, and loading."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.generator import Part
from ...scenes.latent_generator import Editable, LatentGenerator, control_value, latent_model_info, load_network
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import EMPTY, cut_out, square_around
from ...scenes.trace import RayColors, RayTraced
from ...scenes.volume import cube, opaque_within
from ..layers.config import config_from_json
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
    description="An opaque image with its background; without it, the image's alpha is that of the foreground",
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
        self.ws, self.differentiable = (ws if differentiable else ws.detach())[None], differentiable
        self._fast: PrecomputedUpsampler | None = None
        self.show_background = show_background or network.config.background is None
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        self.info = field_info(network.config, metres_per_unit)

    def fast_upsampler(self) -> PrecomputedUpsampler | None:
        """Return the upsampler of `render`, without gradients; None where it takes the reference path. That of a
        differentiable scene, whose ws and weights may have changed, is made anew each time."""
        c = self.network.config
        doubles = all(b == 2 * a for a, b in itertools.pairwise([c.renderer.resolution, *c.upsampler.resolutions]))
        if self.reference or not doubles or not can_precompute(c.upsampler):
            return None
        if self._fast is None or self.differentiable:
            with torch.no_grad():
                self._fast = PrecomputedUpsampler(self.network, self.ws.detach())
        return self._fast

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
            upsampler = self.fast_upsampler()
            if upsampler is None:
                image = self.network.upsample(features, image, self.ws)[-1]
            else:
                image = upsampler(features, image)
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


class StyleNeRFGenerator(LatentGenerator[StyleNeRF]):
    """StyleNeRF as a Generator."""

    world_from_canonical = torch.tensor(WORLD_FROM_CANONICAL)[:3, :3]
    seeds = "numpy"

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return ws of z. A class-conditional network gets no class."""
        c = self.network.config
        labels = z.new_zeros(len(z), c.condition_dim) if c.condition_dim > 0 else None
        return self.network.mapping(z, labels)

    def find_center(self) -> Tensor:
        """Return the mean w of the training, for each row."""
        return self.network.mapping_network.w_mean.repeat(self.info.num_ws, 1)

    def synthesize(
        self,
        ws: Tensor,
        controls: dict[str, float] | None = None,
        *,
        reference: bool = False,
        differentiable: bool = False,
    ) -> StyleNeRFScene:
        """See Generator.synthesize. reference: `render` takes the reference path, too."""
        c, ws = self.network.config, self.checked(ws)
        seed = round(control_value(controls, BACKGROUND_SEED))
        foreground, background = (
            self.normal(seed, part.z_dim) if part is not None and part.z_dim > 0 else None
            for part in (c.foreground, c.background)
        )
        return StyleNeRFScene(
            self.network,
            ws,
            (foreground, background),
            self.placement.metres_per_unit,
            show_background=control_value(controls, SHOW_BACKGROUND) >= 0.5,
            reference=reference,
            differentiable=differentiable,
        )

    def editable_parts(self) -> Mapping[Part, Editable]:
        """The foreground as far as its density is geometry; its colours and features, the background and the upsampler
        are appearance. Late layers: the last block of the upsampler, or of the field where there is none."""
        n = self.network
        shape = (n.foreground.first, n.foreground.layers)
        merged = n.config.foreground.merged  # one output layer for density and features
        features: list[nn.Module] = [] if n.config.foreground.colour != "predicted" else [n.foreground.colour]
        output = n.foreground.features if merged else n.foreground.density
        features += [] if merged else [n.foreground.features]
        background = [] if n.config.background is None else [n.background]
        return {
            "geometry": (*shape, output),
            "appearance": (*features, *background, n.blocks),
            "late layers": (n.blocks[-1],) if len(n.blocks) else features,
        }


def model_info(name: str, card: ModelCard, network: StyleNeRF) -> ModelInfo:
    """Return the panel's description of a StyleNeRF."""
    c, scale = network.config, card.metres_per_unit
    field = field_info(c, scale)
    return latent_model_info(
        name,
        card,
        network,
        field,
        z_dim=c.z_dim,
        ws=(network.num_ws, c.w_dim),
        num_geometry_ws=min(c.foreground.num_layers, network.num_ws - 1),
        prior=PosePrior(
            radius=c.camera.radius * scale,
            fov=math.radians(c.camera.fov_degrees),
            azimuth=c.camera.azimuth,
            elevation=(math.pi / 2 - c.camera.polar[1], math.pi / 2 - c.camera.polar[0]),
        ),
        image_size=(c.stages or (c.renderer.resolution,))[-1],
        iso_range=(field.iso_level / 20, field.iso_level * 20),
        controls=() if c.background is None else (BACKGROUND_SEED, SHOW_BACKGROUND),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StyleNeRFGenerator:
    """Return the generator in a model folder."""
    network = load_network(StyleNeRF(config_from_json(StyleNeRFConfig, card.constructor)), tensors)
    return StyleNeRFGenerator(network, model_info(name, card, network), card.metres_per_unit)
