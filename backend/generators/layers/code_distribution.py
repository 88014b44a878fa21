"""The distribution that new latent codes of an auto-decoder are drawn from."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_of_codes(codes: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return mean [latent_size] and factor [rank, latent_size] of the Gaussian whose covariance has the codes' largest
    principal directions: factor.T @ factor is that covariance."""
    mean = codes.mean(0)
    _, spread, directions = torch.linalg.svd((codes - mean).double(), full_matrices=False)
    factor = spread[:rank, None] * directions[:rank] / math.sqrt(max(1, len(codes) - 1))
    # The sign of a principal direction is arbitrary: fixed, so that a seed means one shape with every LAPACK.
    largest = factor.gather(1, factor.abs().argmax(1, keepdim=True))
    return mean, (factor * torch.where(largest < 0, -1.0, 1.0)).to(codes.dtype)
