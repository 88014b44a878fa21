"""StyleNeRF: a style-modulated NeRF at low resolution and a 2D upsampler (arxiv.org/abs/2110.08985).

Vocabulary. The *foreground* field is an MLP whose layers are modulated by ws; the *background* field is a small MLP on
the inverted sphere of NeRF++ (arxiv.org/abs/2010.07492), driven by its own random code. A *t* runs from 0 to 1 along a
ray, a *depth* is what the ray from the camera to the image plane at distance one is multiplied with, so it is measured
along the camera's z. *Canonical* is the model's own frame: z up, the subject faces +x, cameras look along their −z.

The whole network is in this file, batched and stage by stage. ``scene.py`` places it in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...rendering import sampling
from ...rendering.compositing import transmittance
from ...rendering.sampling import evenly_drawn, merged, midpoints, stratified
from ..layers.stylegan2 import (
    BINOMIAL,
    EqualLinear,
    MappingNetwork,
    Shortcut,
    ToImage,
    bias_act,
    filter2d,
    low_pass,
    modulated_conv2d,
    modulated_weight,
    upsample2d,
)


@dataclass(frozen=True)
class MappingConfig:
    num_layers: int = 8
    embed_features: int | None = None
    layer_features: int | None = None
    activation: str = "lrelu"
    lr_multiplier: float = 0.01


@dataclass(frozen=True)
class FieldConfig:
    """One MLP."""

    z_dim: int
    """0: modulated by ws. Otherwise an unmodulated MLP that reads a code of this length beside the position."""
    feature_dim: int
    hidden: int = 128
    num_layers: int = 8
    """Hidden layers, the first included."""
    inverse_sphere: bool = False
    """Positions are [..., 4]: a point on the unit sphere and the inverse distance."""
    encoding: Literal["normal", "gauss", "none"] = "normal"
    num_frequencies: int = 10
    gauss_features: int = 20
    append_position: bool = False
    position_scale: float = 1.0
    """Positions are divided by this."""
    skip: bool = False
    """Feed the encoding again half-way."""
    colour: Literal["predicted", "first", "none"] = "predicted"
    """``predicted`` from the features by a linear layer, ``first`` channels of the output layer itself, or none."""
    merged: bool = False
    """One output layer for density and features."""
    sigmoid: bool = False
    activation: str = "lrelu"
    input_gain: bool = False
    """Hidden layers divide their input by its average magnitude in training."""

    @property
    def position_dim(self) -> int:
        return 4 if self.inverse_sphere else 3

    @property
    def encoded_dim(self) -> int:
        per_axis = {"normal": 2 * self.num_frequencies, "gauss": 2 * self.gauss_features, "none": 1}[self.encoding]
        return self.position_dim * (per_axis + self.append_position)

    @property
    def num_ws(self) -> int:
        return 0 if self.z_dim > 0 else self.num_layers + (1 if self.merged else 2)


@dataclass(frozen=True)
class CameraConfig:
    azimuth: tuple[float, float] = (-0.3, 0.3)
    """Range of training cameras about +z, radians; 0 sees the subject from +x."""
    polar: tuple[float, float] = (math.pi / 2 - 0.155, math.pi / 2 + 0.155)
    """Angle from +z, radians."""
    radius: float = 1.0
    near: float = 0.88
    far: float = 1.12
    fov_degrees: float = 12.0
    depth_warp: Literal["none", "log", "inverse"] = "none"
    intervals_in_t: bool = False
    """Measure intervals between samples in t instead of depth."""
    aligned_corners: bool = False
    """The outermost pixel centres lie on the border of the image (older models)."""
    background_start: float = 0.5
    """Inverse distance of the first background sample."""


@dataclass(frozen=True)
class RendererConfig:
    num_samples: int = 14
    num_background_samples: int = 4
    hierarchical: bool = True
    """Draw as many samples again where the first ones have weight."""
    density: Literal["relu", "shifted_softplus", "raw"] = "relu"
    open_end: bool = False
    """The last foreground sample is opaque (models without background)."""
    resolution: int = 32
    """Rays along each side."""


@dataclass(frozen=True)
class UpsamplerConfig:
    resolutions: tuple[int, ...] = ()
    """Of each block, increasing."""
    channels: tuple[int, ...] = ()
    mode: Literal["default", "bilinear", "bicubic", "nearest", "pixelshuffle", "nn_cat"] = "nn_cat"
    """Upsampling method of the first convolution of a block; ``default`` is StyleGAN2's."""
    blur: bool = True
    """Low-pass after doubling (nearest, pixelshuffle and nn_cat)."""
    bilinear_image: bool = False
    """Double the colour image bilinearly, corners aligned, instead of by the low-pass filter."""
    kernel_size: int = 1
    architecture: Literal["orig", "skip", "resnet"] = "skip"
    single_layer: bool = False
    conv_clamp: float | None = 256.0
    use_noise: bool = False
    activation: str = "lrelu"
    input_gain: bool = True
    """Layers divide their input by its average magnitude in training."""
    residual_image: bool = True
    """Each block adds to the image so far, instead of replacing it."""
    shared_colour_style: bool = False
    """All colour layers use the last w."""
    taps: tuple[float, ...] = BINOMIAL

    @property
    def convs_per_block(self) -> int:
        return 1 if self.single_layer else 2


