"""EG3D's dual discriminator: StyleGAN2's residual one, of the final image and the raw one together
(arxiv.org/abs/2112.07945, section 4.4; arxiv.org/abs/1912.04958, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoints.convert import replaced
from ..layers.stylegan2 import BINOMIAL, EqualLinear, MappingNetwork, bias_act, filter2d, low_pass
from ..layers.stylegan2_discriminator import minibatch_deviation


@dataclass(frozen=True)
class DualDiscriminatorConfig:
    side: int = 128
    """Of the final image, pixels."""
    channel_base: int = 32768
    channel_max: int = 512
    condition_dim: int = 25
    """Numbers of the camera that the image is judged with."""
    group: int = 4
    """Images of a minibatch group."""

    def channels(self, resolution: int) -> int:
        return min(self.channel_base // resolution, self.channel_max)


class Conv(nn.Module):
    """Convolution with equalised weights that keeps the size or halves it, bias, leaky ReLU."""

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        down: bool = False,
        gain: float = 1.0,
        linear: bool = False,
    ):
        super().__init__()
        self.down, self.gain, self.linear = down, gain, linear
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = None if linear else nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("kernel", low_pass(BINOMIAL), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, n, n] → [batch, out, n or n / 2, …]."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        border = self.weight.shape[-1] // 2
        if self.down:
            before = border + (len(BINOMIAL) - 1) // 2
            x = filter2d(x, self.kernel, padding=(before, border + (len(BINOMIAL) - 2) // 2))
            x = F.conv2d(x, weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=border)
        return bias_act(x, self.bias, "linear" if self.linear else "lrelu", gain=self.gain)


class Block(nn.Module):
    """Two convolutions beside a 1 × 1 one; halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        half = math.sqrt(0.5)
        self.skip = Conv(in_channels, out_channels, 1, down=True, gain=half, linear=True)
        self.conv0 = Conv(in_channels, in_channels, 3)
        self.conv1 = Conv(in_channels, out_channels, 3, down=True, gain=half)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.conv1(self.conv0(x))


class DualDiscriminator(nn.Module):
    """Scores [batch, 1] of an image and its raw one. The camera enters by projection (arxiv.org/abs/1802.05637)."""

    def __init__(self, config: DualDiscriminatorConfig):
        super().__init__()
        c = self.config = config
        sides = [2**i for i in range(int(math.log2(c.side)), 1, -1)]
        if sides[0] != c.side or c.side < 8:
            raise ValueError(f"the side must be a power of two from 8 up, got {c.side}")
        last = c.channels(4)
        self.from_image = Conv(6, c.channels(c.side), 1)
        self.blocks = nn.ModuleList(Block(c.channels(a), c.channels(b)) for a, b in pairwise(sides))
        self.conv = Conv(last + 1, last, 3)
        self.hidden = EqualLinear(16 * last, last, activation="lrelu")
        self.out = EqualLinear(last, last if c.condition_dim > 0 else 1)
        if c.condition_dim > 0:
            self.mapping = MappingNetwork(0, c.condition_dim, last, num_ws=1)

    def forward(self, image: Tensor, raw: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return scores before any sigmoid.

        Args:
            image: [batch, 3, side, side] in −1..1.
            raw: [batch, 3, n, n]; resized to the image.
            condition: the camera, [batch, condition_dim].
        """
        x = self.from_image(torch.cat([image, resized(raw, image.shape[-1])], dim=1))
        for block in self.blocks:
            x = block(x)
        x = self.conv(minibatch_deviation(x, self.config.group))
        x = self.out(self.hidden(x.flatten(1)))
        if self.config.condition_dim == 0:
            return x
        direction = self.mapping(x.new_zeros(len(x), 0), condition)[:, 0]
        return (x * direction).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])


def resized(image: Tensor, side: int) -> Tensor:
    """Images [batch, channels, n, n] at another side, bilinear, filtered where they shrink."""
    return F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True)


def state_from_official(weights: Mapping[str, Tensor], config: DualDiscriminatorConfig) -> dict[str, Tensor]:
    """Return our state of the weights of an official `DualDiscriminator`."""
    renamed = ((r"^b4\.conv\.", "conv."), (r"^b4\.fc\.", "hidden."), (r"^b4\.out\.", "out."),
               (r"\.fc(\d+)\.", r".layers.\1."))  # fmt: skip
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("resample_filter"):
            continue
        name = replaced(name, renamed)
        if name.startswith("b"):
            block, rest = name.split(".", 1)
            number = int(math.log2(config.side)) - int(math.log2(int(block[1:])))
            first = rest.startswith("fromrgb.")
            name = rest.replace("fromrgb.", "from_image.") if first else f"blocks.{number}.{rest}"
        found[name] = value
    if config.condition_dim > 0:
        found["mapping.w_mean"] = torch.zeros(config.channels(4))
    return found
