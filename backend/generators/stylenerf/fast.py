"""Fast upsampler of StyleNeRF for one latent: the images of model.py's blocks, precomputed.

Differences: styles, demodulation and gains are folded into the weights once; images are channels-last. In a
doubling layer (nearest neighbours and half sums of neighbours, two 1 × 1 convolutions, low-pass filter) whatever is
linear trades places with what makes more numbers: the first convolution runs before the doubling, and the filter before
the second convolution, on a quarter of the channels. Wide images exist in bands that stay in the cache only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.stylegan2 import ToImage, modulated_weight
from ..layers.winograd import upsampled
from .model import PixelLinear, StyleNeRF, UpsamplerBlock, UpsamplerConfig, UpsamplerLayer

PIXELS_AT_ONCE = 1 << 13


def can_precompute(config: UpsamplerConfig) -> bool:
    """Return whether PrecomputedBlock supports these blocks."""
    return (
        config.mode == "nn_cat"
        and config.blur
        and config.kernel_size == 1
        and config.architecture == "skip"
        and not (config.single_layer or config.use_noise or config.bilinear_image)
        and config.activation == "lrelu"
    )


def blurred_phases(taps: Sequence[float]) -> list[list[float]]:
    """Nearest-neighbour doubling and low-pass filter in one dimension.

    Output 2 i + a is Σ_p phases[a][p] x[i + p − 1].
    """
    line = [tap / sum(taps) for tap in reversed(taps)]
    result = [[0.0] * 3 for _ in range(2)]
    for a in range(2):
        for t, tap in enumerate(line):
            result[a][(a + t - len(line) // 2) // 2 + 1] += tap
    return result


def blurred_double(x: Tensor, phases: list[list[float]], dim: int) -> Tensor:
    """x doubled along ``dim``, of which it has one more sample at each end than are doubled."""
    size = x.shape[dim] - 2
    parts = []
    for weights in phases:
        used = [(w, p) for p, w in enumerate(weights) if w != 0]
        total = x.narrow(dim, used[0][1], size) * used[0][0]
        for w, p in used[1:]:
            total.add_(x.narrow(dim, p, size), alpha=w)
        parts.append(total)
    return torch.stack(parts, dim=dim + 1).flatten(dim, dim + 1)


def blurred(x: Tensor, taps: Sequence[float]) -> Tensor:
    """x [height, width, channels] through the low-pass filter, zero outside."""
    line = [tap / sum(taps) for tap in reversed(taps)]
    before, after = len(line) // 2, (len(line) - 1) // 2
    for dim in (0, 1):
        size = x.shape[dim]
        pad = (before, after)
        padded = F.pad(x, (0, 0, *pad) if dim == 1 else (0, 0, 0, 0, *pad))
        x = padded.narrow(dim, 0, size) * line[0]
        for t, tap in enumerate(line[1:], start=1):
            x.add_(padded.narrow(dim, t, size), alpha=tap)
    return x


def folded(layer: UpsamplerLayer, w: Tensor) -> Tensor:
    """Weights [in, out] of a 1 × 1 layer for one w [w_dim], its input gain included."""
    weight = modulated_weight(layer.weight, layer.affine(w[None]))[0, :, :, 0, 0]
    if layer.config.input_gain:
        weight = weight * layer.mean_square.rsqrt()
    return weight.T.contiguous()


class PrecomputedBlock:
    """An upsampler block for its ws [3, w_dim]."""

    def __init__(self, block: UpsamplerBlock, ws: Tensor):
        c = block.config
        self.taps, self.clamp, self.residual = c.taps, c.conv_clamp, c.residual_image
        self.phases = blurred_phases(c.taps)
        self.weight0, self.bias0 = folded(block.conv0, ws[0]), block.conv0.bias * math.sqrt(2)
        self.weight1, self.bias1 = folded(block.conv1, ws[1]) * math.sqrt(2), block.conv1.bias * math.sqrt(2)
        wide, narrow = block.conv0.adapter
        assert isinstance(wide, PixelLinear)
        assert isinstance(narrow, PixelLinear)
        first = wide.weight[:, :, 0, 0] / math.sqrt(wide.weight.shape[1])  # [narrow, 2 out]
        own, neighbours = first.chunk(2, dim=1)
        self.own, self.own_bias = own.T * math.sqrt(2), wide.bias * math.sqrt(2)
        self.neighbours = neighbours.T * (math.sqrt(2) / 2)
        second = narrow.weight[:, :, 0, 0] / math.sqrt(narrow.weight.shape[1])  # [out, narrow]
        # A channel of ones carries the bias through the low-pass filter, which dims it at the border.
        self.second = torch.cat([second.T, narrow.bias[None]]) * math.sqrt(2)
        layer: ToImage = block.to_image
        styles = layer.affine(ws[2][None]) / math.sqrt(layer.weight.shape[1])
        self.colour, self.colour_bias = (layer.weight[:, :, 0, 0] * styles).T.contiguous(), layer.bias

    def activated(self, x: Tensor) -> Tensor:
        """Leaky ReLU, its gain being in the weights, and clamp; in place."""
        F.leaky_relu_(x, 0.2)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)

    def adapted(self, y: Tensor) -> Tensor:
        """Return the low-pass filtered input of the second 1 × 1 convolution: [2 height, 2 width, narrow + 1]."""
        height, width, _ = y.shape
        own = y @ self.own + self.own_bias
        around = F.pad(y @ self.neighbours, (0, 0, 1, 1, 1, 1))
        left, right = around[1:-1, :-2], around[1:-1, 2:]
        above, below = around[:-2, 1:-1], around[2:, 1:-1]
        x = y.new_ones(height, 2, width, 2, own.shape[-1] + 1)
        for a, b, one, two in ((0, 0, left, above), (0, 1, above, right), (1, 0, left, below), (1, 1, right, below)):
            x[:, a, :, b, :-1] = F.leaky_relu(own + one + two, 0.2)
        return blurred(x.view(2 * height, 2 * width, -1), self.taps)

    def __call__(self, x: Tensor, image: Tensor | None, *, last: bool) -> tuple[Tensor, Tensor]:
        """Features and image at twice the resolution, [height, width, channels]; ``last``: features are left out."""
        y = x @ self.weight0
        height, width, channels = y.shape
        adapted = self.adapted(y)
        padded = F.pad(y * math.sqrt(2), (0, 0, 1, 1, 1, 1))
        colours = y.new_empty(2 * height, 2 * width, 3)
        result = y.new_empty(0 if last else 2 * height, 2 * width, channels)
        step = max(PIXELS_AT_ONCE // (4 * width), 1)
        for first in range(0, height, step):
            end = min(first + step, height)
            band = blurred_double(blurred_double(padded[first : end + 2], self.phases, 1), self.phases, 0)
            rows = slice(2 * first, 2 * end)
            band = band.view(-1, channels).addmm_(adapted[rows].flatten(0, 1), self.second).add_(self.bias0)
            features = self.activated(torch.addmm(self.bias1, self.activated(band), self.weight1))
            if not last:
                result[rows] = features.view(-1, 2 * width, channels)
            colour = torch.addmm(self.colour_bias, features, self.colour)
            if self.clamp is not None:
                colour.clamp_(-self.clamp, self.clamp)
            colours[rows] = colour.view(-1, 2 * width, 3)
        if image is not None and self.residual:
            colours += upsampled(image, self.taps)
        return result, colours


class PrecomputedUpsampler:
    """The upsampler for one ws [1, num_ws, w_dim]."""

    def __init__(self, network: StyleNeRF, ws: Tensor):
        own = network.split(ws)[2]
        self.blocks = [PrecomputedBlock(block, w[0]) for block, w in zip(network.blocks, own, strict=True)]  # type: ignore

    def __call__(self, features: Tensor, image: Tensor) -> Tensor:
        """The image [1, 3, H, W] of features [1, f, h, w] and their image [1, 3, h, w]."""
        x, shown = features[0].permute(1, 2, 0).contiguous(), image[0].permute(1, 2, 0).contiguous()
        for block in self.blocks:
            x, shown = block(x, shown, last=block is self.blocks[-1])
        return shown.permute(2, 0, 1)[None]