@dataclass(frozen=True)
class StyleNeRFConfig:
    z_dim: int
    w_dim: int
    foreground: FieldConfig
    background: FieldConfig | None
    condition_dim: int = 0
    mapping: MappingConfig = field(default_factory=MappingConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    upsampler: UpsamplerConfig = field(default_factory=UpsamplerConfig)
    start_resolution: int = 32
    """Resolution at which progressive training began; if below the renderer's, early stages render fewer rays."""
    num_unused_ws: int = 0
    """At the end: models trained with a camera predictor have one."""
    progressive: bool = True

    @property
    def stages(self) -> tuple[int, ...]:
        """Resolutions that progressive training added one by one."""
        early: list[int] = []
        resolution = self.renderer.resolution
        while resolution > self.start_resolution:
            early.insert(0, resolution)
            resolution //= 2
        return (*early, *self.upsampler.resolutions)


# ---------------------------------------------------------------------------------------------------------------------
# Fields


def encode(points: Tensor, num_frequencies: int) -> Tensor:
    """sin and cos of 2^i π p, frequency by frequency: [..., d] → [..., 2 d num_frequencies]. p itself is left out."""
    waves = [f(2**i * math.pi * points) for i in range(num_frequencies) for f in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=-1)


MAGNITUDE_DECAY = 0.999
"""Share of itself that the running mean square of a layer's input keeps at each forward pass of training."""


@torch.no_grad()
def follow_mean_square(running: Tensor, x: Tensor) -> None:
    """Update a layer's running mean square [] by its input, of all processes that train together."""
    square = x.square().mean()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(square)
        square = square / torch.distributed.get_world_size()
    running.copy_(torch.lerp(square, running, MAGNITUDE_DECAY))


class PointLayer(nn.Module):
    """A layer on points [batch, points, in]: modulated and demodulated, or (w_dim 0) a plain ReLU layer."""

    mean_square: Tensor

    def __init__(self, in_features: int, out_features: int, w_dim: int, activation: str, *, input_gain: bool = False):
        super().__init__()
        self.activation, self.input_gain = activation, input_gain
        self.modulated = w_dim > 0
        if self.modulated:
            self.affine = EqualLinear(w_dim, in_features, bias_init=1.0)
        scale = 1.0 if self.modulated else 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * scale)
        self.bias = nn.Parameter(torch.zeros(out_features))
        if input_gain:
            self.register_buffer("mean_square", torch.ones([]))

    def forward(self, x: Tensor, w: Tensor | None) -> Tensor:
        if self.input_gain:
            if self.training:
                follow_mean_square(self.mean_square, x)
            x = x * self.mean_square.rsqrt()
        if not self.modulated:
            return F.relu(F.linear(x, self.weight, self.bias))
        x = x @ modulated_weight(self.weight, self.affine(w)).mT
        return bias_act(x + self.bias, None, self.activation)


class PointOutput(nn.Module):
    """The linear last layer on points: modulated without demodulation, or (w_dim 0) plain."""

    def __init__(self, in_features: int, out_features: int, w_dim: int):
        super().__init__()
        self.modulated = w_dim > 0
        if self.modulated:
            self.affine = EqualLinear(w_dim, in_features, bias_init=1.0)
        scale = 1.0 if self.modulated else 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * scale)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, w: Tensor | None) -> Tensor:
        if not self.modulated:
            return F.linear(x, self.weight, self.bias)
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        return x @ modulated_weight(self.weight, styles, demodulate=False).mT + self.bias


