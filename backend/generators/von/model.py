"""The networks of Visual Object Networks (arxiv.org/abs/1812.02725): shape, texture, and the texture code of an image.

Vocabulary: `voxels` [N, side, side, side] 0..1; `depth` [N, 1, H, W] in -1..1, 1 nearest; images [N, 3, H, W] in
-1..1; `z_shape`, `z_texture` standard normal.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LOGIT_SCALE = 0.5
"""The release halves the logits before the sigmoid."""


class ShapeNetwork(nn.Module):
    """z_shape to voxels (the 3D generator of Sec. 3.1): a 4³ cube, doubled by transposed convolutions."""

    def __init__(self, z_dim: int, widths: tuple[int, ...], logit_scale: float = LOGIT_SCALE) -> None:
        """widths: channels of the hidden layers, from the 4³ cube on; the voxels' side is 4·2^len(widths)."""
        super().__init__()
        self.logit_scale = logit_scale
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(before, after, 4, stride=2, padding=0 if i == 0 else 1, bias=False),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            )
            for i, (before, after) in enumerate(pairwise((z_dim, *widths)))
        )
        self.output = nn.ConvTranspose3d(widths[-1], 1, 4, stride=2, padding=1, bias=False)

    def logits(self, z: Tensor) -> Tensor:
        """Return [N, side, side, side] of z [N, z_dim]: what the sigmoid is taken of."""
        x = z[..., None, None, None]
        for layer in self.layers:
            x = layer(x)
        return self.logit_scale * self.output(x).squeeze(1)

    def forward(self, z: Tensor) -> Tensor:
        """Return voxels [N, side, side, side] of z [N, z_dim]."""
        return torch.sigmoid(self.logits(z))


class Convolution(nn.Module):
    """A convolution over a reflected border."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        self.padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        return self.conv(functional.pad(x, (self.padding,) * 4, mode="reflect"))


class LayerNorm(nn.Module):
    """Each sample with mean 0 and (unbiased) deviation 1 over all its channels and pixels, then scaled by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Any [N, channels, H, W]."""
        flat = x.flatten(1)
        mean, deviation = flat.mean(1)[:, None, None, None], flat.std(1)[:, None, None, None]
        return (x - mean) / (deviation + 1e-5) * self.gamma[:, None, None] + self.beta[:, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions 3x3 with instance normalisation; the inner width may differ."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(channels, inner, 3), Convolution(inner, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Any [N, channels, H, W]."""
        inner = functional.relu(functional.instance_norm(self.first(x)))
        return x + functional.instance_norm(self.second(inner))


class TextureNetwork(nn.Module):
    """A sketch's depth and z_texture to an image (Sec. 3.3). z joins as constant channels behind the encoder and before
    each layer of the decoder."""

    def __init__(
        self,
        z_dim: int = 8,
        width: int = 64,
        *,
        inputs: int = 1,
        outputs: int = 3,
        blocks: int = 3,
        guided: bool = False,
    ) -> None:
        """guided: the sketch joins again at full resolution, which is interpolated, so that patterns can follow it."""
        super().__init__()
        self.z_dim, self.guided = z_dim, guided
        middle = 4 * width
        self.encoder = nn.ModuleList(
            [
                Convolution(inputs, width, 7),
                Convolution(width, 2 * width, 4, 2, 1),
                Convolution(2 * width, middle, 4, 2, 1),
            ]
        )
        self.encoder_blocks = nn.ModuleList(ResidualBlock(middle, middle) for _ in range(blocks))
        self.decoder_blocks = nn.ModuleList(ResidualBlock(middle + z_dim, middle) for _ in range(blocks))
        self.upsample = nn.ModuleList(
            [
                Convolution(middle + z_dim, 2 * width, 5),
                Convolution(2 * width + z_dim + (inputs if guided else 0), width, 5),
            ]
        )
        self.norms = nn.ModuleList([LayerNorm(2 * width), LayerNorm(width)])
        self.output = Convolution(width + z_dim, outputs, 7)

    def forward(self, sketch: Tensor, z: Tensor) -> Tensor:
        """Return images [N, outputs, H, W] in -1..1 of sketches [N, inputs, H, W] and z [N, z_dim]; sides are multiples
        of 4."""

        def with_code(x: Tensor) -> Tensor:
            return torch.cat((x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])), 1)

        x = sketch
        for layer in self.encoder:
            x = functional.relu(functional.instance_norm(layer(x)))
        for block in self.encoder_blocks:
            x = block(x)
        x = with_code(x)
        for block in self.decoder_blocks:
            x = block(x)
        for i, (layer, norm) in enumerate(zip(self.upsample, self.norms, strict=True)):
            x = with_code(x) if i else x
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear" if self.guided else "nearest")
            if i and self.guided:
                x = torch.cat((x, sketch), 1)
            x = functional.relu(norm(layer(x)))
        return torch.tanh(self.output(with_code(x)))


class TextureEncoder(nn.Module):
    """An image to the z_texture that it may have been painted with (Sec. 3.3): mean and log variance."""

    def __init__(self, z_dim: int = 8, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                Convolution(3, width, 7),
                Convolution(width, 2 * width, 4, 2, 1),
                Convolution(2 * width, 4 * width, 4, 2, 1),
                Convolution(4 * width, 4 * width, 4, 2, 1),
            ]
        )
        self.mean, self.log_variance = nn.Linear(4 * width, z_dim), nn.Linear(4 * width, z_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, both [N, z_dim], of images [N, 3, H, W] in -1..1."""
        x = images
        for layer in self.layers:
            x = functional.relu(layer(x))
        x = x.mean((2, 3))
        return self.mean(x), self.log_variance(x)


def over_white(image: Tensor, mask: Tensor) -> Tensor:
    """Return images [N, 3, H, W] in -1..1 over white, where mask [N, 1, H, W] is not 1."""
    return image * mask + (1 - mask)
