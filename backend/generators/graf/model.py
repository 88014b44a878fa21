"""GRAF: a conditional radiance field with separate codes for shape and appearance (arxiv.org/abs/2007.02442).

Vocabulary. z is the *shape code* followed by the *appearance code* (section 3.2.1). There is no mapping network: `ws`
[2, w_dim] holds the two codes as rows, the shorter one filled with zeros. *Canonical* is the model's own frame: z up,
cameras on a sphere around the origin, looking along their −z. `t` multiplies the ray's direction, whose length is not
one: it is the depth along the camera's axis.

`GRAF` is the network, batched, stage by stage as in the paper: the reference path, which is compared with official
outputs. `GRAFGenerator` and `GRAFScene` (scene.py) place one pair of codes in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...rendering import compositing, sampling

SKIP_AFTER = 4
"""The encoded point joins again behind this layer (Fig. 3)."""


@dataclass(frozen=True)
class GRAFConfig:
    """Sizes of the network, and how its weights are rendered."""

    z_dim: int = 256
    appearance_dim: int = 128
    """The last dimensions of z."""
    num_layers: int = 8
    hidden_dim: int = 256
    point_frequencies: int = 10
    direction_frequencies: int = 4
    near: float = 7.5
    far: float = 12.5
    """Depths of the first and last sample, for a camera at the (largest) training radius."""
    radius: tuple[float, float] = (10.0, 10.0)
    """Smallest and largest distance of the training cameras from the origin."""
    num_samples: int = 64
    white_background: bool = True
    fov_degrees: float = 30.0
    image_size: int = 128

    @property
    def shape_dim(self) -> int:
        """The first dimensions of z."""
        return self.z_dim - self.appearance_dim

    @property
    def w_dim(self) -> int:
        """Width of a row of ws."""
        return max(self.shape_dim, self.appearance_dim)

    @property
    def half_depth(self) -> float:
        """Half the length of a ray inside the volume."""
        return (self.far - self.near) / 2

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that the official camera sees."""
        sideways = math.tan(math.radians(self.fov_degrees) / 2) * math.sqrt(2)
        return math.hypot(self.half_depth, self.far * sideways)


