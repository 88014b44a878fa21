"""Discriminator and adversarial losses that 3D-GAN and 3D-VAE-GAN share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...generators.gan3d.model import Discriminator, Generator, mirrored
from ..adversarial import losses
from .config import GanTraining


def build_discriminator(config: GanTraining) -> Discriminator:
    """Return the discriminator of a run."""
    return Discriminator(config.discriminator_channels, config.side, config.normalise)


def generate(generator: Generator, z: Tensor, mirror: bool) -> Tensor:
    """Return occupancy [N, side, side, side] of z [N, z_dim], made symmetric in x if `mirror`."""
    logits = generator.logits(z)
    return torch.sigmoid(mirrored(logits) if mirror else logits)


def shifted(voxels: Tensor, limit: int, random: torch.Generator) -> Tensor:
    """Shift each of the voxel cubes [N, S, S, S] along each axis by a random number of voxels, at most `limit`."""
    if limit == 0:
        return voxels
    side = voxels.shape[-1]
    padded = functional.pad(voxels, (limit,) * 6)
    moves = torch.randint(2 * limit + 1, (len(voxels), 3), generator=random).tolist()
    return torch.stack(
        [cube[i : i + side, j : j + side, k : k + side] for cube, (i, j, k) in zip(padded, moves, strict=True)]
    )


def loss_of_discriminator(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss, "hinge" or "cross_entropy", of its scores [N, 1]."""
    if loss == "hinge":
        return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
    return losses.discriminator_loss("published", real, fake)


def loss_of_generator(loss: str, fake: Tensor) -> Tensor:
    """Return the generator's loss of the scores [N, 1]; for cross-entropy the non-saturating form, -log D(G(z))."""
    return -fake.mean() if loss == "hinge" else losses.generator_loss("published", fake)
