"""EditNeRF: conditional radiance fields of a family of objects, made to be edited (arxiv.org/abs/2105.06466).

Vocabulary (section 3 of the paper). An instance has a *shape code* and a *colour code*; `ws` [2, w_dim] holds the two
as rows, the shorter one filled with zeros. The *shared* shape branch sees the point alone, the *instance* branch the
point and the shape code; their outputs are added, and the *fusion* network turns the sum into density. Colour comes
from few features of the fusion network, the viewing direction and the colour code. *Canonical* is the model's own
frame: z up, cameras around the origin. `t` multiplies the ray's direction, whose length need not be one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nerf.mlp.encodings import positional_encoding
from ...rendering import compositing, sampling


@dataclass(frozen=True)
class EditNeRFConfig:
    """Sizes of the networks, and how their weights are rendered."""

    shape_dim: int = 32
    color_dim: int = 32
    embedding_dim: int = 128
    """Features into which a code is mapped before it joins a layer."""
    embedding_layers: int = 1
    shared_layers: int = 3
    """Hidden layers of the shared shape branch; one without ReLU follows."""
    shared_width: int = 256
    instance_layers: int = 4
    """Hidden layers of the instance branch; one without ReLU follows, which sees the point and the code again."""
    instance_width: int = 256
    fusion_layers: int = 3
    fusion_width: int = 256
    bottleneck: int = 8
    """Features of the fusion network that colour is made of."""
    color_layers: int = 1
    color_width: int = 128
    point_frequencies: int = 10
    direction_frequencies: int = 4
    near: float = 2.0
    far: float = 6.0
    """Depths of the first and last sample."""
    num_samples: int = 64
    num_fine: int = 128
    """Samples that the coarse network places for the fine one. 0: one network, rendered with num_samples."""
    extent: float = 0.0
    """Half the side of the cube outside of which nothing was trained, so that nothing is there; 0: no bound."""
    white_background: bool = True
    fov_degrees: float = 30.0
    image_size: int = 128
    num_codes: int = 0
    """Pairs of codes of training objects."""
    rank: tuple[int, int] = (0, 0)
    """Principal directions of the shape and the colour codes, from which new codes are drawn."""

    @property
    def w_dim(self) -> int:
        """Width of a row of ws."""
        return max(self.shape_dim, self.color_dim)

    @property
    def half_depth(self) -> float:
        """Half the length of a ray inside the volume."""
        return (self.far - self.near) / 2

    @property
    def radius(self) -> float:
        """Distance of the training cameras from the origin."""
        return (self.far + self.near) / 2

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that a training camera sees."""
        sideways = math.tan(math.radians(self.fov_degrees) / 2) * math.sqrt(2)
        return math.hypot(self.half_depth, self.far * sideways)


@dataclass(frozen=True)
class Embedded:
    """Both codes as the layers take them, [..., embedding_dim] each, broadcast against points."""

    shape: Tensor  # at the start of the instance branch
    shape_again: Tensor  # at its end
    color: Tensor

    def at(self, index: Tensor) -> Embedded:
        """Return the codes of some instances: of [instances, embedding_dim], by index [...]."""
        return Embedded(self.shape[index], self.shape_again[index], self.color[index])

    def along(self) -> Embedded:
        """Return codes of rays [rays, embedding_dim] for their samples."""
        return Embedded(self.shape[..., None, :], self.shape_again[..., None, :], self.color[..., None, :])


def _mlp(inputs: int, width: int, depth: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(inputs if i == 0 else width, width) for i in range(depth))


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = F.relu(layer(x))
    return x


