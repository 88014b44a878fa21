"""3D-GAN (Wu et al., arxiv.org/abs/1610.07584): a latent becomes a cube of occupancy probabilities.

Vocabulary: `voxels` [..., side, side, side] in 0..1; `side` is 4·2^(number of doublings), 32 or 64 in practice;
`channels` is the width of the last hidden layer, doubling towards the latent. The *cube* is centred at the world's
origin.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


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
        with torch.no_grad():  # without a bias, this is how the cube starts out nearly empty, as shapes leave it
            self.output.weight -= 1.2 / widths[-1]

    def features(self, z: Tensor) -> list[Tensor]:
        """Return the output of each hidden layer for z [N, z_dim]: [N, width, side, side, side] from 4³ on."""
        h, found = z[..., None, None, None], []
        for layer in self.layers:
            h = layer(h)
            found.append(h)
        return found

    def logits(self, z: Tensor) -> Tensor:
        """Return the input of the sigmoid [N, side, side, side]."""
        last: Tensor = self.output(self.features(z)[-1])
        return last.squeeze(1)

    def forward(self, z: Tensor) -> Tensor:
        """Return occupancy probabilities [N, side, side, side] of z [N, z_dim], drawn uniformly from [0, 1]."""
        return torch.sigmoid(self.logits(z))


class Discriminator(nn.Module):
    """Voxels to the probability that they are real: the generator mirrored, with LeakyReLU 0.2 (Sec. 3.2).

    normalise="spectral": weights of largest singular value 1 (Miyato et al., arxiv.org/abs/1802.05957) in place of the
    paper's batch normalisation, for training with few shapes; the last layer then gives a score without bounds.
    """

    def __init__(self, channels: int = 64, side: int = 64, normalise: Literal["batch", "spectral"] = "batch") -> None:
        super().__init__()
        widths = _widths(channels, side)[::-1]
        batch = normalise == "batch"

        def layer(before: int, after: int) -> nn.Sequential:
            convolution = nn.Conv3d(before, after, 4, stride=2, padding=1, bias=not batch)
            if batch:
                return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.LeakyReLU(0.2))
            return nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2))

        self.layers = nn.ModuleList(layer(before, after) for before, after in zip([1, *widths], widths))
        output = nn.Conv3d(widths[-1], 1, 4, bias=False)
        self.output = output if batch else spectral_norm(output)

    def score(self, voxels: Tensor) -> Tensor:
        """Return the output of the last layer [N, 1] for voxels [N, side, side, side]: above 0 for real ones."""
        h = voxels[:, None]
        for layer in self.layers:
            h = layer(h)
        score: Tensor = self.output(h).flatten(1)
        return score

    def forward(self, voxels: Tensor) -> Tensor:
        """Return [N, 1] in 0..1 of voxels [N, side, side, side]."""
        return torch.sigmoid(self.score(voxels))


class ImageEncoder(nn.Module):
    """Image encoder (Sec. 3.3): the latents of the shapes that an image may show; five convolutions, the last global.

    The paper's images are 256² and its kernels 11, 5, 5, 5, 8; ours are 64² and the kernels 5, 5, 5, 5, 4.
    """

    def __init__(self, z_dim: int = 200, channels: int = 64, size: int = 64) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"size must be a multiple of 16, got {size}")
        widths = [3, channels, 2 * channels, 4 * channels, 8 * channels]
        self.size, self.channels = size, channels
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], 2 * z_dim, size // 16)
        with torch.no_grad():  # a large initial variance hides the mean
            self.output.weight[z_dim:] *= 0.1
            self.output.bias[z_dim:] = -4.0  # type: ignore[index]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, both [N, z_dim], of images [N, 3, size, size], 0..1."""
        h = 2 * images - 1
        for layer in self.layers:
            h = layer(h)
        mean, log_variance = self.output(h).flatten(1).chunk(2, dim=-1)
        return mean, log_variance.clamp(-10, 2)


def _widths(channels: int, side: int) -> list[int]:
    """Return the channels of the hidden layers, from the 4³ cube on."""
    doublings = side.bit_length() - 3  # 4 -> 0, 32 -> 3, 64 -> 4
    if side < 8 or 4 << doublings != side:
        raise ValueError(f"side must be 4 times a power of two and at least 8, got {side}")
    return [channels << i for i in reversed(range(doublings))]


def draw_latents(prior: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Return latents of a shape: "uniform" in 0..1 as in the paper, or "normal"."""
    if prior == "uniform":
        return torch.rand(shape, generator=random)
    return torch.randn(shape, generator=random)


def mirrored(values: Tensor) -> Tensor:
    """Return the mean of values [..., D, H, W] and their mirror image in x, which goes along W."""
    return (values + values.flip(-1)) / 2
