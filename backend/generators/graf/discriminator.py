"""GRAF's discriminator: a convolutional classifier of patches (section 3.3 of arxiv.org/abs/2007.02442)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPECTRAL_EPS = 1e-12
"""Smallest norm that a power iteration divides by."""


class SpectralConv2d(nn.Conv2d):
    """Convolution without bias whose weight is divided by its largest singular value (arxiv.org/abs/1802.05957).

    The singular vectors advance by one power iteration at each call in training mode: v = Wᵀu, then u = Wv.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        for name, length in (("weight_u", out_channels), ("weight_v", in_channels * kernel_size**2)):
            self.register_buffer(name, F.normalize(torch.randn(length), dim=0, eps=SPECTRAL_EPS))

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, in_channels, height, width]."""
        matrix = self.weight.flatten(1)
        if self.training:
            with torch.no_grad():  # new tensors, because an earlier call's graph may hold the old ones
                self.weight_v = F.normalize(matrix.T @ self.weight_u, dim=0, eps=SPECTRAL_EPS)
                self.weight_u = F.normalize(matrix @ self.weight_v, dim=0, eps=SPECTRAL_EPS)
        sigma = torch.dot(self.weight_u, matrix @ self.weight_v)
        return self._conv_forward(x, self.weight / sigma, None)


class PatchDiscriminator(nn.Module):
    """Scores of square patches: convolutions that halve the side down to 4, then one of 4 × 4.

    Instance normalisation without parameters follows each convolution but the last and, from 64 pixels, the first.

    Args:
        size: side of the patches in pixels, a power of two from 16 on.
        channels: an eighth of the width of the last layer; each layer before it has half.
        normalise: instance and spectral normalisation, as published. R3GAN's loss is meant for networks without.
    """

    def __init__(self, size: int = 32, channels: int = 64, normalise: bool = True):
        super().__init__()
        if size < 16 or size & (size - 1):
            raise ValueError(f"The side of a patch must be a power of two from 16 on, got {size}")
        self.size = size
        halvings = size.bit_length() - 3
        widths = [max(8 * channels >> k, 1) for k in reversed(range(halvings))]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip([3, *widths], widths, strict=False)):
            layers.append(SpectralConv2d(before, after, 4, 2, 1) if normalise else nn.Conv2d(before, after, 4, 2, 1))
            if normalise and (i > 0 or size < 64):
                layers.append(nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(SpectralConv2d(widths[-1], 1, 4) if normalise else nn.Conv2d(widths[-1], 1, 4))
        self.layers = nn.Sequential(*layers)

    def forward(self, patches: Tensor) -> Tensor:
        """Return scores [batch] of patches [batch, 3, size, size] with colours in −1..1."""
        return self.layers(patches).flatten()
