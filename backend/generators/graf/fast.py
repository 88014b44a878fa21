"""GRAF with one pair of codes folded into its biases: the same field, faster to evaluate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model import GRAF, SKIP_AFTER, positional_encoding


class FastField:
    """The field of one pair of codes for marching: the codes' share of each layer is added to its bias once."""

    def __init__(self, network: GRAF, ws: Tensor):
        self.network = network
        config = network.config
        shape, appearance = network.codes(ws)
        self.layers = [self._without_code(i, layer, shape) for i, layer in enumerate(network.layers)]
        # no nonlinearity lies between the bottleneck and the colour layer: one matrix
        width = config.hidden_dim
        weight, bias = network.color_layer.weight, network.color_layer.bias
        num_encoded = weight.shape[1] - width - config.appearance_dim
        from_features, self.from_direction, from_code = (
            part.T.contiguous() for part in weight.split((width, num_encoded, config.appearance_dim), 1)
        )
        self.color_weight = network.bottleneck.weight.T @ from_features
        self.color_bias = bias + network.bottleneck.bias @ from_features + appearance @ from_code

    def _without_code(self, place: int, layer: nn.Module, shape: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(layer, nn.Linear)
        if place not in (0, SKIP_AFTER + 1):
            return layer.weight.T.contiguous(), layer.bias
        encoded = 3 + 6 * self.network.config.point_frequencies
        points, code, rest = layer.weight.split((encoded, len(shape), layer.in_features - encoded - len(shape)), 1)
        return torch.cat((points, rest), 1).T.contiguous(), layer.bias + code @ shape

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3]. Differentiable in points."""
        return self.network.density(self._features(points)).flatten()

    def _features(self, points: Tensor) -> Tensor:
        """Return the last shape layer [n, hidden_dim] at canonical points [n, 3]."""
        encoded = positional_encoding(points, self.network.config.point_frequencies)
        x = encoded
        for i, (weight, bias) in enumerate(self.layers):
            x = torch.addmm(bias, x, weight).relu_()
            if i == SKIP_AFTER:
                x = torch.cat((encoded, x), -1)
        return x

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        return self.network.config.hidden_dim

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        return self.network.density(features.copy_(self._features(points))).squeeze(-1)

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return F.relu(raw)

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """See marching.Field."""
        encoded = positional_encoding(directions, self.network.config.direction_frequencies)
        x = torch.addmm(self.color_bias, encoded, self.from_direction).addmm_(features, self.color_weight)
        return torch.sigmoid(self.network.color(x.relu_()))

    def pixels(self, values: Tensor) -> Tensor:
        """See marching.Field."""
        return values