class ConditionalField(nn.Module):
    """One conditional radiance field (Fig. 2 of the paper)."""

    def __init__(self, config: EditNeRFConfig) -> None:
        super().__init__()
        self.config = config
        encoded, code = 3 + 6 * config.point_frequencies, config.embedding_dim
        seen_along = 3 + 6 * config.direction_frequencies
        dims = (config.shape_dim, config.shape_dim, config.color_dim)
        self.embeddings = nn.ModuleList(_mlp(dim, code, config.embedding_layers) for dim in dims)
        self.shared = _mlp(encoded, config.shared_width, config.shared_layers)
        self.shared_output = nn.Linear(config.shared_width, config.fusion_width)
        self.instance = _mlp(encoded + code, config.instance_width, config.instance_layers)
        self.instance_output = nn.Linear(encoded + code + config.instance_width, config.fusion_width)
        self.fusion = _mlp(config.fusion_width, config.fusion_width, config.fusion_layers)
        self.density = nn.Linear(config.fusion_width, 1)
        self.bottleneck = nn.Linear(config.fusion_width, config.bottleneck)
        self.color_layers = _mlp(config.bottleneck + seen_along + code, config.color_width, config.color_layers)
        self.color = nn.Linear(config.color_width, 3)

    def embed(self, ws: Tensor) -> Embedded:
        """Return the embedded codes of ws [..., 2, w_dim]."""
        shape, color = ws[..., 0, : self.config.shape_dim], ws[..., 1, : self.config.color_dim]
        first, again, last = self.embeddings
        assert isinstance(first, nn.ModuleList) and isinstance(again, nn.ModuleList) and isinstance(last, nn.ModuleList)
        return Embedded(_through(first, shape), _through(again, shape), _through(last, color))

    def shape_features(self, codes: Embedded, points: Tensor) -> Tensor:
        """Return the sum of both shape branches [..., fusion_width], before its ReLU, at canonical points [..., 3].

        This is what edits of the shape keep: no layer up to here is optimised (section 4.2)."""
        encoded = positional_encoding(points, self.config.point_frequencies)
        shape, again = (code.expand(*points.shape[:-1], -1) for code in (codes.shape, codes.shape_again))
        own = _through(self.instance, torch.cat((encoded, shape), -1))
        own = self.instance_output(torch.cat((encoded, again, own), -1))
        return own + self.shared_output(_through(self.shared, encoded))

    def fused(self, shape_features: Tensor) -> Tensor:
        """Return the fusion network's features [..., fusion_width] of `shape_features`."""
        return _through(self.fusion, F.relu(shape_features))

    def raw_color(self, codes: Embedded, fused: Tensor, directions: Tensor) -> Tensor:
        """Return colour before its sigmoid [..., 3]. directions: unit [..., 3], broadcast against the features."""
        encoded = positional_encoding(directions, self.config.direction_frequencies)
        encoded, color = (x.expand(*fused.shape[:-1], -1) for x in (encoded, codes.color))
        return self.color(_through(self.color_layers, torch.cat((self.bottleneck(fused), encoded, color), -1)))

    def radiance(self, codes: Embedded, shape_features: Tensor, directions: Tensor) -> Tensor:
        """Return raw colour (before its sigmoid) and raw density (before its ReLU) [..., 4] of `shape_features`."""
        fused = self.fused(shape_features)
        return torch.cat((self.raw_color(codes, fused, directions), self.density(fused)), -1)

    def forward(self, codes: Embedded, points: Tensor, directions: Tensor) -> Tensor:
        """Return raw colour and raw density [..., 4] at canonical points [..., 3] seen along unit directions."""
        return self.bounded(self.radiance(codes, self.shape_features(codes, points), directions), points)

    def raw_density(self, codes: Embedded, points: Tensor) -> Tensor:
        """Return raw density [...] at canonical points [..., 3]."""
        raw = self.density(self.fused(self.shape_features(codes, points)))
        return self.bounded(raw, points)[..., 0]

    def bounded(self, raw: Tensor, points: Tensor) -> Tensor:
        """Return raw samples [..., channels] at points [..., 3], the last one density, emptied outside the extent."""
        if not self.config.extent:
            return raw
        inside = (points.abs() <= self.config.extent).all(-1, keepdim=True)
        return torch.cat((raw[..., :-1], torch.where(inside, raw[..., -1:], raw[..., -1:].clamp(max=0))), -1)


@dataclass(frozen=True)
class Pass:
    """Composited rays [rays] of one network. t and weights [rays, samples]; depth Σ w t, not divided by Σ w."""

    rgb: Tensor  # [rays, 3], with the white background where the model has one
    alpha: Tensor
    depth: Tensor
    disparity: Tensor
    t: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Passes:
    """Both passes over a set of rays; coarse is None where there is one network."""

    fine: Pass
    coarse: Pass | None


