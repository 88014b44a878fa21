"""HoloGAN (Nguyen-Phuoc et al., arxiv.org/abs/1904.01326): a learnt 4D constant is styled by z, rotated as a volume,
and projected to an image by convolutions alone.

Vocabulary: `volume` [N, channels, z, y, x], the axes that the view turns; `view` [N, 6] = azimuth and elevation in
radians, scale, translation x, y, z in voxels. The arithmetic follows the TensorFlow 1 release, whose weights are the
official ones: convolutions with SAME padding, and a resampling that clips corners before it weighs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ADAIN_EPSILON = 1e-8
INSTANCE_NORM_EPSILON = 1e-5
FRONT_AZIMUTH = math.pi / 2
"""The release subtracts this from every azimuth; its weights expect it."""


@dataclass(frozen=True)
class HoloGANConfig:
    """The shape of the network."""

    side: int = 64  # of the image: 64 or 128
    channels: int = 64  # gf_dim
    z_dim: int = 128
    num_volume_projections: int = 0  # 3D convolutions between rotation and projection: 2 at side 128
    slope: float = 0.0  # of the negative half of the activation: 0 at side 64 (ReLU), 0.2 at 128
    constant_channels: int = 512


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding of a convolution from `size` to ceil(size / stride): (before, after)."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameTranspose(nn.Module):
    """A transposed convolution that makes size·stride of size, cropped as TensorFlow's SAME crops it.

    weight [in, out, kernel...]: PyTorch's layout of a transposed convolution.
    """

    def __init__(self, dimensions: int, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(inputs, outputs, *[kernel] * dimensions) * 0.02)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        dimensions, kernel = x.dim() - 2, self.weight.shape[-1]
        transposed = F.conv_transpose3d if dimensions == 3 else F.conv_transpose2d
        full = transposed(x, self.weight, self.bias, stride=self.stride)
        crop: list[int] = []
        for size in reversed(x.shape[2:]):
            before, after = same_pads(size * self.stride, kernel, self.stride)
            # where the kernel is smaller than the stride nothing overlaps and nothing is cropped
            crop += [-before, -after]
        return F.pad(full, crop)


class Style(nn.Module):
    """AdaIN (Eq. 2 of the paper) with a scale and bias that a one-layer ReLU network makes of z."""

    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(z_dim, 2 * channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, bias = F.relu(self.linear(z)).chunk(2, -1)
        axes = tuple(range(2, x.dim()))
        variance, mean = torch.var_mean(x, axes, unbiased=False, keepdim=True)
        shape = (*scale.shape, *[1] * len(axes))
        return (x - mean) * torch.rsqrt(variance + ADAIN_EPSILON) * scale.view(shape) + bias.view(shape)


def volume_transform(view: Tensor, size: int) -> Tensor:
    """Return [N, 4, 4]: the matrix that takes a voxel (x, y, z, 1) of the canonical volume to its place in the rotated
    one. Rotation by azimuth about y, then elevation about z, then scale, then translation, all about size / 2."""
    azimuth, elevation, scale = view[:, 0] - FRONT_AZIMUTH, view[:, 1], view[:, 2]
    zero, one = torch.zeros_like(azimuth), torch.ones_like(azimuth)

    def matrix(*rows: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    c, s = torch.cos(azimuth), torch.sin(azimuth)
    about_y = matrix((c, zero, -s, zero), (zero, one, zero, zero), (s, zero, c, zero), (zero, zero, zero, one))
    c, s = torch.cos(elevation), torch.sin(elevation)
    about_z = matrix((c, s, zero, zero), (-s, c, zero, zero), (zero, zero, one, zero), (zero, zero, zero, one))
    scaled = torch.diag_embed(torch.stack((scale, scale, scale, one), -1))
    to_centre = torch.eye(4, dtype=view.dtype, device=view.device).repeat(len(view), 1, 1)
    moved = to_centre.clone()
    to_centre[:, :3, 3] = -size / 2
    moved[:, :3, 3] = view[:, 3:6] + size / 2
    return moved @ scaled @ about_z @ about_y @ to_centre


def rotate_volume(volume: Tensor, view: Tensor) -> Tensor:
    """Return the volume [N, channels, z, y, x] seen from `view` [N, 6], by trilinear resampling.

    Corner indices are clipped to the volume before they are weighed, so a sample at or past the last index is 0 and one
    outside is extrapolated with weights that cancel: weights rely on it at the border.
    """
    channels, size = volume.shape[1:3]
    ticks = torch.arange(size, dtype=volume.dtype, device=volume.device)
    z, y, x = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    target = torch.stack((x, y, z, torch.ones_like(x)), -1).reshape(-1, 4)
    source = target @ torch.linalg.inv(volume_transform(view, size)).transpose(1, 2)  # [N, size^3, 4]
    position = source[..., :3]
    low = position.floor().long()
    corners = low.clamp(0, size - 1), (low + 1).clamp(0, size - 1)
    weights = corners[1] - position, position - corners[0]
    flat = volume.flatten(2)
    rotated = torch.zeros_like(flat)
    for corner in range(8):
        i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
        index = (corners[k][..., 2] * size + corners[j][..., 1]) * size + corners[i][..., 0]
        weight = weights[i][..., 0] * weights[j][..., 1] * weights[k][..., 2]
        rotated = rotated + weight[:, None] * flat.gather(2, index[:, None].expand(-1, channels, -1))
    return rotated.view_as(volume)


def towards_image(volume: Tensor) -> Tensor:
    """Return the volume with its axes as the image has them: [N, channels, row, column, depth]."""
    return volume.transpose(2, 3).flip(2)


class Generator(nn.Module):
    """z and a view to an image (Fig. 2 of the paper)."""

    def __init__(self, config: HoloGANConfig) -> None:
        super().__init__()
        self.config = config
        c, z_dim, large = config.channels, config.z_dim, config.side == 128
        first, second = (c * 4, c * 2) if large else (c * 2, c)
        after_rotation = c if large else second
        self.constant = nn.Parameter(torch.randn(config.constant_channels, 4, 4, 4) * 0.02)
        self.style_constant = Style(z_dim, config.constant_channels)
        self.grow = nn.ModuleList(
            [SameTranspose(3, config.constant_channels, first, 3, 2), SameTranspose(3, first, second, 3, 2)]
        )
        self.style_grow = nn.ModuleList([Style(z_dim, first), Style(z_dim, second)])
        self.volume_projection = nn.ModuleList(
            SameTranspose(3, second if i == 0 else after_rotation, after_rotation, 3, 1)
            for i in range(config.num_volume_projections)
        )
        projected = c * 8 if large else 16 * after_rotation
        self.projection = SameTranspose(2, 16 * after_rotation, projected, 1, 1)
        widths = [projected, c * 4, c, c // 2] if large else [projected, c * 4, c]
        self.upsample = nn.ModuleList(SameTranspose(2, a, b, 4, 2) for a, b in pairwise(widths))
        self.style_upsample = nn.ModuleList(Style(z_dim, b) for b in widths[1:])
        self.output = SameTranspose(2, widths[-1], 3, 4, 1)

    def _activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.config.slope) if self.config.slope else F.relu(x)

    def volume(self, z: Tensor) -> Tensor:
        """Return the canonical feature volume [N, channels, 16, 16, 16] of z [N, z_dim]: all that a view turns."""
        x = self.constant.expand(len(z), *self.constant.shape)
        x = self._activate(self.style_constant(x, z))
        for grow, style in zip(self.grow, self.style_grow):
            x = self._activate(style(grow(x), z))
        return x

    def project(self, rotated: Tensor, z: Tensor) -> Tensor:
        """Return the image [N, 3, side, side] in -1..1 of a rotated volume (the projection unit, Sec. 3.3)."""
        x = towards_image(rotated)
        for layer in self.volume_projection:
            x = self._activate(layer(x))
        x = x.permute(0, 4, 1, 2, 3).flatten(1, 2)  # depth and channels become one axis, depth first
        x = self._activate(self.projection(x))
        for upsample, style in zip(self.upsample, self.style_upsample):
            x = self._activate(style(upsample(x), z))
        return torch.tanh(self.output(x))

    def forward(self, z: Tensor, view: Tensor) -> Tensor:
        """Return images [N, 3, side, side] in -1..1 of z [N, z_dim], uniform in [-1, 1], and view [N, 6]."""
        return self.project(rotate_volume(self.volume(z), view), z)


class Discriminator(nn.Module):
    """Is the image real, and which z made it (the identity loss, Sec. 3.4)."""

    def __init__(self, channels: int = 64, num_convolutions: int = 4, z_dim: int = 128, side: int = 64) -> None:
        super().__init__()
        widths = [3] + [channels << i for i in range(num_convolutions)]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5, stride=2) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(b, b, eps=INSTANCE_NORM_EPSILON) for b in widths[2:])
        for i, width in enumerate(widths[2:], start=1):
            self.register_buffer(f"u{i}", torch.randn(1, width))
        features = widths[-1] * (side >> num_convolutions) ** 2
        self.logit = nn.Linear(features, 1)
        self.latent = nn.Sequential(nn.Linear(features, 128), nn.LeakyReLU(0.2), nn.Linear(128, z_dim), nn.Tanh())

    def _normalised(self, i: int, weight: Tensor) -> Tensor:
        """Return weight / its largest singular value, after one power iteration from the stored u."""
        flat = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])  # [kernel * in, out]
        u = self.get_buffer(f"u{i}")
        v = F.normalize(u @ flat.T, dim=-1)
        u = F.normalize(v @ flat, dim=-1)
        return weight / (v @ flat @ u.T)

    def features(self, images: Tensor) -> Tensor:
        """Return [N, features] of images [N, 3, side, side], in the (row, column, channel) order of the release."""
        x = images
        for i, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv2d)
            weight = self._normalised(i, convolution.weight) if i else convolution.weight
            before, after = same_pads(x.shape[-1], 5, 2)
            x = F.conv2d(F.pad(x, (before, after, before, after)), weight, convolution.bias, stride=2)
            x = F.leaky_relu(self.norms[i - 1](x) if i else x, 0.2)
        return x.permute(0, 2, 3, 1).flatten(1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [N, 1] and the reconstructed z [N, z_dim]."""
        features = self.features(images)
        return self.logit(features), self.latent(features)
