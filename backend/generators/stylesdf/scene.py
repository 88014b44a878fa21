"""StyleSDF as a Generator and its Scene: volume rendering and upsampling, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera, Rays
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering import compositing
from ...scenes.generator import Part
from ...scenes.latent_generator import Editable, LatentGenerator, latent_model_info, load_network, tuples_of
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.square import cut_out, square_around
from ...scenes.trace import RayColors
from ...scenes.volume import EMPTY, Placement, cube, distance_to_center, meets_ball, normals_from, opaque_within
from .fast import Precomputed
from .model import StyleSDF, StyleSDFConfig

IMAGE_MEMORY = ImageMemory(1536 * MEBI, per_pixel=64)

WORLD_FROM_CANONICAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""y up, facing +z becomes Z up, facing −Y: the front view of Blender."""

TRACE_PSNR = 80.0
"""dB, `image` against `render`: what differs is rounding, in Winograd's convolutions (fast.py) most of all."""

FRONT_DIRECTION = (0.0, 0.0, -1.0)
"""The viewing direction at the centre of an image, in the camera's own frame or from in front."""


@dataclass(frozen=True)
class Thumbnail:
    """Rays through the renderer's volume, of a square view row by row, and their pixels. Canonical."""

    origins: Tensor  # [rays, 3]
    directions: Tensor  # [rays, 3], of depth one
    rgb: Tensor  # [rays, 3] in 0..1, premultiplied
    alpha: Tensor  # [rays]
    mean_depth: Tensor  # [rays]
    features: Tensor  # [rays, style_dim]

    def square(self, values: Tensor) -> Tensor:
        """Return values [rays, channels] of a square view as maps [1, channels, n, n]."""
        n = math.isqrt(len(values))
        return values.T.reshape(1, -1, n, n)

    @property
    def image(self) -> Tensor:
        """The colours of a square view [1, 3, n, n], not premultiplied."""
        return self.square(compositing.unpremultiply(self.rgb, self.alpha))


