"""π-GAN: a radiance field of sine layers, modulated by the latent (arxiv.org/abs/2012.00926).

Vocabulary. A *FiLM* layer is sin(frequency · (Wx + b) + phase); the mapping network turns z into one frequency and one
phase per channel of each layer, which together are `ws` [num_layers + 1, 2 · hidden_dim] (the last row belongs to the
colour layer). *Canonical* is the model's own frame: y up, the subject faces +z, cameras on the unit sphere look at the
origin. `t` are distances along unit rays there.

`PiGAN` is the network, batched, stage by stage as in the paper: the reference path, which is compared with official
outputs. `PiGANGenerator` and `PiGANScene` (scene.py) place one latent of it in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...rendering import compositing, sampling
from ...scenes.volume import opaque_within

FREQUENCY_SCALE, FREQUENCY_SHIFT = 15.0, 30.0
"""Mapped frequencies are scaled and shifted into the range in which sine layers train (section 3.1, after SIREN)."""

LOCKED_DIRECTION = (0.0, 0.0, -1.0)
"""The viewing direction of every ray where view dependence is locked: the camera in front of the subject."""

TRUNCATION_SAMPLES = 10_000
"""Number of z whose mean frequencies and phases are the centre of truncation."""


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
    """Between the edges of an image, whatever its size."""
    num_steps: int = 48
    """Coarse samples along a ray, and as many fine ones."""
    hierarchical: bool = True
    white_back: bool = False
    last_back: bool = True
    """Give the last sample all remaining transmittance, so that every pixel is opaque."""
    clamp: Literal["relu", "softplus"] = "relu"
    """Activation of the raw density."""
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
        if self.training and not torch.is_autocast_enabled(x.device.type):
            # frequencies folded into the weights: rounds differently, and is 1.7 times as fast with its gradient
            weight = (frequency.transpose(1, 2) * self.weight).transpose(1, 2)
            return torch.sin(torch.baddbmm(frequency * self.bias + phase, x, weight))
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
    """Pixels of a batch of rays, and the samples they are made of. Batched [batch, rays, ...]."""

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
        """Return the input of the first layer [batch, points, in] at canonical points [batch, points, 3]."""
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
        with torch.autocast(x.device.type, enabled=False):  # half precision would quantise positions
            x = self.layers[0](x, ws[:, 0])
        for i, layer in enumerate(self.layers[1:], start=1):
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
        """Return density: the raw density, activated."""
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
        density_noise: tuple[Tensor, Tensor] | None = None,
    ) -> Rendering:
        """Volume render canonical rays with coarse samples and, if hierarchical, as many fine ones (section 3.2).

        Args:
            ws: [batch, num_ws, w_dim].
            origins, directions: [batch, rays, 3], directions of unit length.
            t: coarse samples [batch, rays, num_steps].
            u: [batch, rays, num_steps] in [0, 1) for the fine samples; None spaces them evenly.
            coarse_points: [batch, rays, num_steps, 3]; None is origins + t · directions.
            lock_view: colour as seen from in front, for every direction.
            last_back: overrides the config's.
            density_noise: added to the raw density in training: of the coarse samples [batch, rays, num_steps], and of
                all samples, by their order along the ray.
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
        coarse_noise, noise = density_noise or (torch.zeros_like(t), torch.zeros(()).to(t))
        coarse_weights = compositing.weights_from_density(self.positive(coarse[..., 3] + coarse_noise), t)
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
        weights = compositing.weights_from_density(self.positive(samples[..., 3] + noise), t)
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


def official_fov(fov_degrees: float, size: int) -> float:
    """Return the field of view (radians) between the edges of the official image of `size` pixels."""
    return 2 * math.atan(math.tan(math.radians(fov_degrees) / 2) * size / max(size - 1, 1))


def official_rays(
    yaw: Tensor, pitch: Tensor, size: int, fov_degrees: float, t: Tensor, offsets: Tensor | None = None
) -> CanonicalRays:
    """Return the rays of square images [size²] from the unit sphere, row by row from the top.

    Official pixel centres run from edge to edge of the field of view, which makes an image of N pixels N / (N − 1)
    times as wide as that of a camera with this field of view: `official_fov`. Points are placed in the camera and
    moved by its matrix, the order in which the official vectors round.

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
