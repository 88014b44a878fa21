"""The small recipe's discriminator: an image folded 2 × 2 into channels, few convolutions, the pose by projection."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...generators.layers.stylegan2_discriminator import minibatch_deviation
from ..adversarial.folded_discriminator import Convolution

POSE_NUMBERS = 12
"""Of a camera, for the discriminator: the three axes and the direction to it."""


@dataclass(frozen=True)
class GrowingDiscriminatorConfig:
    channels: tuple[int, ...] = (32, 64, 128, 192)
    """At half the image's side, and at each half of it down to 4²."""
    pose_features: int = 128
    pose_noise: float = 0.2
    """Standard deviation of the noise on the numbers of a pose, which lie in −1..1: exact poses would be memorised."""
    group: int = 4
    """Images of a minibatch group (section 3 of arxiv.org/abs/1710.10196)."""


class GrowingDiscriminator(nn.Module):
    """Scores [batch, 1] of raw images [batch, c, side, side] and poses [batch, 12]; at first, of half-size raw images;
    later, of upscaled ones, too. c is 4 with opacity as the last channel, or 3.

    Half-size images skip the first level. An upscaled image [batch, 3, 2 side, 2 side] is folded 4 × 4. The weights of
    what joins later start at zero, so the discriminator goes on from where it was.
    """

    def __init__(self, config: GrowingDiscriminatorConfig, side: int, opacity: bool = False) -> None:
        super().__init__()
        if side != 4 * 2 ** len(config.channels):
            raise ValueError(
                f"{len(config.channels)} widths are for images of {4 * 2 ** len(config.channels)}², got {side}²"
            )
        self.config, self.side = config, side
        channels = 16 if opacity else 12
        self.from_half = Convolution(channels, config.channels[1], 3)
        self.first = Convolution(channels, config.channels[0], 3)
        self.upscaled = nn.Conv2d(48, config.channels[0], 3, padding=1, bias=False)
        nn.init.zeros_(self.upscaled.weight)
        blocks = [Block(a, b) for a, b in zip(config.channels, config.channels[1:], strict=False)]
        nn.init.zeros_(blocks[0].main.weight)
        nn.init.zeros_(blocks[0].skip.weight)
        self.blocks = nn.ModuleList(blocks)
        last = config.channels[-1]
        self.last = Convolution(last + 1, last, 3)
        self.hidden = nn.Linear(16 * last, last)
        self.score = nn.Linear(last, 1)
        self.image_features = nn.Linear(last, config.pose_features)
        self.pose = nn.Sequential(
            nn.Linear(POSE_NUMBERS, config.pose_features),
            nn.LeakyReLU(0.2),
            nn.Linear(config.pose_features, config.pose_features),
        )

    def forward(self, pose: Tensor, raw: Tensor, upscaled: Tensor | None = None) -> Tensor:
        whole = raw.shape[-1] == self.side
        x = F.leaky_relu(self.from_half(F.pixel_unshuffle(F.avg_pool2d(raw, 2) if whole else raw, 2)), 0.2)
        if whole:
            fine = self.first(F.pixel_unshuffle(raw, 2))
            if upscaled is not None:
                fine = fine + self.upscaled(F.pixel_unshuffle(upscaled, 4))
            x = x + self.blocks[0](F.leaky_relu(fine, 0.2))
        for block in self.blocks[1:]:
            x = block(x)
        x = F.leaky_relu(self.last(minibatch_deviation(x, self.config.group)), 0.2)
        x = F.leaky_relu(self.hidden(x.flatten(1)), 0.2)
        agreement = (self.image_features(x) * self.pose(pose)).sum(dim=1, keepdim=True)
        return self.score(x) + agreement / math.sqrt(self.config.pose_features)


class Block(nn.Module):
    """Halves the side; one convolution beside a 1 × 1 one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.main = Convolution(in_channels, out_channels, 3)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.normal_(self.skip.weight, std=math.sqrt(1 / in_channels))

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        return (self.skip(x) + F.leaky_relu(self.main(x), 0.2)) * math.sqrt(0.5)


def pose_numbers(world_from_camera: Tensor) -> Tensor:
    """Return the numbers [n, 12] of poses [n, 4, 4]: the three axes and the direction to the camera."""
    direction = F.normalize(world_from_camera[:, :3, 3], dim=-1)
    return torch.cat([world_from_camera[:, :3, :3].flatten(1), direction], dim=1)
