"""StyleNeRF's discriminator: StyleGAN2's with an image at each resolution (section 3.3 of arxiv.org/abs/2110.08985).

Each block adds a 1 × 1 convolution of the image at its own resolution to the features so far, so that training can
start with the small blocks alone. *Blend* is the share of the newest, largest block while it is faded in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.stylegan2 import low_pass
from ..layers.stylegan2_discriminator import DiscriminatorEnd, EqualConv2d, downsample2d


@dataclass(frozen=True)
class DiscriminatorConfig:
    resolution: int = 64
    channels: tuple[int, ...] = (64, 128, 128, 128, 128)
    """Of the blocks at full resolution, half of it, …, 4."""
    group_size: int = 4
    """Images whose features' deviation the last block sees."""
    conv_clamp: float | None = 256.0

    def __post_init__(self) -> None:
        if self.resolution != 4 << (len(self.channels) - 1):
            raise ValueError(
                f"{len(self.channels)} blocks take images of {4 << (len(self.channels) - 1)} pixels a side"
            )


class Block(nn.Module):
    """Image and features at one resolution → features at half of it."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None):
        super().__init__()
        self.from_image = EqualConv2d(3, in_channels, 1, clamp=clamp)
        self.conv0 = EqualConv2d(in_channels, in_channels, 3, clamp=clamp)
        self.conv1 = EqualConv2d(in_channels, out_channels, 3, down=True, clamp=clamp)

    def forward(self, x: Tensor | None, image: Tensor) -> Tensor:
        seen = self.from_image(image)
        return self.conv1(self.conv0(seen if x is None else x + seen))


class Discriminator(nn.Module):
    """Scores of images of any of the training's resolutions."""

    kernel: Tensor

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        c = self.config = config
        self.blocks = nn.ModuleDict(
            {
                str(c.resolution >> i): Block(c.channels[i], c.channels[i + 1], c.conv_clamp)
                for i in range(len(c.channels) - 1)
            }
        )
        self.from_image = EqualConv2d(3, c.channels[-1], 1, clamp=c.conv_clamp)
        self.end = DiscriminatorEnd(c.channels[-1], 1, group_size=c.group_size, clamp=c.conv_clamp)
        self.register_buffer("kernel", low_pass(), persistent=False)

    def forward(self, image: Tensor, blend: float = 1.0) -> Tensor:
        """Scores [batch, 1] of images [batch, 3, side, side].

        blend: share of the largest block's features. The rest, in features and image alike, is what the next block
        makes of the halved image alone. The official training always has 1: its fade is written, but never takes
        effect, so that the discriminator switches resolution at once.
        """
        side = image.shape[-1]
        x: Tensor | None = None
        halved = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False) if blend < 1 else None
        for name, block in self.blocks.items():
            assert isinstance(block, Block)
            if int(name) > side:
                continue
            if int(name) == side < self.config.resolution:
                x = block.from_image(image)  # officially counted twice where the larger blocks are left out
            elif int(name) == side // 2 and halved is not None and x is not None:
                x = x * blend + block.from_image(halved) * (1 - blend)
                image = image * blend + halved * (1 - blend)
            x = block(x, image)
            image = downsample2d(image, self.kernel)
        return self.end(self.from_image(image) if x is None else x + self.from_image(image))
