"""Training a 3D-GAN, the loop of the lecture (Wu et al., arxiv.org/abs/1610.07584): a generator of voxels G learns from
a discriminator D that is learning to tell its shapes from real ones (Eq. 1):

    min_G max_D  log D(x)  +  log(1 - D(G(z)))

D learns faster than G in three dimensions. The paper slows it down: its rate is a fraction of G's, and a batch that it
tells apart too well does not teach it (`accuracy_gate`). `published()` is that. With a few hundred shapes D still
learns them by heart; `small()` limits what D can be instead: weights of largest singular value 1, the hinge loss of
Miyato et al. (arxiv.org/abs/1802.05957), batches moved by a voxel or two so that no shape is seen twice, and a slowly
following average of G as the result.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...generators.gan3d.model import Discriminator, Generator, mirrored
from .config import GanTraining


def build_discriminator(config: GanTraining) -> Discriminator:
    """The discriminator of a run."""
    return Discriminator(config.discriminator_channels, config.side, config.normalise)


def generate(generator: Generator, z: Tensor, mirror: bool) -> Tensor:
    """Occupancy [N, side, side, side] of z [N, z_dim], made symmetric in x if the shapes are."""
    logits = generator.logits(z)
    return torch.sigmoid(mirrored(logits) if mirror else logits)


def shifted(voxels: Tensor, most: int, random: torch.Generator) -> Tensor:
    """Each of the voxel cubes [N, S, S, S] moved by its own whole number of voxels along each axis, at most `most`."""
    if most == 0:
        return voxels
    side = voxels.shape[-1]
    padded = functional.pad(voxels, (most,) * 6)
    moves = torch.randint(2 * most + 1, (len(voxels), 3), generator=random).tolist()
    return torch.stack(
        [cube[i : i + side, j : j + side, k : k + side] for cube, (i, j, k) in zip(padded, moves, strict=True)]
    )


def loss_of_discriminator(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises, of its scores [N, 1]."""
    if loss == "hinge":
        return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def loss_of_generator(loss: str, fake: Tensor) -> Tensor:
    """What the generator minimises; for cross-entropy the form with gradients where it is losing, -log D(G(z))."""
    return -fake.mean() if loss == "hinge" else functional.softplus(-fake).mean()


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
