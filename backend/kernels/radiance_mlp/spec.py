"""Shapes of the two small networks of a hash-grid radiance field, and the layout of their parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RadianceMlpSpec:
    """Sec. 5.4 of arxiv.org/abs/2201.05989: a density network `inputs` → hidden → geometry, and a colour network
    geometry + view → hidden → hidden → 3. ReLU between, no biases."""

    inputs: int = 32
    hidden: int = 64
    geometry: int = 16  # outputs of the density network; the first is the density before its activation
    view: int = 16  # spherical harmonics of the direction

    def __post_init__(self) -> None:
        for name in ("inputs", "hidden", "geometry", "view"):
            value = getattr(self, name)
            if value < 4 or value % 4 or value > 256:
                raise ValueError(f"{name} must be a multiple of 4 up to 256, got {value}")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """[inputs, outputs] of the five matrices, in the order of the parameters. The colour is padded to 4."""
        hidden = self.hidden
        color = self.geometry + self.view
        return (self.inputs, hidden), (hidden, self.geometry), (color, hidden), (hidden, hidden), (hidden, 4)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Start of each matrix in the parameters, and their end."""
        ends = [0]
        for rows, columns in self.shapes:
            ends.append(ends[-1] + rows * columns)
        return tuple(ends)

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameters, with the padding."""
        return self.offsets[-1]

    @property
    def flops(self) -> int:
        """Operations of one sample, forward: two for each weight, without padding."""
        return 2 * (sum(rows * columns for rows, columns in self.shapes) - self.hidden)

    def matrices(self, parameters: Tensor) -> list[Tensor]:
        """Return the five matrices [inputs, outputs] as views of the flat parameters."""
        return [
            parameters[start : start + rows * columns].view(rows, columns)
            for start, (rows, columns) in zip(self.offsets, self.shapes)
        ]

    def initial(self, generator: torch.Generator) -> Tensor:
        """Return parameters by He's initialisation for ReLU, uniform."""
        parameters = torch.zeros(self.num_parameters)
        for matrix in self.matrices(parameters):
            bound = math.sqrt(6.0 / matrix.shape[0])
            matrix.copy_((torch.rand(matrix.shape, generator=generator) * 2 - 1) * bound)
        self.matrices(parameters)[-1][:, 3] = 0.0
        return parameters
