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

VOLUME_CHANNELS = {4: 400, 8: 400, 16: 400, 32: 256, 64: 128, 128: 64}
"""Published widths by resolution, of the volume discriminator; 400 below."""

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
"""Published widths by resolution, of the image discriminator (channel multiplier 2)."""


class BiasedLeakyReLU(nn.Module):
    """Bias, leaky ReLU of slope 0.2, gain."""

    def __init__(self, channels: int, gain: float = math.sqrt(2)):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, channels, height, width]."""
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * self.gain


class ActivatedConv(nn.Module):
    """Convolution that keeps the size, with bias and leaky ReLU; first layers of the volume discriminator.

    coordinates: join each pixel's row and column, −1..1, behind the channels (CoordConv, arxiv.org/abs/1807.03247).
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, *, coordinates: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels + 2 * coordinates, out_channels, size, padding=size // 2, bias=False)
        self.activation = BiasedLeakyReLU(out_channels, gain=1.0)
        self.coordinates = coordinates
        bound = 1 / math.sqrt(in_channels * size * size)
        nn.init.uniform_(self.activation.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, out, height, width] of x [batch, in, height, width]."""
        return self.activation(self.conv(with_coordinates(x) if self.coordinates else x))


def with_coordinates(x: Tensor) -> Tensor:
    """Return maps [batch, channels + 2, n, m] with each pixel's row and column, −1..1, behind the channels."""
    rows = torch.linspace(-1, 1, x.shape[-2]).to(x)[:, None].expand(x.shape[-2:])
    columns = torch.linspace(-1, 1, x.shape[-1]).to(x).expand(x.shape[-2:])
    return torch.cat((x, torch.stack((rows, columns)).expand(len(x), -1, -1, -1)), 1)


class VolumeBlock(nn.Module):
    """Residual block of two coordinate convolutions, halved by averaging."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = ActivatedConv(in_channels, out_channels, 3, coordinates=True)
        self.conv2 = ActivatedConv(out_channels, out_channels, 3, coordinates=True)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, n, n] → [batch, out, n / 2, n / 2]."""
        y = F.avg_pool2d(self.conv2(self.conv1(x)), 2)
        x = F.avg_pool2d(x, 2)
        return (y + (x if self.skip is None else self.skip(x))) / math.sqrt(2)


class VolumeDiscriminator(nn.Module):
    """Thumbnail → its score and its view: the discriminator of stage one. Weights are not equalised.

    Args:
        side: of the images, a power of two.
        channels: width by resolution from `side` down to 2; one that is left out has the width of the smallest.
    """

    def __init__(self, side: int, channels: Mapping[int, int] = VOLUME_CHANNELS):
        super().__init__()
        widths = [channels.get(side >> i, channels[min(channels)]) for i in range(int(math.log2(side)))]
        self.first = ActivatedConv(3, widths[0], 1)
        self.blocks = nn.ModuleList(VolumeBlock(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 3, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [batch, 1], and views [batch, 2] (azimuth, elevation, radians), of images [batch, 3, side,
        side] in −1..1."""
        x = self.first(images)
        for block in self.blocks:
            x = block(x)
        found = self.last(x).flatten(1)
        return found[:, :1], found[:, 1:]


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
        channels: width by resolution from `side` down to 4.
        group: images whose deviation is measured together; as many as the batch has, if fewer.
    """

    def __init__(self, side: int, channels: Mapping[int, int] = CHANNELS, group: int = 4):
        super().__init__()
        widths = [channels[side >> i] for i in range(int(math.log2(side)) - 1)]
        self.group = group
        self.first = nn.Sequential(EqualConv(3, widths[0], 1), BiasedLeakyReLU(widths[0]))
        self.blocks = nn.ModuleList(ImageBlock(a, b) for a, b in pairwise(widths))
        self.conv = nn.Sequential(EqualConv(widths[-1] + 1, channels[4], 3), BiasedLeakyReLU(channels[4]))
        self.dense = EqualLinear(channels[4] * 16, channels[4], activation="lrelu")
        self.score = EqualLinear(channels[4], 1)

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
    (r"^convs\.0\.", "first."),
    (r"^convs\.(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.conv\.conv\.", ".conv."),
    (r"\.skip\.conv\.", ".skip."),
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
    side, channels = _sizes(weights, "convs.0.conv.weight", "convs.{}.conv2.conv.conv.weight", 2)
    network = VolumeDiscriminator(side, channels).to(weights["convs.0.conv.weight"].dtype)
    network.load_state_dict(bijection(weights, network.state_dict(), rename=volume_name))
    return network


def discriminator_from_official(weights: Mapping[str, Tensor]) -> Discriminator:
    """Return the stage-two discriminator with these official weights; its sizes are those of the tensors."""
    side, channels = _sizes(weights, "convs.0.0.weight", "convs.{}.conv2.1.weight", 4)
    network = Discriminator(side, channels).to(weights["convs.0.0.weight"].dtype)
    ignored = {"*.kernel": "the low-pass filter"}
    network.load_state_dict(bijection(weights, network.state_dict(), rename=image_name, ignored=ignored))
    return network


def _sizes(weights: Mapping[str, Tensor], first: str, block: str, last: int) -> tuple[int, dict[int, int]]:
    """Return the side of the images and the width by resolution, of residual blocks that end at resolution `last`."""
    widths = [weights[first].shape[0]]
    while (name := block.format(len(widths))) in weights:
        widths.append(weights[name].shape[0])
    return last << (len(widths) - 1), {last << i: width for i, width in enumerate(reversed(widths))}
