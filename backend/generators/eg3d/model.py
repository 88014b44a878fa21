"""EG3D: tri-plane features from a StyleGAN2 backbone, volume rendering, superresolution (arxiv.org/abs/2112.07945).

Vocabulary. *Planes* are three axis-aligned feature images [3, features, height, width] that the backbone paints; a
point is projected on each, the samples are averaged and a small MLP (the *decoder*) reads density and 32 features, of
which the first three are the raw colour. *Canonical* is the model's own frame: y up, the subject faces +z, OpenCV
cameras. Distances along rays here are euclidean (unit directions), not depths along z.

The whole model is in this file. The class ``EG3D`` is the network, batched and stage by stage, as the paper tells it;
``EG3DGenerator`` and ``EG3DScene`` place it in the world for the rest of this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera
from ...checkpoints.store import ModelCard
from ...progress import Progress, silent
from ...rendering.compositing import weights_from_alpha
from ...rendering.sampling import inverse_cdf, merged, midpoints
from ...scene import FieldInfo, FieldSample, Image
from ..layers.framing import EMPTY, cut_out, square_around
from ..layers.placement import pose_prior
from ..layers.stylegan2 import (
    BINOMIAL,
    EqualLinear,
    MappingNetwork,
    Shortcut,
    ToImage,
    bias_act,
    check_shape,
    low_pass,
    modulated_conv2d,
    upsample2d,
)

if TYPE_CHECKING:
    from .fast import Prepared

WORLD_FROM_CANONICAL = (
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, -1.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Canonical y up becomes world Z up, and the subject, which faces canonical +z, faces world −Y. A model card's
`metres_per_unit` scales it."""

EG3D_PLANE_AXES = ((0, 1), (0, 2), (2, 0))
"""The two coordinates (horizontal, vertical) each plane sees. The third repeats the second's axes where the paper has
(y, z): the published code projects so, and weights trained with it expect it."""


@dataclass(frozen=True)
class MappingConfig:
    num_layers: int = 8
    embed_features: int | None = None
    """Width of the embedded condition; None: w_dim."""
    layer_features: int | None = None
    """Width of the hidden layers; None: w_dim."""
    activation: str = "lrelu"
    lr_multiplier: float = 0.01


