"""NeRF as published: two networks, positional encoding, coarse and fine samples (arxiv.org/abs/2003.08934).

This file is the whole method at the precision and cost of the paper: the definition that faster engines are measured
against. Vocabulary: `raw` is the network's output before sigmoid and ReLU. `t` are positions along a ray in units of
its (unnormalised) direction; `NDC` is the paper's space of normalised device coordinates for forward-facing captures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from backend.cameras import Camera
from backend.progress import Progress, silent
from backend.rendering import compositing, sampling
from backend.scene import FieldInfo, FieldSample, Image

from .encodings import positional_encoding


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of one network (Fig. 7 of the paper)."""

    depth: int = 8  # layers of the trunk
    width: int = 256
    bottleneck: int = 256  # features handed to the view branch
    view_width: int = 128
    skips: tuple[int, ...] = (4,)  # the encoded position is joined again after these layers
    position_frequencies: int = 10
    view_frequencies: int = 4
    view_dependent: bool = True


class Network(nn.Module):
    """Position and viewing direction to colour and density (Fig. 7 of arxiv.org/abs/2003.08934)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        encoded = 3 + 6 * config.position_frequencies
        self.trunk = nn.ModuleList(
            nn.Linear(encoded if i == 0 else config.width + (encoded if i - 1 in config.skips else 0), config.width)
            for i in range(config.depth)
        )
        self.density = nn.Linear(config.width, 1)
        if config.view_dependent:
            self.bottleneck = nn.Linear(config.width, config.bottleneck)
            self.view = nn.Linear(config.bottleneck + 3 + 6 * config.view_frequencies, config.view_width)
            self.rgb = nn.Linear(config.view_width, 3)
        else:
            self.rgb = nn.Linear(config.width, 3)

    def features(self, points: Tensor) -> Tensor:
        """Return the trunk's features [..., width] at points [..., 3]."""
        encoded = positional_encoding(points, self.config.position_frequencies)
        h = encoded
        for i, layer in enumerate(self.trunk):
            h = relu(layer(h))
            if i in self.config.skips:
                h = torch.cat((encoded, h), -1)
        return h

    def forward(self, points: Tensor, directions: Tensor) -> Tensor:
        """Return [..., 4]: colour before the sigmoid, density before the ReLU.

        points [..., 3]; unit viewing directions [..., 3], broadcast against points.
        """
        h = self.features(points)
        density = self.density(h)
        if self.config.view_dependent:
            encoded = positional_encoding(directions, self.config.view_frequencies).expand(*h.shape[:-1], -1)
            h = relu(self.view(torch.cat((self.bottleneck(h), encoded), -1)))
        return torch.cat((self.rgb(h), density), -1)


@dataclass(frozen=True)
class RenderConfig:
    """How rays are sampled (Sec. 5.2-5.3 and appendix A, C of the paper)."""

    near: float = 2.0
    far: float = 6.0
    coarse_samples: int = 64
    fine_samples: int = 128
    in_disparity: bool = False
    white_background: bool = True
    ndc: bool = False  # rays are warped into normalised device coordinates; near 0, far 1


@dataclass(frozen=True)
class RayColors:
    """What a set of rays sees. rgb [..., 3]; disparity, accumulated alpha, depth [...]; weights [..., num_samples]."""

    rgb: Tensor
    disparity: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor


@dataclass(frozen=True)
class RayPasses:
    """Both passes over a set of rays. raw [num_rays, num_samples, 4] and t_fine [num_rays, num_samples] are of the fine
    one; drawn are the positions that the coarse weights added."""

    coarse: RayColors
    fine: RayColors
    raw: Tensor
    t_coarse: Tensor
    t_fine: Tensor
    drawn: Tensor


def composite(raw: Tensor, t: Tensor, ray_directions: Tensor, white_background: bool) -> RayColors:
    """Composite raw samples [..., num_samples, 4] at t [..., num_samples] (Eq. 3)."""
    speed = ray_directions.norm(dim=-1, keepdim=True)
    weights = compositing.weights_from_density(relu(raw[..., 3]), t, speed=speed)
    rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
    depth = (weights * t).sum(-1)
    alpha = weights.sum(-1)
    disparity = 1.0 / torch.maximum(torch.full_like(depth, 1e-10), depth / alpha)
    if white_background:
        rgb = rgb + (1.0 - alpha[..., None])
    return RayColors(rgb, disparity, alpha, depth, weights)