def positional_encoding(x: Tensor, num_frequencies: int) -> Tensor:
    """Return x and sin, cos of 2^k x for each k (Eq. 4 of arxiv.org/abs/2003.08934, without its π).

    x: [..., 3] → [..., 3 + 6 · num_frequencies].
    """
    waves = [wave(x * 2.0**k) for k in range(num_frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat((x, *waves), -1)


@dataclass(frozen=True)
class Rendering:
    """Pixels of a batch of rays. Batched [batch, rays, ...]."""

    rgb: Tensor  # [..., 3] in 0..1, with the white background where the model has one
    alpha: Tensor  # [...] Σ w
    depth: Tensor  # [...] Σ w t, not divided by Σ w
    disparity: Tensor  # [...] 1 / mean depth; 1e10 where nothing is hit


class GRAF(nn.Module):
    """The network: the conditional radiance field g of Eq. 7."""

    def __init__(self, config: GRAFConfig):
        super().__init__()
        self.config = config
        width = config.hidden_dim
        point_features = 3 + 6 * config.point_frequencies + config.shape_dim
        direction_features = 3 + 6 * config.direction_frequencies + config.appearance_dim
        self.layers = nn.ModuleList(
            nn.Linear({0: point_features, SKIP_AFTER + 1: width + point_features}.get(i, width), width)
            for i in range(config.num_layers)
        )
        self.density = nn.Linear(width, 1)
        self.bottleneck = nn.Linear(width, width)
        self.color_layer = nn.Linear(width + direction_features, width // 2)
        self.color = nn.Linear(width // 2, 3)

    def codes(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Return shape code [..., shape_dim] and appearance code [..., appearance_dim] of ws [..., 2, w_dim]."""
        return ws[..., 0, : self.config.shape_dim], ws[..., 1, : self.config.appearance_dim]

    def ws_from_z(self, z: Tensor) -> Tensor:
        """Return ws [..., 2, w_dim] of z [..., z_dim]."""
        config = self.config
        shape, appearance = z.split((config.shape_dim, config.appearance_dim), -1)
        return torch.stack([F.pad(code, (0, config.w_dim - code.shape[-1])) for code in (shape, appearance)], -2)

    def features(self, ws: Tensor, points: Tensor) -> Tensor:
        """Return the last shape layer [batch, points, hidden_dim] at canonical points [batch, points, 3] (Eq. 8)."""
        shape, _ = self.codes(ws)
        encoded = positional_encoding(points, self.config.point_frequencies)
        encoded = torch.cat((encoded, shape[:, None].expand(*points.shape[:2], -1)), -1)
        x = encoded
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            if i == SKIP_AFTER:
                x = torch.cat((encoded, x), -1)
        return x

    def radiance(self, ws: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Evaluate the field (Eq. 8–10): raw colour (before its sigmoid) and raw density [batch, points, 4].

        Args:
            ws: [batch, 2, w_dim].
            points: canonical [batch, points, 3].
            directions: unit [batch, points, 3].
        """
        _, appearance = self.codes(ws)
        x = self.features(ws, points)
        seen_along = positional_encoding(directions, self.config.direction_frequencies)
        seen_along = torch.cat((seen_along, appearance[:, None].expand(*points.shape[:2], -1)), -1)
        color = F.relu(self.color_layer(torch.cat((self.bottleneck(x), seen_along), -1)))
        return torch.cat((self.color(color), self.density(x)), -1)

    def limits(self, origins: Tensor) -> tuple[Tensor, Tensor]:
        """Return near and far [..., 1] for rays from `origins` [..., 3].

        Trained with several radii, a camera closer than the farthest one starts sampling earlier.
        """
        config = self.config
        shift = torch.zeros_like(origins[..., :1])
        if config.radius[0] != config.radius[1]:
            shift = config.radius[1] - origins.contiguous().norm(dim=-1, keepdim=True)
        return config.near - shift, config.far - shift

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        directions: Tensor,
        *,
        jitter: Tensor | None = None,
        t: Tensor | None = None,
        density_noise: Tensor | None = None,
    ) -> Rendering:
        """Volume render canonical rays (section 3.2.1).

        Args:
            ws: [batch, 2, w_dim].
            origins, directions: [batch, rays, 3]; t multiplies directions, which may have any length.
            jitter: [batch, rays, num_samples] in [0, 1); None samples evenly.
            t: [batch, rays, any]; None spreads num_samples between the limits.
            density_noise: the shape of t, added to the raw density in training.
        """
        if t is None:
            near, far = self.limits(origins)
            t = sampling.even(near, far, self.config.num_samples)
        if jitter is not None:
            t = sampling.stratified(t, jitter)
        speed = directions.norm(dim=-1, keepdim=True)
        points = origins[:, :, None] + directions[:, :, None] * t[..., None]
        seen_along = (directions / speed)[:, :, None].expand_as(points)
        raw = self.radiance(ws, points.flatten(1, 2), seen_along.flatten(1, 2)).unflatten(1, points.shape[1:3])
        density = raw[..., 3] if density_noise is None else raw[..., 3] + density_noise
        weights = compositing.weights_from_density(F.relu(density), t, speed=speed)
        rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
        alpha = weights.sum(-1)
        depth = (weights * t).sum(-1)
        disparity = 1 / (depth / (alpha + 1e-10)).clamp(min=1e-10)
        if self.config.white_background:
            rgb = rgb + (1 - alpha[..., None])
        return Rendering(rgb, alpha, depth, disparity)


def official_rays(world_from_camera: Tensor, height: int, width: int, focal: float) -> tuple[Tensor, Tensor]:
    """Return origins and directions [batch, height · width, 3] of official cameras [batch, 3, 4], rows from the top.

    Pixel i is seen at (i − width/2) / focal: a pixel's corner rather than its centre. Directions have depth one.
    """
    y, x = torch.meshgrid(
        torch.arange(height).to(world_from_camera), torch.arange(width).to(world_from_camera), indexing="ij"
    )
    in_camera = torch.stack(((x - width * 0.5) / focal, -(y - height * 0.5) / focal, -torch.ones_like(x)), -1).flatten(
        0, 1
    )
    directions = (in_camera[None, :, None] * world_from_camera[:, None, :, :3]).sum(-1)
    return world_from_camera[:, None, :, 3].expand_as(directions), directions


def sampled_rays(rays: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Return rays [2, n, 3] between the pixels of rays [2, height · width, 3] (the patches of section 3.2.2).

    places: [rows, columns, 2] as (x, y), −1 and 1 at the centres of the outer pixels.
    """
    image = rays.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    sampled = F.grid_sample(image, places.expand(2, *places.shape), align_corners=True)
    return sampled.permute(0, 2, 3, 1).flatten(1, 2)
