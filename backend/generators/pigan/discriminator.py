"""π-GAN's discriminators: convolutional networks that grow with the image (section 3.3 of arxiv.org/abs/2012.00926).

An image enters at the block of its size; blocks halve it down to 2 × 2 pixels, which the head reads. While a new size
fades in, the features of the halved image join behind the first block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLUs."""

WIDTHS = {512: 16, 256: 32, 128: 64, 64: 128, 32: 256, 16: 400, 8: 400, 4: 400, 2: 400}
"""Channels at each side of the image, as published."""

Blocks = Literal["progressive", "coordinates", "strided"]


@dataclass(frozen=True)
class Judgement:
    """What an encoding discriminator says of a batch of images; `latent` and `pose` are None without its encoder."""

    score: Tensor  # [batch]
    latent: Tensor | None = None  # [batch, latent_dim]: its guess of z
    pose: Tensor | None = None  # [batch, 2]: its guess of pitch and yaw, radians


class CoordConv2d(nn.Conv2d):
    """3 × 3 convolution that also sees each pixel's row and column, from −1 to 1 (arxiv.org/abs/1807.03247)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(in_channels + 2, out_channels, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, in_channels, height, width]."""
        height, width = x.shape[-2:]
        row = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None].expand(height, width)
        column = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).expand(height, width)
        places = torch.stack((row, column)).expand(x.shape[0], -1, -1, -1)
        return super().forward(torch.cat((x, places), 1))


class ResidualBlock(nn.Module):
    """Two convolutions beside a projection, at half the size.

    "progressive" averages 2 × 2 pixels behind the convolutions; the others convolve with a stride of two. All but
    "strided" see coordinates.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: Blocks):
        super().__init__()
        self.pools = blocks == "progressive"
        stride = 1 if self.pools else 2
        first: nn.Module
        second: nn.Module
        if blocks == "strided":
            first = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
            second = nn.Conv2d(out_channels, out_channels, 3, stride, 1)
        else:
            first = CoordConv2d(in_channels, out_channels)
            second = CoordConv2d(out_channels, out_channels, stride)
        self.first, self.second = first, second
        self.projection: nn.Module = nn.Identity()
        if not self.pools or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride)
        if not self.pools:
            for layer in (first, second):
                nn.init.kaiming_normal_(layer.weight, SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, in_channels, side, side] → [batch, out_channels, side / 2, side / 2]."""
        y = F.leaky_relu(self.second(F.leaky_relu(self.first(x), SLOPE)), SLOPE)
        if self.pools:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return (y + self.projection(x)) / math.sqrt(2)


class ProgressiveDiscriminator(nn.Module):
    """Scores, and for an encoder latents and poses, of square images of several sizes.

    Args:
        size: side of the largest images in pixels, a power of two from 4 on.
        blocks: "progressive" for CARLA, "coordinates" for CelebA and "strided" for Cats, as published.
        latent_dim: width of the guess of z; 0 leaves out the encoder.
        widths: side of an image → channels.
    """

    def __init__(
        self,
        size: int,
        blocks: Blocks = "progressive",
        latent_dim: int = 0,
        widths: dict[int, int] | None = None,
    ):
        super().__init__()
        widths = WIDTHS if widths is None else widths
        sides = [2**k for k in range(1, size.bit_length())]
        if size < 4 or sides[-1] != size or size not in widths:
            raise ValueError(f"The side of an image must be a power of two from 4 to {max(widths)}, got {size}")
        self.latent_dim = latent_dim
        self.from_rgb = nn.ModuleDict({str(side): nn.Conv2d(3, widths[side], 1) for side in sides})
        self.blocks = nn.ModuleDict(
            {str(side): ResidualBlock(widths[side], widths[side // 2], blocks) for side in sides[1:]}
        )
        self.head = nn.Conv2d(widths[2], 1 + latent_dim + (2 if latent_dim else 0), 2)

    def forward(self, images: Tensor, fade: float = 1.0) -> Judgement:
        """Judge images [batch, 3, side, side] with colours in −1..1.

        Args:
            images: of any size up to the largest.
            fade: share of the first block's features in what it and the adapter of the halved image give.
        """
        side = images.shape[-1]
        x = self._adapted(images)
        while side > 2:
            x = self.blocks[str(side)](x)
            side //= 2
            if fade < 1 and side * 2 == images.shape[-1]:
                x = fade * x + (1 - fade) * self._adapted(F.interpolate(images, scale_factor=0.5, mode="nearest"))
        found = self.head(x).flatten(1)
        if not self.latent_dim:
            return Judgement(found[:, 0])
        return Judgement(found[:, 0], found[:, 1:-2], found[:, -2:])

    def _adapted(self, images: Tensor) -> Tensor:
        return F.leaky_relu(self.from_rgb[str(images.shape[-1])](images), SLOPE)
