"""EG3D: tri-plane features from a StyleGAN2 backbone, volume rendering, superresolution (arxiv.org/abs/2112.07945).

Vocabulary. *Planes* are three axis-aligned feature images [3, features, height, width] that the backbone paints; a
point is projected on each, the samples are averaged and a small MLP (the *decoder*) reads density and 32 features, of
which the first three are the raw colour. *Canonical* is the model's own frame: y up, the subject faces +z, OpenCV
cameras. Distances along rays here are euclidean (unit directions), not depths along z.

The whole network is in this file, batched and stage by stage, in the order of the paper. ``scene.py`` places it in the
world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import Bounds

from ...rendering import sampling
from ...rendering.boxes import box_interval
from ...rendering.compositing import weights_from_alpha
from ...rendering.sampling import merged, midpoints
from ...scenes.volume import cube
from ..layers.stylegan2 import (
    BINOMIAL,
    EqualLinear,
    MappingNetwork,
    Shortcut,
    ToImage,
    bias_act,
    low_pass,
    modulated_conv2d,
    upsample2d,
)

EG3D_PLANE_AXES = ((0, 1), (0, 2), (2, 0))
"""The two coordinates (horizontal, vertical) each plane sees. The third repeats the second's axes where the paper has
(y, z): the published code projects so, and weights trained with it expect it."""

PAPER_PLANE_AXES = ((0, 1), (0, 2), (2, 1))
"""The planes (x, y), (x, z) and (z, y) of section 4: each pair of axes has one."""


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
    convs: Literal[1, 2] = 2
    """Convolutions of a block; with 1, only the one that doubles the resolution."""
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
    """The first block doubles the resolution, as the second always does."""
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
    plane_axes: tuple[tuple[int, int], ...] = EG3D_PLANE_AXES
    """The two coordinates (horizontal, vertical) each plane sees."""
    ray_box: tuple[float, float, float] | None = None
    """Half the sides of a box around the middle outside of which there is nothing, canonical units: rays start and end
    there if `ray_start` is None, and those that miss it show the background. None: the cube of the planes, and rays
    that miss it are sampled all the same, as in the published code."""
    neural_resolution: int = 128
    """Rays along each side of the rendered feature image."""
    camera_radius: float = 2.7
    """Distance of the training cameras from the middle."""
    fov_degrees: float = 18.837
    """Of the conditioning camera."""

    def __post_init__(self) -> None:
        """Raises ValueError: the planes have other axes than 0, 1, 2."""
        if len(self.plane_axes) != 3 or any(axis not in (0, 1, 2) for pair in self.plane_axes for axis in pair):
            raise ValueError(f"plane_axes must be three pairs of axes 0, 1 or 2, got {self.plane_axes}")

    @property
    def bounds(self) -> Bounds:
        """The box in which there may be something, canonical units."""
        x, y, z = self.ray_box or (self.box_warp / 2,) * 3
        return (-x, -y, -z), (x, y, z)


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

    The first block (``in_channels`` 0) starts from a learned constant and has one convolution only; with ``convs`` 1
    the others have one, too: that which takes their input.
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
        convs: Literal[1, 2] = 2,
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
        self.has_second = in_channels == 0 or convs == 2
        if self.has_second:
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
            if self.has_second:
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
        if c.convs == 1 and c.architecture == "resnet":
            raise ValueError("blocks of the resnet architecture have two convolutions: set convs to 2")
        self.convs = c.convs
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
                convs=c.convs,
            )
        self.num_ws = 2 + c.convs * (len(self.resolutions) - 1)

    def forward(self, ws: Tensor, *, noise: bool = True) -> Tensor:
        """Planes [batch, 3, features, height, width] of ws [batch, num_ws, w_dim]."""
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for block in self.blocks.values():
            x, image = block(x, image, ws[:, first:], noise=noise)
            first += 1 if first == 0 else self.convs
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


def box_entry_and_exit(origins: Tensor, directions: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """Distances [..., 1] between which rays [..., 3] are in the centred cube; for rays that miss it, the smallest and
    largest of the others."""
    near, far = (distance[..., None] for distance in box_interval(origins, directions, cube(side / 2)))
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


def sample_planes(
    planes: Tensor, points: Tensor, box_warp: float, axes: tuple[tuple[int, int], ...] = EG3D_PLANE_AXES
) -> Tensor:
    """Bilinear features of each plane at canonical points [batch, points, 3], 0 outside: [batch, 3, points, f]."""
    batch, _, features, height, width = planes.shape
    scaled = points * (2 / box_warp)
    at = torch.stack([scaled[..., pair] for pair in axes], dim=1)  # [batch, 3, points, 2]
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
    """Return the composite of the weighted sum of features [batch, rays, f]."""
    total = weights.sum(dim=-1, keepdim=True)
    if white_back:
        mixed = mixed + 1 - total
    hit = total > 0  # a division by zero would have NaN for a gradient
    mean = (weights * midpoints(distances)).sum(dim=-1, keepdim=True) / torch.where(hit, total, 1.0)
    return Composite(mixed * 2 - 1, torch.where(hit, mean, math.inf).clamp(*limits), weights)


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
    return sampling.inverse_cdf(midpoints(distances)[..., :-1], blurred[..., 1:-1], u)


@dataclass(frozen=True)
class RenderedRays:
    """Composite of single rays, with the intermediate stages that parity is checked on."""

    composite: Composite
    coarse_distances: Tensor
    """[batch, rays, coarse samples]."""
    coarse_weights: Tensor
    """[batch, rays, coarse samples - 1]."""
    fine_distances: Tensor
    """[batch, rays, fine samples], unsorted; none where there is no fine pass."""


@dataclass(frozen=True)
class Rendering:
    """One square image of the renderer; the intermediate stages are kept for comparison."""

    features: Tensor
    """[batch, features, height, width], the first three being the raw colour, in -1..1."""
    distance: Tensor
    """[batch, 1, height, width]."""
    alpha: Tensor
    """[batch, 1, height, width]."""
    coarse_distances: Tensor | None = None
    coarse_weights: Tensor | None = None
    fine_distances: Tensor | None = None


def square_image(x: Tensor) -> Tensor:
    """Image [batch, channels, side, side] of the values [batch, side², channels] of rays, row by row."""
    side = math.isqrt(x.shape[1])
    return x.mT.reshape(len(x), -1, side, side)


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
        r = self.config.rendering
        return self.decoder(sample_planes(planes, points, r.box_warp, r.plane_axes).mean(dim=1))

    def ray_limits(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        r = self.config.rendering
        if r.ray_start is None or r.ray_end is None:
            if r.ray_box is None:
                return box_entry_and_exit(origins, directions, r.box_warp)
            near, far = (distance[..., None] for distance in box_interval(origins, directions, r.bounds))
            return near, torch.maximum(near, far)
        return origins.new_tensor(r.ray_start), origins.new_tensor(r.ray_end)

    def render_rays(
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
    ) -> RenderedRays:
        """Volume-render rays in two passes (section 4.2).

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
        return RenderedRays(result, coarse, coarse_weights, fine)

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
        """Volume-render the square image whose rays are given row by row. Arguments: `render_rays`."""
        rendered = self.render_rays(planes, origins, directions, near, far, jitter=jitter, u=u, samples=samples)
        made = rendered.composite
        return Rendering(
            square_image(made.features),
            square_image(made.distance),
            square_image(made.alpha),
            rendered.coarse_distances,
            rendered.coarse_weights,
            rendered.fine_distances,
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