@dataclass(frozen=True)
class BackboneConfig:
    resolution: int = 256
    """Height and width of the planes."""
    channel_base: int = 32768
    channel_max: int = 512
    architecture: Literal["orig", "skip", "resnet"] = "skip"
    kernel_size: int = 3
    activation: str = "lrelu"
    conv_clamp: float | None = 256.0
    use_noise: bool = True
    taps: tuple[float, ...] = BINOMIAL
    """Low-pass filter of the up-sampling."""

    def channels(self, resolution: int) -> int:
        return min(self.channel_base // resolution, self.channel_max)


@dataclass(frozen=True)
class SuperresolutionConfig:
    """Two blocks after the renderer. The official modules differ in these numbers only: see ``SUPERRESOLUTIONS``."""

    input_resolution: int
    """Features are resized to this before the first block..."""
    shrink: bool
    """...either way (True), or only when they are smaller (False)."""
    first_up: bool
    """Whether the first block doubles the resolution, as the second always does."""
    channels: tuple[int, int]
    conv_clamp: float | None = 256.0
    antialias: bool = True
    use_noise: bool = True
    noise: Literal["const", "none"] = "none"
    kernel_size: int = 3
    activation: str = "lrelu"
    taps: tuple[float, ...] = BINOMIAL

    @property
    def resolutions(self) -> tuple[int, int]:
        first = self.input_resolution * (2 if self.first_up else 1)
        return first, 2 * first

    def resized(self, features: Tensor) -> Tensor:
        """Features [batch, f, n, n] at the resolution that the first block takes."""
        size = features.shape[-1]
        if size == self.input_resolution or (size > self.input_resolution and not self.shrink):
            return features
        return F.interpolate(
            features, (self.input_resolution,) * 2, mode="bilinear", align_corners=False, antialias=self.antialias
        )


SUPERRESOLUTIONS = {
    "SuperresolutionHybrid8X": SuperresolutionConfig(128, shrink=True, first_up=True, channels=(128, 64)),
    "SuperresolutionHybrid8XDC": SuperresolutionConfig(128, shrink=True, first_up=True, channels=(256, 128)),
    "SuperresolutionHybrid4X": SuperresolutionConfig(128, shrink=False, first_up=False, channels=(128, 64)),
    "SuperresolutionHybrid2X": SuperresolutionConfig(64, shrink=True, first_up=False, channels=(128, 64)),
    "SuperresolutionHybridDeepfp32": SuperresolutionConfig(
        128, shrink=False, first_up=False, channels=(128, 64), antialias=False
    ),
}
"""By the last part of the official module's name."""


@dataclass(frozen=True)
class RenderingConfig:
    ray_start: float | None = 2.25
    """Distance at which rays start; None: where they enter the box."""
    ray_end: float | None = 3.3
    box_warp: float = 1.0
    """Side of the cube the planes span, canonical units."""
    depth_resolution: int = 48
    depth_resolution_importance: int = 48
    disparity_space_sampling: bool = False
    white_back: bool = False
    neural_resolution: int = 128
    """Rays along each side of the rendered feature image."""
    camera_radius: float = 2.7
    """Distance of the training cameras from the middle."""
    fov_degrees: float = 18.837
    """Of the conditioning camera."""


@dataclass(frozen=True)
class EG3DConfig:
    superresolution: SuperresolutionConfig
    z_dim: int = 512
    condition_dim: int = 25
    """25: the conditioning camera. 0: unconditional."""
    w_dim: int = 512
    plane_features: int = 32
    decoder_width: int = 64
    decoder_lr_multiplier: float = 1.0
    condition_scale: float = 1.0
    """Factor on the condition; 0 disables conditioning without changing the architecture."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    rendering: RenderingConfig = field(default_factory=RenderingConfig)


# ---------------------------------------------------------------------------------------------------------------------
# Backbone and superresolution: StyleGAN2 synthesis blocks


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    noise: Tensor
    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool,
        kernel_size: int,
        use_noise: bool,
        activation: str,
        conv_clamp: float | None,
        taps: tuple[float, ...],
    ):
        super().__init__()
        self.up, self.activation, self.conv_clamp, self.use_noise, self.taps = (
            up,
            activation,
            conv_clamp,
            use_noise,
            taps,
        )
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if use_noise:
            self.register_buffer("noise", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("kernel", low_pass(taps), persistent=False)

    def forward(self, x: Tensor, w: Tensor, *, noise: bool, gain: float = 1.0) -> Tensor:
        x = modulated_conv2d(x, self.weight, self.affine(w), up=self.up, kernel=self.kernel)
        if self.use_noise and noise:
            x = x + self.noise * self.noise_strength
        return bias_act(x, self.bias, self.activation, gain=gain, clamp=self.conv_clamp)


class SynthesisBlock(nn.Module):
    """Two styled convolutions at one resolution, and the image made so far (section 4.1 of arxiv.org/abs/1912.04958).

    The first block (``in_channels`` 0) starts from a learned constant and has one convolution only.
    """

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        image_channels: int,
        *,
        up: bool,
        is_last: bool,
        architecture: str,
        kernel_size: int,
        activation: str,
        conv_clamp: float | None,
        use_noise: bool,
        taps: tuple[float, ...],
    ):
        super().__init__()
        self.up, self.architecture, self.taps = up, architecture, taps

        def conv(channels: int, *, up: bool) -> StyledConv:
            return StyledConv(
                channels,
                out_channels,
                w_dim,
                resolution,
                up=up,
                kernel_size=kernel_size,
                use_noise=use_noise,
                activation=activation,
                conv_clamp=conv_clamp,
                taps=taps,
            )

        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = conv(in_channels, up=up)
        self.conv1 = conv(out_channels, up=False)
        self.has_image = is_last or architecture == "skip"
        if self.has_image:
            self.to_image = ToImage(out_channels, image_channels, w_dim, conv_clamp)
        self.has_shortcut = in_channels != 0 and architecture == "resnet"
        if self.has_shortcut:
            self.shortcut = Shortcut(in_channels, out_channels, up, taps)
        self.register_buffer("kernel", low_pass(taps), persistent=False)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, *, noise: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Features and image at this block's resolution. ws: [batch, at least one per layer, w_dim]."""
        styles = iter(ws.unbind(dim=1))
        if x is None:
            x = self.const.expand(ws.shape[0], -1, -1, -1)
            x = self.conv1(x, next(styles), noise=noise)
        elif self.has_shortcut:
            straight = self.shortcut(x)
            x = self.conv0(x, next(styles), noise=noise)
            x = straight + self.conv1(x, next(styles), noise=noise, gain=math.sqrt(0.5))
        else:
            x = self.conv0(x, next(styles), noise=noise)
            x = self.conv1(x, next(styles), noise=noise)
        if image is not None and self.up:
            image = upsample2d(image, self.kernel)
        if self.has_image:
            addition = self.to_image(x, next(styles))
            image = addition if image is None else image + addition
        return x, image


class Backbone(nn.Module):
    """ws → planes. Neighbouring blocks overlap by one w: a block's image layer shares it with the next convolution."""

    def __init__(self, config: EG3DConfig):
        super().__init__()
        c = config.backbone
        levels = int(math.log2(c.resolution))
        if 2**levels != c.resolution or levels < 2:
            raise ValueError(f"plane resolution must be a power of two from 4 up, got {c.resolution}")
        self.resolutions = [2**i for i in range(2, levels + 1)]
        self.blocks = nn.ModuleDict()
        for r in self.resolutions:
            self.blocks[f"b{r}"] = SynthesisBlock(
                c.channels(r // 2) if r > 4 else 0,
                c.channels(r),
                config.w_dim,
                r,
                3 * config.plane_features,
                up=r > 4,
                is_last=r == c.resolution,
                architecture=c.architecture,
                kernel_size=c.kernel_size,
                activation=c.activation,
                conv_clamp=c.conv_clamp,
                use_noise=c.use_noise,
                taps=c.taps,
            )
        self.num_ws = 2 * len(self.resolutions)

    def forward(self, ws: Tensor, *, noise: bool = True) -> Tensor:
        """Planes [batch, 3, features, height, width] of ws [batch, num_ws, w_dim]."""
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for block in self.blocks.values():
            x, image = block(x, image, ws[:, first:], noise=noise)
            first += 1 if first == 0 else 2
        assert image is not None
        return image.unflatten(1, (3, -1))


class Superresolution(nn.Module):
    """Raw colour and features → the final image, styled by the last w alone (section 4.3)."""

    def __init__(self, config: EG3DConfig):
        super().__init__()
        c = self.config = config.superresolution
        widths = [config.plane_features, *c.channels]
        self.blocks = nn.ModuleList(
            SynthesisBlock(
                widths[i],
                widths[i + 1],
                config.w_dim,
                c.resolutions[i],
                3,
                up=i == 1 or c.first_up,
                is_last=i == 1,
                architecture="skip",
                kernel_size=c.kernel_size,
                activation=c.activation,
                conv_clamp=c.conv_clamp,
                use_noise=c.use_noise,
                taps=c.taps,
            )
            for i in range(2)
        )

    def forward(self, features: Tensor, ws: Tensor) -> Tensor:
        """Image [batch, 3, H, W] in about -1..1 from features [batch, features, h, w], the first three being colour."""
        c = self.config
        features = c.resized(features)
        x, image = features, features[:, :3]
        last = ws[:, -1:].expand(-1, 3, -1)
        for block in self.blocks:
            x, image = block(x, image, last, noise=c.noise == "const")
        return image


# ---------------------------------------------------------------------------------------------------------------------
# Volume rendering


def rays(world_from_camera: Tensor, intrinsics: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centres of a square image, row by row.

    Args:
        world_from_camera: [batch, 4, 4], OpenCV axes.
        intrinsics: [batch, 3, 3], in units of the image size.
    Returns:
        origins and unit directions [batch, resolution², 3].
    """
    centres = (torch.arange(resolution, device=intrinsics.device, dtype=intrinsics.dtype) + 0.5) / resolution
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    pixels = torch.stack([u.flatten(), v.flatten(), torch.ones_like(u).flatten()], dim=-1)  # [rays, 3]
    directions = pixels @ torch.linalg.inv(intrinsics).mT @ world_from_camera[:, :3, :3].mT
    origins = world_from_camera[:, None, :3, 3].expand_as(directions)
    return origins, F.normalize(directions, dim=-1)


def slab(origins: Tensor, directions: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """Distances [..., 1] at which rays [..., 3] pass into and out of the centred cube; in after out where they miss."""
    faces = torch.stack([(-side / 2 - origins) / directions, (side / 2 - origins) / directions])
    return faces.amin(dim=0).amax(dim=-1, keepdim=True), faces.amax(dim=0).amin(dim=-1, keepdim=True)


def box_entry_and_exit(origins: Tensor, directions: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """Distances [..., 1] between which rays [..., 3] are in the centred cube; where they miss it, those of others."""
    near, far = slab(origins, directions, side)
    hit = far > near
    if not bool(hit.any()):
        return torch.full_like(near, -1.0), torch.full_like(far, -2.0)
    starts = near[hit]
    return torch.where(hit, near, starts.min()), torch.where(hit, far, starts.max())


def coarse_distances(near: Tensor, far: Tensor, samples: int, *, disparity: bool, jitter: Tensor | None) -> Tensor:
    """``samples`` distances from near to far, both included.

    Args:
        near, far: broadcast against [batch, rays, 1].
        jitter: 0..1, [batch, rays, samples, 1], moves each sample towards the next (the last one beyond ``far``).
    Returns:
        [batch, rays, samples].
    """
    t = torch.linspace(0, 1, samples, device=near.device, dtype=near.dtype)
    if jitter is not None:
        t = t + jitter.squeeze(-1) / (samples - 1)
    if disparity:
        return 1 / ((1 - t) / near + t / far)
    return near + t * (far - near)


def sample_planes(planes: Tensor, points: Tensor, box_warp: float) -> Tensor:
    """Bilinear features of each plane at canonical points [batch, points, 3], 0 outside: [batch, 3, points, f]."""
    batch, _, features, height, width = planes.shape
    scaled = points * (2 / box_warp)
    at = torch.stack([scaled[..., axes] for axes in EG3D_PLANE_AXES], dim=1)  # [batch, 3, points, 2]
    sampled = F.grid_sample(
        planes.reshape(batch * 3, features, height, width),
        at.reshape(batch * 3, 1, -1, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return sampled.reshape(batch, 3, features, -1).transpose(2, 3)


class Decoder(nn.Module):
    """Mean of the plane features → density before its softplus, and features in 0..1."""

    def __init__(self, config: EG3DConfig):
        super().__init__()
        lr = config.decoder_lr_multiplier
        self.hidden = EqualLinear(config.plane_features, config.decoder_width, lr_multiplier=lr)
        self.out = EqualLinear(config.decoder_width, 1 + config.plane_features, lr_multiplier=lr)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.out(F.softplus(self.hidden(features)))
        # Slightly more than a sigmoid, so that 0 and 1 can be reached (as in Mip-NeRF).
        return x[..., :1], torch.sigmoid(x[..., 1:]) * 1.002 - 0.001


@dataclass(frozen=True)
class Composite:
    features: Tensor
    """[batch, rays, features] in -1..1."""
    distance: Tensor
    """[batch, rays, 1], mean distance of what was hit."""
    weights: Tensor
    """[batch, rays, samples - 1]: share of each interval."""

    @property
    def alpha(self) -> Tensor:
        return self.weights.sum(dim=-1, keepdim=True)


def activate_density(raw: Tensor) -> Tensor:
    return F.softplus(raw - 1)


def composite(
    distances: Tensor,
    raw_density: Tensor,
    features: Tensor,
    *,
    white_back: bool,
    limits: tuple[Tensor, Tensor] | None = None,
) -> Composite:
    """Composite intervals between neighbouring samples, each with the mean colour and density of its ends.

    Nothing is added behind the last sample.

    Args:
        distances: [batch, rays, samples].
        raw_density: [batch, rays, samples].
        features: [batch, rays, samples, f].
        limits: the smallest and largest distance of the whole image; None: of these rays.
    """
    weights = interval_weights(distances, raw_density)
    mixed = (weights[..., None] * (features[..., :-1, :] + features[..., 1:, :]) / 2).sum(dim=-2)
    limits = limits or (distances.min(), distances.max())
    return finished(mixed, weights, distances, white_back=white_back, limits=limits)


def interval_weights(distances: Tensor, raw_density: Tensor) -> Tensor:
    """Share of each interval [batch, rays, samples - 1] between samples [batch, rays, samples]."""
    density = activate_density(midpoints(raw_density))
    return weights_from_alpha(1 - torch.exp(-density * distances.diff(dim=-1)))


def finished(
    mixed: Tensor, weights: Tensor, distances: Tensor, *, white_back: bool, limits: tuple[Tensor, Tensor]
) -> Composite:
    """What is made of the weighted sum of features [batch, rays, f]."""
    total = weights.sum(dim=-1, keepdim=True)
    if white_back:
        mixed = mixed + 1 - total
    distance = ((weights * midpoints(distances)).sum(dim=-1, keepdim=True) / total).nan_to_num(nan=float("inf"))
    return Composite(mixed * 2 - 1, distance.clamp(*limits), weights)


def importance_distances(distances: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Draw distances where the coarse weights are (section 5.2 of arxiv.org/abs/2003.08934; blur of Mip-NeRF).

    Args:
        distances: [batch, rays, samples].
        weights: [batch, rays, samples - 1].
        u: 0..1, [batch, rays, new samples].
    Returns:
        [batch, rays, new samples].
    """
    flat = weights.detach().flatten(0, 1)[:, None]
    blurred = F.avg_pool1d(F.max_pool1d(flat, 2, 1, padding=1), 2, 1).reshape(weights.shape) + 0.01
    # The weights are of intervals already; the published code still drops the first and last as if of samples.
    return inverse_cdf(midpoints(distances)[..., :-1], blurred[..., 1:-1], u)


@dataclass(frozen=True)
class Rendering:
    """What the renderer made, for one square image; the intermediate stages are kept for comparison."""

    features: Tensor
    """[batch, features, height, width], the first three being the raw colour, in -1..1."""
    distance: Tensor
    """[batch, 1, height, width]."""
    alpha: Tensor
    """[batch, 1, height, width]."""
    coarse_distances: Tensor | None = None
    coarse_weights: Tensor | None = None
    fine_distances: Tensor | None = None


class EG3D(nn.Module):
    """The generator network: mapping, planes, rendering, superresolution."""

    def __init__(self, config: EG3DConfig):
        super().__init__()
        self.config = config
        m = config.mapping
        self.backbone = Backbone(config)
        self.mapping_network = MappingNetwork(
            config.z_dim,
            config.condition_dim,
            config.w_dim,
            self.backbone.num_ws,
            num_layers=m.num_layers,
            embed_features=m.embed_features,
            layer_features=m.layer_features,
            activation=m.activation,
            lr_multiplier=m.lr_multiplier,
        )
        self.decoder = Decoder(config)
        self.superresolution = Superresolution(config)

    def mapping(
        self, z: Tensor, condition: Tensor | None, *, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """ws [batch, num_ws, w_dim] of z [batch, z_dim] and condition [batch, 25]."""
        if condition is not None:
            condition = condition * self.config.condition_scale
        return self.mapping_network(z, condition, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)

    def density_and_features(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density [batch, points, 1] and features [batch, points, f] at canonical points [batch, points, 3]."""
        return self.decoder(sample_planes(planes, points, self.config.rendering.box_warp).mean(dim=1))

    def ray_limits(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        r = self.config.rendering
        if r.ray_start is None or r.ray_end is None:
            return box_entry_and_exit(origins, directions, r.box_warp)
        return origins.new_tensor(r.ray_start), origins.new_tensor(r.ray_end)

    def render(
        self,
        planes: Tensor,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        *,
        jitter: Tensor | None = None,
        u: Tensor | None = None,
        samples: tuple[int, int] | None = None,
    ) -> Rendering:
        """Volume-render the square image whose rays are given row by row (section 4.2).

        Args:
            planes: [batch, 3, features, height, width].
            origins, directions: [batch, rays, 3], canonical.
            near, far: distances, broadcast against [batch, rays, 1].
            jitter: 0..1, [batch, rays, coarse samples, 1]; None: none.
            u: 0..1, where fine samples are drawn, [batch, rays, fine samples]; None: evenly from 0 to 1.
            samples: (coarse, fine) instead of the trained numbers.
        """
        r = self.config.rendering
        num_coarse, num_fine = samples or (r.depth_resolution, r.depth_resolution_importance)
        batch, num_rays, _ = origins.shape

        def evaluate(at: Tensor) -> tuple[Tensor, Tensor]:
            points = origins[:, :, None] + at[..., None] * directions[:, :, None]
            raw, values = self.density_and_features(planes, points.reshape(batch, -1, 3))
            return raw.reshape(at.shape), values.reshape(*at.shape, -1)

        coarse = coarse_distances(near, far, num_coarse, disparity=r.disparity_space_sampling, jitter=jitter)
        coarse = coarse.expand(batch, num_rays, num_coarse)
        raw, values = evaluate(coarse)
        result = composite(coarse, raw, values, white_back=r.white_back)
        coarse_weights, fine = result.weights, coarse[..., :0]
        if num_fine > 0:
            if u is None:
                u = torch.linspace(0, 1, num_fine, device=coarse.device, dtype=coarse.dtype)
                u = u.expand(batch, num_rays, num_fine)
            fine = importance_distances(coarse, coarse_weights, u)
            fine_raw, fine_values = evaluate(fine)
            distances, order = merged(coarse, fine)
            raw = torch.cat([raw, fine_raw], dim=-1).gather(-1, order)
            values = torch.cat([values, fine_values], dim=-2)
            values = values.gather(-2, order[..., None].expand_as(values))
            result = composite(distances, raw, values, white_back=r.white_back)
        side = math.isqrt(num_rays)

        def image(x: Tensor) -> Tensor:
            return x.transpose(1, 2).reshape(batch, -1, side, side)

        return Rendering(
            image(result.features), image(result.distance), image(result.alpha), coarse, coarse_weights, fine
        )

    def forward(
        self,
        ws: Tensor,
        world_from_camera: Tensor,
        intrinsics: Tensor,
        *,
        resolution: int | None = None,
        jitter: Tensor | None = None,
        u: Tensor | None = None,
    ) -> tuple[Tensor, Rendering]:
        """The final image [batch, 3, H, W] in about -1..1, and the rendering it was made from."""
        planes = self.backbone(ws)
        resolution = resolution or self.config.rendering.neural_resolution
        origins, directions = rays(world_from_camera, intrinsics, resolution)
        near, far = self.ray_limits(origins, directions)
        rendering = self.render(planes, origins, directions, near, far, jitter=jitter, u=u)
        return self.superresolution(rendering.features, ws), rendering


# ---------------------------------------------------------------------------------------------------------------------
# In the world


def official_focal_length(fov_degrees: float) -> float:
    """Focal length, in image sizes, of a field of view. The published helper has these literals for √2 and π."""
    return 1 / (math.tan(fov_degrees * 3.14159 / 360) * 1.414)


@dataclass(frozen=True)
class Quality:
    """How much work a picture is."""

    resolution: int
    """Rays along each side."""
    samples: tuple[int, int]
    """Coarse, fine."""
    superresolution: bool


class EG3DScene:
    """One latent, in the world: planes and all else that depends on ws alone are made once."""

    def __init__(self, network: EG3D, ws: Tensor, metres_per_unit: float, *, straightforward: bool = False):
        self.network, self.ws, self.metres_per_unit = network, ws, metres_per_unit
        world_from_canonical = ws.new_tensor(WORLD_FROM_CANONICAL)
        world_from_canonical[:3, :3] *= metres_per_unit
        self.canonical_from_world = torch.linalg.inv(world_from_canonical)
        self.rotation = ws.new_tensor(WORLD_FROM_CANONICAL)[:3, :3]
        with torch.no_grad():
            self.prepared = None if straightforward else _prepare(network, ws)
            self.planes = network.backbone(ws[None]) if self.prepared is None else self.prepared.planes
        self.info = field_info(network.config, metres_per_unit)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Density and raw colour at world points [..., 3]; nothing outside the planes. See Scene.field."""
        canonical = points @ self.canonical_from_world[:3, :3].T + self.canonical_from_world[:3, 3]
        raw, values = self.network.density_and_features(self.planes, canonical.reshape(1, -1, 3))
        inside = (canonical.abs() <= self.network.config.rendering.box_warp / 2).all(dim=-1)
        density = activate_density(raw).reshape(points.shape[:-1]) / self.metres_per_unit
        return FieldSample(density * inside, values[..., :3].reshape(points.shape).clamp(0, 1))

    def quality(self, quality: Literal["draft", "full"], samples_per_ray: int | None) -> Quality:
        """What the two words mean here; samples_per_ray: coarse and fine together."""
        r = self.network.config.rendering
        coarse, fine = r.depth_resolution, r.depth_resolution_importance
        if quality == "draft":
            coarse, fine = max(coarse // 3, 4), fine // 3
        if samples_per_ray is not None:
            share = samples_per_ray // 2 if fine > 0 else 0
            coarse, fine = max(samples_per_ray - share, 4), share
        resolution = max(r.neural_resolution // 2, min(r.neural_resolution, 32))
        return Quality(resolution if quality == "draft" else r.neural_resolution, (coarse, fine), quality == "full")

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """See Scene.render. A draft renders fewer rays and samples and leaves the superresolution out."""
        work = self.quality(quality, samples_per_ray)
        n = work.resolution
        view = square_around(camera).transformed(self.canonical_from_world.to(camera.world_from_camera))
        view_rays = view.resized(n, n).rays()
        origins, directions = view_rays.origins.reshape(1, -1, 3), view_rays.directions.reshape(1, -1, 3)
        near, far = self._limits(origins, directions, camera.projection)
        rendering = self._rendered(origins, directions, near, far, work.samples, jitter, progress)
        enter, leave = slab(origins, directions, self.network.config.rendering.box_warp)
        hit = (leave > enter.clamp(min=0)).reshape(1, 1, n, n)
        alpha = (rendering.alpha * hit).clamp(0, 1)
        progress(0.5, "superresolution" if work.superresolution else "")
        if not work.superresolution:
            image = rendering.features[:, :3]
        elif self.prepared is None:
            image = self.network.superresolution(rendering.features, self.ws[None])
        else:
            image = self.prepared.superresolution(rendering.features)
        depth = rendering.distance * view_rays.depth_from_distance
        normal = None
        if quality == "full":
            points = origins[0] + rendering.distance.reshape(-1, 1) * directions[0]
            normal = cut_out(self._normals(points).T.reshape(1, 3, n, n), camera)
        shown_alpha = cut_out(alpha, camera)[..., 0]
        progress(1.0)
        return Image(
            rgb=cut_out(image / 2 + 0.5, camera).clamp(0, 1),
            alpha=shown_alpha,
            depth=torch.where(shown_alpha > EMPTY, cut_out(depth, camera)[..., 0], math.inf),
            normal=None if normal is None else F.normalize(normal, dim=-1) * (shown_alpha > EMPTY)[..., None],
        )

    def _limits(self, origins: Tensor, directions: Tensor, projection: str) -> tuple[Tensor, Tensor]:
        """Where rays start and end, [1, rays, 1]: the trained shell around the camera, moved with the camera."""
        r = self.network.config.rendering
        near, far = self.network.ray_limits(origins, directions)
        if r.ray_start is not None:
            if projection == "perspective":
                distance = origins.norm(dim=-1, keepdim=True)
            else:
                distance = -(origins * directions).sum(dim=-1, keepdim=True)
            near, far = near + distance - r.camera_radius, far + distance - r.camera_radius
        near = near.clamp(min=0.01 * r.box_warp)
        return near, torch.maximum(far, near + 0.01 * r.box_warp)

    def _rendered(
        self,
        origins: Tensor,
        directions: Tensor,
        near: Tensor,
        far: Tensor,
        samples: tuple[int, int],
        generator: torch.Generator | None,
        progress: Progress,
    ) -> Rendering:
        batch, num_rays, _ = origins.shape
        jitter = u = None
        if generator is not None:
            jitter = torch.rand(batch, num_rays, samples[0], 1, generator=generator, device=origins.device)
            u = torch.rand(batch, num_rays, samples[1], generator=generator, device=origins.device)
        if self.prepared is None:
            return self.network.render(self.planes, origins, directions, near, far, jitter=jitter, u=u, samples=samples)
        return self.prepared.render(origins, directions, near, far, jitter, u, samples, progress)

    def _normals(self, points: Tensor) -> Tensor:
        """World normals [points, 3]: against the gradient of density at canonical points [points, 3]."""
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            raw, _ = self.network.density_and_features(self.planes, points[None])
            (gradient,) = torch.autograd.grad(raw.sum(), points)
        return F.normalize(-gradient @ self.rotation.T, dim=-1)


def field_info(config: EG3DConfig, metres_per_unit: float) -> FieldInfo:
    """The field of every scene of this network."""
    half = config.rendering.box_warp / 2 * metres_per_unit
    return FieldInfo(quantity="density", iso_level=iso_level(metres_per_unit), bounds=cube(half))


def cube(half: float) -> Bounds:
    return (-half, -half, -half), (half, half, half)


def iso_level(metres_per_unit: float) -> float:
    """Density, 1/metre, of the surface: where the published meshes are cut, at 10 before the activation."""
    return math.log1p(math.exp(10 - 1)) / metres_per_unit


def _prepare(network: EG3D, ws: Tensor) -> Prepared:
    from .fast import Prepared  # which is built on this module

    return Prepared(network, ws)


class EG3DGenerator:
    """EG3D as a Generator (backend/generator.py)."""

    def __init__(self, network: EG3D, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info, self.metres_per_unit = network.eval().requires_grad_(False), info, metres_per_unit

    @property
    def device(self) -> torch.device:
        return self.network.mapping_network.w_mean.device

    def sample_z(self, seed: int) -> Tensor:
        """z [1, z_dim] as `gen_samples.py` draws it."""
        z = np.random.RandomState(seed).randn(1, self.network.config.z_dim)
        return torch.from_numpy(z).float().to(self.device)

    @torch.no_grad()
    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping."""
        c = None
        if self.network.config.condition_dim > 0:
            c = self.condition_vector(condition).expand(len(z), -1)
        return self.network.mapping(z, c, truncation_psi=truncation_psi)

    def condition_vector(self, camera: Camera | None) -> Tensor:
        """The 25 numbers [1, 25] of a world camera: canonical pose, row by row, and intrinsics over the image size."""
        r = self.network.config.rendering
        if camera is None:
            focal = official_focal_length(r.fov_degrees)
            pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], device=self.device))
            pose[2, 3] = r.camera_radius
            intrinsics = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], device=self.device)
        else:
            square = square_around(camera).to(self.device)
            pose = torch.tensor(WORLD_FROM_CANONICAL, device=self.device).T @ square.world_from_camera
            pose[:3, 3] /= self.metres_per_unit
            size = torch.tensor([[square.width], [square.height], [1.0]], device=self.device)
            intrinsics = square.intrinsics / size
        return torch.cat([pose.flatten(), intrinsics.flatten()])[None]

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, straightforward: bool = False
    ) -> EG3DScene:
        """See Generator.synthesize. straightforward: without the preparations that make rendering fast."""
        check_shape("ws", ws, (self.network.backbone.num_ws, self.network.config.w_dim))
        return EG3DScene(self.network, ws.to(self.device), self.metres_per_unit, straightforward=straightforward)


def model_info(name: str, card: ModelCard, config: EG3DConfig, num_parameters: int) -> ModelInfo:
    """What the panel needs to know of an EG3D."""
    scale, r = card.metres_per_unit, config.rendering
    level = iso_level(scale)
    num_ws = 2 * int(math.log2(config.backbone.resolution)) - 2
    prior = PosePrior(
        radius=r.camera_radius * scale,
        fov=2 * math.atan(0.5 / official_focal_length(r.fov_degrees)),
        azimuth=(-0.5, 0.5),
        elevation=(-0.35, 0.35),
    )
    info = field_info(config, scale)
    return ModelInfo(
        name=name,
        **card.told,
        z_dim=config.z_dim,
        num_ws=num_ws,
        w_dim=config.w_dim,
        # Blocks up to 32² place and shape, later ones and the superresolution colour (StyleGAN's coarse and middle).
        num_geometry_ws=min(8, num_ws - 1),
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=level,
        iso_range=(level / 10, level * 10),
        bounds=info.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.superresolution.resolutions[1],
        pose_conditioned=config.condition_dim > 0 and config.condition_scale != 0,
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def config_from_json(constructor: dict[str, Any]) -> EG3DConfig:
    """The config that `dataclasses.asdict` made a card's constructor of."""
    parts: dict[str, Any] = {
        "mapping": MappingConfig,
        "backbone": BackboneConfig,
        "superresolution": SuperresolutionConfig,
        "rendering": RenderingConfig,
    }
    values = dict(constructor)
    for name, part in parts.items():
        if name in values:
            values[name] = part(**_tuples(values[name]))
    return EG3DConfig(**values)


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> EG3DGenerator:
    """The generator in a model folder."""
    network = EG3D(config_from_json(card.constructor))
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    count = sum(p.numel() for p in network.parameters())
    return EG3DGenerator(network, model_info(name, card, network.config, count), card.metres_per_unit)
