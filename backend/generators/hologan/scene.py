"""HoloGAN as a Generator and its Scene: images only (no surface), the model's info, and loading."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from addon.wire.errors import NotSupported, Remedy
from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.generator import Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.surface_image import upright_axes
from ...scenes.trace import RayColors, RayTraced
from ...scenes.viewpoint import angles_of, nearest_in_range, out_of_range, viewpoint_in_range, viewpoint_of
from ...scenes.volume import cube, pose_prior
from ..layers.config import config_from_json
from ..layers.stylegan2 import check_shape
from .model import Generator, HoloGANConfig, rotate_volume

IMAGE_MEMORY = ImageMemory(64 * MEBI)

NO_SURFACE = (
    "HoloGAN makes images only: it has no density and no distance, so there is no surface to mesh. Fit a radiance "
    "field to its views, and mesh that."
)
FIT_VIEWS = Remedy("fit_views", "Fit a Radiance Field to Its Views")

DEFAULT_PRIOR = PosePrior(
    radius=4.0,
    fov=2 * math.atan(1 / 4),
    azimuth=(-math.radians(50), math.radians(50)),
    elevation=(-math.radians(20), math.radians(20)),
)
"""The release's settings for faces: azimuth 220° to 320°, 20° up and down."""


@dataclass(frozen=True)
class Facing:
    """Angles of the network by those of the world: front + direction · azimuth. Training determines neither."""

    front: float = 1.5 * math.pi  # the network's azimuth that shows the front, radians: 270° in the release
    direction: float = 1.0  # -1: the network turns the other way
    half_size: float = 1.0  # of the cube that the object lies in, in units of metres_per_unit


class HoloGANScene(RayTraced):
    """The images of one pair of codes. ws [2, z_dim]: the style of the volume, and that of the image.

    Single rays have no colour: `image` is differentiable in the camera, ws and weights. Its distances are those of the
    plane on which the image stands, for the network knows no depth.
    """

    def __init__(self, model: HoloGAN, ws: Tensor, *, differentiable: bool = False) -> None:
        self.model, self.differentiable = model, differentiable
        self.ws = ws if differentiable else ws.detach()
        self.info = FieldInfo("density", 1.0, model.info.bounds, has_surface=False, image_space=True)

    @property
    def volume(self) -> Tensor:
        """Feature volume that a view turns; of a differentiable scene made anew, for weights may have changed."""
        return self.model.network.volume(self.ws[:1]) if self.differentiable else self._kept_volume

    @cached_property
    def _kept_volume(self) -> Tensor:
        with torch.no_grad():
            return self.model.network.volume(self.ws[:1])

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Raises NotSupported: there is no field."""
        raise NotSupported(NO_SURFACE, remedy=FIT_VIEWS)

    def network_image(self, view: Tensor) -> Tensor:
        """Return the image [3, side, side], sRGB 0..1, from azimuth and elevation [2] in the world, radians."""
        facing = self.model.facing
        fixed = view.new_tensor([1.0, 0.0, 0.0, 0.0])
        angles = torch.stack((facing.front + facing.direction * view[0], view[1]))
        turned = rotate_volume(self.volume, torch.cat((angles, fixed))[None])
        return (self.model.network.project(turned, self.ws[1:])[0] * 0.5 + 0.5).clamp(0, 1)

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. Nothing is random here."""
        prior = self.model.info.pose_prior
        centre = torch.tensor(self.model.info.bounds).to(camera.world_from_camera).mean(0)
        made = self.network_image(viewpoint_in_range(camera, centre, prior).to(self.ws))
        return billboard(made, camera, centre, prior)

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
        """See Scene.render. Two angles of the camera enter the network; its distance, lens and roll move and scale the
        image. Depth is inf everywhere. A viewpoint outside the trained range is replaced by the nearest one inside,
        and the image's note says so."""
        prior = self.model.info.pose_prior
        centre = torch.tensor(self.model.info.bounds).to(camera.world_from_camera).mean(0)
        asked = angles_of(camera, centre)
        progress(0.0, "Rendering")
        pixels = self.image(camera)
        inside = asked == nearest_in_range(*asked, prior)
        note = "" if inside else out_of_range(asked, prior, self.model.info.label)
        return Image(pixels.rgb, pixels.alpha, torch.full_like(pixels.alpha, math.inf), note=note)


