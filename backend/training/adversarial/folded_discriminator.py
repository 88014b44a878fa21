"""A small convolutional discriminator for CPU recipes: without normalisation, as R3GAN asks, on folded images.

*Folded*: each 2 × 2 pixels become one of twelve channels, which halves the sides and saves the largest convolution.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...generators.layers.stylegan2_discriminator import minibatch_deviation

GAIN = math.sqrt(2 / (1 + 0.2**2))  # of a leaky ReLU of slope 0.2, so that activations keep their variance


class Convolution(nn.Conv2d):
    """A convolution, its initial weights of unit gain for the leaky ReLU that follows."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.normal_(self.weight, std=GAIN / math.sqrt(inputs * kernel**2))
        self.bias = nn.Parameter(torch.zeros(outputs))


class FoldedDiscriminator(nn.Module):
    """Scores of images, and numbers that it reads off them.

    With a condition the score is the product of the features with an embedding of it, beside the unconditional score
    (arxiv.org/abs/1802.05637, Eq. 4).
    """

    def __init__(
        self,
        side: int,
        widths: tuple[int, ...],
        *,
        channels: int = 3,
        condition_dim: int = 0,
        outputs: int = 0,
        group_size: int = 4,
    ) -> None:
        """side: of the images, pixels. widths: channels at half the side, at a quarter, … down to 4 pixels.

        channels: of the images. outputs: how many numbers are read off. Raises ValueError unless the widths end at 4.
        """
        super().__init__()
        if side != 4 << len(widths):
            raise ValueError(f"{len(widths)} widths take images of {4 << len(widths)} pixels a side, not {side}")
        self.group_size = group_size
        self.first = Convolution(4 * channels, widths[0], 3)
        self.layers = nn.ModuleList(Convolution(a, b, 3) for a, b in pairwise(widths))
        self.last = Convolution(widths[-1] + 1, widths[-1], 3)
        self.features = nn.Linear(16 * widths[-1], widths[-1])
        self.score = nn.Linear(widths[-1], 1)
        self.condition = (
            nn.Sequential(nn.Linear(condition_dim, widths[-1]), nn.LeakyReLU(0.2), nn.Linear(widths[-1], widths[-1]))
            if condition_dim
            else None
        )
        self.read = nn.Linear(widths[-1], outputs) if outputs else None

    def forward(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return scores [batch, 1] and the numbers read off [batch, outputs].

        images: [batch, channels, side, side]; condition: [batch, condition_dim].
        """
        x = F.leaky_relu(self.first(F.pixel_unshuffle(images, 2)), 0.2)
        for layer in self.layers:
            x = F.leaky_relu(layer(F.avg_pool2d(x, 2)), 0.2)
        x = F.leaky_relu(self.last(minibatch_deviation(x, self.group_size)), 0.2)
        x = F.leaky_relu(self.features(x.flatten(1)), 0.2)
        score = self.score(x)
        if self.condition is not None and condition is not None:
            score = score + (x * self.condition(condition)).sum(1, keepdim=True) / math.sqrt(x.shape[1])
        return score, None if self.read is None else self.read(x)


def angles_condition(angles: Tensor) -> Tensor:
    """Return [batch, 4] of azimuths and elevations [batch, 2] in radians: continuous over the whole circle."""
    azimuth, elevation = angles.unbind(-1)
    return torch.stack((azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()), -1)
