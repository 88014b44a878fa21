"""ShadeGAN: π-GAN whose colours are albedo, shaded with the normals of its own density (arxiv.org/abs/2110.15678).

Vocabulary. *Albedo* is the field's colour before shading. A *light* [4] is (ambient, diffuse, x, y): the first two are
−1..1 for intensities 0..1; the light shines along the direction (x, y, 1), in the frame of a camera in front of the
subject that does not move with the view. The *surface network* predicts the depth of the surface along each ray of a
view, so that few samples around it are enough (section 3.3). Everything else is as in `pigan/model.py`: FiLM layers,
`ws`, the canonical frame, `t`.

`ShadeGAN` is the network, batched, stage by stage as in the paper: the reference path, which is compared with official
outputs. `ShadeGANGenerator` and `ShadeGANScene` (scene.py) place one latent of it in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...rendering import compositing, sampling
from ..pigan.model import TRUNCATION_SAMPLES, FiLMLayer, MappingNetwork, official_reach

LIGHT_DIM = 4
SURFACE_LATENT_DIVISOR = 10.0
SURFACE_POSE_SCALE = 10.0
"""Frequencies and phases, and the angles of the pose from the front, as the surface network takes them."""


@dataclass(frozen=True)
class SurfaceConfig:
    """Sizes of the surface network."""

    channels: tuple[int, ...] = (128, 64, 32, 16)
    """At 8², then after each doubling."""
    num_steps: int = 6
    """Coarse samples around the predicted surface at the end of the training, and as many fine ones."""
    delta: float = 0.06
    """Length over which they are spread."""


@dataclass(frozen=True)
class ShadeGANConfig:
    """Sizes of the network, and how its weights are rendered."""

    z_dim: int = 256
    hidden_dim: int = 256
    mapping_dim: int = 256
    mapping_layers: int = 3
    num_layers: int = 8
    box_side: float = 0.24
    shading: bool = True
    """False: albedo is the colour."""
    view_condition: bool = False
    """Albedo depends on the viewing direction."""
    light_condition: bool = True
    """Albedo depends on the light."""
    surface: SurfaceConfig | None = SurfaceConfig()
    ray_start: float = 0.88
    ray_end: float = 1.12
    fov_degrees: float = 12.0
    num_steps: int = 12
    white_back: bool = False
    last_back: bool = False
    clamp: Literal["relu", "softplus"] = "relu"
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
    def tracks(self) -> bool:
        """Whether there is a surface network that samples have been narrowed to."""
        return self.surface is not None and self.surface.delta < 2 * self.half_depth * (1 - 1e-6)

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that the official camera sees."""
        return official_reach(self.fov_degrees, self.ray_end)