class HoloGAN:
    """HoloGAN as a `Generator`."""

    def __init__(self, network: Generator, info: ModelInfo, facing: Facing) -> None:
        self.network, self.info, self.facing = network.eval().requires_grad_(False), info, facing

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.network.constant.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim], uniform in -1..1, from NumPy's legacy generator as in the release."""
        z = np.random.RandomState(seed).uniform(-1, 1, (1, self.network.config.z_dim))
        return torch.tensor(z, dtype=torch.float32).to(self.network.constant)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. There is no mapping network: the rows are z twice, scaled towards its mean, zero."""
        return torch.stack((z, z), -2) * truncation_psi

    def mean_ws(self) -> Tensor:
        """Return the mean of z as both rows: zeros [2, z_dim]. See Generator.mean_ws."""
        return self.network.constant.new_zeros(2, self.network.config.z_dim)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> HoloGANScene:
        """See Generator.synthesize."""
        check_shape("ws", ws, (2, self.network.config.z_dim))
        return HoloGANScene(self, ws.to(self.device), differentiable=differentiable)

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for.

        Geometry: the 3D half up to the volume that the view turns. Appearance: the projection and the 2D half. Late
        layers: the last doubling and the output.
        """
        n = self.network
        volume = [n.style_constant, *n.grow, *n.style_grow]
        late = [n.upsample[-1], n.style_upsample[-1], n.output]
        flat = [*n.volume_projection, n.projection, *n.upsample, *n.style_upsample, n.output]
        if part == "geometry":
            return [n.constant, *_parameters(volume)]
        if part == "all":
            return [n.constant, *_parameters([*volume, *flat])]
        return _parameters(late if part == "late layers" else flat)


def _parameters(modules: list[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def billboard(made: Tensor, camera: Camera, centre: Tensor, prior: PosePrior) -> RayColors:
    """Return the pixels of an image [3, side, side] that stands at `centre`, turned to the camera and as large as it is
    at the prior's distance and field of view. Differentiable. alpha: 1 on the image, 0 beside it."""
    azimuth, elevation = viewpoint_of(camera, centre)
    unit = torch.stack(
        (elevation.cos() * azimuth.sin(), -elevation.cos() * azimuth.cos(), elevation.sin())
    )  # to the camera
    axes = upright_axes(-unit[None])[0]  # right, down, forward
    rays = camera.rays()
    origins, directions = (rays.origins - centre) @ axes, rays.directions @ axes
    ahead = directions[..., 2] > 1e-6
    along = -origins[..., 2] / torch.where(ahead, directions[..., 2], 1.0)
    # the image is -1..1
    place = (origins + along[..., None] * directions)[..., :2] / (prior.radius * math.tan(prior.fov / 2))
    side = made.shape[-1]
    fine = side / 2 * _pixel_step(place.detach(), ahead, 2 / side)  # of the image's pixels to one of the camera's
    if fine > 1.01:
        small = max(round(side / fine), 1)
        made = F.interpolate(made[None], (small, small), mode="bilinear", antialias=True)[0]
    inside = ahead & (place.abs() <= 1).all(-1) & (along > 0)
    place = torch.where(inside[..., None], place, 2.0)
    seen = F.grid_sample(made[None], place[None].to(made), padding_mode="border", align_corners=False)[0]
    shown = inside.to(made)
    return RayColors((seen * shown).permute(1, 2, 0), shown, torch.where(inside, along, 0.0).to(made))


def _pixel_step(place: Tensor, ahead: Tensor, default: float) -> float:
    """Return the median horizontal distance between neighbouring pixels' places [H, W, 2] of those that are ahead."""
    steps = (place[:, 1:, 0] - place[:, :-1, 0]).abs()[ahead[:, 1:] & ahead[:, :-1]]
    return float(steps.median()) if len(steps) else default


def model_info(name: str, card: ModelCard, config: HoloGANConfig, facing: Facing, num_parameters: int) -> ModelInfo:
    """Return the panel's description of a HoloGAN."""
    prior = replace(DEFAULT_PRIOR, radius=DEFAULT_PRIOR.radius * card.metres_per_unit)
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.z_dim,
        num_ws=2,
        w_dim=config.z_dim,
        num_geometry_ws=1,
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=False,
        no_surface_reason=NO_SURFACE,
        has_color=True,
        quantity="density",
        iso_level=1.0,
        iso_range=(0.1, 10.0),
        bounds=cube(facing.half_size * card.metres_per_unit),
        pose_prior=pose_prior(card, prior),
        image_size=config.side,
    )


def config_of(values: dict[str, Any]) -> HoloGANConfig:
    """Return the config that JSON holds."""
    return config_from_json(HoloGANConfig, values)


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> HoloGAN:
    """Return the generator in a model folder. The constructor is {"network": HoloGANConfig, "facing": Facing}."""
    config, facing = config_of(card.constructor["network"]), Facing(**card.constructor["facing"])
    network = Generator(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, facing, sum(p.numel() for p in network.parameters()))
    return HoloGAN(network, info, facing)