class StyleSDFScene:
    """One latent in the world."""

    def __init__(self, network: StyleSDF, ws: Tensor, placement: Placement, *, differentiable: bool = False):
        self.network, self.ws, self.placement, self.differentiable = network, ws, placement, differentiable
        self._fast: Precomputed | None = None
        self.info = field_info(network.config, placement.metres_per_unit)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. With static directions the colour is the one at the centre of an image."""
        config = self.network.config
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None or config.static_directions:
            along = canonical.new_tensor(FRONT_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        raw = self.network.renderer.radiance(self.ws[None], canonical / self._unit, along)
        value = raw[..., 3]
        if config.white_background and config.use_sdf:
            value = torch.maximum(value, canonical.norm(dim=-1) - config.half_depth)
        value = value * self.placement.metres_per_unit
        if not config.use_sdf:
            value = F.relu(raw[..., 3]) / self.placement.metres_per_unit
        return FieldSample(value.reshape(points.shape[:-1]), torch.sigmoid(raw[..., :3]).reshape(points.shape))

    @property
    def _unit(self) -> float:
        """Canonical length of one unit of the points that the renderer takes."""
        return self.network.config.half_depth if self.network.config.normalize_points else 1.0

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """Render world rays with the renderer's own colours, which are not those of the decoder's image. See
        Scene.trace.

        The sampled depths lie around each ray origin's own distance from the world's origin, as for perspective
        cameras. With static directions the colours are those at the centre of an image.
        """
        canonical = self.placement.rays_to_canonical(rays)
        seen_along = canonical.directions
        if self.network.config.static_directions:
            seen_along = seen_along.new_tensor(FRONT_DIRECTION).expand_as(seen_along)
        thumbnail = self._rendered(canonical, seen_along, distance_to_center(canonical, "perspective"), samples, jitter)
        depth = thumbnail.mean_depth * self.placement.metres_per_unit
        distance = thumbnail.alpha * depth / rays.depth_from_distance.flatten()
        return RayColors(thumbnail.rgb, thumbnail.alpha, distance).reshape(*rays.origins.shape[:-1])

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """Render a whole view by both networks. See Scene.image. The decoder's colours may leave 0..1: clamping would
        cut off gradients."""
        thumbnail = self._square(camera, None, jitter)
        alpha = cut_out(thumbnail.square(thumbnail.alpha[:, None]), camera)[..., 0]
        image = self._decoded(thumbnail) if self.network.config.has_decoder else thumbnail.image
        depth = thumbnail.mean_depth * self.placement.metres_per_unit
        distance = cut_out(thumbnail.square(depth[:, None]), camera)[..., 0] / camera.rays().depth_from_distance
        return RayColors(cut_out(image, camera) * alpha[..., None], alpha, distance * alpha)

    @torch.no_grad()
    def fast_path(self) -> Precomputed:
        """Return all that `render` needs of ws; of a differentiable scene, whose ws and weights may change between two
        renders, made anew each time."""
        if self._fast is None or self.differentiable:
            self._fast = Precomputed(self.network, self.ws.detach())
        return self._fast

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
        reference: bool = False,
    ) -> Image:
        """See Scene.render. The features of a square around the view are grown to the decoder's own size and cut to
        the image. A draft is the renderer's own colours, with half the samples.

        reference: by the networks themselves, every sample evaluated.
        """
        num_samples = self.network.config.num_samples
        steps = samples_per_ray or (max(num_samples // 2, 4) if quality == "draft" else num_samples)
        progress(0.0, "rendering")
        fast = None if reference else self.fast_path()
        thumbnail = self._square(camera, steps, jitter, fast)
        progress(0.4, "decoding")
        decodes = quality == "full" and self.network.config.has_decoder
        image = self._decoded(thumbnail, fast) if decodes else thumbnail.image
        depth = thumbnail.mean_depth * self.placement.metres_per_unit
        normal = None
        if quality == "full":
            points = thumbnail.origins + thumbnail.directions * thumbnail.mean_depth[:, None]
            outward = self.placement.directions_to_world(normals_from(self._inside, points))
            normal = cut_out(thumbnail.square(outward), camera)
        alpha = cut_out(thumbnail.square(thumbnail.alpha[:, None]), camera)[..., 0]
        shown = alpha > EMPTY
        progress(1.0)
        return Image(
            rgb=cut_out(image, camera).clamp(0, 1),
            alpha=alpha,
            depth=torch.where(shown, cut_out(thumbnail.square(depth[:, None]), camera)[..., 0], math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * shown[..., None],
        )

    def _square(
        self,
        camera: Camera,
        num_samples: int | None,
        jitter: torch.Generator | None,
        fast: Precomputed | None = None,
    ) -> Thumbnail:
        """Render the square around a view at the thumbnail's size."""
        config = self.network.config
        view = square_around(camera).resized(config.thumbnail_size, config.thumbnail_size)
        rays = self.placement.canonical_rays(view)
        seen_along = rays.directions
        if config.static_directions:
            still = replace(view, world_from_camera=torch.eye(4).to(view.world_from_camera))
            seen_along = still.rays().directions.reshape(-1, 3) * rays.origins.new_tensor([1.0, -1.0, -1.0])
        return self._rendered(rays, seen_along, distance_to_center(rays, view.projection), num_samples, jitter, fast)

    def _rendered(
        self,
        rays: Rays,
        seen_along: Tensor,
        center: Tensor,
        num_samples: int | None,
        jitter: torch.Generator | None,
        fast: Precomputed | None = None,
    ) -> Thumbnail:
        """Volume render canonical rays around the depths `center` [rays, 1].

        seen_along: unit viewing directions [rays, 3], in the frame of training. fast: None for the network itself.
        """
        config = self.network.config
        num_samples = num_samples or config.num_samples
        directions = rays.directions * (self.placement.metres_per_unit / rays.depth_from_distance)[:, None]
        near = (center - config.half_depth).clamp(min=0.01 * config.half_depth)
        draws = None
        if jitter is not None:
            draws = torch.rand(len(near), num_samples, generator=jitter, device=jitter.device).to(near)
        far = near + 2 * config.half_depth
        if fast is None:
            made = self.network.renderer.render(
                self.ws[None],
                rays.origins[None],
                directions[None],
                seen_along[None],
                near[None],
                far[None],
                num_samples=num_samples,
                jitter=None if draws is None else draws[None],
            )
            rgb, features, total = made.rgb[0], made.features[0], made.weights[0].sum(-1)
            sum_of_t = (made.weights * made.t).sum(-1)[0]
        else:
            pixels = fast.renderer.render(
                rays.origins, directions, seen_along, near, far, num_samples=num_samples, jitter=draws
            )
            rgb, features, total, sum_of_t = pixels.rgb, pixels.features, pixels.alpha, pixels.sum_of_t
        hit = meets_ball(rays, config.reach)
        return Thumbnail(
            rays.origins,
            directions,
            rgb * hit[:, None],
            total.clamp(0, 1) * hit,
            sum_of_t / total.clamp(min=EMPTY),
            features,
        )

    def _decoded(self, thumbnail: Thumbnail, fast: Precomputed | None = None) -> Tensor:
        """Return the decoder's image [1, 3, H, W] in 0..1, not clamped, without the white that it was trained on. fast:
        None for the network itself."""
        features = thumbnail.square(thumbnail.features)
        image = self.network.upsample(self.ws[None], features) if fast is None else fast.upsample(features)
        image = image / 2 + 0.5
        if not self.network.config.white_background:
            return image
        alpha = F.interpolate(thumbnail.square(thumbnail.alpha[:, None]), image.shape[-2:], mode="bilinear")
        straight = compositing.unpremultiply((image - (1 - alpha)).permute(0, 2, 3, 1), alpha[:, 0])
        return straight.permute(0, 3, 1, 2)

    def _inside(self, points: Tensor) -> Tensor:
        """Return a value [n] that grows towards the inside, at canonical points [n, 3]."""
        value = self.network.renderer.signed_distance(self.ws[None], points[None])[0]
        return -value if self.network.config.use_sdf else value