def composite(raw: Tensor, t: Tensor, speed: Tensor, white_background: bool) -> Pass:
    """Composite raw samples [rays, samples, 4] at t [rays, samples] (Eq. 3 of arxiv.org/abs/2003.08934)."""
    weights = compositing.weights_from_density(F.relu(raw[..., 3]), t, speed=speed)
    rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
    alpha, depth = weights.sum(-1), (weights * t).sum(-1)
    disparity = 1.0 / (depth / (alpha + 1e-5)).clamp(min=1e-10)
    if white_background:
        rgb = rgb + (1.0 - alpha[..., None])
    return Pass(rgb, alpha, depth, disparity, t, weights)


class EditNeRF(nn.Module):
    """A coarse and a fine conditional field, and the codes of the objects they were trained on.

    With `num_fine` 0 there is the fine field alone.
    """

    codes: Tensor  # [num_codes, 2, w_dim]
    code_mean: Tensor  # [2, w_dim]
    shape_factor: Tensor  # [rank, shape_dim]: principal directions times standard deviations
    color_factor: Tensor  # [rank, color_dim]

    def __init__(self, config: EditNeRFConfig) -> None:
        super().__init__()
        self.config = config
        self.fine = ConditionalField(config)
        self.coarse = ConditionalField(config) if config.num_fine else None
        self.register_buffer("codes", torch.zeros(config.num_codes, 2, config.w_dim))
        self.register_buffer("code_mean", torch.zeros(2, config.w_dim))
        self.register_buffer("shape_factor", torch.zeros(config.rank[0], config.shape_dim))
        self.register_buffer("color_factor", torch.zeros(config.rank[1], config.color_dim))

    def even_samples(self, origins: Tensor) -> Tensor:
        """Return coarse t [rays, num_samples] of rays from origins [rays, 3]."""
        config = self.config
        t = sampling.even(config.near, config.far, config.num_samples, device=origins.device, dtype=origins.dtype)
        return t.expand(len(origins), -1)

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        directions: Tensor,
        *,
        t: Tensor | None = None,
        jitter: Tensor | None = None,
        u: Tensor | None = None,
        t_fine: Tensor | None = None,
    ) -> Passes:
        """Volume render canonical rays, coarse to fine.

        Args:
            ws: [2, w_dim], or [rays, 2, w_dim].
            origins, directions: [rays, 3]; t multiplies directions, which may have any length.
            t: coarse samples [rays, any]; None: num_samples from near to far.
            jitter: [rays, num_samples] in [0, 1), stratified sampling; None samples evenly.
            u: [rays, num_fine] in [0, 1), draws of the fine samples; None spaces them evenly.
            t_fine: samples of the fine network [rays, any], in place of those that the coarse one places.
        """
        white, speed = self.config.white_background, directions.norm(dim=-1, keepdim=True)
        t = self.even_samples(origins) if t is None else t
        if jitter is not None:
            t = sampling.stratified(t, jitter)
        coarse = None
        if self.coarse is not None:
            raw = self.coarse(self.coarse.embed(ws).along(), *along(origins, directions, t))
            coarse = composite(raw, t, speed, white)
            if t_fine is None:
                t_fine = self.fine_samples(t, coarse.weights, u)
        t_fine = t if t_fine is None else t_fine
        raw = self.fine(self.fine.embed(ws).along(), *along(origins, directions, t_fine))
        return Passes(composite(raw, t_fine, speed, white), coarse)

    def fine_samples(self, t: Tensor, weights: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the samples of the fine network [rays, num_samples + num_fine] from coarse weights [rays,
        num_samples] (section 5.2 of arxiv.org/abs/2003.08934)."""
        u = sampling.evenly_drawn(self.config.num_fine, t) if u is None else u
        drawn = sampling.inverse_cdf(sampling.midpoints(t), weights[..., 1:-1], u)
        return sampling.merged(t, drawn)[0]


def along(origins: Tensor, directions: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return points [rays, samples, 3] at t [rays, samples], and unit viewing directions [rays, 1, 3]."""
    points = origins[:, None] + directions[:, None] * t[..., None]
    return points, (directions / directions.norm(dim=-1, keepdim=True))[:, None]
