"""Fast rendering of StyleSDF for one latent: the images of model.py's two networks, precomputed.

Differences: frequencies and phases are folded into the renderer's layers; rays go in chunks that stay in the cache,
each until it is opaque, and only samples with a visible weight pass the view layer. In the decoder, styles,
demodulation and gains are folded into the weights once; 3 × 3 convolutions are Winograd's
(layers/winograd.py) on channels-last images; the last feature map is never written, only its colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.sine import sine_
from ...threads import run_on_torch_threads
from ..layers.stylegan2 import BINOMIAL, modulated_weight
from ..layers.winograd import Conv3x3, Doubled, DoublingConv3x3, framed, upsampled
from .model import Decoder, FiLMLayer, Renderer, StyledConv, StyleSDF, ToImage

SAMPLES_AT_ONCE = 4096
"""Samples whose activations stay in the processor's cache."""

SLAB = 6
"""Samples evaluated along all living rays before rays are terminated again."""

OPAQUE = 1e-6
"""Transmittance behind which samples are not evaluated: -120 dB of the brightest feature."""

FAINT = 1e-6
"""Weight below which a sample does not pass the view layer."""


@dataclass(frozen=True)
class Composite:
    """Pixels of rays [rays, ...]. Rendering of model.py, without its samples."""

    rgb: Tensor  # [..., 3] in 0..1, premultiplied
    features: Tensor  # [..., style_dim]
    alpha: Tensor  # [...]
    sum_of_t: Tensor  # [...] Σ w t


