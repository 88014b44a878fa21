"""π-GAN: a radiance field of sine layers, modulated by the latent (arxiv.org/abs/2012.00926).

Vocabulary. A *FiLM* layer is sin(frequency · (Wx + b) + phase); the mapping network turns z into one frequency and one
phase per channel of each layer, which together are `ws` [num_layers + 1, 2 · hidden_dim] (the last row belongs to the
colour layer). *Canonical* is the model's own frame: y up, the subject faces +z, cameras on the unit sphere look at the
origin. `t` are distances along unit rays there.

`PiGAN` is the network, batched and stage by stage, as the paper tells it: the straightforward path that parity is
proved with. `PiGANGenerator` and `PiGANScene` place one latent of it in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...checkpoints.store import ModelCard
from ...progress import Progress, silent
from ...rendering import compositing, sampling
from ...rendering.marching import Occupancy, Strides, march, strides_for
from ...scene import FieldInfo, FieldSample, Image
from ..layers.placement import (
    Pixels,
    Placement,
    Shell,
    chords,
    cube,
    opaque_within,
    pose_prior,
    render_volume,
)

FREQUENCY_SCALE, FREQUENCY_SHIFT = 15.0, 30.0
"""Mapped frequencies are scaled and shifted into the range in which sine layers train (section 3.1, after SIREN)."""

LOCKED_DIRECTION = (0.0, 0.0, -1.0)
"""The viewing direction of every ray where view dependence is locked: the camera in front of the subject."""

TRUNCATION_SAMPLES = 10_000
"""Number of z whose mean frequencies and phases truncation pulls towards."""

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


@dataclass(frozen=True)
class PiGANConfig:
    """Sizes of the network, and how its weights are rendered."""

    z_dim: int = 256
    hidden_dim: int = 256
    mapping_dim: int = 256
    mapping_layers: int = 3
    """Hidden layers of the mapping network."""
    num_layers: int = 8
    """FiLM layers before density; one more comes before colour."""
    box_side: float | None = 0.24
    """Side of the cube that is scaled to ±1 before the first layer; None leaves points as they are."""
    embedding_channels: int = 0
    """Channels of a learned feature volume that spans the cube and joins the points; 0 for none."""
    embedding_size: tuple[int, int, int] = (96, 96, 96)
    """Its depth, height, width."""
    ray_start: float = 0.88
    ray_end: float = 1.12
    fov_degrees: float = 12.0
    """Between the centres of the first and last pixel."""
    num_steps: int = 48
    """Coarse samples along a ray, and as many fine ones."""
    hierarchical: bool = True
    white_back: bool = False
    last_back: bool = True
    """Give the last sample all the light that is left."""
    clamp: Literal["relu", "softplus"] = "relu"
    """What makes the field's raw density positive."""
    image_size: int = 128

    @property
    def num_ws(self) -> int:
        """Rows of ws."""
        return self.num_layers + 1

    @property
    def half_depth(self) -> float:
        """Half the length of a ray inside the volume."""
        return (self.ray_end - self.ray_start) / 2

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that the official camera sees."""
        return official_reach(self.fov_degrees, self.ray_end)

    @property
    def iso_level(self) -> float:
        """Density of the surface: half opaque within a coarse step of 24."""
        return opaque_within(2 * self.half_depth / 24)


def official_reach(fov_degrees: float, ray_end: float) -> float:
    """Return how far from the origin the last sample of a corner pixel lies, for a camera on the unit sphere."""
    angle = math.atan(math.tan(math.radians(fov_degrees) / 2) * math.sqrt(2))
    return math.hypot(1 - ray_end * math.cos(angle), ray_end * math.sin(angle))


class FiLMLayer(nn.Module):
    """sin(frequency · (Wx + b) + phase), the layer of Eq. 2."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x: [batch, points, in]; w: [batch, 2 · out], frequencies then phases as they are mapped."""
        frequency, phase = w[:, None].chunk(2, -1)
        frequency = frequency * FREQUENCY_SCALE + FREQUENCY_SHIFT
        return torch.sin(frequency * F.linear(x, self.weight, self.bias) + phase)


