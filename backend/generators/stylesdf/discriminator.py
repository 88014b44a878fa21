"""The two discriminators of StyleSDF (arxiv.org/abs/2112.11427, section 3.3 and supplement).

Stage one shows the renderer's thumbnail to `VolumeDiscriminator`, whose score is joined by an estimate of the view.
Stage two shows the decoder's image to `Discriminator`, the residual discriminator of StyleGAN2
(arxiv.org/abs/1912.04958, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoints.convert import bijection, replaced
from ..layers.stylegan2 import BINOMIAL, EqualLinear, filter2d, low_pass
from ..pigan.discriminator import SLOPE, ResidualBlock

VOLUME_WIDTHS = {4: 400, 8: 400, 16: 400, 32: 256, 64: 128, 128: 64}
"""Published widths by resolution, of the volume discriminator; 400 below."""

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
"""Published widths by resolution, of the image discriminator (channel multiplier 2)."""


class VolumeDiscriminator(nn.Module):
    """Thumbnail → its score and its view: the discriminator of stage one, of π-GAN's blocks.

    Args:
        side: of the largest images, a power of two.
        widths: channels by resolution from `side` down to 2; one that is left out has that of the smallest.
        num_views: numbers that describe a view; two are azimuth and elevation.
        sizes: how many sizes of images it takes, from `side` down; one, as published, unless training starts small.
    """

    def __init__(self, side: int, widths: Mapping[int, int] = VOLUME_WIDTHS, num_views: int = 2, sizes: int = 1):
        super().__init__()
        channels = [widths.get(side >> i, widths[min(widths)]) for i in range(side.bit_length() - 1)]
        self.side = side
        self.first = nn.ModuleList(nn.Conv2d(3, channels[i], 1) for i in range(sizes))
        self.blocks = nn.ModuleList(ResidualBlock(a, b, "progressive") for a, b in pairwise(channels))
        self.last = nn.Conv2d(channels[-1], 1 + num_views, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [batch, 1], and views [batch, num_views], of images [batch, 3, n, n] in −1..1."""
        halvings = (self.side // images.shape[-1]).bit_length() - 1
        x = F.leaky_relu(self.first[halvings](images), SLOPE)
        for block in self.blocks[halvings:]:
            x = block(x)
        found = self.last(x).flatten(1)
        return found[:, :1], found[:, 1:]


class BiasedLeakyReLU(nn.Module):
    """Bias, leaky ReLU, gain √2."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, channels, height, width]."""
        return F.leaky_relu(x + self.bias[:, None, None], SLOPE) * math.sqrt(2)


class EqualConv(nn.Module):
    """Convolution with equalised weights; one with a stride is not padded."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, stride: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.stride = stride
        self.padding = size // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, out, ...] of x [batch, in, height, width]."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, weight, stride=self.stride, padding=self.padding)


class ImageBlock(nn.Module):
    """Residual block of StyleGAN2's discriminator: low-passed before every halving."""

    kernel: Tensor

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv(in_channels, in_channels, 3), BiasedLeakyReLU(in_channels))
        self.conv2 = nn.Sequential(EqualConv(in_channels, out_channels, 3, stride=2), BiasedLeakyReLU(out_channels))
        self.skip = EqualConv(in_channels, out_channels, 1, stride=2)
        self.register_buffer("kernel", low_pass(BINOMIAL), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, n, n] → [batch, out, n / 2, n / 2]."""
        kernel = self.kernel.to(x.dtype)
        y = self.conv2(filter2d(self.conv1(x), kernel, padding=(2, 2)))
        return (y + self.skip(filter2d(x, kernel, padding=(1, 1)))) / math.sqrt(2)


class Discriminator(nn.Module):
    """Image → its score: StyleGAN2's residual discriminator, that of stage two.

    Args:
        side: of the images, a power of two from 8.
        widths: channels by resolution from `side` down to 4.
        group: images whose deviation is measured together; as many as the batch has, if fewer.
    """

    def __init__(self, side: int, widths: Mapping[int, int] = WIDTHS, group: int = 4):
        super().__init__()
        channels = [widths[side >> i] for i in range(side.bit_length() - 2)]
        self.group = group
        self.first = nn.Sequential(EqualConv(3, channels[0], 1), BiasedLeakyReLU(channels[0]))
        self.blocks = nn.ModuleList(ImageBlock(a, b) for a, b in pairwise(channels))
        self.conv = nn.Sequential(EqualConv(channels[-1] + 1, widths[4], 3), BiasedLeakyReLU(widths[4]))
        self.dense = EqualLinear(widths[4] * 16, widths[4], activation="lrelu")
        self.score = EqualLinear(widths[4], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [batch, 1] of images [batch, 3, side, side] in −1..1."""
        x = self.first(images)
        for block in self.blocks:
            x = block(x)
        x = self.conv(torch.cat((x, deviation_map(x, self.group)), 1))
        return self.score(self.dense(x.flatten(1)))


