"""π-GAN with one latent's frequencies and phases folded into its weights: the same field, faster to evaluate."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.sine import sine_
from .model import FREQUENCY_SCALE, FREQUENCY_SHIFT, LOCKED_DIRECTION, FiLMLayer, PiGAN


class FoldedField:
    """The field of one latent, with frequencies and phases folded into the layers: sin((f ∘ W) x + (f b + p))."""

    def __init__(self, network: PiGAN, ws: Tensor, *, lock_view: bool):
        self.network, self.lock_view = network, lock_view
        folded = [self.fold(layer, w) for layer, w in zip((*network.layers, network.color_layer), ws, strict=True)]
        self.layers, (color_weight, self.color_bias) = folded[:-1], folded[-1]
        # directions come first in what the colour layer sees
        self.color_weight, self.direction_weight = color_weight[3:], color_weight[:3]

    @staticmethod
    def fold(layer: FiLMLayer, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight [in, out] and bias of a layer with the frequency and phase of w [2 · out]."""
        frequency, phase = w.chunk(2, -1)
        frequency = frequency * FREQUENCY_SCALE + FREQUENCY_SHIFT
        return (frequency[:, None] * layer.weight).T.contiguous(), frequency * layer.bias + phase

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3]. Differentiable in points."""
        x = self.network.encode(points[None])[0]
        for weight, bias in self.layers:
            x = torch.addmm(bias, x, weight).sin_()
        return self.network.density(x).flatten()

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        return self.network.config.hidden_dim

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        x = self.network.encode(points[None])[0]
        for weight, bias in self.layers[:-1]:
            x = sine_(torch.addmm(bias, x, weight))
        weight, bias = self.layers[-1]
        return self.network.density(sine_(torch.addmm(bias, x, weight, out=features))).squeeze(-1)

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return self.network.positive(raw)

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """See marching.Field."""
        if self.lock_view:
            directions = directions.new_tensor(LOCKED_DIRECTION).expand_as(directions)
        x = torch.addmm(self.color_bias, directions, self.direction_weight).addmm_(features, self.color_weight)
        return torch.sigmoid(self.network.color(sine_(x)))

    def pixels(self, values: Tensor) -> Tensor:
        """See marching.Field."""
        return values
