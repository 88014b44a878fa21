"""Vanilla NeRF: two networks, positional encoding, coarse and fine samples (arxiv.org/abs/2003.08934).

The whole method at the precision and cost of the paper: the baseline of faster engines. Vocabulary: `raw` is the
network's output before sigmoid and ReLU. `t` are positions along a ray in units of its (unnormalised) direction.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ...rendering import compositing, sampling
from .encodings import positional_encoding


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of one network (Fig. 7 of the paper)."""

    depth: int = 8  # layers of the trunk
    width: int = 256
    bottleneck: int = 256  # features handed to the view branch
    view_width: int = 128
    skips: tuple[int, ...] = (4,)  # the encoded position is joined again after these layers
    position_frequencies: int = 10
    view_frequencies: int = 4
    view_dependent: bool = True

    def __post_init__(self) -> None:
        sizes = (self.depth, self.width, self.bottleneck, self.view_width)
        if not (all(1 <= size <= 4096 for size in sizes) and self.depth <= 64):
            raise ValueError(f"layers must be 1 to 64, and their sizes 1 to 4096, got {sizes}")
        if not all(0 <= count <= 32 for count in (self.position_frequencies, self.view_frequencies)):
            raise ValueError("a position or direction is encoded at 0 to 32 frequencies")


@dataclass(frozen=True)
class EncodingWeights:
    """Weights 0..1 of the features of both encodings, while a fit goes from coarse to fine."""

    position: Tensor  # [3 + 6 · position_frequencies]
    view: Tensor  # [3 + 6 · view_frequencies]


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

    def features(self, points: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the trunk's features [..., width] at points [..., 3]. weights: of the encoding's features."""
        encoded = positional_encoding(points, self.config.position_frequencies)
        if weights is not None:
            encoded = encoded * weights
        h = encoded
        for i, layer in enumerate(self.trunk):
            h = relu(layer(h))
            if i in self.config.skips:
                h = torch.cat((encoded, h), -1)
        return h

    def forward(self, points: Tensor, directions: Tensor, weights: EncodingWeights | None = None) -> Tensor:
        """Return [..., 4]: colour before the sigmoid, density before the ReLU.

        points [..., 3]; unit viewing directions [..., 3], broadcast against points. weights: None is all 1.
        """
        h = self.features(points, None if weights is None else weights.position)
        density = self.density(h)
        if self.config.view_dependent:
            encoded = positional_encoding(directions, self.config.view_frequencies)
            if weights is not None:
                encoded = encoded * weights.view
            encoded = encoded.expand(*h.shape[:-1], -1)
            h = relu(self.view(torch.cat((self.bottleneck(h), encoded), -1)))
        return torch.cat((self.rgb(h), density), -1)

    @torch.no_grad()
    def fold(self, weights: EncodingWeights) -> None:
        """Multiply the first layers by the weights, so that the network gives the same without them."""
        for i, layer in enumerate(self.trunk):
            assert isinstance(layer, nn.Linear)
            if i == 0 or i - 1 in self.config.skips:
                layer.weight[:, : len(weights.position)] *= weights.position
        if self.config.view_dependent:
            self.view.weight[:, -len(weights.view) :] *= weights.view


@dataclass(frozen=True)
class RenderConfig:
    """Sampling of rays (Sec. 5.2-5.3 and appendix A, C of the paper)."""

    near: float = 2.0
    far: float = 6.0
    coarse_samples: int = 64
    fine_samples: int = 128
    in_disparity: bool = False
    white_background: bool = True
    ndc: bool = False  # rays are warped into normalised device coordinates; near 0, far 1
    ndc_focal: tuple[float, float] = (1.0, 1.0)  # focal length of the capture over its width, and over its height
    linear: bool = False  # colours are composited as linear light

    def __post_init__(self) -> None:
        if not (0 <= self.near < self.far < 1e9):
            raise ValueError(f"rays go from near to far, got {self.near:g} to {self.far:g}")
        if not (1 <= self.coarse_samples <= 4096 and 0 <= self.fine_samples <= 4096):
            raise ValueError("a ray has 1 to 4096 coarse samples and up to 4096 fine ones")


@dataclass(frozen=True)
class PassColors:
    """Composited rays of one pass. rgb [..., 3]; disparity, accumulated alpha, depth Σ w t [...]; weights
    [..., num_samples]."""

    rgb: Tensor
    disparity: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor


@dataclass(frozen=True)
class RayPasses:
    """Both passes over a set of rays. raw [num_rays, num_samples, 4] and t_fine [num_rays, num_samples] are of the fine
    one; drawn are the positions that the coarse weights added."""

    coarse: PassColors
    fine: PassColors
    raw: Tensor
    t_coarse: Tensor
    t_fine: Tensor
    drawn: Tensor


def composite(raw: Tensor, t: Tensor, ray_directions: Tensor, white_background: bool) -> PassColors:
    """Composite raw samples [..., num_samples, 4] at t [..., num_samples] (Eq. 3)."""
    speed = ray_directions.norm(dim=-1, keepdim=True)
    weights = compositing.weights_from_density(relu(raw[..., 3]), t, speed=speed)
    rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
    depth = (weights * t).sum(-1)
    alpha = weights.sum(-1)
    disparity = 1.0 / torch.maximum(torch.full_like(depth, 1e-10), depth / alpha)
    if white_background:
        rgb = rgb + (1.0 - alpha[..., None])
    return PassColors(rgb, disparity, alpha, depth, weights)


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
        config: RenderConfig | None = None,
        weights: EncodingWeights | None = None,
    ) -> RayPasses:
        """Render rays [num_rays, 3] coarse to fine.

        directions need not be unit vectors (t is in their unit); view_directions are. generator: jitter the samples
        (training); None: evenly spaced. config: other sampling than the networks' own. weights: see `Network.forward`.
        """
        config = self.config if config is None else config
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
        coarse = self._pass(self.coarse, origins, directions, view_directions, t, config, weights)[1]
        if generator is None:
            u = sampling.evenly_drawn(config.fine_samples, t)
        else:
            u = torch.rand((*t.shape[:-1], config.fine_samples), generator=generator, dtype=t.dtype, device=t.device)
        drawn = sampling.inverse_cdf(sampling.midpoints(t), coarse.weights[..., 1:-1], u)
        t_fine, _ = sampling.merged(t, drawn)
        raw, fine = self._pass(self.fine, origins, directions, view_directions, t_fine, config, weights)
        return RayPasses(coarse, fine, raw, t, t_fine, drawn)

    def _pass(
        self,
        network: Network,
        origins: Tensor,
        directions: Tensor,
        view_directions: Tensor,
        t: Tensor,
        config: RenderConfig,
        weights: EncodingWeights | None,
    ) -> tuple[Tensor, PassColors]:
        points = origins[..., None, :] + directions[..., None, :] * t[..., None]
        raw = network(points, view_directions[..., None, :], weights)
        return raw, composite(raw, t, directions, config.white_background)

    def folded(self, weights: EncodingWeights) -> NeRF:
        """Return a copy that gives without weights what this one gives with them."""
        made = copy.deepcopy(self)
        for network in (made.coarse, made.fine):
            network.fold(weights)
        return made