class Field(nn.Module):
    """Positions → colour, features and density before its activation."""

    frequencies: Tensor

    def __init__(self, config: FieldConfig, w_dim: int):
        super().__init__()
        c = self.config = config
        w_dim = 0 if c.z_dim > 0 else w_dim
        encoded = c.encoded_dim + c.z_dim
        if c.encoding == "gauss":
            self.register_buffer("frequencies", torch.randn(c.position_dim, c.position_dim * c.gauss_features))
        self.skip_at = c.num_layers // 2 - 1 if c.skip else -1
        self.first = PointLayer(encoded, c.hidden, w_dim, c.activation)
        self.layers = nn.ModuleList(
            PointLayer(
                c.hidden + (encoded if i == self.skip_at else 0),
                c.hidden,
                w_dim,
                c.activation,
                input_gain=c.input_gain,
            )
            for i in range(c.num_layers - 1)
        )
        if not c.merged:
            self.density = PointOutput(c.hidden, 1, w_dim)
        outputs = c.feature_dim + (1 if c.merged else 0) + (3 if c.colour == "first" else 0)
        self.features = PointOutput(c.hidden, outputs, w_dim)
        if c.colour == "predicted":
            self.colour = EqualLinear(outputs, 3)

    def encode(self, points: Tensor) -> Tensor:
        """The input of the MLP, [..., encoded_dim], of positions [..., 3] or [..., 4]."""
        c = self.config
        scaled = points / c.position_scale
        parts = []
        if c.encoding == "normal":
            parts.append(encode(scaled, c.num_frequencies))
        elif c.encoding == "gauss":
            angles = math.pi * scaled @ self.frequencies
            parts += [torch.sin(angles), torch.cos(angles)]
        if c.encoding == "none" or c.append_position:
            parts.append(scaled)
        return torch.cat(parts, dim=-1)

    def forward(self, points: Tensor, ws: Tensor | None, code: Tensor | None) -> tuple[Tensor, Tensor]:
        """Colour and features [batch, points, 3 + f], and raw density [batch, points, 1].

        Args:
            points: [batch, points, 3] (or 4).
            ws: [batch, num_ws, w_dim], where the field is modulated.
            code: [batch, z_dim], where it is not.
        """
        c = self.config
        x = encoded = self.encode(points)
        if c.z_dim > 0:
            assert code is not None
            x = encoded = torch.cat([encoded, code[:, None].expand(-1, points.shape[1], -1)], dim=-1)
        # Position of each layer's w: first, hidden layers, density, features (the last).
        styles = [None] * (c.num_layers + 2) if c.z_dim > 0 or ws is None else list(ws.unbind(dim=1))
        x = self.first(x, styles[0])
        for i, layer in enumerate(self.layers):
            if i == self.skip_at:
                x = torch.cat([x, encoded], dim=-1)
            x = layer(x, styles[i + 1])
        features = self.features(x, styles[-1])
        if c.merged:
            raw, features = features[..., :1], features[..., 1:]
        else:
            raw = self.density(x, styles[c.num_layers])
        if c.colour == "predicted":
            colour = self.colour(features)
            if c.sigmoid:
                colour = torch.sigmoid(colour)
            features = torch.cat([colour, features], dim=-1)
        return features, raw


# ---------------------------------------------------------------------------------------------------------------------
# Volume rendering


