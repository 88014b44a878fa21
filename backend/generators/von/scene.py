"""Visual Object Networks (Zhu et al., arxiv.org/abs/1812.02725): shape, viewpoint and texture, each alone.

    z_shape ─ ShapeNetwork ─> voxels ─ projection (view) ─> 2.5D sketch ─ TextureNetwork (z_texture) ─> image

Vocabulary. `ws` [2, w_dim]: z_shape and z_texture as rows, the shorter one padded with zeros; there is no mapping
network. *Frame of the voxels*: see `projection`; its unit is `half_edge` metres. A *painting* is the texture network's
image of the sketch at one view.

The surface, its silhouette and its depth are those of the voxels alone, so that a texture changes none of their bits.
Colours come from the painting at the camera's azimuth and elevation; a camera at another distance than the trained one
sees that painting on the surface.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera, from_wire, orbit
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, part, silent
from ...scenes.capabilities import EncodedImage
from ...scenes.generator import Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.surface_image import camera_axes, jittered, pixel_size
from ...scenes.trace import RayColors, RayTraced
from ...scenes.viewpoint import angles_of, nearest_in_range, out_of_range, viewpoint_in_range
from ...scenes.volume import cube, normals_from, pose_prior
from ...scenes.voxels import VoxelScene
from ..layers.config import config_from_json
from ..layers.encoder_image import encoder_image
from ..layers.stylegan2 import check_shape
from .model import ShapeNetwork, TextureEncoder, TextureNetwork
from .projected_texture import View, colors_from_views
from .projection import (
    Optics,
    Sketch,
    crop_boxes,
    cropped,
    normalised_depth,
    project,
    rotation,
    surface_places,
)

IMAGE_MEMORY = ImageMemory(64 * MEBI)

AZIMUTH = (-math.pi / 2, math.pi / 2)
ELEVATION = (0.0, 2 * math.pi / 9)
"""The release clamps its views to these."""
DISTANCE_THRESHOLD = 0.9
"""Values below it are outside a shape that is a distance field (df_th of the release)."""
FILLS = 6
"""Rings of pixels around a silhouette that take their neighbours' colour: a ray just inside must not meet none."""
VIEWS_AROUND = 8
VIEW_SIZE = 128
"""Of the paintings that are laid on a mesh."""


@dataclass(frozen=True)
class VONConfig:
    """The networks' sizes, and how their parts meet."""

    shape_dim: int = 200
    shape_widths: tuple[int, ...] = (512, 256, 128, 64, 32)
    logit_scale: float = 0.5
    mirror: bool = False  # every shape is symmetric from left to right: the logits are averaged with their mirror image
    axes: Literal["von", "zyx"] = "von"  # how the shape network's voxels are indexed; zyx: of the world, as by GAN3D
    distances: bool = False  # voxels are a distance field's exp(-distance): what is above 0.9 is solid
    texture_dim: int = 8
    texture_width: int = 64
    blocks: int = 3
    guided: bool = False  # the texture network sees the places of the surface beside its depth; not with crop
    encoder_width: int = 64  # 0: no encoder
    image_size: int = 128
    crop: bool = True  # the texture network was trained on sketches that fill the image, their depth on all of -1..1
    distance: float = 2.0  # the rest: see Optics
    half_width: float = 0.612
    reach: float = 1.0
    samples_per_pixel: float = 2.5

    @property
    def optics(self) -> Optics:
        """The camera of the sketches."""
        return Optics(self.distance, self.half_width, self.reach, self.samples_per_pixel)

    @property
    def side(self) -> int:
        """Voxels along an axis."""
        return 4 << len(self.shape_widths)

    @property
    def w_dim(self) -> int:
        """Of a row of ws."""
        return max(self.shape_dim, self.texture_dim)


@dataclass(frozen=True)
class Painting:
    """rgb [3, side, side] 0..1; silhouette and depth [side, side] as `Sketch` has them, of the whole image; view [2];
    box [4]: first and last row and column of the whole image that rgb shows."""

    rgb: Tensor
    silhouette: Tensor
    depth: Tensor
    view: Tensor
    box: Tensor


def from_distances(voxels: Tensor, threshold: float = DISTANCE_THRESHOLD) -> Tensor:
    """Return a distance field [..., n, n, n] as voxels: what is below the threshold is 0, the axes are those of
    `projection`. A distance field of the release lies on its side."""
    return functional.threshold(voxels, threshold, 0.0).transpose(-2, -1).flip(-2)


def voxel_frame(values: Tensor) -> Tensor:
    """Return voxels [..., z, y, x] of the world with the axes of `projection`: to the left, to the front, up."""
    return values.movedim((-1, -2, -3), (-3, -2, -1)).flip(-3, -2)