def field_info(config: StyleSDFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    level = opaque_within(2 * config.half_depth / 24) / metres_per_unit
    return FieldInfo(
        quantity="sdf" if config.use_sdf else "density",
        iso_level=0.0 if config.use_sdf else level,
        bounds=cube(config.half_depth * metres_per_unit),
        image_space=True,  # images are grown from a thumbnail: by the decoder, or resized where there is none
        trace_psnr=TRACE_PSNR,
    )


class StyleSDFGenerator(LatentGenerator[StyleSDF]):
    """StyleSDF as a Generator."""

    world_from_canonical = WORLD_FROM_CANONICAL
    without_edits = ("mapping_network.", "decoder.mapping.")

    def __init__(self, network: StyleSDF, info: ModelInfo, metres_per_unit: float = 1.0):
        super().__init__(network, info, metres_per_unit)
        self._means: tuple[Tensor, Tensor | None] | None = None

    @property
    def means(self) -> tuple[Tensor, Tensor | None]:
        """The mean latents of renderer and decoder, found once."""
        if self._means is None:
            with torch.no_grad():
                self._means = self.network.mean_latents()
        return self._means

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """See LatentGenerator.map_z."""
        return self.network.mapping(z)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. Both latents are truncated; the decoder maps the truncated one."""
        means = None if truncation_psi == 1 else self.means
        return self.network.mapping(z, truncation_psi=truncation_psi, means=means)

    def find_center(self) -> Tensor:
        """Return the two mean latents as rows."""
        mean, decoder_mean = self.means
        return self.network.rows(mean[None], None if decoder_mean is None else decoder_mean[None])[0]

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> StyleSDFScene:
        """See Generator.synthesize."""
        return StyleSDFScene(self.network, self.checked(ws), self.placement, differentiable=differentiable)

    def editable_parts(self) -> Mapping[Part, Editable]:
        """The distance and its steepness β make density; the view layer, the renderer's colours and the decoder make
        colour alone. The late layers are the decoder's last two resolutions, or without decoder the view layer and
        the colours."""
        n = self.network
        renderer = n.renderer
        colors: Editable = (renderer.view_layer, renderer.color)
        decoder: Editable = (n.decoder.convs, n.decoder.to_images) if n.config.has_decoder else ()
        late: Editable = (*n.decoder.convs[-4:], *n.decoder.to_images[-2:]) if n.config.has_decoder else colors
        return {
            "geometry": (renderer.layers, renderer.distance, *([renderer.beta] if n.config.use_sdf else [])),
            "appearance": (*colors, *decoder),
            "late layers": late,
        }


def model_info(name: str, card: ModelCard, network: StyleSDF) -> ModelInfo:
    """Return the info that the panel shows of a StyleSDF."""
    config = network.config
    half = config.half_depth * card.metres_per_unit
    return latent_model_info(
        name,
        card,
        network,
        field_info(config, card.metres_per_unit),
        z_dim=config.style_dim,
        ws=(config.num_ws, config.w_dim),
        num_geometry_ws=config.num_layers,
        prior=PosePrior(
            radius=card.metres_per_unit,
            fov=math.radians(config.fov_degrees),
            azimuth=(-0.6, 0.6),
            elevation=(-0.3, 0.3),
        ),
        image_size=max(config.image_size, config.thumbnail_size),
        iso_range=(-half / 4, half / 4) if config.use_sdf else None,
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StyleSDFGenerator:
    """Return the generator in a model folder."""
    network = load_network(StyleSDF(StyleSDFConfig(**tuples_of(card.constructor))), tensors)
    return StyleSDFGenerator(network, model_info(name, card, network), card.metres_per_unit)
