"""HoloGAN (Nguyen-Phuoc et al., arxiv.org/abs/1904.01326): a learnt 4D constant is styled by z, rotated as a volume,
and projected to an image by convolutions alone.

There is no field and no surface: the volume holds features, of which only the 2D network makes colours. `Generator` is
the network of the paper; scene.py places it in the world, where a camera gives it two angles, and the image stands
upright at the object's place, turned to the camera.

Vocabulary: `volume` [N, channels, z, y, x], the axes that the view turns; `view` [N, 6] = azimuth and elevation in
radians, scale, translation x, y, z in voxels. The arithmetic follows the TensorFlow 1 release, whose weights are the
official ones: convolutions with SAME padding, and a resampling that clips corners before it weighs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOLUME_SIDE = 16
ADAIN_EPSILON = 1e-8
INSTANCE_NORM_EPSILON = 1e-5
FRONT_AZIMUTH = math.pi / 2
"""The release subtracts this from every azimuth; its weights expect it."""


@dataclass(frozen=True)
class HoloGANConfig:
    """The shape of the network; the defaults are the release's for side 64."""

    z_dim: int = 128
    constant_channels: int = 512  # of the learnt volume, 4³
    volume_channels: tuple[int, int] = (128, 64)  # at 8³ and at 16³, where the view turns it
    turned_channels: tuple[int, ...] = ()  # of the 3D convolutions after that; two of 64 at side 128
    projected: int = 1024  # channels that the projection unit makes of channels × depth
    image_channels: tuple[int, ...] = (256, 64)  # of the 2D convolutions, each of which doubles the image's side
    slope: float = 0.0  # of the negative half of the activation: 0 at side 64 (ReLU), 0.2 at 128
    doubling: Literal["transposed", "resized"] = "transposed"  # transposed convolutions as released, or `Resized` ones

    @property
    def side(self) -> int:
        """Return the image's, pixels."""
        return VOLUME_SIDE << len(self.image_channels)


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
        if kernel - self.stride == 2:  # the crop is the same on both sides
            return transposed(x, self.weight, self.bias, stride=self.stride, padding=1)
        full = transposed(x, self.weight, self.bias, stride=self.stride)
        if kernel == self.stride:
            return full
        crop: list[int] = []
        for size in reversed(x.shape[2:]):
            before, after = same_pads(size * self.stride, kernel, self.stride)
            # where the kernel is smaller than the stride nothing overlaps and nothing is cropped
            crop += [-before, -after]
        return F.pad(full, crop)


class Resized(nn.Module):
    """A linear interpolation to twice the size (or none, `factor` 1), then a convolution 3 × 3.

    A transposed convolution adds up a different number of its weights at neighbouring pixels where its kernel (3, 5) is
    not a multiple of its stride, and even where it is (4) training leaves their sums unequal: a checkerboard
    (distill.pub/2016/deconv-checkerboard). Here all pixels are sums of the same weights.
    """

    def __init__(self, dimensions: int, inputs: int, outputs: int, factor: int = 2, *, bias: bool = False) -> None:
        """bias: useless where a normalisation follows."""
        super().__init__()
        self.factor = factor
        self.mode = "trilinear" if dimensions == 3 else "bilinear"
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[3] * dimensions) / math.sqrt(inputs * 3**dimensions))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.factor > 1:
            x = F.interpolate(x, scale_factor=self.factor, mode=self.mode, align_corners=False)
        convolve = F.conv3d if self.mode == "trilinear" else F.conv2d
        return convolve(x, self.weight, self.bias, padding=1)


class Style(nn.Module):
    """AdaIN (Eq. 2 of the paper) with a scale and bias that a one-layer ReLU network makes of z."""

    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(z_dim, 2 * channels)
        # untrained, channels are scaled by about 1 ± 0.7, so that codes look different from the first step on
        nn.init.ones_(self.linear.bias[:channels])
        nn.init.normal_(self.linear.weight, std=math.sqrt(1.5 / z_dim))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, bias = F.relu(self.linear(z)).chunk(2, -1)
        shape = (*scale.shape, *[1] * (x.dim() - 2))
        return torch.addcmul(bias.view(shape), F.instance_norm(x, eps=ADAIN_EPSILON), scale.view(shape))


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

    The release clips corner indices to the volume before it weighs them, so that the two weights of an axis cancel for
    a sample outside and at or past the last index: there it is 0, and its weights rely on it at the border.
    """
    size = volume.shape[2]
    ticks = torch.arange(size, dtype=volume.dtype, device=volume.device)
    z, y, x = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    target = torch.stack((x, y, z, torch.ones_like(x)), -1).reshape(-1, 4)
    # in float64: at right angles samples lie on the border, where LAPACK's rounding would decide whether they count
    back = torch.linalg.inv(volume_transform(view, size).double()).to(volume.dtype)
    source = target @ back.transpose(1, 2)  # [N, size^3, 4]
    position = source[..., :3].view(-1, size, size, size, 3)
    inside = ((position >= 0) & (position < size - 1)).all(-1)
    rotated = F.grid_sample(volume, position * (2 / (size - 1)) - 1, align_corners=True)
    return rotated * inside[:, None]


def towards_image(volume: Tensor) -> Tensor:
    """Return the volume with its axes as the image has them: [N, channels, row, column, depth]."""
    return volume.transpose(2, 3).flip(2)


class Generator(nn.Module):
    """z and a view to an image (Fig. 2 of the paper)."""

    def __init__(self, config: HoloGANConfig) -> None:
        super().__init__()
        self.config = config
        volume = (config.constant_channels, *config.volume_channels)
        turned = (config.volume_channels[-1], *config.turned_channels)
        widths = (config.projected, *config.image_channels)
        self.constant = nn.Parameter(torch.randn(config.constant_channels, 4, 4, 4) * 0.02)
        self.style_constant = Style(config.z_dim, config.constant_channels)
        resized = config.doubling == "resized"
        self.grow = nn.ModuleList(
            Resized(3, a, b) if resized else SameTranspose(3, a, b, 3, 2) for a, b in pairwise(volume)
        )
        self.style_grow = nn.ModuleList(Style(config.z_dim, b) for b in volume[1:])
        self.volume_projection = nn.ModuleList(SameTranspose(3, a, b, 3, 1) for a, b in pairwise(turned))
        self.projection = SameTranspose(2, VOLUME_SIDE * turned[-1], config.projected, 1, 1)
        self.upsample = nn.ModuleList(
            Resized(2, a, b) if resized else SameTranspose(2, a, b, 4, 2) for a, b in pairwise(widths)
        )
        self.style_upsample = nn.ModuleList(Style(config.z_dim, b) for b in widths[1:])
        self.output = Resized(2, widths[-1], 3, 1, bias=True) if resized else SameTranspose(2, widths[-1], 3, 4, 1)

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
        """Return the image [N, 3, side, side] in -1..1 of a rotated volume (the projection unit, Sec. 3.3).

        Another z than the volume's gives its shape the colours of that one (Sec. 4.4).
        """
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
    """Image to the probability that it is real, and to its z (the identity loss, Sec. 3.4)."""

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
