"""StyleSDF: a signed distance field of sine layers, and a style-based upsampler (arxiv.org/abs/2112.11427).

Vocabulary. The *renderer* turns z into a signed distance, a colour and a feature vector at each point (section 3.1),
and volume renders colours (the *thumbnail*) and features at low resolution. The *decoder* (section 3.2) grows the
features to the final image. `w` is the renderer's latent; the decoder maps w once more. `ws` holds one row for each
modulated layer: the renderer's distance layers, its view layer, then the decoder's layers, rows filled with zeros to
the same width. *Canonical* is the model's own frame: y up, the subject faces +z, cameras on the unit sphere look along
their −z at the origin. `t` multiplies rays of depth one.

`StyleSDF` is the network, batched, stage by stage as in the paper: the reference path, which is compared with official
outputs. `StyleSDFGenerator` and `StyleSDFScene` (scene.py) place one latent of it in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...rendering import compositing, sampling
from ..layers.stylegan2 import EqualLinear, low_pass, modulated_conv2d, normalize_second_moment, upsample2d

FREQUENCY_SCALE, FREQUENCY_SHIFT, PHASE_SCALE = 15.0, 30.0, 0.25
"""Scale and shift from affine functions of w to the frequencies and phases of sine layers."""

TRUNCATION_SAMPLES = 10_000
"""Number of z whose mean latents are the centre of truncation."""


@dataclass(frozen=True)
class StyleSDFConfig:
    """Sizes of the two networks, and how the renderer's weights are rendered."""

    style_dim: int = 256
    """Width of z, of w and of the renderer's layers."""
    mapping_layers: int = 3
    num_layers: int = 8
    """Distance layers; one more layer sees the viewing direction."""
    use_sdf: bool = True
    """False: the field is a density, not a distance."""
    static_directions: bool = True
    """Directions are in the camera's own frame: the direction of a pixel does not change as the camera moves."""
    normalize_points: bool = True
    """Scale points so that the ray's extent is −1 to 1."""
    left_edges: bool = True
    """Sample at the left edges of equal intervals, which leaves out the far end."""
    force_background: bool = True
    """Give the last sample all remaining transmittance, so that every pixel is opaque."""
    white_background: bool = False
    """Objects inside the ball of `half_depth`: nothing around it, and white behind, in place of `force_background`."""
    num_samples: int = 24
    half_depth: float = 0.12
    """Rays run this far in front of and behind the origin."""
    fov_degrees: float = 12.0
    thumbnail_size: int = 64
    image_size: int = 1024
    """Side of the final image; no more than the thumbnail's for a renderer without decoder."""
    decoder_channels: tuple[int, ...] = (512, 512, 256, 128, 64)
    """From the thumbnail's resolution up, one for each doubling and one before."""
    decoder_style_dim: int = 512
    decoder_mapping_layers: int = 5
    mapping_lr: float = 0.01
    """Learning rate multiplier of the decoder's mapping network."""

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder grows the thumbnail's features to the final image."""
        return self.image_size > self.thumbnail_size

    @property
    def num_renderer_ws(self) -> int:
        """Rows of ws that the renderer uses."""
        return self.num_layers + 1

    @property
    def num_decoder_ws(self) -> int:
        """Rows of ws that the decoder uses."""
        return 2 * len(self.decoder_channels) if self.has_decoder else 0

    @property
    def num_ws(self) -> int:
        """Rows of ws."""
        return self.num_renderer_ws + self.num_decoder_ws

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that the official camera sees."""
        sideways = math.tan(math.radians(self.fov_degrees) / 2) * math.sqrt(2)
        return math.hypot(self.half_depth, (1 + self.half_depth) * sideways)

    @property
    def w_dim(self) -> int:
        """Width of a row of ws."""
        return max(self.style_dim, self.decoder_style_dim if self.has_decoder else 0)


class FiLMLayer(nn.Module):
    """sin(frequency · (Wx + b) + phase), both affine in w (section 3.1)."""

    def __init__(self, in_features: int, out_features: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.frequency = nn.Linear(style_dim, out_features)
        self.phase = nn.Linear(style_dim, out_features)

    def modulation(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return frequency and phase [batch, out] of w [batch, style_dim]."""
        return FREQUENCY_SCALE * self.frequency(w) + FREQUENCY_SHIFT, PHASE_SCALE * self.phase(w)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x: [batch, points, in]; w: [batch, style_dim]."""
        frequency, phase = (y[:, None] for y in self.modulation(w))
        if self.training:
            # frequencies folded into the weights: rounds differently, and is 1.5 times as fast with its gradient
            weight = (frequency.transpose(1, 2) * self.weight).transpose(1, 2)
            return torch.sin(torch.baddbmm(frequency * self.bias + phase, x, weight))
        return torch.sin(frequency * F.linear(x, self.weight, self.bias) + phase)


@dataclass(frozen=True)
class Rendering:
    """Pixels of a batch of rays, and the samples they are made of. Batched [batch, rays, ...]."""

    rgb: Tensor  # [..., 3] in 0..1, premultiplied
    features: Tensor  # [..., style_dim]
    value: Tensor  # [..., num_samples] signed distances, canonical (densities without use_sdf)
    t: Tensor  # [..., num_samples]
    weights: Tensor  # [..., num_samples]
    points: Tensor  # [..., num_samples, 3] canonical
    inside: Tensor | None = None  # [..., num_samples] bool, with a white background: in the ball of the object


class Renderer(nn.Module):
    """The low-resolution radiance field over a signed distance (section 3.1)."""

    def __init__(self, config: StyleSDFConfig):
        super().__init__()
        self.config = config
        width = config.style_dim
        self.layers = nn.ModuleList(
            FiLMLayer(3 if i == 0 else width, width, config.style_dim) for i in range(config.num_layers)
        )
        self.view_layer = FiLMLayer(width + 3, width, config.style_dim)
        self.distance = nn.Linear(width, 1)
        self.color = nn.Linear(width, 3)
        if config.use_sdf:
            self.beta = nn.Parameter(torch.full((1,), 0.1))
        self._initialise()

    def _initialise(self) -> None:
        """Weights that keep sine layers trainable, as in SIREN."""
        for i, layer in enumerate((*self.layers, self.view_layer)):
            fan_in = layer.weight.shape[1]
            bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / 25
            nn.init.uniform_(layer.weight, -bound, bound)
            for affine in (layer.frequency, layer.phase):
                nn.init.kaiming_normal_(affine.weight, 0.2)
                affine.weight.data.mul_(0.2)
                nn.init.zeros_(affine.bias)
        for head in (self.distance, self.color):
            bound = math.sqrt(6 / head.in_features) / 25
            nn.init.uniform_(head.weight, -bound, bound)

    def features(self, ws: Tensor, points: Tensor) -> Tensor:
        """Return the last distance layer [batch, points, width] at normalised points [batch, points, 3]."""
        x = points
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i, : self.config.style_dim])
        return x

    def signed_distance(self, ws: Tensor, points: Tensor) -> Tensor:
        """Return signed distances (raw densities without use_sdf) [batch, points] at canonical points [batch, points,
        3]."""
        scaled = points / self.config.half_depth if self.config.normalize_points else points
        return self.distance(self.features(ws, scaled)).squeeze(-1)

    def radiance(self, ws: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Evaluate the field: raw colour, signed distance, features [batch, points, 4 + width].

        Args:
            ws: [batch, num_ws, w_dim].
            points: normalised [batch, points, 3].
            directions: [batch, points, 3].
        """
        x = self.features(ws, points)
        w = ws[:, len(self.layers), : self.config.style_dim]
        seen = self.view_layer(torch.cat((x, directions), -1), w)
        return torch.cat((self.color(seen), self.distance(x), seen), -1)

    def density(self, value: Tensor) -> Tensor:
        """Return density: a steep sigmoid of the distance (Eq. 2), or the positive part of a raw density."""
        return torch.sigmoid(-value / self.beta) / self.beta if self.config.use_sdf else F.relu(value)

    def samples(self, near: Tensor, far: Tensor, num_samples: int, jitter: Tensor | None) -> Tensor:
        """Return t [..., num_samples] of rays between near and far [..., 1]. jitter: see `render`."""
        t = sampling.even(near, far, num_samples, include_far=not self.config.left_edges)
        if jitter is None:
            return t
        after = torch.cat((t[..., 1:], far.expand_as(t[..., :1])), -1)
        return t + (after - t) * jitter

    def lengths(self, t: Tensor, far: Tensor, directions: Tensor) -> Tensor:
        """Return the lengths [..., num_samples] of the intervals at t, of rays that end at far [..., 1]."""
        last = far - t[..., -1:] if self.config.white_background else compositing.ENDLESS
        return compositing.interval_lengths(t, last, directions.norm(dim=-1, keepdim=True))

    def weights(self, density: Tensor, lengths: Tensor) -> Tensor:
        """Return the weights [..., num_samples] of samples."""
        weights = compositing.weights_from_alpha(compositing.opacity(density, lengths))
        if self.config.force_background and not self.config.white_background:
            weights = torch.cat((weights[..., :-1], 1 - weights[..., :-1].sum(-1, keepdim=True)), -1)
        return weights

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        directions: Tensor,
        seen_along: Tensor,
        near: Tensor,
        far: Tensor,
        *,
        num_samples: int | None = None,
        jitter: Tensor | None = None,
        with_features: bool = True,
    ) -> Rendering:
        """Volume render canonical rays (section 3.1).

        Args:
            ws: [batch, num_ws, w_dim].
            origins, directions: [batch, rays, 3]; t multiplies directions, which may have any length.
            seen_along: unit [batch, rays, 3], viewing directions in the frame of training.
            near, far: [batch, 1, 1] or [batch, rays, 1].
            num_samples: overrides the config's.
            jitter: [batch, rays, num_samples or 1] in [0, 1), share of its interval by which each sample moves.
            with_features: False leaves out the features, which only a decoder needs.
        """
        t = self.samples(near, far, num_samples or self.config.num_samples, jitter).expand(*origins.shape[:2], -1)
        points = origins[:, :, None] + directions[:, :, None] * t[..., None]
        normalised = points * 2 / (far - near)[..., None] if self.config.normalize_points else points
        along = seen_along[:, :, None].expand_as(points)
        radiance = self._radiance_inside if self.config.white_background else self.radiance
        raw = radiance(ws, normalised.flatten(1, 2), along.flatten(1, 2)).unflatten(1, points.shape[1:3])
        rgb, value, features = raw.split((3, 1, raw.shape[-1] - 4), -1)
        value = value.squeeze(-1)
        density = self.density(value)
        inside = self.inside(normalised) if self.config.white_background else None
        weights = self.weights(density if inside is None else density * inside, self.lengths(t, far, directions))
        return Rendering(
            compositing.composite(weights, torch.sigmoid(rgb)),
            compositing.composite(weights, features if with_features else features[..., :0]),
            value,
            t,
            weights,
            points,
            inside,
        )

    def inside(self, normalised: Tensor) -> Tensor:
        """Return whether normalised points [..., 3] lie in the ball of an object."""
        reach = 1.0 if self.config.normalize_points else self.config.half_depth
        return normalised.square().sum(-1) < reach * reach

    def _radiance_inside(self, ws: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """See `radiance`: zeros outside the ball, where nothing is computed."""
        rows = []
        for w, ball, of, along in zip(ws, self.inside(points), points, directions, strict=True):
            index = ball.nonzero().squeeze(-1)
            found = self.radiance(w[None], of[index][None], along[index][None])[0]
            rows.append(found.new_zeros(len(of), found.shape[-1]).index_copy(0, index, found))
        return torch.stack(rows)


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU."""

    kernel: Tensor
    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, resolution: int, *, up: bool):
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.style = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise", torch.randn(resolution, resolution))
        self.register_buffer("kernel", low_pass(), persistent=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return [batch, out, height, width] of x [batch, in, ...], doubled where `up`, and w [batch, style_dim]."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        x = modulated_conv2d(x, weight, self.style(w), up=self.up, kernel=self.kernel.to(x.dtype))
        if x.shape[-2:] == self.noise.shape:  # noise is fixed to the trained resolution
            x = x + self.noise_strength * self.noise
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * math.sqrt(2)


class ToImage(nn.Module):
    """Features → rgb by a 1×1 modulated convolution, added to the doubled image so far."""

    kernel: Tensor

    def __init__(self, in_channels: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.style = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("kernel", low_pass(), persistent=False)

    def forward(self, x: Tensor, w: Tensor, image: Tensor | None) -> Tensor:
        """x: [batch, in, height, width]; image: [batch, 3, height / 2, width / 2] or None."""
        weight = self.weight / math.sqrt(self.weight.shape[1])
        kernel = self.kernel.to(x.dtype)
        rgb = modulated_conv2d(x, weight, self.style(w), demodulate=False, kernel=kernel) + self.bias[:, None, None]
        return rgb if image is None else rgb + upsample2d(image, kernel)


class Decoder(nn.Module):
    """Low-resolution features → the image (section 3.2): a StyleGAN2 that starts from features."""

    def __init__(self, config: StyleSDFConfig):
        super().__init__()
        style, lr = config.decoder_style_dim, config.mapping_lr
        self.mapping = nn.ModuleList(
            EqualLinear(config.style_dim if i == 0 else style, style, activation="lrelu", lr_multiplier=lr)
            for i in range(config.decoder_mapping_layers)
        )
        channels, size = config.decoder_channels, config.thumbnail_size
        self.convs = nn.ModuleList([StyledConv(config.style_dim, channels[0], style, size, up=False)])
        self.to_images = nn.ModuleList([ToImage(channels[0], style)])
        for i in range(1, len(channels)):
            resolution = size * 2**i
            self.convs.append(StyledConv(channels[i - 1], channels[i], style, resolution, up=True))
            self.convs.append(StyledConv(channels[i], channels[i], style, resolution, up=False))
            self.to_images.append(ToImage(channels[i], style))

    def map(self, w: Tensor) -> Tensor:
        """Return the decoder's own latent [batch, decoder_style_dim] of the renderer's w [batch, style_dim]."""
        x = normalize_second_moment(w)
        for layer in self.mapping:
            x = layer(x)
        return x

    def forward(self, features: Tensor, ws: Tensor) -> Tensor:
        """Return rgb in −1..1 (not clamped) [batch, 3, H, W].

        Args:
            features: [batch, style_dim, height, width].
            ws: [batch, num_decoder_ws, decoder_style_dim]. A layer that makes an image shares its row with the next
                block's first convolution.
        """
        x = self.convs[0](features, ws[:, 0])
        image = self.to_images[0](x, ws[:, 1], None)
        for i in range(1, len(self.to_images)):
            x = self.convs[2 * i - 1](x, ws[:, 2 * i - 1])
            x = self.convs[2 * i](x, ws[:, 2 * i])
            image = self.to_images[i](x, ws[:, 2 * i + 1], image)
        return image


class StyleSDF(nn.Module):
    """The network."""

    def __init__(self, config: StyleSDFConfig):
        super().__init__()
        self.config = config
        self.mapping_network = nn.ModuleList(
            nn.Linear(config.style_dim, config.style_dim) for _ in range(config.mapping_layers)
        )
        for layer in self.mapping_network:
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, 0.2)
        self.renderer = Renderer(config)
        if config.has_decoder:
            self.decoder = Decoder(config)

    def map(self, z: Tensor) -> Tensor:
        """Return the renderer's w [batch, style_dim] of z [batch, style_dim]."""
        x = z
        for layer in self.mapping_network:
            x = F.leaky_relu(layer(x), 0.2)
        return x

    def mean_latents(self) -> tuple[Tensor, Tensor | None]:
        """Return the mean w of the renderer and of the decoder, over many z from a fixed seed."""
        generator = torch.Generator().manual_seed(0)
        z = torch.randn(TRUNCATION_SAMPLES, self.config.style_dim, generator=generator)
        w = self.map(z.to(self.renderer.distance.weight))
        return w.mean(0), self.decoder.map(w).mean(0) if self.config.has_decoder else None

    def mapping(
        self,
        z: Tensor,
        *,
        truncation_psi: float = 1.0,
        means: tuple[Tensor, Tensor | None] | None = None,
    ) -> Tensor:
        """Return ws [batch, num_ws, w_dim] of z [batch, style_dim].

        Both latents are truncated towards their means, and the decoder maps the truncated w.
        """
        w = self.map(z)
        if truncation_psi != 1:
            mean, decoder_mean = means or self.mean_latents()
            w = mean + truncation_psi * (w - mean)
        if not self.config.has_decoder:
            return self.rows(w, None)
        decoder_w = self.decoder.map(w)
        if truncation_psi != 1:
            assert decoder_mean is not None
            decoder_w = decoder_mean + truncation_psi * (decoder_w - decoder_mean)
        return self.rows(w, decoder_w)

    def rows(self, w: Tensor, decoder_w: Tensor | None) -> Tensor:
        """Return ws [batch, num_ws, w_dim] of the renderer's w [batch, style_dim] and the decoder's latent [batch,
        decoder_style_dim], None without decoder."""
        config = self.config
        rows = F.pad(w, (0, config.w_dim - w.shape[-1]))[:, None].repeat(1, config.num_renderer_ws, 1)
        if decoder_w is None:
            return rows
        decoder_w = F.pad(decoder_w, (0, config.w_dim - decoder_w.shape[-1]))
        return torch.cat((rows, decoder_w[:, None].repeat(1, config.num_decoder_ws, 1)), 1)

    def upsample(self, ws: Tensor, features: Tensor) -> Tensor:
        """Return rgb in −1..1 [batch, 3, H, W] of features [batch, style_dim, height, width]."""
        return self.decoder(features, ws[:, self.config.num_renderer_ws :, : self.config.decoder_style_dim])


@dataclass(frozen=True)
class CanonicalRays:
    """Rays of official cameras [batch, rays, 3]: directions of depth one; along: unit, in the camera's own frame."""

    origins: Tensor
    directions: Tensor
    in_camera: Tensor


def official_rays(world_from_camera: Tensor, size: int, focal: Tensor) -> CanonicalRays:
    """Return the rays of square images [size²] of official cameras [batch, 3, 4], row by row from the top.

    focal: [batch, 1, 1] in pixels. Pixel centres at +0.5.
    """
    side = torch.arange(size).to(world_from_camera) + 0.5
    y, x = torch.meshgrid(side, side, indexing="ij")
    x, y = ((x - size * 0.5) / focal).flatten(1), (-(y - size * 0.5) / focal).flatten(1)
    in_camera = torch.stack((x, y, -torch.ones_like(x)), -1)
    directions = (in_camera[:, :, None] * world_from_camera[:, None, :, :3]).sum(-1)
    return CanonicalRays(world_from_camera[:, None, :, 3].expand_as(directions), directions, in_camera)
