"""EditNeRF with one pair of codes folded into its biases: the same field, faster to evaluate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nerf.mlp.encodings import positional_encoding
from .model import ConditionalField

Layer = tuple[Tensor, Tensor]
"""Matrix [inputs, outputs] and bias [outputs]."""


class FastField:
    """The field of one pair of codes for marching: the codes' share of each layer is added to its bias once."""

    def __init__(self, field: ConditionalField, ws: Tensor) -> None:
        self.field, self.config = field, field.config
        codes = field.embed(ws)
        encoded, code = 3 + 6 * self.config.point_frequencies, self.config.embedding_dim
        first, *rest = field.instance
        self.instance = [_without(first, encoded, codes.shape), *(_plain(layer) for layer in rest)]
        self.shared = [_plain(layer) for layer in field.shared]
        # both branches end without a ReLU, and are added: one matrix of [encoded, own, shared]
        own, bias = _without(field.instance_output, encoded, codes.shape_again)
        self.sum = torch.cat((own, field.shared_output.weight.T)), bias + field.shared_output.bias
        self.fusion = [_plain(layer) for layer in field.fusion]
        # no ReLU lies between the bottleneck and the first colour layer
        first, *rest = field.color_layers
        assert isinstance(first, nn.Linear)
        bottleneck, direction, color = first.weight.split(
            (self.config.bottleneck, first.in_features - self.config.bottleneck - code, code), 1
        )
        self.from_fused = (bottleneck @ field.bottleneck.weight).T.contiguous()
        self.from_direction = direction.T.contiguous()
        self.color_bias = first.bias + color @ codes.color + bottleneck @ field.bottleneck.bias
        self.color_layers = [_plain(layer) for layer in rest]

    def raw_density(self, points: Tensor) -> Tensor:
        """Return raw density [n] at canonical points [n, 3]. Differentiable in points."""
        return self.field.bounded(self.field.density(self._features(points)), points)[..., 0]

    def _features(self, points: Tensor) -> Tensor:
        """Return the fusion network's features [n, fusion_width] at canonical points [n, 3]."""
        encoded = positional_encoding(points, self.config.point_frequencies)
        both = torch.cat((encoded, _through(self.instance, encoded), _through(self.shared, encoded)), -1)
        return _through(self.fusion, F.relu_(torch.addmm(self.sum[1], both, self.sum[0])))

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        return self.config.fusion_width

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        raw = self.field.density(features.copy_(self._features(points)))
        return self.field.bounded(raw, points)[..., 0]

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return F.relu(raw)

    def values(self, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """See marching.Field."""
        encoded = positional_encoding(directions, self.config.direction_frequencies)
        x = torch.addmm(self.color_bias, encoded, self.from_direction) + features @ self.from_fused
        return torch.sigmoid(self.field.color(_through(self.color_layers, F.relu_(x))))

    def pixels(self, values: Tensor) -> Tensor:
        """See marching.Field."""
        return values


def _plain(layer: nn.Module) -> Layer:
    assert isinstance(layer, nn.Linear)
    return layer.weight.T.contiguous(), layer.bias


def _without(layer: nn.Module, before: int, code: Tensor) -> Layer:
    """Return a layer whose inputs `before`.. are a constant code, which goes into its bias."""
    assert isinstance(layer, nn.Linear)
    points, constant, rest = layer.weight.split((before, len(code), layer.in_features - before - len(code)), 1)
    return torch.cat((points, rest), 1).T.contiguous(), layer.bias + constant @ code


def _through(layers: list[Layer], x: Tensor) -> Tensor:
    for weight, bias in layers:
        x = F.relu_(torch.addmm(bias, x, weight))
    return x