def deviation_map(x: Tensor, group: int) -> Tensor:
    """Return the mean standard deviation of the images of a group, as a map [batch, 1, n, n] (arxiv.org/abs/1710.10196,
    section 3). Image i belongs to the group of images i modulo batch / group.

    Raises:
        ValueError: the batch is larger than a group and no multiple of it.
    """
    group = min(group, len(x))
    if len(x) % group:
        raise ValueError(f"a batch of {len(x)} does not divide into groups of {group}")
    grouped = x.unflatten(0, (group, -1))
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[-2:])


VOLUME_NAMES = (
    (r"^convs\.0\.(conv|activation)\.", "first.0."),
    (r"^convs\.(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.conv1\.(conv\.conv|activation)\.", ".first."),
    (r"\.conv2\.(conv\.conv|activation)\.", ".second."),
    (r"\.skip\.conv\.", ".projection."),
    (r"^final_conv\.conv\.", "last."),
)
"""Official parameter name of the volume discriminator → ours, each pattern applied in turn."""

IMAGE_NAMES = (
    (r"^convs\.0\.", "first."),
    (r"^convs\.(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.conv2\.1\.", ".conv2.0."),
    (r"\.conv2\.2\.", ".conv2.1."),
    (r"\.skip\.1\.", ".skip."),
    (r"^final_conv\.", "conv."),
    (r"^final_linear\.0\.", "dense."),
    (r"^final_linear\.1\.", "score."),
)
"""Official parameter name of the image discriminator → ours, each pattern applied in turn."""


def volume_name(official: str) -> str:
    """Return our name of a parameter of the volume discriminator."""
    return replaced(official, patterns=VOLUME_NAMES)


def image_name(official: str) -> str:
    """Return our name of a parameter of the image discriminator."""
    return replaced(official, patterns=IMAGE_NAMES)


def volume_discriminator_from_official(weights: Mapping[str, Tensor]) -> VolumeDiscriminator:
    """Return the stage-one discriminator with these official weights; its sizes are those of the tensors."""
    side, widths = _sizes(weights, "convs.0.conv.weight", "convs.{}.conv2.conv.conv.weight", 2)
    network = VolumeDiscriminator(side, widths).to(weights["convs.0.conv.weight"].dtype)
    biases = {
        name.replace(".weight", ".bias"): value.new_zeros(len(value))
        for name, value in weights.items()
        if name.endswith(".skip.conv.weight")
    }
    weights = {**biases, **weights}  # shortcuts with and without a bias
    network.load_state_dict(bijection(weights, network.state_dict(), rename=volume_name))
    return network


def discriminator_from_official(weights: Mapping[str, Tensor]) -> Discriminator:
    """Return the stage-two discriminator with these official weights; its sizes are those of the tensors."""
    side, widths = _sizes(weights, "convs.0.0.weight", "convs.{}.conv2.1.weight", 4)
    network = Discriminator(side, widths).to(weights["convs.0.0.weight"].dtype)
    ignored = {"*.kernel": "the low-pass filter"}
    network.load_state_dict(bijection(weights, network.state_dict(), rename=image_name, ignored=ignored))
    return network


def _sizes(weights: Mapping[str, Tensor], first: str, block: str, last: int) -> tuple[int, dict[int, int]]:
    """Return the side of the images and the width by resolution, of residual blocks that end at resolution `last`."""
    widths = [weights[first].shape[0]]
    while (name := block.format(len(widths))) in weights:
        widths.append(weights[name].shape[0])
    return last << (len(widths) - 1), {last << i: width for i, width in enumerate(reversed(widths))}