class MappingNetwork(nn.Module):
    """z → the frequencies and phases of all layers (section 3.1): an MLP with leaky ReLU."""

    def __init__(self, z_dim: int, hidden_dim: int, num_hidden: int, num_ws: int, channels: int):
        super().__init__()
        widths = [z_dim, *[hidden_dim] * num_hidden, 2 * num_ws * channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.num_ws = num_ws

    def forward(self, z: Tensor) -> Tensor:
        """Return ws [..., num_ws, 2 · channels] of z [..., z_dim]. Frequencies are mapped first, phases after them."""
        x = z
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        frequencies, phases = self.layers[-1](x).unflatten(-1, (2, self.num_ws, -1)).unbind(-3)
        return torch.cat((frequencies, phases), -1)


@dataclass(frozen=True)
class Rendering:
    """What a batch of rays gave. Batched [batch, rays, ...]."""

    rgb: Tensor  # [..., 3] in 0..1, composite (with its background, where the model has one)
    alpha: Tensor  # [...] Σ w before any background
    distance: Tensor  # [...] Σ w t, not divided by Σ w
    t_coarse: Tensor  # [..., num_steps]
    weights_coarse: Tensor  # [..., num_steps]
    field_coarse: Tensor  # [..., num_steps, 4] rgb and raw density
    t: Tensor  # [..., samples]
    weights: Tensor  # [..., samples]


class PiGAN(nn.Module):
    """The network."""

    embedding: nn.Parameter

    def __init__(self, config: PiGANConfig):
        super().__init__()
        self.config = config
        channels = config.hidden_dim
        self.mapping_network = MappingNetwork(
            config.z_dim, config.mapping_dim, config.mapping_layers, config.num_ws, channels
        )
        inputs = 3 + config.embedding_channels
        self.layers = nn.ModuleList(
            FiLMLayer(inputs if i == 0 else channels, channels) for i in range(config.num_layers)
        )
        self.density = nn.Linear(channels, 1)
        self.color_layer = FiLMLayer(channels + 3, channels)
        self.color = nn.Linear(channels, 3)
        if config.embedding_channels:
            self.embedding = nn.Parameter(torch.zeros(1, config.embedding_channels, *config.embedding_size))
        self._initialise()

    def _initialise(self) -> None:
        """Weights from the distributions that keep sine layers trainable (SIREN; supplement of the paper)."""
        for i, layer in enumerate((*self.layers, self.color_layer)):
            fan_in = layer.weight.shape[1]
            bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / 25
            nn.init.uniform_(layer.weight, -bound, bound)
        for head in (self.density, self.color):
            nn.init.uniform_(head.weight, -math.sqrt(6 / head.in_features) / 25, math.sqrt(6 / head.in_features) / 25)
        last = self.mapping_network.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.25)

    def mean_ws(self) -> Tensor:
        """Return the mean [num_ws, w_dim] of many mapped z, from a fixed seed."""
        parameter = self.density.weight
        z = torch.randn(TRUNCATION_SAMPLES, self.config.z_dim, generator=torch.Generator().manual_seed(0))
        return self.mapping_network(z.to(parameter)).mean(0)

    def encode(self, points: Tensor) -> Tensor:
        """Return what enters the first layer, [batch, points, in], of canonical points [batch, points, 3]."""
        if self.config.box_side is not None:
            points = points * (2 / self.config.box_side)
        if not self.config.embedding_channels:
            return points
        volume = self.embedding.expand(points.shape[0], -1, -1, -1, -1)
        features = F.grid_sample(volume, points[:, :, None, None], align_corners=True)
        return torch.cat((features.squeeze(-1).squeeze(-1).transpose(1, 2), points), -1)

    def features(self, ws: Tensor, points: Tensor) -> Tensor:
        """Return the last geometry layer [batch, points, channels] at canonical points [batch, points, 3]."""
        x = self.encode(points)
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i])
        return x

    def radiance(self, ws: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Evaluate the field (Eq. 3).

        Args:
            ws: [batch, num_ws, w_dim].
            points: canonical [batch, points, 3].
            directions: unit [batch, points, 3].

        Returns:
            rgb in 0..1 and raw density, [batch, points, 4].
        """
        x = self.features(ws, points)
        color = torch.sigmoid(self.color(self.color_layer(torch.cat((directions, x), -1), ws[:, -1])))
        return torch.cat((color, self.density(x)), -1)

    def positive(self, density: Tensor) -> Tensor:
        """Return raw density made non-negative."""
        return F.relu(density) if self.config.clamp == "relu" else F.softplus(density)

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        directions: Tensor,
        t: Tensor,
        *,
        u: Tensor | None = None,
        coarse_points: Tensor | None = None,
        lock_view: bool = False,
        last_back: bool | None = None,
    ) -> Rendering:
        """Volume render canonical rays with coarse samples and, if hierarchical, as many fine ones (section 3.2).

        Args:
            ws: [batch, num_ws, w_dim].
            origins, directions: [batch, rays, 3], directions of unit length.
            t: coarse samples [batch, rays, num_steps].
            u: [batch, rays, num_steps] in [0, 1) for the fine samples; None spaces them evenly.
            coarse_points: [batch, rays, num_steps, 3], where a caller has them more exactly than o + t d.
            lock_view: colour as seen from in front, whatever the direction.
            last_back: replaces the config's.
        """
        config = self.config
        if coarse_points is None:
            coarse_points = origins[:, :, None] + directions[:, :, None] * t[..., None]
        seen_along = directions
        if lock_view:
            seen_along = torch.tensor(LOCKED_DIRECTION).to(directions).expand_as(directions)

        def evaluate(points: Tensor) -> Tensor:
            along = seen_along[:, :, None].expand_as(points)
            return self.radiance(ws, points.flatten(1, 2), along.flatten(1, 2)).unflatten(1, points.shape[1:3])

        coarse = samples = evaluate(coarse_points)
        coarse_weights = compositing.weights_from_density(self.positive(coarse[..., 3]), t)
        t_coarse = t
        if config.hierarchical:
            u = sampling.evenly_drawn(t.shape[-1], t) if u is None else u
            # The released networks were trained with the padding of the draw added twice.
            t_fine = sampling.inverse_cdf(
                sampling.midpoints(t), (coarse_weights + 1e-5)[..., 1:-1], u, padding=1e-5, side="left"
            )
            fine = evaluate(origins[:, :, None] + directions[:, :, None] * t_fine[..., None])
            t, order = sampling.merged(t_fine, t_coarse)
            samples = torch.cat((fine, coarse), -2).gather(-2, order[..., None].expand(*order.shape, 4))
        weights = compositing.weights_from_density(self.positive(samples[..., 3]), t)
        alpha = weights.sum(-1)
        if config.last_back if last_back is None else last_back:
            weights = compositing.with_background_last(weights)
        rgb = compositing.composite(weights, samples[..., :3])
        if config.white_back:
            rgb = rgb + 1 - alpha[..., None]
        distance = compositing.composite(weights, t[..., None])[..., 0]
        return Rendering(rgb, alpha, distance, t_coarse, coarse_weights, coarse, t, weights)


@dataclass(frozen=True)
class CanonicalRays:
    """Rays of official cameras. origins, directions: [batch, rays, 3]; points: [batch, rays, num_steps, 3]."""

    origins: Tensor
    directions: Tensor
    points: Tensor


def official_rays(
    yaw: Tensor, pitch: Tensor, size: int, fov_degrees: float, t: Tensor, offsets: Tensor | None = None
) -> CanonicalRays:
    """Return the rays of square images [size²] from the unit sphere, row by row from the top.

    Pixel centres run from edge to edge of the field of view. Points are placed in the camera and moved by its matrix,
    the order in which the official vectors round.

    Args:
        yaw: [batch] angle from +x towards +z, radians; π/2 is in front.
        pitch: [batch] angle from +y, radians; π/2 is level.
        t: [batch, rays, num_steps] before any jitter.
        offsets: the shape of t, added to it.
    """
    origin = torch.stack((pitch.sin() * yaw.cos(), pitch.cos(), pitch.sin() * yaw.sin()), -1)
    backward = F.normalize(origin, dim=-1)
    right = F.normalize(
        torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]).to(origin).expand_as(origin), backward), dim=-1
    )
    up = F.normalize(torch.linalg.cross(backward, right), dim=-1)
    world_from_camera = torch.zeros(*origin.shape[:-1], 4, 4).to(origin)
    world_from_camera[..., :3, :] = torch.stack((right, up, backward, origin), -1)
    world_from_camera[..., 3, 3] = 1

    side = torch.linspace(-1, 1, size).to(origin)
    y, x = torch.meshgrid(-side, side, indexing="ij")
    z = -torch.ones_like(x) / math.tan((2 * math.pi * fov_degrees / 360) / 2)
    in_camera = F.normalize(torch.stack((x, y, z), -1).flatten(0, 1), dim=-1).expand(origin.shape[0], -1, 3)
    directions = (world_from_camera[:, :3, :3] @ in_camera.transpose(1, 2)).transpose(1, 2)
    points = in_camera[:, :, None] * t[..., None]
    if offsets is not None:
        points = points + offsets[..., None] * in_camera[:, :, None]
    homogeneous = torch.cat((points, torch.ones_like(points[..., :1])), -1).flatten(1, 2)
    points = (world_from_camera @ homogeneous.transpose(1, 2)).transpose(1, 2)[..., :3].unflatten(1, t.shape[1:])
    return CanonicalRays(origin[:, None].expand_as(directions), directions, points)


class FoldedField:
    """The field of one latent, with frequencies and phases folded into the layers: sin((f ∘ W) x + (f b + p))."""

    def __init__(self, network: PiGAN, ws: Tensor, *, lock_view: bool):
        self.network, self.lock_view = network, lock_view
        folded = [self._fold(layer, w) for layer, w in zip((*network.layers, network.color_layer), ws, strict=True)]
        self.layers, (color_weight, self.color_bias) = folded[:-1], folded[-1]
        # directions come first in what the colour layer sees
        self.color_weight, self.direction_weight = color_weight[3:], color_weight[:3]

    @staticmethod
    def _fold(layer: FiLMLayer, w: Tensor) -> tuple[Tensor, Tensor]:
        frequency, phase = w.chunk(2, -1)
        frequency = frequency * FREQUENCY_SCALE + FREQUENCY_SHIFT
        return (frequency[:, None] * layer.weight).T.contiguous(), frequency * layer.bias + phase

    def features(self, points: Tensor) -> Tensor:
        """Return the last geometry layer [n, hidden_dim] at canonical points [n, 3]. Differentiable."""
        x = self.network.encode(points[None])[0]
        for weight, bias in self.layers:
            x = torch.addmm(bias, x, weight).sin_()
        return x

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        return self.network.config.hidden_dim

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        x = self.network.encode(points[None])[0]
        for weight, bias in self.layers[:-1]:
            x = torch.addmm(bias, x, weight).sin_()
        weight, bias = self.layers[-1]
        return self.network.density(torch.addmm(bias, x, weight, out=features).sin_()).squeeze(-1)

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return self.network.positive(raw)

    def color(self, features: Tensor, directions: Tensor) -> Tensor:
        """See marching.Field."""
        if self.lock_view:
            directions = directions.new_tensor(LOCKED_DIRECTION).expand_as(directions)
        x = torch.addmm(self.color_bias, directions, self.direction_weight).addmm_(features, self.color_weight)
        return torch.sigmoid(self.network.color(x.sin_()))


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
        straightforward: bool = False,
    ) -> Image:
        """See Scene.render. samples_per_ray: coarse and fine together. A draft has half the rays each way and a third
        of the samples. straightforward: by the network itself, every sample evaluated."""
        config = self.network.config
        steps = max(config.num_steps // 3, 4) if quality == "draft" else config.num_steps
        if samples_per_ray is not None:
            steps = max(samples_per_ray // (2 if config.hierarchical else 1), 3)
        return render_volume(
            camera,
            self.placement,
            self._shell,
            self._straightforward if straightforward else self._fast,
            steps=steps,
            quality=quality,
            jitter=jitter,
            progress=progress,
            density=self._straight_density if straightforward else self._density,
        )

    def _straight_density(self, points: Tensor) -> Tensor:
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def _density(self, points: Tensor) -> Tensor:
        return self.network.density(self.folded.features(points)).flatten()

    def _straightforward(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
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
        **card.told,
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
