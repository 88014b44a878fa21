"""Fast rendering of EG3D for one latent: the images of model.py's stages, precomputed.

Differences: styles, demodulation and gains are folded into the weights once; 3 × 3
convolutions are Winograd's (layers/winograd.py) on channels-last images; plane features lie together in memory, and one
kernel samples and decodes them (kernels/triplane_rendering); rays go in chunks that stay in the cache; the last feature
map is never written, only its colours.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.triplane_rendering import TriplaneSpec, decode_points
from ...progress import Progress, part
from ...rendering.sampling import merged
from ...threads import run_on_torch_threads
from ..layers.stylegan2 import ToImage, modulated_weight
from ..layers.winograd import Conv3x3, Doubled, DoublingConv3x3, framed, upsampled
from .model import (
    EG3D,
    Backbone,
    Composite,
    Rendering,
    StyledConv,
    Superresolution,
    SynthesisBlock,
    coarse_distances,
    composite,
    finished,
    importance_distances,
    interval_weights,
)

RAYS_AT_ONCE = 512
SMALLEST_WINOGRAD = 64
"""Below this input resolution transforming the weights costs more than the multiplications they save."""


def conv(layer: StyledConv, w: Tensor) -> Conv3x3:
    """A styled convolution that keeps the size, for one w [w_dim]."""
    return Conv3x3(modulated(layer, w), layer.bias, **finish(layer))


def doubling_conv(layer: StyledConv, w: Tensor) -> DoublingConv3x3:
    """A styled convolution that doubles, for one w [w_dim]."""
    return DoublingConv3x3(modulated(layer, w), layer.bias, taps=layer.taps, **finish(layer))


def modulated(layer: StyledConv, w: Tensor) -> Tensor:
    """Weights [out, in, 3, 3] for one w [w_dim]."""
    return modulated_weight(layer.weight, layer.affine(w[None]))[0]


def finish(layer: StyledConv) -> dict[str, Any]:
    """What Conv3x3 does after the convolution."""
    slope, gain = {"lrelu": (0.2, math.sqrt(2)), "relu": (0.0, math.sqrt(2)), "linear": (1.0, 1.0)}[layer.activation]
    return {"slope": slope, "gain": gain, "clamp": layer.conv_clamp}


class ReferenceConv:
    """A styled convolution for one w, as it stands, between framed images: for small ones."""

    def __init__(self, layer: StyledConv, w: Tensor):
        self.layer, self.w = layer, w[None]

    def __call__(self, x: Tensor, *, noise: Tensor | None) -> tuple[Tensor, None]:
        image = x[1:-1, 1:-1].permute(2, 0, 1)[None].contiguous()
        return framed(self.layer(image, self.w, noise=noise is not None)[0].permute(1, 2, 0)), None


class PixelsToImage:
    """The image layer for one w: pixels [n, channels] → [n, image channels]."""

    def __init__(self, layer: ToImage, w: Tensor):
        styles = layer.affine(w[None]) / math.sqrt(layer.weight.shape[1])
        self.weight = (layer.weight[:, :, 0, 0] * styles).T.contiguous()
        self.bias, self.clamp = layer.bias, layer.conv_clamp

    def __call__(self, pixels: Tensor) -> Tensor:
        image = torch.addmm(self.bias, pixels, self.weight)
        return image if self.clamp is None else image.clamp_(-self.clamp, self.clamp)


class PrecomputedBlock:
    """A synthesis block of the skip architecture for its ws [3, w_dim]."""

    def __init__(self, block: SynthesisBlock, ws: Tensor, resolution: int):
        self.up, self.taps = block.up, block.taps
        self.conv0: Conv3x3 | DoublingConv3x3 | ReferenceConv
        if not block.up:
            self.conv0 = conv(block.conv0, ws[0])
        elif resolution // 2 >= SMALLEST_WINOGRAD:
            self.conv0 = doubling_conv(block.conv0, ws[0])
        else:
            self.conv0 = ReferenceConv(block.conv0, ws[0])
        self.conv1 = conv(block.conv1, ws[1])
        self.noises = [c.noise * c.noise_strength if c.use_noise else None for c in (block.conv0, block.conv1)]
        self.to_image = PixelsToImage(block.to_image, ws[2])

    def __call__(self, x: Tensor, image: Tensor, *, noise: bool, last: bool) -> tuple[Tensor, Tensor]:
        """Framed features and the image [height, width, channels]; with ``last`` the features are left out."""
        first, second = self.noises if noise else (None, None)
        made = self.conv0(x, noise=first)
        x, addition = self.conv1(
            made if isinstance(made, Doubled) else made[0], noise=second, then=self.to_image, keep=not last
        )
        assert addition is not None
        return x, addition.add_(upsampled(image, self.taps) if self.up else image)


def can_precompute(blocks: list[SynthesisBlock]) -> bool:
    """Return whether PrecomputedBlock supports these blocks."""
    return all(b.architecture == "skip" and b.has_second and b.conv1.weight.shape[-1] == 3 for b in blocks)


def planes_of(backbone: Backbone, ws: Tensor) -> Tensor:
    """Backbone(ws) for one ws [num_ws, w_dim], channels-last: [height, width, 3 · features]."""
    blocks = list(backbone.blocks.values())
    if not can_precompute(blocks) or backbone.resolutions[-1] < SMALLEST_WINOGRAD:  # type: ignore[arg-type]
        return backbone(ws[None])[0].flatten(0, 1).permute(1, 2, 0).contiguous()
    x: Tensor | None = None
    image: Tensor | None = None
    first = 0
    small = sum(r < SMALLEST_WINOGRAD for r in backbone.resolutions)
    for block in blocks[:small]:
        x, image = block(x, image, ws[None, first:], noise=True)
        first += 1 if first == 0 else 2
    assert x is not None
    assert image is not None
    pixels, planes = framed(x[0].permute(1, 2, 0)), image[0].permute(1, 2, 0).contiguous()
    for block, resolution in zip(blocks[small:], backbone.resolutions[small:], strict=True):
        precomputed = PrecomputedBlock(block, ws[first : first + 3], resolution)  # type: ignore[arg-type]
        pixels, planes = precomputed(pixels, planes, noise=True, last=block is blocks[-1])
        first += 2
    return planes


class PrecomputedSuperresolution:
    """Superresolution for one latent's last w [w_dim]."""

    def __init__(self, network: Superresolution, w: Tensor):
        self.config = network.config
        ws = w.expand(3, -1)
        self.blocks = [
            PrecomputedBlock(block, ws, resolution)  # type: ignore[arg-type]
            for block, resolution in zip(network.blocks, network.config.resolutions, strict=True)
        ]

    def __call__(self, features: Tensor) -> Tensor:
        """The image [1, 3, H, W] of features [1, f, h, w]."""
        features = self.config.resized(features)
        x, image = framed(features[0].permute(1, 2, 0)), features[0, :3].permute(1, 2, 0).contiguous()
        for block in self.blocks:
            x, image = block(x, image, noise=self.config.noise == "const", last=block is self.blocks[-1])
        return image.permute(2, 0, 1)[None]


