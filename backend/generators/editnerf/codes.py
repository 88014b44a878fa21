"""New codes of an EditNeRF: Gaussians over the shape codes and over the colour codes of its training objects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.code_distribution import gaussian_of_codes
from .model import EditNeRF

MAX_RANK = 32
"""Principal directions that new codes are drawn along, at most."""


def rank_of(num_codes: int, dim: int) -> int:
    """Return the number of principal directions of so many codes."""
    return max(min(num_codes - 1, dim, MAX_RANK), 0)


@torch.no_grad()
def fit_gaussian(network: EditNeRF) -> None:
    """Set mean and factors of the network from its codes, when it is trained or imported."""
    config = network.config
    if config.num_codes:
        network.code_mean.copy_(network.codes.mean(0))
    for row, (dim, factor) in enumerate(
        ((config.shape_dim, network.shape_factor), (config.color_dim, network.color_factor))
    ):
        if len(factor):
            factor.copy_(gaussian_of_codes(network.codes[:, row, :dim], len(factor))[1])


def codes_from_z(network: EditNeRF, z: Tensor) -> Tensor:
    """Return ws [..., 2, w_dim] of standard normal z [..., ranks]. Differentiable."""
    ranks = network.config.rank
    factors = (network.shape_factor, network.color_factor)
    rows = [part @ factor for part, factor in zip(z.split(ranks, -1), factors, strict=True)]
    return network.code_mean + torch.stack([F.pad(row, (0, network.config.w_dim - row.shape[-1])) for row in rows], -2)
