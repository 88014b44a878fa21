"""π-GAN as a Generator and its Scene: volume rendering, the model's info, and loading."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...progress import Progress, silent
from ...rendering.marching import Occupancy, Strides, march, strides_for
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.volume import Pixels, Placement, Shell, chords, cube, pose_prior, render_volume
from .fast import FoldedField
from .model import LOCKED_DIRECTION, PiGAN, PiGANConfig

IMAGE_MEMORY = ImageMemory(192 * MEBI, per_pixel=48, per_sample=7, samples=96)

WORLD_FROM_CANONICAL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""y up, facing +z becomes Z up, facing −Y: the front view of Blender."""

LOCK_VIEW = Control(
    "lock_view", "Lock View Dependence", "Colours as seen from in front, whatever the view", 0.0, 0.0, 1.0, "switch"
)

OCCUPANCY_RESOLUTION = 32
WORTH_SKIPPING = 0.9
"""With more of its cells occupied than this, a grid is not asked."""

PROBES = 48
"""Rays that say which samples may be interpolated."""


class PiGANScene:
    """One latent in the world: what depends on ws alone is made once."""

    def __init__(self, network: PiGAN, ws: Tensor, placement: Placement, *, lock_view: bool = False):
        self.network, self.ws, self.placement, self.lock_view = network, ws, placement, lock_view
        self.info = field_info(network.config, placement.metres_per_unit)
        with torch.no_grad():
            self.folded = FoldedField(network, ws, lock_view=lock_view)
        self._occupancy: Occupancy | None = None
        self._strides: dict[int, Strides] = {}
        self._shell = Shell(network.config.half_depth, network.config.reach)

    @property
    def occupancy(self) -> Occupancy:
        """Where density may be positive; made when first asked for."""
        if self._occupancy is None:
            half = self.network.config.reach
            self._occupancy = Occupancy(self.folded, half, OCCUPANCY_RESOLUTION, like=self.ws)
        return self._occupancy

    @property
    def _occupied(self) -> Occupancy | None:
        return self.occupancy if self.occupancy.share < WORTH_SKIPPING else None

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from in front."""
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None or self.lock_view:
            along = canonical.new_tensor(LOCKED_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        rgb, density = self.network.radiance(self.ws[None], canonical, along).split((3, 1), -1)
        density = self.network.positive(density) / self.placement.metres_per_unit
        return FieldSample(density.reshape(points.shape[:-1]), rgb.reshape(points.shape))

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
        """See Scene.render. samples_per_ray: coarse and fine together. A draft has half the rays each way and a third
        of the samples. reference: by the network itself, every sample evaluated."""
        config = self.network.config
        steps = max(config.num_steps // 3, 4) if quality == "draft" else config.num_steps
        if samples_per_ray is not None:
            steps = max(samples_per_ray // (2 if config.hierarchical else 1), 3)
        return render_volume(
            camera,
            self.placement,
            self._shell,
            self._reference if reference else self._fast,
            steps=steps,
            quality=quality,
            jitter=jitter,
            progress=progress,
            density=self._reference_density if reference else self._density,
        )

    def _reference_density(self, points: Tensor) -> Tensor:
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def _density(self, points: Tensor) -> Tensor:
        return self.network.density(self.folded.features(points)).flatten()

    def _reference(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        draws = None if u is None else u[None]
        result = self.network.render(
            self.ws[None], origins[None], directions[None], t[None], u=draws, lock_view=self.lock_view
        )
        rgb, alpha = result.rgb[0], result.alpha[0]
        if self.network.config.white_back:  # white is for pictures; here what is behind shows through
            rgb = rgb - (1 - alpha[:, None])
        return self._pixels(rgb, alpha, result.distance[0])

    def _strides_for(self, steps: int) -> Strides:
        if steps not in self._strides:
            config = self.network.config
            self._strides[steps] = strides_for(
                self.folded,
                *chords(self._shell, PROBES, steps, self.ws),
                num_fine=steps if config.hierarchical else 0,
                last_back=config.last_back,
                occupied=self._occupied,
            )
        return self._strides[steps]

    def _fast(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        config = self.network.config
        result = march(
            self.folded,
            origins,
            directions,
            t,
            num_fine=t.shape[-1] if config.hierarchical else 0,
            u=u,
            last_back=config.last_back,
            occupied=self._occupied,
            strides=self._strides_for(t.shape[-1]),
        )
        return self._pixels(result.rgb, result.alpha, result.t)

    def _pixels(self, rgb: Tensor, alpha: Tensor, t: Tensor) -> Pixels:
        # with last_back the background belongs to the subject's own volume
        return Pixels(rgb, torch.ones_like(alpha) if self.network.config.last_back else alpha, t)


def field_info(config: PiGANConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=config.iso_level / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
    )


class PiGANGenerator:
    """π-GAN as a Generator (backend/generator.py)."""

    def __init__(self, network: PiGAN, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(WORLD_FROM_CANONICAL.to(self.device), metres_per_unit)
        self._mean_ws: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.density.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim] as the official scripts draw it: the first normal numbers after seeding torch."""
        z = torch.randn(1, self.network.config.z_dim, generator=torch.Generator().manual_seed(seed))
        return z.to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. Truncation acts on frequencies and phases, around the mean of many z."""
        ws = self.network.mapping_network(z)
        if truncation_psi == 1:
            return ws
        if self._mean_ws is None:
            self._mean_ws = self.network.mean_ws()
        return self._mean_ws + truncation_psi * (ws - self._mean_ws)

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> PiGANScene:
        """See Generator.synthesize."""
        config = self.network.config
        if tuple(ws.shape) != (config.num_ws, 2 * config.hidden_dim):
            raise ValueError(f"ws must be [{config.num_ws}, {2 * config.hidden_dim}], got {list(ws.shape)}")
        lock_view = (controls or {}).get(LOCK_VIEW.name, LOCK_VIEW.default) >= 0.5
        return PiGANScene(self.network, ws.to(self.device), self.placement, lock_view=lock_view)


def wire_fov(fov_degrees: float, size: int) -> float:
    """Return the field of view (radians) between the edges of an image whose pixel centres span fov_degrees."""
    return 2 * math.atan(math.tan(math.radians(fov_degrees) / 2) * size / max(size - 1, 1))


def model_info(name: str, card: ModelCard, config: PiGANConfig, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a π-GAN."""
    field = field_info(config, card.metres_per_unit)
    prior = PosePrior(
        radius=card.metres_per_unit,
        fov=wire_fov(config.fov_degrees, config.image_size),
        azimuth=(-0.6, 0.6),
        elevation=(-0.31, 0.31),
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=config.z_dim,
        num_ws=config.num_ws,
        w_dim=2 * config.hidden_dim,
        num_geometry_ws=config.num_layers,
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=field.iso_level,
        iso_range=(field.iso_level / 10, field.iso_level * 10),
        bounds=field.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.image_size,
        controls=(LOCK_VIEW,),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> PiGANGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if "embedding_size" in values:
        values["embedding_size"] = tuple(values["embedding_size"])
    config = PiGANConfig(**values)
    network = PiGAN(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, sum(p.numel() for p in network.parameters()))
    return PiGANGenerator(network, info, card.metres_per_unit)