class Precomputed:
    """Everything of an EG3D that depends on one ws [num_ws, w_dim] alone."""

    def __init__(self, network: EG3D, ws: Tensor):
        self.network, self.ws = network, ws
        planes = planes_of(network.backbone, ws)
        self.size = planes.shape[0]
        config, decoder = network.config, network.decoder
        self.planes = planes.unflatten(2, (3, config.plane_features)).permute(2, 3, 0, 1)[None]
        """As Backbone gives them, without a copy."""
        layers = (decoder.hidden, decoder.out)
        self.spec = TriplaneSpec(
            resolution=planes.shape[0], channels=config.plane_features, hidden=len(decoder.hidden.bias),
            features=len(decoder.out.bias) - 1, half=config.rendering.box_warp / 2, axes=config.rendering.plane_axes,
        )  # fmt: skip
        matrices = [
            matrix
            for layer in layers
            for matrix in (
                layer.weight.T * (layer.lr_multiplier / math.sqrt(layer.weight.shape[1])),
                layer.bias * layer.lr_multiplier,
            )
        ]
        self.decoder = self.spec.flat(*matrices)
        self._superresolution: PrecomputedSuperresolution | None = None

    def superresolution(self, features: Tensor) -> Tensor:
        """The image [1, 3, H, W] of features [1, f, h, w]."""
        network = self.network.superresolution
        if not can_precompute(list(network.blocks)):  # type: ignore[arg-type]
            return network(features, self.ws[None])
        if self._superresolution is None:  # drafts never need it
            self._superresolution = PrecomputedSuperresolution(network, self.ws[-1])
        return self._superresolution(features)

    def density_and_features(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density [n] and features [n, f] at canonical points [n, 3]."""
        return decode_points(self.planes[0], self.decoder, points, self.spec)

    def render(
        self,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        jitter: Tensor | None,
        u: Tensor | None,
        samples: tuple[int, int],
        progress: Progress,
    ) -> Rendering:
        """EG3D.render in chunks of rays."""
        num_rays = origins.shape[1]
        near, far = near.expand(1, num_rays, 1), far.expand(1, num_rays, 1)
        limits = (near.min(), far.max())
        report = part(progress, 0.0, 0.5)
        chunks: list[Composite | None] = [None] * -(-num_rays // RAYS_AT_ONCE)

        def some(slice_number: int, begin: int, end: int) -> None:
            for number in range(begin, end):
                rays = slice(number * RAYS_AT_ONCE, (number + 1) * RAYS_AT_ONCE)
                chunks[number] = self._chunk(
                    origins[:, rays],
                    directions[:, rays],
                    near[:, rays],
                    far[:, rays],
                    None if jitter is None else jitter[:, rays],
                    None if u is None else u[:, rays],
                    samples,
                    limits,
                )
                if slice_number == 0:  # the calling thread, in which `progress` may raise
                    report((number + 1 - begin) / (end - begin))

        run_on_torch_threads(some, len(chunks), origins.device)
        features, distances, alphas = zip(*((c.features, c.distance, c.alpha) for c in chunks if c is not None))
        side = math.isqrt(num_rays)

        def image(parts: tuple[Tensor, ...]) -> Tensor:
            return torch.cat(parts, dim=1).mT.reshape(1, -1, side, side)

        return Rendering(image(features), image(distances), image(alphas))

    def _chunk(
        self,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        jitter: Tensor | None,
        u: Tensor | None,
        samples: tuple[int, int],
        limits: tuple[Tensor, Tensor],
    ) -> Composite:
        r = self.network.config.rendering

        def evaluate(at: Tensor) -> tuple[Tensor, Tensor]:
            points = origins[:, :, None] + at[..., None] * directions[:, :, None]
            raw, values = self.density_and_features(points.reshape(-1, 3))
            return raw.view(at.shape), values.view(*at.shape, -1)

        num_coarse, num_fine = samples
        coarse = coarse_distances(near, far, num_coarse, disparity=r.disparity_space_sampling, jitter=jitter)
        raw, values = evaluate(coarse)
        if num_fine == 0:
            return composite(coarse, raw, values, white_back=r.white_back, limits=limits)
        if u is None:
            u = torch.linspace(0, 1, num_fine, device=coarse.device).expand(*coarse.shape[:2], num_fine)
        fine = importance_distances(coarse, interval_weights(coarse, raw), u)
        fine_raw, fine_values = evaluate(fine)
        distances, order = merged(coarse, fine)
        raw = torch.cat([raw, fine_raw], dim=-1).gather(-1, order)
        # The mean of each interval's ends, summed by weight, is a sum over samples with shared weights.
        weights = interval_weights(distances, raw)
        shared = (F.pad(weights, (1, 0)) + F.pad(weights, (0, 1))) / 2
        unsorted = torch.zeros_like(shared).scatter_(-1, order, shared)
        mixed = unsorted[..., None, :num_coarse] @ values + unsorted[..., None, num_coarse:] @ fine_values
        return finished(mixed[..., 0, :], weights, distances, white_back=r.white_back, limits=limits)
