"""HoloGAN as a Generator and its Scene: images only (no surface), the model's info, and loading."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from addon.wire.errors import NotSupported, Remedy
from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera, look_at
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.viewpoint import angles_of, nearest_in_range, out_of_range
from ...scenes.volume import pose_prior
from .model import Generator, HoloGANConfig, rotate_volume

IMAGE_MEMORY = ImageMemory(64 * MEBI)

# ------------------------------------------------------------------------------------------------------ in the world

NO_SURFACE = (
    "HoloGAN makes pictures only: it has no density and no distance, so there is no surface to mesh. Fit a radiance "
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
    """How world angles become the network's: front + direction · azimuth. Training fixes neither."""

    front: float = 1.5 * math.pi  # the network's azimuth that shows the front, radians: 270° in the release
    direction: float = 1.0  # -1: the network turns the other way
    half_size: float = 1.0  # of the cube that the object lies in, in units of metres_per_unit


class HoloGANScene:
    """The pictures of one pair of codes. ws [2, z_dim]: what the volume is styled with, and what the image is."""

    def __init__(self, model: HoloGAN, ws: Tensor) -> None:
        self.model = model
        self.ws = ws
        self.info = FieldInfo("density", 1.0, model.info.bounds, has_surface=False)
        with torch.no_grad():
            self._volume = model.network.volume(ws[:1])

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Raises NotSupported: there is no field."""
        raise NotSupported(NO_SURFACE, remedy=FIT_VIEWS)

    def picture(self, azimuth: float, elevation: float) -> Tensor:
        """Return the image [3, side, side], sRGB 0..1, seen from world angles in radians."""
        facing = self.model.facing
        view = self.ws.new_tensor([[facing.front + facing.direction * azimuth, elevation, 1.0, 0.0, 0.0, 0.0]])
        made = self.model.network.project(rotate_volume(self._volume, view), self.ws[1:])
        return (made[0] * 0.5 + 0.5).clamp(0, 1)

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
        picture. There is no depth: it is inf everywhere. A viewpoint outside the trained range is replaced by the
        nearest one inside, and the image's note says so."""
        prior = self.model.info.pose_prior
        centre = torch.tensor(self.model.info.bounds).to(camera.world_from_camera).mean(0)
        asked = angles_of(camera, centre)
        shown = nearest_in_range(*asked, prior)
        progress(0.0, "Rendering")
        picture = self.picture(*shown)
        rgb, alpha = stand_up(picture, camera, centre, prior)
        note = "" if shown == asked else out_of_range(asked, prior, self.model.info.label)
        return Image(rgb, alpha, torch.full_like(alpha, math.inf), note=note)


class HoloGAN:
    """HoloGAN as a Generator (scenes/generator.py)."""

    def __init__(self, network: Generator, info: ModelInfo, facing: Facing) -> None:
        self.network, self.info, self.facing = network.eval().requires_grad_(False), info, facing

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.constant.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim], uniform in -1..1 as NumPy's legacy generator draws it, which the release uses."""
        z = np.random.RandomState(seed).uniform(-1, 1, (1, self.network.config.z_dim))
        return torch.tensor(z, dtype=torch.float32, device=self.device)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. There is none: the rows are z twice, scaled towards its mean, which is zero."""
        return torch.stack((z, z), -2) * truncation_psi

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> HoloGANScene:
        """See Generator.synthesize."""
        if tuple(ws.shape) != (2, self.network.config.z_dim):
            raise ValueError(f"ws must be [2, {self.network.config.z_dim}], got {list(ws.shape)}")
        return HoloGANScene(self, ws.to(self.device))


def stand_up(picture: Tensor, camera: Camera, centre: Tensor, prior: PosePrior) -> tuple[Tensor, Tensor]:
    """Return what a camera sees of a picture [3, side, side] that stands at `centre`, turned to the camera and as large
    as it is at the prior's distance and field of view: rgb [H, W, 3], alpha [H, W], 0 beside the picture."""
    azimuth, elevation = angles_of(camera, centre)
    unit = (math.cos(elevation) * math.sin(azimuth), -math.cos(elevation) * math.cos(azimuth), math.sin(elevation))
    axes = torch.tensor(look_at(unit, (0.0, 0.0, 0.0))).to(camera.world_from_camera)[:3, :3]  # right, down, forward
    rays = camera.rays()
    origins, directions = (rays.origins - centre) @ axes, rays.directions @ axes
    along = -origins[..., 2:] / torch.where(directions[..., 2:] > 1e-6, directions[..., 2:], math.nan)
    place = (origins + along * directions)[..., :2] / (prior.radius * math.tan(prior.fov / 2))  # the picture is -1..1
    inside = (place.abs() <= 1).all(-1) & (along[..., 0] > 0)
    side = picture.shape[-1]
    steps = (place[:, 1:, 0] - place[:, :-1, 0]).abs().nanmedian() if place.shape[1] > 1 else place.new_tensor(2 / side)
    fine = float(steps) * side / 2  # of the picture's pixels to one of the camera's
    if fine > 1.01:
        small = max(round(side / fine), 1)
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)[0]
    seen = F.grid_sample(picture[None], place.nan_to_num(2.0)[None], padding_mode="border", align_corners=False)[0]
    return (seen * inside).permute(1, 2, 0), inside.to(picture)


def model_info(name: str, card: ModelCard, config: HoloGANConfig, facing: Facing, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a HoloGAN."""
    half = facing.half_size * card.metres_per_unit
    bounds: Bounds = ((-half, -half, -half), (half, half, half))
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
        bounds=bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.side,
    )


def config_of(values: dict[str, Any]) -> HoloGANConfig:
    """Return the config that JSON holds."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return HoloGANConfig(**fields)


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> HoloGAN:
    """Return the generator in a model folder. The constructor is {"network": HoloGANConfig, "facing": Facing}."""
    config, facing = config_of(card.constructor["network"]), Facing(**card.constructor["facing"])
    network = Generator(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, facing, sum(p.numel() for p in network.parameters()))
    return HoloGAN(network, info, facing)
