"""ShadeGAN with one latent's frequencies and phases and one light folded into its weights: the same field, faster to
evaluate. Normals are found by hand-written back-propagation, of visible samples alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.sine import sine_
from ...rendering.marching import March
from ...scenes.marched import MarchedField
from ...scenes.trace import RayColors
from ...threads import num_threads_on
from ..pigan.fast import FoldedField as PiGANField
from .model import LIGHT_DIM, ShadeGAN, shade

RAYS_AT_ONCE = 96
"""Rays whose samples' slopes in all layers stay in the processor's cache."""


class FoldedField:
    """The field of one latent, each layer sin((f ∘ W) x + (f b + p)). Values along rays are albedo and normal.

    Features are the last layer, and where normals are asked for the slopes (cosines) of all layers.
    """

    def __init__(self, network: ShadeGAN, ws: Tensor, light: Tensor):
        self.network, self.light = network, light
        config = network.config
        *self.layers, (color, self.color_bias) = (
            PiGANField.fold(layer, w) for layer, w in zip((*network.layers, network.color_layer), ws, strict=True)
        )
        self.direction_weight: Tensor | None = None
        if config.view_condition:
            self.direction_weight, color = color[:3], color[3:]
        if config.light_condition:
            self.color_bias = self.color_bias + light @ color[-LIGHT_DIM:]
            color = color[:-LIGHT_DIM]
        self.color_weight = color.contiguous()

    def _scaled(self, points: Tensor) -> Tensor:
        return points * (2 / self.network.config.box_side)

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3]. Differentiable in points."""
        x = self._scaled(points)
        for weight, bias in self.layers:
            x = torch.addmm(bias, x, weight).sin()
        return self.network.density(x).flatten()

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        config = self.network.config
        return config.hidden_dim * (1 + config.num_layers * config.shading)

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        x = self._scaled(points)
        last, *slopes = features.split(self.network.config.hidden_dim, -1)
        for layer, (weight, bias) in enumerate(self.layers):
            x = sine_(torch.addmm(bias, x, weight), slopes[layer] if slopes else None)
        return self.network.density(last.copy_(x)).squeeze(-1)

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return self.network.positive(raw)

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Return albedo 0..1 and normals, not of unit length, [n, 6]. See marching.Field."""
        last, *slopes = features.split(self.network.config.hidden_dim, -1)
        bias = self.color_bias
        if self.direction_weight is not None:
            bias = torch.addmm(bias, directions, self.direction_weight)
        albedo = torch.sigmoid(self.network.color(sine_(torch.addmm(bias, last, self.color_weight))))
        normals = self._normals(slopes) if slopes else torch.zeros_like(albedo)
        return torch.cat((albedo, normals), -1)

    def _normals(self, slopes: list[Tensor]) -> Tensor:
        """Return −∇σ in the cube scaled to ±1 (Eq. 4) [n, 3], by the slopes of all layers [n, hidden_dim]."""
        gradient = -self.network.density.weight
        for (weight, _), slope in zip(reversed(self.layers), reversed(slopes), strict=True):
            gradient = (slope * gradient) @ weight.T
        return gradient

    def pixels(self, values: Tensor) -> Tensor:
        """Return shaded albedo [rays, 3] of sums of values [rays, 6]. See marching.Field."""
        albedo = values[:, :3]
        if not self.network.config.shading:
            return albedo
        return albedo * shade(F.normalize(values[None, :, 3:], dim=-1), self.light[None])[0, :, None]


class ShadedField(MarchedField):
    """MarchedField with the normals of its pixels."""

    def march(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> March:
        """See MarchedField.march."""
        count = RAYS_AT_ONCE * num_threads_on(t.device) if t.device.type == "cpu" else len(t)
        draws = [None] * len(t) if u is None else u.split(count)
        pieces = zip(origins.split(count), directions.split(count), t.split(count), draws, strict=False)
        parts = [super(ShadedField, self).march(*piece) for piece in pieces]
        return March.joined(parts)

    def render_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays."""
        result = self.march(origins, directions, t, u)
        alpha = torch.ones_like(result.alpha) if self.last_back else result.alpha
        rgb = torch.minimum(result.rgb.clamp(0, 1), alpha[:, None])
        return RayColors(rgb, alpha, result.t, F.normalize(result.values[:, 3:], dim=-1))