class VONScene(RayTraced):
    """One shape with one texture. A `Scene`.

    Single rays have no colour. `image` is differentiable in the camera, ws and weights, through both the surface
    (scenes/surface_trace.py) and the sketch that the texture network paints. The voxels are made once: a scene keeps
    their graph and does not follow later changes of the weights.
    """

    def __init__(self, model: VON, ws: Tensor, *, differentiable: bool = False) -> None:
        self.model = model
        config = model.config
        ws = ws if differentiable else ws.detach()
        self.z_texture = ws[1:, : config.texture_dim]
        with torch.set_grad_enabled(differentiable):
            self.voxels = model.voxels(ws[None, 0, : config.shape_dim])  # [1, n, n, n], frame of the voxels
        outer = model.half_edge * config.side / (config.side - 1)  # to the outer faces of the last voxels
        world_from_grid = torch.diag(torch.tensor([-outer, -outer, outer, 1.0])).to(ws)
        level = DISTANCE_THRESHOLD if config.distances else 0.5
        self.shape = VoxelScene(self.voxels[0].permute(2, 1, 0), world_from_grid, iso_level=level)
        self._painted: dict[tuple[float, float], Painting] = {}

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        return dataclasses.replace(self.shape.info, has_color=True, image_space=True)

    @property
    def empty_reason(self) -> str:
        """See MayBeEmpty.empty_reason."""
        return self.shape.empty_reason

    def within(self, box: Bounds) -> VONScene:
        """Return the scene with its surface cut to a world box, and the paintings of the whole."""
        cut = copy.copy(self)
        cut.shape = self.shape.within(box)
        cut.__dict__.pop("views_around", None)
        return cut

    def value(self, points: Tensor) -> Tensor:
        """Occupancy [...] at world points [..., 3]."""
        return self.shape.field(points).value

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Colours are those of paintings from several sides, laid on the surface; they are not
        differentiated."""
        with torch.no_grad():
            flat = points.reshape(-1, 3)
            normals = torch.cat([normals_from(self.value, some) for some in flat.split(1 << 16)])
            tolerance = 3 * self.model.half_edge / self.model.config.side
            rgb = colors_from_views(flat, normals, self.views_around, tolerance)
        return FieldSample(self.value(points), rgb.reshape(points.shape))

    @torch.no_grad()
    def sketch(self, azimuth: float, elevation: float) -> Sketch:
        """Return the 2.5D sketch [1, side, side] at a view, radians: the input of the texture network."""
        return self._sketch(self.voxels.new_tensor([azimuth, elevation]))

    def _sketch(self, view: Tensor) -> Sketch:
        config = self.model.config
        return project(self.voxels, view[None], config.optics, config.image_size)

    @torch.no_grad()
    def painting(self, azimuth: float, elevation: float) -> Painting:
        """Return the texture network's image at a view, radians, which may be any."""
        key = (round(azimuth, 5), round(elevation, 5))
        if key not in self._painted:
            self._painted.clear()
            self._painted[key] = self.paint(self.voxels.new_tensor(key))
        return self._painted[key]

    def paint(self, view: Tensor) -> Painting:
        """Return the texture network's image at a view [2], radians. Differentiable, up to whole pixels of the crop."""
        config = self.model.config
        whole = self._sketch(view)
        last = config.image_size - 1
        box = torch.tensor([[0, last, 0, last]], device=self.voxels.device)
        shown, near = whole, config.distance - config.reach
        depth = normalised_depth(whole.depth, near, config.optics.far)
        if config.crop:
            box = crop_boxes(whole.silhouette)
            shown = cropped(whole, box, config.optics.far, config.image_size)
            nearest = shown.depth.min()
            empty = bool(nearest > config.optics.far - 1e-4)
            depth = normalised_depth(shown.depth, near if empty else nearest, config.optics.far)
        seen = depth[:, None].clamp(-1, 1)
        if config.guided:
            seen = torch.cat((seen, surface_places(whole, view[None], config.optics)), 1)
        painted = self.model.texture(seen, self.z_texture) * 0.5 + 0.5
        rgb = spread(painted[0].clamp(0, 1), shown.silhouette[0])
        return Painting(rgb, whole.silhouette[0], whole.depth[0], view, box[0])

    def colors_at(self, points: Tensor, painting: Painting) -> Tensor:
        """Return the colours [n, 3] of a painting at world points [n, 3], projected from its view; beyond its border,
        those of the border."""
        optics, side = self.model.config.optics, self.model.config.image_size
        frame = points * points.new_tensor([-1.0, -1.0, 1.0]) / self.model.half_edge
        ahead, left, up = (frame @ rotation(painting.view[None])[0].to(points)).unbind(-1)
        t = (ahead + optics.distance).clamp(min=1e-3) * optics.half_width
        top, bottom, first, last = painting.box.to(points)
        column, row = ((1 - offset / t) / 2 * (side - 1) for offset in (left, up))
        x, y = (column - first) / (last - first) * 2 - 1, (row - top) / (bottom - top) * 2 - 1
        grid = torch.stack((x, y), -1)[None, None]
        found = functional.grid_sample(painting.rgb[None].to(points), grid, padding_mode="border", align_corners=True)
        return found[0, :, 0].T

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. jitter moves each ray within its pixel."""
        rays = camera.rays(jittered(camera, jitter))
        pixels = self.shape.traced(rays, camera_axes(camera), pixel_size(camera), None)
        view = viewpoint_in_range(camera, camera.world_from_camera.new_zeros(3), self.model.info.pose_prior)
        distance = pixels.distance / pixels.alpha.clamp(min=1e-4)
        points = rays.origins + distance[..., None] * rays.directions
        rgb = self.colors_at(points.reshape(-1, 3), self.paint(view.to(self.voxels))).reshape(points.shape)
        return dataclasses.replace(pixels, rgb=rgb * pixels.alpha[..., None])

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
        """See Scene.render. Alpha and depth are the sketch of the surface from this camera. A viewpoint outside the
        trained range keeps its surface, is painted from the nearest one inside, and the image's note says so."""
        prior = self.model.info.pose_prior
        centre = camera.world_from_camera.new_zeros(3)
        asked = angles_of(camera, centre)
        shown = nearest_in_range(*asked, prior)
        image = self.shape.render(
            camera, samples_per_ray=samples_per_ray, quality=quality, jitter=jitter, progress=part(progress, 0.0, 0.7)
        )
        rays = camera.to(image.depth.device).rays()
        hit = torch.isfinite(image.depth)
        distance = image.depth[hit] / rays.depth_from_distance[hit]
        points = rays.origins[hit] + distance[:, None] * rays.directions[hit]
        rgb = image.rgb.clone()
        rgb[hit] = self.colors_at(points, self.painting(*shown))
        progress(1.0, "Rendering")
        note = image.note if shown == asked else out_of_range(asked, prior, self.model.info.label)
        return dataclasses.replace(image, rgb=rgb, note=note)

    @cached_property
    def views_around(self) -> list[View]:
        """Renders from the trained viewpoints, eight around at two elevations."""
        prior = self.model.info.pose_prior
        low, high = prior.azimuth
        all_round = high - low > 2 * math.pi - 1e-3
        steps = VIEWS_AROUND if all_round else VIEWS_AROUND - 1
        below, above = prior.elevation
        views = []
        for share in (0.15, 0.85):
            for i in range(VIEWS_AROUND):
                azimuth, elevation = low + (high - low) * i / steps, below + share * (above - below)
                wire = orbit(self.model.info, VIEW_SIZE, azimuth=azimuth, elevation=elevation)
                camera = from_wire(wire, self.voxels.device)
                image = self.render(camera)
                views.append(View(camera, image.rgb, image.depth))
        return views


