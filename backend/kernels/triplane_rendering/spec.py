"""Sizes of tri-plane rendering, and where each matrix of its decoder lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TriplaneSpec:
    """Sizes of the planes and of the decoder.

    The decoder's parameters are one tensor: weights [channels, hidden], biases [hidden], weights
    [hidden, 1 + features], biases [1 + features].
    """

    resolution: int
    channels: int
    hidden: int
    features: int
    half: float
    """Half the side of the cube that the planes span."""
    axes: tuple[tuple[int, int], ...]
    """The two coordinates (horizontal, vertical) that each of the three planes sees."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.channels, self.hidden), (self.hidden,), (self.hidden, 1 + self.features), (1 + self.features,)

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def matrices(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return views of the parameters: weights and biases of both layers."""
        parts = parameters.split([math.prod(shape) for shape in self.shapes])
        a, b, c, d = (part.view(shape) for part, shape in zip(parts, self.shapes, strict=True))
        return a, b, c, d

    def flat(self, *matrices: Tensor) -> Tensor:
        """Return the parameters of these weights and biases; differentiable."""
        return torch.cat([matrix.flatten() for matrix in matrices])