class SurfaceBlock(nn.Module):
    """Residual block that doubles the resolution."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(max(in_channels // 8, 1), in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(max(out_channels // 8, 1), out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, n, n] → [batch, out, 2n, 2n]."""
        y = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2.0, mode="nearest"))
        y = self.conv2(F.relu(self.norm2(y)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")


class SurfaceNetwork(nn.Module):
    """Latent and pose → depth of the surface along the rays of that view (section 3.3)."""

    def __init__(self, latent_dim: int, config: SurfaceConfig):
        super().__init__()
        first, last = config.channels[0], config.channels[-1]
        self.linear = nn.Linear(latent_dim, first)
        self.stem = nn.Sequential(
            nn.Conv2d(first + 2, first, 1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(first, first, 4, bias=False),
            nn.ReLU(),
            nn.Conv2d(first, first, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(first, first, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(max(first // 4, 1), first),
            nn.ReLU(),
            nn.Conv2d(first, first, 3, padding=1, bias=False),
        )
        self.blocks = nn.ModuleList(
            SurfaceBlock(a, b) for a, b in zip(config.channels[:-1], config.channels[1:], strict=True)
        )
        self.norm = nn.GroupNorm(max(last // 4, 1), last)
        self.out = nn.Conv2d(last, 2, 5, padding=2, bias=False)

    def forward(self, ws: Tensor, pose: Tensor) -> Tensor:
        """Return depth [batch, n, n] as a share 0..1 of the ray, of ws [batch, num_ws, w_dim].

        pose: [batch, 2] pitch and yaw of the camera, radians, π/2 in front.
        """
        frequencies, phases = ws.chunk(2, -1)
        latent = torch.cat((frequencies.flatten(1), phases.flatten(1)), -1) / SURFACE_LATENT_DIVISOR
        x = torch.cat((self.linear(latent), (pose - math.pi / 2) * SURFACE_POSE_SCALE), -1)[:, :, None, None]
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        # the second channel is left over from training
        return torch.sigmoid(self.out(F.relu(self.norm(x)))[:, 0])


@dataclass(frozen=True)
class Rendering:
    """Pixels of a batch of rays, and the samples they are made of. Batched [batch, rays, ...]."""

    rgb: Tensor  # [..., 3] in 0..1: shaded albedo
    albedo: Tensor  # [..., 3] in 0..1, with the background where the model has one
    normal: Tensor  # [..., 3] unit, canonical
    shading: Tensor  # [...]
    alpha: Tensor  # [...] Σ w before any background
    distance: Tensor  # [...] mean t
    t_coarse: Tensor  # [..., num_steps]
    t: Tensor  # [..., samples]
    weights: Tensor  # [..., samples]


class ShadeGAN(nn.Module):
    """The network."""

    def __init__(self, config: ShadeGANConfig):
        super().__init__()
        self.config = config
        channels = config.hidden_dim
        self.mapping_network = MappingNetwork(
            config.z_dim, config.mapping_dim, config.mapping_layers, config.num_ws, channels
        )
        self.layers = nn.ModuleList(FiLMLayer(3 if i == 0 else channels, channels) for i in range(config.num_layers))
        self.density = nn.Linear(channels, 1)
        seen = 3 * config.view_condition + channels + LIGHT_DIM * config.light_condition
        self.color_layer = FiLMLayer(seen, channels)
        self.color = nn.Linear(channels, 3)
        if config.surface is not None:
            self.surface = SurfaceNetwork(2 * config.num_ws * channels, config.surface)
        self._initialise()

    def _initialise(self) -> None:
        """Weights that keep sine layers trainable, as in π-GAN."""
        for i, layer in enumerate((*self.layers, self.color_layer)):
            fan_in = layer.weight.shape[1]
            bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / 25
            nn.init.uniform_(layer.weight, -bound, bound)

    def mean_ws(self) -> Tensor:
        """Return the mean [num_ws, w_dim] of many mapped z, from a fixed seed."""
        z = torch.randn(TRUNCATION_SAMPLES, self.config.z_dim, generator=torch.Generator().manual_seed(0))
        return self.mapping_network(z.to(self.density.weight)).mean(0)

    def features(self, ws: Tensor, scaled: Tensor) -> Tensor:
        """Return the last geometry layer [batch, points, channels] at points [batch, points, 3] in the cube ±1."""
        x = scaled
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i])
        return x

    def geometry(self, ws: Tensor, points: Tensor, *, normals: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw density [batch, points], features [batch, points, channels], normals [batch, points, 3].

        Normals are −∇σ in the cube scaled to ±1 (Eq. 4), not of unit length; zeros where they are not asked for. All
        are differentiable in ws, points and weights, normals by a second derivative of the network.
        """
        scaled = points * (2 / self.config.box_side)
        if not normals:
            x = self.features(ws, scaled)
            return self.density(x).squeeze(-1), x, torch.zeros_like(points)
        inputs = (ws, points, *self.parameters())
        differentiable = torch.is_grad_enabled() and any(value.requires_grad for value in inputs)
        with torch.enable_grad():
            if not scaled.requires_grad:
                scaled = scaled.detach().requires_grad_(True)
            x = self.features(ws, scaled.view_as(scaled))  # PyTorch's flop counter allows no leaf here
            density = self.density(x).squeeze(-1)
            (gradient,) = torch.autograd.grad(density.sum(), scaled, create_graph=differentiable)
        return (density, x, -gradient) if differentiable else (density.detach(), x.detach(), -gradient)

    def albedo(self, ws: Tensor, features: Tensor, directions: Tensor, light: Tensor) -> Tensor:
        """Return albedo 0..1 [batch, points, 3] of features [batch, points, channels].

        directions: unit [batch, points, 3]; light: [batch, 4].
        """
        parts = [directions] if self.config.view_condition else []
        parts.append(features)
        if self.config.light_condition:
            parts.append(light[:, None].expand(*features.shape[:2], -1))
        return torch.sigmoid(self.color(self.color_layer(torch.cat(parts, -1), ws[:, -1])))

    def positive(self, density: Tensor) -> Tensor:
        """Return density: the raw density, activated."""
        return F.relu(density) if self.config.clamp == "relu" else F.softplus(density)

    def predicted_t(self, ws: Tensor, pose: Tensor) -> Tensor:
        """Return t of the surface [batch, n, n] that the surface network predicts for pose [batch, 2] (pitch, yaw)."""
        config = self.config
        return config.ray_start + (config.ray_end - config.ray_start) * self.surface(ws, pose)

    def render(
        self,
        ws: Tensor,
        light: Tensor,
        origins: Tensor,
        directions: Tensor,
        t: Tensor,
        *,
        u: Tensor | None = None,
        coarse_points: Tensor | None = None,
        density_noise: tuple[Tensor, Tensor] | None = None,
    ) -> Rendering:
        """Volume render canonical rays and shade them (Eq. 3–6).

        Args:
            ws: [batch, num_ws, w_dim].
            light: [batch, 4].
            origins, directions: [batch, rays, 3], directions of unit length.
            t: coarse samples [batch, rays, num_steps].
            u: [batch, rays, num_steps] in [0, 1) for the fine samples; None spaces them evenly.
            coarse_points: [batch, rays, num_steps, 3]; None is origins + t · directions.
            density_noise: added to the raw density, in training, of the coarse samples [batch, rays, num_steps] and of
                all, sorted [batch, rays, 2 · num_steps].
        """
        config = self.config
        noise = (0.0, 0.0) if density_noise is None else density_noise
        if coarse_points is None:
            coarse_points = origins[:, :, None] + directions[:, :, None] * t[..., None]

        def evaluate(points: Tensor) -> Tensor:
            flat = points.flatten(1, 2)
            density, features, normals = self.geometry(ws, flat, normals=config.shading)
            along = directions[:, :, None].expand_as(points).flatten(1, 2)
            albedo = self.albedo(ws, features, along, light)
            return torch.cat((albedo, normals, density[..., None]), -1).unflatten(1, points.shape[1:3])

        coarse = evaluate(coarse_points)
        coarse_weights = compositing.weights_from_density(self.positive(coarse[..., -1] + noise[0]), t)
        u = sampling.evenly_drawn(t.shape[-1], t) if u is None else u
        t_fine = sampling.inverse_cdf(
            sampling.midpoints(t), (coarse_weights + 1e-5)[..., 1:-1], u, padding=1e-5, side="left"
        )
        fine = evaluate(origins[:, :, None] + directions[:, :, None] * t_fine[..., None])
        t_coarse = t
        t, order = sampling.merged(t_fine, t_coarse)
        samples = torch.cat((fine, coarse), -2).gather(-2, order[..., None].expand(*order.shape, fine.shape[-1]))
        weights = compositing.weights_from_density(self.positive(samples[..., -1] + noise[1]), t)
        alpha = weights.sum(-1)
        if config.last_back:
            weights = compositing.with_background_last(weights)
        albedo = compositing.composite(weights, samples[..., :3])
        distance = (weights * t).sum(-1) / (weights.sum(-1) + 1e-5)
        normal = F.normalize(compositing.composite(weights, samples[..., 3:6]), dim=-1)
        shading = shade(normal, light) if config.shading else torch.ones_like(alpha)
        rgb = albedo * shading[..., None]
        if config.white_back:
            rgb, albedo = rgb + 1 - alpha[..., None], albedo + 1 - alpha[..., None]
        return Rendering(rgb.clamp(0, 1), albedo, normal, shading, alpha, distance, t_coarse, t, weights)


def shade(normal: Tensor, light: Tensor) -> Tensor:
    """Return ambient + diffuse · max(n · l, 0) (Eq. 5) [batch, rays] of unit normals [batch, rays, 3].

    light: [batch, 4].
    """
    ambient, diffuse = (light[:, :2] / 2 + 0.5).split(1, -1)
    towards = F.normalize(torch.cat((light[:, 2:], torch.ones_like(light[:, :1])), -1), dim=-1)
    return ambient + diffuse * (normal * towards[:, None]).sum(-1).clamp(min=0)


def places_in_view(origins: Tensor, directions: Tensor) -> Tensor:
    """Return where rays [rays] cross the image plane at depth 1 of a camera at `origins` [rays, 3] that looks at the
    canonical origin, y up: [rays, 2] to the right and downwards; infinite behind it. directions: [rays, 3]."""
    backward = F.normalize(origins, dim=-1)
    right = F.normalize(torch.linalg.cross(origins.new_tensor((0.0, 1.0, 0.0)).expand_as(backward), backward), dim=-1)
    up = torch.linalg.cross(backward, right)
    depth = -(directions * backward).sum(-1, keepdim=True)
    place = torch.stack(((directions * right).sum(-1), -(directions * up).sum(-1)), -1) / depth
    return torch.where(depth > 0, place, math.inf)


def averaged_cells(predicted: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return means [rays] of a map [n, n] over all cells that the rectangles from low to high [rays, 2] touch.

    low, high: column and row in cells, 0 … n. For the pixels of an image over the whole map this is the "area" mode of
    `F.interpolate`, by which the official code resamples the prediction: below n pixels averages, above n the nearest.
    """
    n = len(predicted)
    # rounding must not add the cell that a rectangle ends at
    first = (low + 1e-3).floor().long().clamp(0, n - 1)
    last = torch.maximum((high - 1e-3).ceil().long().clamp(1, n), first + 1)
    total = F.pad(predicted.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    (x0, y0), (x1, y1) = first.unbind(-1), last.unbind(-1)
    found = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return (found / ((y1 - y0) * (x1 - x0))).to(predicted)


def tracked_t(predicted: Tensor, size: int, num_steps: int, delta: float) -> Tensor:
    """Return coarse t [batch, size², num_steps] within `delta` around a predicted surface [batch, n, n] (Eq. 7)."""
    return around(F.interpolate(predicted[:, None], size=(size, size), mode="area").flatten(1), num_steps, delta)


def around(center: Tensor, num_steps: int, delta: float) -> Tensor:
    """Return t [..., num_steps] evenly over `delta` around `center` [...]."""
    return center[..., None] + torch.linspace(-delta / 2, delta / 2, num_steps).to(center)