def spread(rgb: Tensor, silhouette: Tensor) -> Tensor:
    """Return rgb [3, H, W] with the colours inside the silhouette [H, W] spread a few pixels outwards: beyond it, they
    are meaningless."""
    known = (silhouette > 0.7).to(rgb)[None]
    rgb = rgb * known
    for _ in range(FILLS):
        weight = 9 * functional.avg_pool2d(known[None], 3, 1, 1)[0]
        mean = 9 * functional.avg_pool2d(rgb[None], 3, 1, 1)[0] / weight.clamp(min=1e-6)
        rgb = torch.where(known > 0, rgb, mean * (weight > 0))
        known = (weight > 0).to(rgb)
    return torch.where(known > 0, rgb, 1.0)


class VON(nn.Module):
    """Visual Object Networks as a `Generator`."""

    def __init__(self, config: VONConfig, *, half_edge: float = 0.5, info: ModelInfo | None = None) -> None:
        """half_edge: from the middle to the centre of an outermost voxel, metres."""
        super().__init__()
        self.config, self.half_edge = config, half_edge
        self.shape = ShapeNetwork(config.shape_dim, config.shape_widths, config.logit_scale)
        self.texture = TextureNetwork(
            config.texture_dim,
            config.texture_width,
            inputs=4 if config.guided else 1,
            blocks=config.blocks,
            guided=config.guided,
        )
        self.encoder = TextureEncoder(config.texture_dim, config.encoder_width) if config.encoder_width else None
        self._info = info
        self.eval().requires_grad_(False)

    @property
    def info(self) -> ModelInfo:
        """See Generator.info."""
        if self._info is None:
            raise ValueError("this VON was built without a model card")
        return self._info

    @property
    def device(self) -> torch.device:
        """See Generator.device."""
        return self.shape.output.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, shape_dim + texture_dim], standard normal."""
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randn(1, self.config.shape_dim + self.config.texture_dim, generator=random)
        return drawn.to(self.shape.output.weight)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return ws [..., 2, w_dim] of z: its two codes. truncation_psi is ignored: zero is not a mean shape."""
        return self.rows(*z.split((self.config.shape_dim, self.config.texture_dim), -1))

    def rows(self, z_shape: Tensor, z_texture: Tensor) -> Tensor:
        """Return ws [..., 2, w_dim] of z_shape [..., shape_dim] and z_texture [..., texture_dim]."""
        width = self.config.w_dim
        return torch.stack([functional.pad(z, (0, width - z.shape[-1])) for z in (z_shape, z_texture)], -2)

    def voxels(self, z_shape: Tensor) -> Tensor:
        """Return voxels [N, side, side, side] of z_shape [N, shape_dim], in the frame of `projection`."""
        voxels = torch.sigmoid(self.shape_logits(z_shape))
        return from_distances(voxels) if self.config.distances else voxels

    def shape_logits(self, z_shape: Tensor) -> Tensor:
        """Return what the sigmoid of `voxels` is taken of."""
        logits = self.shape.logits(z_shape)
        if self.config.axes == "zyx":
            logits = voxel_frame(logits)
        if self.config.mirror:
            logits = (logits + logits.flip(-3)) / 2
        return logits

    def mean_ws(self) -> Tensor:
        """Return the mean of both codes: zeros [2, w_dim]. See Generator.mean_ws."""
        return self.shape.output.weight.new_zeros(2, self.config.w_dim)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> VONScene:
        """See Generator.synthesize."""
        check_shape("ws", ws, (2, self.config.w_dim))
        return VONScene(self, ws.to(self.device), differentiable=differentiable)

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for.

        Geometry: the shape network; appearance: the texture network; late layers: its last doubling and the output.
        """
        texture = self.texture
        modules: dict[Part, tuple[nn.Module, ...]] = {
            "geometry": (self.shape,),
            "appearance": (texture,),
            "late layers": (texture.upsample[-1], texture.norms[-1], texture.output),
            "all": (self.shape, texture),
        }
        return [parameter for module in modules[part] for parameter in module.parameters()]

    @torch.no_grad()
    def transfer_texture(self, ws: Tensor, pixels: NDArray[np.uint8]) -> EncodedImage:
        """See TransfersTexture.transfer_texture."""
        image = encoder_image(pixels, self.config.image_size)
        z_texture = self.texture_code(image.pixels[None])[0]
        return EncodedImage(self.rows(ws[0, : self.config.shape_dim], z_texture), image.pixels, image.notes)

    @torch.no_grad()
    def texture_code(self, images: Tensor) -> Tensor:
        """Return z_texture [N, texture_dim] of images [N, 3, image_size, image_size], 0..1, over white.

        Raises:
            ValueError: there is no encoder, or images have another size.
        """
        if self.encoder is None:
            raise ValueError("this model has no texture encoder")
        size = self.config.image_size
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"images must be [N, 3, {size}, {size}], got {list(images.shape)}")
        mean: Tensor = self.encoder(images.to(self.device) * 2 - 1)[0]
        return mean


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> VON:
    """Return the generator of a model folder. Raises KeyError, ValueError, TypeError or RuntimeError."""
    arguments = dict(card.constructor)
    half_edge = float(arguments.pop("half_edge", 0.5)) * card.metres_per_unit
    model = VON(config_from_json(VONConfig, arguments), half_edge=half_edge)
    model.load_state_dict(tensors)
    model._info = model_info(name, card, model)
    return model.to(next(iter(tensors.values())).device)


def model_info(name: str, card: ModelCard, model: VON) -> ModelInfo:
    """Return the panel's description of a model with this card."""
    config = model.config
    outer = model.half_edge * config.side / (config.side - 1)
    pixels = config.image_size / (config.image_size - 1)  # the sketches' outermost rays are those of pixel centres
    prior = PosePrior(
        radius=config.distance * model.half_edge,
        fov=2 * math.atan(config.half_width * pixels),
        azimuth=AZIMUTH,
        elevation=ELEVATION,
        default_azimuth=0.6,
        default_elevation=0.35,
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.shape_dim + config.texture_dim,
        num_ws=2,
        w_dim=config.w_dim,
        num_geometry_ws=1,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        has_truncation=False,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=DISTANCE_THRESHOLD if config.distances else 0.5,
        iso_range=(0.05, 0.95),
        bounds=cube(outer),
        pose_prior=pose_prior(card, prior),
        image_size=config.image_size,
        capabilities=("transfer_texture",) if config.encoder_width else (),
        code_names=("Shape", "Texture"),
    )
