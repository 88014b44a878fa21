"""Layers of the StyleGAN2 descendants (EG3D, StyleNeRF): filters, modulated convolution, the mapping network.

Vocabulary. A *style* scales the input channels of a convolution; *demodulation* divides each output channel by the
norm of its scaled weights (arxiv.org/abs/1912.04958, section 2.2). *Equalised* layers keep unit-variance weights
and scale them when they are used (arxiv.org/abs/1710.10196, section 4.1). A *filter* is a small low-pass kernel.

These are the reference definitions of the parity tests; a model's fast path is compared with them.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
"""The filter of all official configurations."""


def check_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError where a tensor has another shape."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} must be {list(shape)}, got {list(value.shape)}")


def low_pass(taps: Sequence[float] = BINOMIAL, *, device: torch.device | None = None) -> Tensor:
    """The separable filter with these taps, as the kernel [k, k] of sum one."""
    line = torch.tensor(taps, dtype=torch.float32, device=device)
    kernel = line[:, None] * line[None, :]
    return kernel / kernel.sum()


def filter2d(x: Tensor, kernel: Tensor, *, up: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1.0) -> Tensor:
    """Put ``up - 1`` zeros after each sample, pad (before, after), and convolve each channel with ``kernel``.

    Args:
        x: [batch, channels, height, width].
        kernel: [k, k].
    """
    batch, channels, height, width = x.shape
    if up > 1:
        spread = x.new_zeros(batch, channels, height, up, width, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.view(batch, channels, height * up, width * up)
    before, after = padding
    x = F.pad(x, [before, after, before, after])
    weight = (kernel * gain).flip(0, 1).to(x.dtype).expand(channels, 1, *kernel.shape)
    return F.conv2d(x, weight, groups=channels)


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the resolution of x [batch, channels, height, width], low-passed and centred."""
    k, channels = kernel.shape[-1], x.shape[1]
    if k % 2:
        return filter2d(x, kernel, up=2, padding=((k + 1) // 2, (k - 2) // 2), gain=4.0)
    weight = (kernel * 4).to(x.dtype).expand(channels, 1, k, k)
    return F.conv_transpose2d(x, weight, stride=2, padding=(k - 2) // 2, groups=channels)


def convolve(x: Tensor, weight: Tensor, *, up: bool, kernel: Tensor | None) -> Tensor:
    """Correlate x with an odd ``weight`` [out, in, k, k], keeping the size; with ``up`` double the size first.

    The doubling is zero insertion, a true convolution (so the weights act flipped, as the official weights expect)
    and the low-pass filter, in that order.
    """
    k = weight.shape[-1]
    if not up:
        return F.conv2d(x, weight, padding=k // 2)
    assert kernel is not None
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    n = kernel.shape[-1]
    # Centred on the samples: half the kernel and half the filter, less what the transposed convolution grew.
    before = k // 2 + (n + 1) // 2 - (k - 1)
    after = k // 2 + (n - 2) // 2 - (k - 2)
    return filter2d(x, kernel, padding=(before, after), gain=4.0)


def bias_act(
    x: Tensor, bias: Tensor | None, activation: str, *, gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """Add a bias to channel 1, activate with unit expected gain, scale by ``gain``, clamp to ±``clamp * gain``."""
    if bias is not None:
        x = x + bias.reshape(1, -1, *[1] * (x.ndim - 2))
    if activation == "lrelu":
        x = F.leaky_relu(x, 0.2) * (math.sqrt(2) * gain)
    elif activation == "relu":
        x = F.relu(x) * (math.sqrt(2) * gain)
    elif activation == "linear":
        x = x if gain == 1 else x * gain
    else:
        raise ValueError(f"activation must be lrelu, relu or linear, got {activation!r}")
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


class EqualLinear(nn.Module):
    """A fully connected layer [..., in] → [..., out] with equalised weights; ``lr_multiplier`` scales both tensors."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.activation = activation
        self.lr_multiplier = lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.lr_multiplier / math.sqrt(self.weight.shape[1]))
        return bias_act(F.linear(x, weight, self.bias * self.lr_multiplier), None, self.activation)


def modulated_weight(weight: Tensor, styles: Tensor, *, demodulate: bool = True) -> Tensor:
    """The weights [batch, out, in, ...] of each image: scaled by styles, then normalised (Eq. 1–3 of 1912.04958).

    Args:
        weight: [out, in, ...].
        styles: [batch, in].
    """
    spatial = [1] * (weight.ndim - 2)
    scaled = weight * styles.reshape(len(styles), 1, -1, *spatial)
    if not demodulate:
        return scaled
    norm = (scaled.square().flatten(2).sum(dim=2) + 1e-8).rsqrt()
    return scaled * norm.reshape(len(styles), -1, 1, *spatial)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    kernel: Tensor | None = None,
) -> Tensor:
    """Convolution whose input channels are scaled by styles (Eq. 1–3 of arxiv.org/abs/1912.04958).

    Args:
        x: [batch, in, height, width].
        weight: [out, in, k, k].
        styles: [batch, in].
        kernel: low-pass filter, needed when ``up``.
    """
    if len(x) == 1:
        return convolve(x, modulated_weight(weight, styles, demodulate=demodulate)[0], up=up, kernel=kernel)
    # The same for a batch, as one convolution: styles scale its input, and the norms of the weights its output.
    spatial = [1] * (weight.ndim - 2)
    x = convolve(x * styles.reshape(len(styles), -1, *spatial), weight, up=up, kernel=kernel)
    if demodulate:
        norm = (styles.square() @ weight.square().flatten(2).sum(dim=2).T + 1e-8).rsqrt()
        x = x * norm.reshape(len(styles), -1, *spatial)
    return x


class ToImage(nn.Module):
    """1 × 1 modulated convolution without demodulation, to the channels of an image."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return bias_act(x, self.bias, "linear", clamp=self.conv_clamp)


class Shortcut(nn.Module):
    """The doubling 1 × 1 convolution beside a block of the resnet architecture."""

    kernel: Tensor

    def __init__(self, in_channels: int, out_channels: int, up: bool, taps: tuple[float, ...]):
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.register_buffer("kernel", low_pass(taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / math.sqrt(self.weight.shape[1])
        return convolve(x, weight, up=self.up, kernel=self.kernel) * math.sqrt(0.5)


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row of x [batch, features] to mean square one."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z (and a condition) → the intermediate latent w, repeated once for every layer that uses it.

    Args:
        z_dim: 0 for a network driven by its condition alone.
        condition_dim: 0 for an unconditional network.
        num_ws: how often w is repeated.
    """

    w_mean: Tensor

    def __init__(
        self,
        z_dim: int,
        condition_dim: int,
        w_dim: int,
        num_ws: int,
        *,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
    ):
        super().__init__()
        self.z_dim, self.condition_dim, self.w_dim, self.num_ws = z_dim, condition_dim, w_dim, num_ws
        embed = (embed_features or w_dim) if condition_dim > 0 else 0
        hidden = layer_features or w_dim
        widths = [z_dim + embed, *[hidden] * (num_layers - 1), w_dim]
        if condition_dim > 0:
            self.embed = EqualLinear(condition_dim, embed)
        self.layers = nn.ModuleList(
            EqualLinear(a, b, activation=activation, lr_multiplier=lr_multiplier) for a, b in itertools.pairwise(widths)
        )
        self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """ws [batch, num_ws, w_dim] of z [batch, z_dim]; the first ``truncation_cutoff`` (None: all) are truncated."""
        parts = []
        if self.z_dim > 0:
            parts.append(normalize_second_moment(z))
        if self.condition_dim > 0:
            if condition is None:
                raise ValueError(
                    f"this generator is conditional: mapping needs a condition [batch, {self.condition_dim}]"
                )
            parts.append(normalize_second_moment(self.embed(condition)))
        w = torch.cat(parts, dim=1)
        for layer in self.layers:
            w = layer(w)
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi == 1:
            return ws
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_mean.lerp(ws[:, :cutoff], truncation_psi), ws[:, cutoff:]], dim=1)