def ndc_rays(
    origins: Tensor, directions: Tensor, focal: float, width: int, height: int, near: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Warp rays of a camera that looks along −z into normalised device coordinates (appendix C, Eq. 25 and 26)."""
    t = -(near + origins[..., 2]) / directions[..., 2]
    origins = origins + t[..., None] * directions  # onto the near plane
    x_scale, y_scale = -2.0 * focal / width, -2.0 * focal / height
    ox, oy, oz = origins.unbind(-1)
    dx, dy, dz = directions.unbind(-1)
    warped_origins = torch.stack((x_scale * ox / oz, y_scale * oy / oz, 1.0 + 2.0 * near / oz), -1)
    warped_directions = torch.stack(
        (x_scale * (dx / dz - ox / oz), y_scale * (dy / dz - oy / oz), -2.0 * near / oz), -1
    )
    return warped_origins, warped_directions


class NeRF(nn.Module):
    """A coarse and a fine network, rendered together (Sec. 5.2)."""

    def __init__(self, coarse: NetworkConfig, fine: NetworkConfig, render: RenderConfig) -> None:
        super().__init__()
        self.coarse = Network(coarse)
        self.fine = Network(fine)
        self.config = render

    def render_rays(
        self,
        origins: Tensor,
        directions: Tensor,
        view_directions: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> RayPasses:
        """Render rays [num_rays, 3] coarse to fine.

        directions need not be unit vectors (t is in their unit); view_directions are. generator: jitter the samples
        (training); None: evenly spaced.
        """
        config = self.config
        t = sampling.even(
            config.near,
            config.far,
            config.coarse_samples,
            in_disparity=config.in_disparity,
            device=origins.device,
            dtype=origins.dtype,
        ).expand(*origins.shape[:-1], -1)
        if generator is not None:
            t = sampling.stratified(t, torch.rand(t.shape, generator=generator, dtype=t.dtype, device=t.device))
        coarse = self._pass(self.coarse, origins, directions, view_directions, t)[1]
        if generator is None:
            u = sampling.evenly_drawn(config.fine_samples, t)
        else:
            u = torch.rand((*t.shape[:-1], config.fine_samples), generator=generator, dtype=t.dtype, device=t.device)
        drawn = sampling.inverse_cdf(sampling.midpoints(t), coarse.weights[..., 1:-1], u)
        t_fine, _ = sampling.merged(t, drawn)
        raw, fine = self._pass(self.fine, origins, directions, view_directions, t_fine)
        return RayPasses(coarse, fine, raw, t, t_fine, drawn)

    def _pass(
        self, network: Network, origins: Tensor, directions: Tensor, view_directions: Tensor, t: Tensor
    ) -> tuple[Tensor, RayColors]:
        points = origins[..., None, :] + directions[..., None, :] * t[..., None]
        raw = network(points, view_directions[..., None, :])
        return raw, composite(raw, t, directions, self.config.white_background)


CHUNK_RAYS = 1024


class PublishedScene:
    """A fitted NeRF as a Scene. World is the capture's own frame (Z up for Blender captures), metres as captured."""

    def __init__(self, nerf: NeRF, info: FieldInfo) -> None:
        self.nerf = nerf.eval()
        self._info = info

    @property
    def info(self) -> FieldInfo:
        """density, in 1/metre."""
        return self._info

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from above."""
        if directions is None:
            directions = torch.tensor([0.0, 0.0, -1.0], dtype=points.dtype, device=points.device).expand_as(points)
        raw = self.nerf.fine(points, directions)
        return FieldSample(relu(raw[..., 3]), torch.sigmoid(raw[..., :3]))

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
        """See Scene.render. samples_per_ray and quality do not change the published sampling."""
        rays = camera.rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        rgb, alpha, distance = [], [], []
        for start in range(0, len(origins), CHUNK_RAYS):
            progress(start / len(origins), "Rendering")
            part = slice(start, start + CHUNK_RAYS)
            fine = self.nerf.render_rays(origins[part], directions[part], directions[part], generator=jitter).fine
            premultiplied = fine.rgb - (1.0 - fine.alpha[..., None]) if self.nerf.config.white_background else fine.rgb
            rgb.append(compositing.straight(premultiplied, fine.alpha))
            alpha.append(fine.alpha)
            distance.append(torch.where(fine.alpha > 0.5, fine.depth / fine.alpha, torch.inf))
        shape = (camera.height, camera.width)
        depth = torch.cat(distance).reshape(shape) * rays.depth_from_distance
        return Image(torch.cat(rgb).reshape(*shape, 3).clamp(0, 1), torch.cat(alpha).reshape(shape), depth)