def pixel_grid(resolution: int, *, aligned_corners: bool, device: torch.device | None = None) -> Tensor:
    """Pixel coordinates [resolution², 2] in −1..1, x to the right and y up, row by row from the top."""
    edge = 1.0 if aligned_corners else 1 - 1 / resolution
    line = torch.linspace(-edge, edge, resolution, device=device)
    y, x = torch.meshgrid(-line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def camera_rays(pixels: Tensor, camera_from_pixels: Tensor, world_from_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and rays [batch, rays, 3] through pixels [batch, rays, 2]; a ray ends on the image plane at depth one.

    Args:
        camera_from_pixels: [batch, 4, 4], inverse of diag(f, f, 1, 1).
        world_from_camera: [batch, 4, 4], cameras looking along −z.
    """
    plane = torch.cat([pixels, -torch.ones_like(pixels[..., :1])], dim=-1)
    rays = plane @ camera_from_pixels[:, :3, :3].mT @ world_from_camera[:, :3, :3].mT
    return world_from_camera[:, None, :3, 3].expand_as(rays), rays


def volume_weights(density: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Share of each sample [..., samples] and the light that reaches the last one [...] (Eq. 3 of 2003.08934).

    An infinite length makes its sample opaque.
    """
    finite = lengths.isfinite()
    alpha = 1 - torch.exp(-F.relu(density) * torch.where(finite, lengths, torch.zeros_like(lengths)))
    alpha = torch.where(finite, alpha, torch.ones_like(alpha))
    passed = transmittance(alpha)
    return alpha * passed, passed[..., -1]


def importance_samples(t: Tensor, weights: Tensor, num_samples: int, u: Tensor | None = None) -> Tensor:
    """Draw where the weights are, [batch, rays, num_samples] (section 5.2 of arxiv.org/abs/2003.08934).

    u: uniform in 0..1, [batch, rays, num_samples]; None: evenly.
    """
    u = evenly_drawn(num_samples, like=t) if u is None else u
    return sampling.inverse_cdf(midpoints(t), weights[..., 1:-1], u, side="left")


def background_points(origins: Tensor, directions: Tensor, inverse_distance: Tensor) -> Tensor:
    """Points outside the unit sphere in the inverted parametrisation of NeRF++ (section 4 of arxiv.org/abs/2010.07492).

    A point at distance 1/s from the centre becomes (its direction, s).

    Args:
        origins: [batch, rays, 3], in the sphere.
        directions: [batch, rays, 3], unit.
        inverse_distance: [samples] or [batch, rays, samples], 0..1.
    Returns:
        [batch, rays, samples, 4].
    """
    along = -(directions * origins).sum(dim=-1, keepdim=True)
    middle = origins + along * directions
    # Rays from outside may miss the sphere: they take its nearest point.
    closest = middle.norm(dim=-1, keepdim=True).clamp(max=1)
    on_sphere = origins + (along + torch.sqrt(1 - closest * closest)) * directions
    axis = F.normalize(torch.linalg.cross(origins, on_sphere, dim=-1), dim=-1)
    angle = torch.asin(closest) - torch.asin(closest * inverse_distance)  # [batch, rays, samples]
    angle, axis, on_sphere = angle[..., None], axis[..., None, :], on_sphere[..., None, :]
    # Rodrigues' rotation; the point is perpendicular to the axis.
    turned = on_sphere * torch.cos(angle) + torch.linalg.cross(axis, on_sphere, dim=-1) * torch.sin(angle)
    height = inverse_distance[..., None].expand(*turned.shape[:-1], 1)
    return torch.cat([F.normalize(turned, dim=-1), height], dim=-1)


@dataclass(frozen=True)
class RenderNoise:
    """Random numbers of one training render. Positions are uniform in 0..1, densities normal; None: not needed.

    All are [batch, rays, samples].
    """

    position: Tensor
    density: Tensor
    """Added to the raw density, which makes empty space a little dense and solid matter a little transparent."""
    fine_position: Tensor | None = None
    fine_density: Tensor | None = None
    background_position: Tensor | None = None
    background_density: Tensor | None = None

    def part(self, rays: slice) -> RenderNoise:
        """The numbers of some of the rays."""
        return RenderNoise(*(None if x is None else x[:, rays] for x in vars(self).values()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Rendering:
    """Result of the renderer for each ray; the intermediate stages are kept for comparison."""

    features: Tensor
    """[batch, rays, 3 + f]: colour and features, background included."""
    foreground: Tensor
    background: Tensor | None
    """Already multiplied by ``transmittance``."""
    weights: Tensor
    """[batch, rays, samples]."""
    transmittance: Tensor
    """[batch, rays]: light that passes the foreground."""
    background_weights: Tensor | None
    t: Tensor
    """[batch, rays, samples], sorted."""
    depths: Tensor
    values: Tensor
    """[batch, rays, samples, 3 + f], colour and features of each sample."""
    background_values: Tensor | None

    @property
    def surface_depth(self) -> Tensor:
        """[batch, rays]: mean depth, weights not normalised."""
        return (self.weights * self.depths).sum(dim=-1)


# ---------------------------------------------------------------------------------------------------------------------
# Upsampler


class UpsamplerLayer(nn.Module):
    """Modulated convolution; with ``up`` the result's resolution is doubled (section 3.2)."""

    noise: Tensor
    mean_square: Tensor
    kernel: Tensor

    def __init__(
        self, config: UpsamplerConfig, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool
    ):
        super().__init__()
        c = self.config = config
        self.up = up
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, c.kernel_size, c.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if c.input_gain:
            self.register_buffer("mean_square", torch.ones([]))
        if c.use_noise:
            self.register_buffer("noise", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        narrow = out_channels // 4
        if up and c.mode == "pixelshuffle":
            self.adapter = Adapter(out_channels, narrow, out_channels * 4, c.activation)
        elif up and c.mode == "nn_cat":
            self.adapter = Adapter(out_channels * 2, narrow, out_channels, c.activation)
        self.register_buffer("kernel", low_pass(c.taps), persistent=False)

    def doubled(self, x: Tensor) -> Tensor:
        """x at twice its resolution."""
        c = self.config
        if c.mode in ("bilinear", "bicubic"):
            return F.interpolate(x, scale_factor=2, mode=c.mode, align_corners=True)
        repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        if c.mode == "pixelshuffle":
            repeated = repeated + F.pixel_shuffle(self.adapter(x), 2)
        elif c.mode == "nn_cat":
            repeated = repeated + self.adapter(torch.cat([repeated, corner_means(x)], dim=1))
        if not c.blur:
            return repeated
        n = self.kernel.shape[-1]
        return filter2d(repeated, self.kernel, padding=(n // 2, (n - 1) // 2))

    def forward(self, x: Tensor, w: Tensor, *, noise: bool, gain: float = 1.0, double: bool = True) -> Tensor:
        c, up = self.config, self.up and double
        if c.input_gain:
            if self.training:
                follow_mean_square(self.mean_square, x)
            x = x * self.mean_square.rsqrt()
        styles = self.affine(w)
        if c.mode == "default" or not up:
            x = modulated_conv2d(x, self.weight, styles, up=up, kernel=self.kernel)
        else:
            # Official doubling layers convolve with flipped weights, in whichever way they double.
            x = self.doubled(modulated_conv2d(x, self.weight.flip(2, 3), styles, kernel=self.kernel))
        if c.use_noise and noise and double:
            x = x + self.noise * self.noise_strength
        return bias_act(x, self.bias, c.activation, gain=gain, clamp=c.conv_clamp)


class Adapter(nn.Sequential):
    """Two 1 × 1 convolutions with a bottleneck, equalised."""

    def __init__(self, in_channels: int, narrow: int, out_channels: int, activation: str):
        super().__init__(PixelLinear(in_channels, narrow, activation), PixelLinear(narrow, out_channels, "linear"))


class PixelLinear(nn.Module):
    """Equalised 1 × 1 convolution with bias and activation."""

    def __init__(self, in_channels: int, out_channels: int, activation: str):
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(F.conv2d(x, self.weight / math.sqrt(self.weight.shape[1])), self.bias, self.activation)


def corner_means(x: Tensor) -> Tensor:
    """At twice the resolution, half the sum of the two neighbours that each quarter of a pixel faces, 0 outside."""
    padded = F.pad(x, (1, 1, 1, 1))
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    corners = torch.stack([left + above, above + right, left + below, right + below], dim=2) / 2
    return F.pixel_shuffle(corners.flatten(1, 2), 2)


class UpsamplerBlock(nn.Module):
    """One doubling: convolutions and the image so far."""

    kernel: Tensor

    def __init__(self, config: UpsamplerConfig, index: int, in_channels: int, w_dim: int, *, up: bool):
        super().__init__()
        c = self.config = config
        resolution, channels = c.resolutions[index], c.channels[index]
        self.conv0 = UpsamplerLayer(c, in_channels, channels, w_dim, resolution, up=up)
        if not c.single_layer:
            self.conv1 = UpsamplerLayer(c, channels, channels, w_dim, resolution, up=False)
        self.num_convs = c.convs_per_block
        self.has_image = c.architecture == "skip" or index == len(c.resolutions) - 1
        if self.has_image:
            self.to_image = ToImage(channels, 3, w_dim, c.conv_clamp)
        if c.architecture == "resnet":
            self.shortcut = Shortcut(in_channels, channels, True, c.taps)
        self.register_buffer("kernel", low_pass(c.taps), persistent=False)

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Tensor, *, noise: bool, double: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """ws: [batch, one per convolution and one for the image, w_dim]. double: False keeps the resolution."""
        c = self.config
        straight = self.shortcut(x) if c.architecture == "resnet" else None
        x = self.conv0(x, ws[:, 0], noise=noise, double=double)
        if not c.single_layer:
            gain = 1.0 if straight is None else math.sqrt(0.5)
            x = self.conv1(x, ws[:, 1], noise=noise, gain=gain, double=double)
        if straight is not None:
            x = straight + x
        if image is not None and image.shape[-1] != x.shape[-1]:
            if c.bilinear_image:
                image = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=True)
            else:
                image = upsample2d(image, self.kernel)
        if self.has_image:
            addition = self.to_image(x, ws[:, self.num_convs])
            image = addition if image is None else image + addition
        return x, image


class StyleNeRF(nn.Module):
    """The generator network: mapping, foreground and background fields, rendering, upsampler."""

    def __init__(self, config: StyleNeRFConfig):
        super().__init__()
        self.config = config
        u, m = config.upsampler, config.mapping
        self.foreground = Field(config.foreground, config.w_dim)
        if config.background is not None:
            self.background = Field(config.background, config.w_dim)
        sizes = [config.renderer.resolution, *u.resolutions]
        widths = [config.foreground.feature_dim, *u.channels]
        self.blocks = nn.ModuleList(
            UpsamplerBlock(u, i, widths[i], config.w_dim, up=sizes[i] != sizes[i + 1])
            for i in range(len(u.resolutions))
        )
        fields_ws = config.foreground.num_ws + (config.background.num_ws if config.background else 0)
        self.num_ws = fields_ws + u.convs_per_block * len(u.resolutions) + bool(u.resolutions)
        self.num_ws += config.num_unused_ws
        self.mapping_network = MappingNetwork(
            config.z_dim,
            config.condition_dim,
            config.w_dim,
            self.num_ws,
            num_layers=m.num_layers,
            embed_features=m.embed_features,
            layer_features=m.layer_features,
            activation=m.activation,
            lr_multiplier=m.lr_multiplier,
        )

    def mapping(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """ws [batch, num_ws, w_dim] of z [batch, z_dim]."""
        return self.mapping_network(z, condition, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)

    def split(self, ws: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """ws of the foreground, of the background (None: unmodulated) and of each upsampler block."""
        c = self.config
        first = c.foreground.num_ws
        foreground, background = ws[:, :first], None
        if c.background is not None and c.background.num_ws > 0:
            background = ws[:, first : first + c.background.num_ws]
            first += c.background.num_ws
        blocks = []
        count = c.upsampler.convs_per_block
        for _ in self.blocks:
            last = ws[:, -1:] if c.upsampler.shared_colour_style else ws[:, first + count :][:, :1]
            blocks.append(torch.cat([ws[:, first : first + count], last], dim=1))
            first += count
        return foreground, background, blocks

    def depths(self, t: Tensor) -> Tensor:
        """Depths of t in 0..1, along the camera's z."""
        c = self.config.camera
        return depths_between(t, t.new_tensor(c.near), t.new_tensor(c.far), c.depth_warp)

    def warp(self, points: Tensor) -> Tensor:
        """Bring far points nearer, in models trained with a depth warp."""
        c = self.config.camera
        if c.depth_warp == "log":
            # Square-root distance from the mean camera position (DONeRF, arxiv.org/abs/2103.03231, section 5.2).
            local = points - points.new_tensor([1.0, 0.0, 0.0])
            return local / (math.sqrt(c.far) * local.norm(dim=-1, keepdim=True).sqrt())
        if c.depth_warp == "inverse":
            # The contraction of mip-NeRF 360 (Eq. 10 of arxiv.org/abs/2111.12077).
            norm = points.norm(dim=-1, keepdim=True).clamp(min=1e-7)
            return torch.where(norm >= 1, (2 - 1 / norm) * (points / norm), points)
        return points

    def density(self, raw: Tensor) -> Tensor:
        """Density, in 1/canonical unit, of the raw output of a field."""
        kind = self.config.renderer.density
        return F.softplus(raw - 1) if kind == "shifted_softplus" else F.relu(raw)

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        rays: Tensor,
        codes: tuple[Tensor | None, Tensor | None] = (None, None),
        *,
        near: Tensor | None = None,
        far: Tensor | None = None,
        num_samples: int | None = None,
        random: RenderNoise | None = None,
    ) -> Rendering:
        """Volume-render rays (section 3.1).

        Args:
            ws: [batch, num_ws, w_dim].
            origins, rays: [batch, rays, 3], canonical; a ray's length is that of one unit of depth.
            codes: shape codes [batch, z_dim] of foreground and background, for those that are not modulated.
            near, far: depths, broadcast against [batch, rays, 1]; None: the trained range.
            num_samples: on the foreground, instead of the trained number.
            random: of a training step; None: samples at fixed places, densities as they are.
        """
        c = self.config
        foreground_ws, background_ws, _ = self.split(ws)
        batch, num_rays, _ = origins.shape
        samples = num_samples or c.renderer.num_samples
        near = origins.new_tensor(c.camera.near) if near is None else near
        far = origins.new_tensor(c.camera.far) if far is None else far
        lengths = rays.norm(dim=-1, keepdim=True)  # [batch, rays, 1]

        def evaluate(t: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
            depths = depths_between(t, near, far, c.camera.depth_warp)
            points = self.warp(origins[:, :, None] + depths[..., None] * rays[:, :, None])
            values, raw = self.foreground(points.reshape(batch, -1, 3), foreground_ws, codes[0])
            raw = raw.reshape(t.shape)
            return depths, values.reshape(*t.shape, -1), self.density(raw if noise is None else raw + noise)

        def weigh(t: Tensor, depths: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
            steps = (t if c.camera.intervals_in_t else depths).diff(dim=-1) * lengths
            end = torch.full_like(steps[..., :1], math.inf if c.renderer.open_end else 0.0)
            return volume_weights(density, torch.cat([steps, end], dim=-1))

        t = torch.linspace(0, 1, samples, device=origins.device, dtype=origins.dtype).expand(batch, num_rays, samples)
        if random is not None:
            t = stratified(t, random.position)
        depths, values, density = evaluate(t, None if random is None else random.density)
        weights, passed = weigh(t, depths, density)
        if c.renderer.hierarchical:
            fine = importance_samples(t, weights.detach(), samples, None if random is None else random.fine_position)
            fine_depths, fine_values, fine_density = evaluate(fine, None if random is None else random.fine_density)
            t, order = merged(fine, t)
            depths = torch.cat([fine_depths, depths], dim=-1).gather(-1, order)
            density = torch.cat([fine_density, density], dim=-1).gather(-1, order)
            values = torch.cat([fine_values, values], dim=-2)
            values = values.gather(-2, order[..., None].expand_as(values))
            weights, passed = weigh(t, depths, density)
        foreground = (weights[..., None] * values).sum(dim=-2)
        if c.background is None:
            return Rendering(foreground, foreground, None, weights, passed, None, t, depths, values, None)
        around, background_weights = self.render_background(background_ws, origins, rays, codes[1], random)
        background = passed[..., None] * (background_weights[..., None] * around).sum(dim=-2)
        return Rendering(
            foreground + background,
            foreground,
            background,
            weights,
            passed,
            background_weights,
            t,
            depths,
            values,
            around,
        )

    def render_background(
        self, ws: Tensor | None, origins: Tensor, rays: Tensor, code: Tensor | None, random: RenderNoise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Colour and features [batch, rays, samples, 3 + f] of the background's samples, and their weights."""
        batch, num_rays, _ = origins.shape
        inverse = self.background_inverse_distances(origins)
        if random is not None and random.background_position is not None:
            inverse = -stratified(-inverse.expand_as(random.background_position), random.background_position)
        points = background_points(origins, F.normalize(rays, dim=-1), inverse)
        values, raw = self.background(points.reshape(batch, -1, 4), ws, code)
        values = values.reshape(batch, num_rays, inverse.shape[-1], -1)
        raw = raw.reshape(values.shape[:-1])
        if random is not None and random.background_density is not None:
            raw = raw + random.background_density
        # Intervals are differences of inverse distance: the field learned its densities in that measure.
        lengths = torch.cat([-inverse.diff(dim=-1), torch.full_like(inverse[..., :1], math.inf)], dim=-1)
        weights, _ = volume_weights(self.density(raw), lengths)
        return values, weights

    def background_inverse_distances(self, like: Tensor) -> Tensor:
        """Inverse distances of the background's samples, near to far, [samples]."""
        c = self.config
        count = c.renderer.num_background_samples
        return -torch.linspace(-1, 0, count, device=like.device, dtype=like.dtype) * c.camera.background_start

    def upsample(
        self, features: Tensor, image: Tensor, ws: Tensor, *, noise: bool = True, target: int | None = None
    ) -> list[Tensor]:
        """Images [batch, 3, H, W] after each block up to ``target``, beginning with the given one.

        features: [batch, f, resolution, resolution]; image: [batch, 3, resolution, resolution].
        """
        c = self.config.upsampler
        images, x = [image], features
        shown: Tensor | None = image
        for block, resolution, own in zip(self.blocks, c.resolutions, self.split(ws)[2], strict=True):
            if target is not None and resolution > target:
                break
            x, shown = block(x, shown if c.residual_image else None, own, noise=noise)
            if shown is not None:
                images.append(shown)
        return images

    def colors_of_rays(self, rendering: Rendering, ws: Tensor, target: int) -> Tensor:
        """Colours [batch, 3, rays] of single rays as an original radiance field has them (Eq. 1 and 5).

        Each sample gets a colour of its own by the upsampler's layers up to ``target``, without doubling; the colours
        are composited. Raises ValueError where the layers look at neighbours.
        """
        c = self.config.upsampler
        if c.kernel_size != 1 or c.architecture == "resnet":
            raise ValueError("single samples have a colour only where the upsampler's convolutions are 1 × 1 ones")
        weights, values = rendering.weights, rendering.values
        if rendering.background_weights is not None and rendering.background_values is not None:
            behind = rendering.transmittance[..., None] * rendering.background_weights
            weights, values = torch.cat([weights, behind], -1), torch.cat([values, rendering.background_values], -2)
        shown, x = self.colour_and_features(values.permute(0, 3, 1, 2))
        for block, resolution, own in zip(self.blocks, c.resolutions, self.split(ws)[2], strict=True):
            if resolution <= target:
                x, shown = block(x, shown, own, noise=False, double=False)
        return (shown * weights[:, None]).sum(-1)

    def stage(self, alpha: float) -> tuple[int, int, float]:
        """Resolution of the rays, resolution of the image and blend (0..1) of a training progress alpha in 0..1."""
        c = self.config
        stages = c.stages
        if not stages:
            return c.renderer.resolution, c.renderer.resolution, 1.0
        if alpha >= 1 or alpha < 0 or not c.progressive:
            target, blend = stages[-1], 1.0
        elif alpha == 0:
            target, blend = c.start_resolution, 1.0
        else:
            blend, whole = math.modf(alpha * len(stages))
            target = stages[int(whole)]
        return min(c.renderer.resolution, target), target, blend

    def pixels(self, alpha: float = 1.0, roll: Tensor | None = None, *, like: Tensor) -> Tensor:
        """Coordinates in −1..1 of the rendered pixels, [rays, 2]; roll: radians, counter-clockwise."""
        c = self.config
        resolution, target, _ = self.stage(alpha)
        device = like.device
        if c.camera.aligned_corners:
            size = c.stages[-1] if c.stages else c.renderer.resolution
            grid = pixel_grid(size, aligned_corners=True, device=device).T.reshape(1, 2, size, size)
            for smaller in (target, resolution):
                if smaller < grid.shape[-1]:
                    grid = F.interpolate(grid, (smaller, smaller), mode="nearest")
            pixels = grid.reshape(2, -1).T
        else:
            pixels = pixel_grid(resolution, aligned_corners=False, device=device)
        pixels = pixels.to(like.dtype)
        if roll is None:
            return pixels
        x, y = pixels.unbind(dim=-1)
        cos, sin = torch.cos(roll), torch.sin(roll)
        return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)

    def forward(
        self,
        ws: Tensor,
        camera_from_pixels: Tensor,
        world_from_camera: Tensor,
        codes: tuple[Tensor | None, Tensor | None] = (None, None),
        *,
        alpha: float = 1.0,
        noise: bool = True,
        roll: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Rendering]:
        """The final image [batch, 3, H, W] in about −1..1, the colour image rendered, and the rendering.

        alpha: training progress; negative, as in untrained checkpoints, stands for 20 samples and full size.
        """
        pixels = self.pixels(alpha, roll, like=ws).expand(len(ws), -1, -1)
        origins, rays = camera_rays(pixels, camera_from_pixels, world_from_camera)
        rendering = self.render(ws, origins, rays, codes, num_samples=20 if alpha == -1 else None)
        return *self.upsampled(rendering, ws, alpha, noise=noise), rendering

    def upsampled(self, rendering: Rendering, ws: Tensor, alpha: float, *, noise: bool = True) -> tuple[Tensor, Tensor]:
        """The final image [batch, 3, H, W] of a square of rendered rays at a training progress, and their colours."""
        side = math.isqrt(rendering.features.shape[1])
        stacked = rendering.features.transpose(1, 2).unflatten(2, (side, side))
        rendered, features = self.colour_and_features(stacked)
        _, target, blend = self.stage(alpha)
        images = self.upsample(features, rendered, ws, noise=noise, target=target)
        image = images[-1]
        if blend < 1 and len(images) > 1:
            before = F.interpolate(images[-2], image.shape[-2:], mode="bilinear", align_corners=False)
            image = before * (1 - blend) + image * blend
        return image, rendered

    def colour_and_features(self, stacked: Tensor) -> tuple[Tensor, Tensor]:
        """Split [batch, 3 + f, H, W]; a field without colour of its own shows its first features."""
        if self.config.foreground.colour == "none":
            return stacked[:, :3], stacked
        return stacked[:, :3], stacked[:, 3:]


def depths_between(t: Tensor, near: Tensor, far: Tensor, warp: str) -> Tensor:
    """Depths at t in 0..1 between near and far, evenly spaced, or evenly in log or inverse depth."""
    if warp == "log":
        return torch.exp(far.log() * t + near.log() * (1 - t))
    if warp == "inverse":
        return 1 / (t / far + (1 - t) / near)
    return far * t + near * (1 - t)
