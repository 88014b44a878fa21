"""Layers of StyleGAN2's discriminator (arxiv.org/abs/1912.04958, appendix B), shared by EG3D's and StyleNeRF's.

Vocabulary as in stylegan2.py. Convolutions are equalised, activated by a leaky ReLU of unit expected gain, and clamped.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import BINOMIAL, EqualLinear, bias_act, filter2d, low_pass


def downsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Low-pass x [batch, channels, height, width] by `kernel` [k, k] and take every other pixel."""
    k = kernel.shape[-1]
    return filter2d(x, kernel, padding=((k - 1) // 2, (k - 2) // 2))[..., ::2, ::2]


class EqualConv2d(nn.Module):
    """Equalised convolution [batch, in, h, w] → [batch, out, h, w], with ``down`` to half the size.

    Halving low-passes first, then convolves with stride two.
    """

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        down: bool = False,
        bias: bool = True,
        activation: str = "lrelu",
        clamp: float | None = None,
    ):
        super().__init__()
        self.down, self.activation, self.clamp = down, activation, clamp
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("kernel", low_pass(BINOMIAL), persistent=False)

    def forward(self, x: Tensor, *, gain: float = 1.0) -> Tensor:
        """gain: of the result, on top of the activation's own."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        k = weight.shape[-1]
        if self.down:
            n = self.kernel.shape[-1]
            # Centred on the halved samples: half the kernel and half the filter on either side.
            before, after = k // 2 + (n - 1) // 2, k // 2 + (n - 2) // 2
            x = F.conv2d(filter2d(x, self.kernel, padding=(before, after)), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=k // 2)
        return bias_act(x, self.bias, self.activation, gain=gain, clamp=self.clamp)


def minibatch_deviation(x: Tensor, group_size: int, channels: int = 1) -> Tensor:
    """Append ``channels`` constant channels: the deviation over groups of images (arxiv.org/abs/1710.10196, Sec. 3).

    x [batch, c, h, w]; image i is in group i mod (batch / size), where size is the largest up to `group_size` that
    divides the batch.
    """
    batch, c, h, w = x.shape
    size = max(n for n in range(1, group_size + 1) if batch % n == 0)
    grouped = x.reshape(size, -1, channels, c // channels, h, w)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(2, 3, 4))  # [groups, channels]
    return torch.cat([x, deviation.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)], dim=1)


class DiscriminatorEnd(nn.Module):
    """The last block: features [batch, channels, 4, 4] to [batch, outputs], 1 or the length of a condition's code."""

    def __init__(self, channels: int, outputs: int, *, group_size: int, clamp: float | None):
        super().__init__()
        self.group_size = group_size
        self.conv = EqualConv2d(channels + 1, channels, 3, clamp=clamp)
        self.fc = EqualLinear(channels * 16, channels, activation="lrelu")
        self.out = EqualLinear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(minibatch_deviation(x, self.group_size))
        return self.out(self.fc(x.flatten(1)))
