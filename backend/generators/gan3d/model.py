"""3D-GAN (Wu et al., arxiv.org/abs/1610.07584): a latent becomes a cube of occupancy probabilities.

Vocabulary: `voxels` [..., side, side, side] in 0..1; `side` is 4·2^(number of doublings), 32 or 64 in practice;
`channels` is the width of the last hidden layer, doubling towards the latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """z to voxels (Fig. 1 of the paper): a 4³ cube, doubled until it has the side wanted."""

    def __init__(self, z_dim: int = 200, channels: int = 64, side: int = 64) -> None:
        super().__init__()
        widths = _widths(channels, side)
        self.z_dim = z_dim
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(before, after, 4, stride=2, padding=0 if i == 0 else 1, bias=False),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            )
            for i, (before, after) in enumerate(zip([z_dim, *widths], widths))
        )
        self.output = nn.ConvTranspose3d(widths[-1], 1, 4, stride=2, padding=1, bias=False)

    def features(self, z: Tensor) -> list[Tensor]:
        """Return what each hidden layer makes of z [N, z_dim]: [N, width, side, side, side] from 4³ on."""
        h, found = z[..., None, None, None], []
        for layer in self.layers:
            h = layer(h)
            found.append(h)
        return found

    def forward(self, z: Tensor) -> Tensor:
        """Return occupancy probabilities [N, side, side, side] of z [N, z_dim], drawn uniformly from [0, 1]."""
        return torch.sigmoid(self.output(self.features(z)[-1])).squeeze(1)


class Discriminator(nn.Module):
    """Voxels to the probability that they are real: the generator mirrored, with LeakyReLU 0.2 (Sec. 3.2)."""

    def __init__(self, channels: int = 64, side: int = 64) -> None:
        super().__init__()
        widths = _widths(channels, side)[::-1]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm3d(after),
                nn.LeakyReLU(0.2),
            )
            for before, after in zip([1, *widths], widths)
        )
        self.output = nn.Conv3d(widths[-1], 1, 4, bias=False)

    def forward(self, voxels: Tensor) -> Tensor:
        """Return [N, 1] in 0..1 of voxels [N, side, side, side]."""
        h = voxels[:, None]
        for layer in self.layers:
            h = layer(h)
        return torch.sigmoid(self.output(h)).flatten(1)


def _widths(channels: int, side: int) -> list[int]:
    """Channels of the hidden layers, from the 4³ cube on."""
    doublings = side.bit_length() - 3  # 4 -> 0, 32 -> 3, 64 -> 4
    if side < 8 or 4 << doublings != side:
        raise ValueError(f"side must be 4 times a power of two and at least 8, got {side}")
    return [channels << i for i in reversed(range(doublings))]