class FoldedRenderer:
    """Renderer of one ws [num_ws, w_dim]: each layer is sin((f ∘ W) x + (f b + p))."""

    def __init__(self, renderer: Renderer, ws: Tensor):
        self.renderer = renderer
        rows = ws[: len(renderer.layers) + 1, : renderer.config.style_dim]
        *self.layers, (seen, self.seen_bias) = (
            self._fold(layer, w) for layer, w in zip((*renderer.layers, renderer.view_layer), rows, strict=True)
        )
        self.seen_weight, self.direction_weight = seen[:-3], seen[-3:]  # directions come last

    @staticmethod
    def _fold(layer: FiLMLayer, w: Tensor) -> tuple[Tensor, Tensor]:
        frequency, phase = (x[0] for x in layer.modulation(w[None]))
        return (frequency[:, None] * layer.weight).T.contiguous(), frequency * layer.bias + phase

    def value(self, points: Tensor) -> Tensor:
        """Return signed distance or raw density [n] at normalised points [n, 3]. Differentiable in points."""
        x = points
        for weight, bias in self.layers:
            x = torch.addmm(bias, x, weight).sin()
        return self.renderer.distance(x).squeeze(-1)

    def _evaluate(self, points: Tensor, features: Tensor, spare: Tensor) -> Tensor:
        """Return `value` [n] and write the last layer to features [n, width]; spare: scratch like features."""
        x = points
        # the last layer writes to features
        into = (features, spare) if len(self.layers) % 2 else (spare, features)
        for number, (weight, bias) in enumerate(self.layers):
            x = sine_(torch.addmm(bias, x, weight, out=into[number % 2]))
        return self.renderer.distance(x).squeeze(-1)

    def render(
        self,
        origins: Tensor,
        directions: Tensor,
        seen_along: Tensor,
        near: Tensor,
        far: Tensor,
        *,
        num_samples: int,
        jitter: Tensor | None = None,
    ) -> Composite:
        """Volume render rays. See Renderer.render; without the batch: [rays, ...]."""
        t = self.renderer.samples(near, far, num_samples, jitter).expand(len(origins), -1)
        scale = 2 / (far - near) if self.renderer.config.normalize_points else torch.ones_like(near)
        scale, far = scale.expand(len(origins), 1), far.expand(len(origins), 1)
        step = max(SAMPLES_AT_ONCE // num_samples, 1)
        chunks: list[Composite | None] = [None] * -(-len(origins) // step)

        def some(_: int, begin: int, end: int) -> None:
            scratch = origins.new_empty(2, step * num_samples, self.renderer.config.style_dim)
            for number in range(begin, end):
                rays = slice(number * step, (number + 1) * step)
                chunks[number] = self._chunk(
                    origins[rays], directions[rays], seen_along[rays], t[rays], far[rays], scale[rays], scratch
                )

        run_on_torch_threads(some, len(chunks), origins.device)
        made = [chunk for chunk in chunks if chunk is not None]
        return Composite(
            torch.cat([chunk.rgb for chunk in made]),
            torch.cat([chunk.features for chunk in made]),
            torch.cat([chunk.alpha for chunk in made]),
            torch.cat([chunk.sum_of_t for chunk in made]),
        )

    def _chunk(
        self,
        origins: Tensor,
        directions: Tensor,
        seen_along: Tensor,
        t: Tensor,
        far: Tensor,
        scale: Tensor,
        scratch: Tensor,
    ) -> Composite:
        renderer, num_samples = self.renderer, t.shape[-1]
        points = (origins[:, None] + directions[:, None] * t[..., None]) * scale[..., None]
        density = torch.zeros_like(t)
        slot = torch.full(t.shape, -1, dtype=torch.long, device=t.device)  # row of a sample's features
        lengths = renderer.lengths(t, far, directions)
        depth = torch.zeros_like(t[:, 0])  # optical
        count = 0
        for first in range(0, num_samples, SLAB):
            slab = slice(first, min(first + SLAB, num_samples))
            alive = (depth < -math.log(OPAQUE)).nonzero().squeeze(-1)
            if not len(alive):
                break
            some = points[alive, slab]
            rows = slice(count, count + some.shape[0] * some.shape[1])
            value = self._evaluate(some.flatten(0, 1), scratch[0, rows], scratch[1, : rows.stop - count])
            density[alive, slab] = renderer.density(value).view(some.shape[:2])
            if renderer.config.white_background:
                density[alive, slab] *= renderer.inside(some)
            slot[alive, slab] = torch.arange(count, rows.stop, device=t.device).view(some.shape[:2])
            depth += (density[:, slab] * lengths[:, slab]).sum(-1)
            count = rows.stop
        weights = renderer.weights(density, lengths)
        visible = (weights > FAINT) & (slot >= 0)
        rays, places = visible.nonzero(as_tuple=True)
        along = torch.addmm(self.seen_bias, seen_along, self.direction_weight)
        seen = torch.index_select(along, 0, rays, out=scratch[1, : len(rays)])
        sine_(seen.addmm_(scratch[0].index_select(0, slot[rays, places]), self.seen_weight))
        rgb = torch.sigmoid(renderer.color(seen))
        begins = visible.sum(-1).cumsum(0) - visible.sum(-1)  # each ray's samples lie together
        everything = torch.arange(len(rays), device=t.device)

        def composite(values: Tensor) -> Tensor:
            return F.embedding_bag(everything, values, begins, mode="sum", per_sample_weights=weights[rays, places])

        return Composite(composite(rgb), composite(seen), weights.sum(-1), (weights * t).sum(-1))


def conv(layer: StyledConv, w: Tensor) -> Conv3x3 | DoublingConv3x3:
    """A styled convolution for one w [decoder_style_dim]."""
    weight = modulated_weight(layer.weight / math.sqrt(layer.weight[0].numel()), layer.style(w[None]))[0]
    if layer.up:
        return DoublingConv3x3(weight, layer.bias, slope=0.2, gain=math.sqrt(2), clamp=None, taps=BINOMIAL)
    return Conv3x3(weight, layer.bias, slope=0.2, gain=math.sqrt(2), clamp=None)


class PixelsToImage:
    """The image layer for one w: pixels [n, channels] → [n, 3]."""

    def __init__(self, layer: ToImage, w: Tensor):
        styles = layer.style(w[None]) / math.sqrt(layer.weight.shape[1])
        self.weight = (layer.weight[:, :, 0, 0] * styles).T.contiguous()
        self.bias = layer.bias

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.addmm(self.bias, pixels, self.weight)


class PrecomputedDecoder:
    """Decoder of one ws [num_decoder_ws, decoder_style_dim]. The thumbnail's side must be a multiple of 4."""

    def __init__(self, decoder: Decoder, ws: Tensor):
        rows = [0, *range(1, len(decoder.convs))]
        self.convs = [conv(layer, ws[row]) for layer, row in zip(decoder.convs, rows, strict=True)]  # type: ignore
        self.noises = [layer.noise * layer.noise_strength for layer in decoder.convs]  # type: ignore[operator]
        self.to_images = [PixelsToImage(layer, ws[2 * i + 1]) for i, layer in enumerate(decoder.to_images)]  # type: ignore

    def __call__(self, features: Tensor) -> Tensor:
        """Return rgb in −1..1 (not clamped) [1, 3, H, W] of features [1, style_dim, height, width]."""
        x: Tensor | Doubled = framed(features[0].permute(1, 2, 0))
        image: Tensor | None = None
        for number, (layer, noise) in enumerate(zip(self.convs, self.noises, strict=True)):
            if isinstance(layer, DoublingConv3x3):
                assert isinstance(x, Tensor)
                x = layer(x, noise=noise)
                continue
            x, made = layer(x, noise=noise, then=self.to_images[number // 2], keep=number < len(self.convs) - 1)
            assert made is not None
            image = made if image is None else made.add_(upsampled(image, BINOMIAL))
        assert image is not None
        return image.permute(2, 0, 1)[None]


class Precomputed:
    """Everything of a StyleSDF that depends on one ws [num_ws, w_dim] alone. Without gradients."""

    def __init__(self, network: StyleSDF, ws: Tensor):
        self.network, self.ws = network, ws
        self.renderer = FoldedRenderer(network.renderer, ws)
        self._decoder: PrecomputedDecoder | None = None

    def upsample(self, features: Tensor) -> Tensor:
        """See StyleSDF.upsample. features: [1, style_dim, height, width]."""
        config = self.network.config
        if config.thumbnail_size % 4:
            return self.network.upsample(self.ws[None], features)
        if self._decoder is None:  # drafts never need it
            ws = self.ws[config.num_renderer_ws :, : config.decoder_style_dim]
            self._decoder = PrecomputedDecoder(self.network.decoder, ws)
        return self._decoder(features)
