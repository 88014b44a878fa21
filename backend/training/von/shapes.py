"""The shape network of Visual Object Networks, without a discriminator: objects from normally distributed codes.

The paper uses a 3D-GAN (`training/gan3d` trains one). Here the codes are the principal components of the objects'
voxels, each of variance 1, and the network learns to decode them. The shape of a random code is a blend of objects,
soft where they differ.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...generators.von.scene import VON

NOISE = 0.15
"""Standard deviation of the noise added to codes in training, so that the space between chairs is learnt too."""


def principal_codes(voxels: Tensor, z_dim: int) -> Tensor:
    """Return codes [n, z_dim] of voxels [n, ...]: principal components, each of mean 0 and variance 1."""
    flat = voxels.float().flatten(1)
    u, _, _ = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    codes = u[:, :z_dim]
    return codes / codes.std(0, keepdim=True)


def shape_loss(model: VON, codes: Tensor, voxels: Tensor, random: torch.Generator, batch: int = 16) -> Tensor:
    """Return the loss of decoding some objects' codes [n, z_dim], with noise, to their voxels [n, v, v, v] bool.

    random: on the CPU, the same in all processes, so that all take the same objects and batch normalisation agrees.
    """
    chosen = torch.randint(len(codes), (batch,), generator=random).to(codes.device)
    noise = torch.randn(batch, codes.shape[1], generator=random).to(codes)
    logits = model.shape_logits(codes[chosen] + NOISE * noise)
    wanted = voxels[chosen].float()
    # an object fills a tenth of its cube: solid voxels have four times the weight
    return functional.binary_cross_entropy_with_logits(logits, wanted, weight=1 + 3 * wanted)
