"""GRAF: a conditional radiance field with separate codes for shape and appearance (arxiv.org/abs/2007.02442).

Vocabulary. z is the *shape code* followed by the *appearance code* (section 3.2.1). There is no mapping network: `ws`
[2, w_dim] holds the two codes as rows, the shorter one filled with zeros. *Canonical* is the model's own frame: z up,
cameras on a sphere around the origin, looking along their −z. `t` multiplies the ray's direction, whose length is not
one: it is the depth along the camera's axis.

`GRAF` is the network, batched and stage by stage, as the paper tells it: the straightforward path that parity is proved
with. `GRAFGenerator` and `GRAFScene` place one pair of codes in the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...checkpoints.store import ModelCard
from ...progress import Progress, silent
from ...rendering import compositing, sampling
from ...rendering.marching import Occupancy, Strides, march, strides_for
from ...scene import FieldInfo, FieldSample, Image
from ..layers.placement import Pixels, Placement, Shell, chords, cube, opaque_within, pose_prior, render_volume

SKIP_AFTER = 4
"""The encoded point joins again behind this layer (Fig. 3)."""

WORLD_FROM_CANONICAL = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""z stays up; azimuth 0 of the training cameras, on +x, comes to the front, −Y."""

FRONT_DIRECTION = (-1.0, 0.0, 0.0)
"""The viewing direction of colours that are asked for without one."""

OCCUPANCY_RESOLUTION = 32
WORTH_SKIPPING = 0.9
"""With more of its cells occupied than this, a grid is not asked."""

PROBES = 48
"""Rays that say which samples may be interpolated."""


@dataclass(frozen=True)
class GRAFConfig:
    """Sizes of the network, and how its weights are rendered."""

    z_dim: int = 256
    appearance_dim: int = 128
    """The last dimensions of z."""
    num_layers: int = 8
    hidden_dim: int = 256
    point_frequencies: int = 10
    direction_frequencies: int = 4
    near: float = 7.5
    far: float = 12.5
    """Depths of the first and last sample, for a camera at the (largest) training radius."""
    radius: tuple[float, float] = (10.0, 10.0)
    """Smallest and largest distance of the training cameras from the origin."""
    num_samples: int = 64
    white_background: bool = True
    fov_degrees: float = 30.0
    image_size: int = 128

    @property
    def shape_dim(self) -> int:
        """The first dimensions of z."""
        return self.z_dim - self.appearance_dim

    @property
    def w_dim(self) -> int:
        """Width of a row of ws."""
        return max(self.shape_dim, self.appearance_dim)

    @property
    def half_depth(self) -> float:
        """Half the length of a ray inside the volume."""
        return (self.far - self.near) / 2

    @property
    def reach(self) -> float:
        """Distance from the origin of the farthest sample that the official camera sees."""
        sideways = math.tan(math.radians(self.fov_degrees) / 2) * math.sqrt(2)
        return math.hypot(self.half_depth, self.far * sideways)


def positional_encoding(x: Tensor, num_frequencies: int) -> Tensor:
    """Return x and sin, cos of 2^k x for each k (Eq. 4 of arxiv.org/abs/2003.08934, without its π).

    x: [..., 3] → [..., 3 + 6 · num_frequencies].
    """
    waves = [wave(x * 2.0**k) for k in range(num_frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat((x, *waves), -1)


@dataclass(frozen=True)
class Rendering:
    """What a batch of rays gave. Batched [batch, rays, ...]."""

    rgb: Tensor  # [..., 3] in 0..1, with the white background where the model has one
    alpha: Tensor  # [...] Σ w
    depth: Tensor  # [...] Σ w t, not divided by Σ w
    disparity: Tensor  # [...] 1 / mean depth; 1e10 where nothing is hit


class GRAF(nn.Module):
    """The network: the conditional radiance field g of Eq. 7."""

    def __init__(self, config: GRAFConfig):
        super().__init__()
        self.config = config
        width = config.hidden_dim
        point_features = 3 + 6 * config.point_frequencies + config.shape_dim
        direction_features = 3 + 6 * config.direction_frequencies + config.appearance_dim
        self.layers = nn.ModuleList(
            nn.Linear({0: point_features, SKIP_AFTER + 1: width + point_features}.get(i, width), width)
            for i in range(config.num_layers)
        )
        self.density = nn.Linear(width, 1)
        self.bottleneck = nn.Linear(width, width)
        self.color_layer = nn.Linear(width + direction_features, width // 2)
        self.color = nn.Linear(width // 2, 3)

    def codes(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Return shape code [..., shape_dim] and appearance code [..., appearance_dim] of ws [..., 2, w_dim]."""
        return ws[..., 0, : self.config.shape_dim], ws[..., 1, : self.config.appearance_dim]

    def ws_from_z(self, z: Tensor) -> Tensor:
        """Return ws [..., 2, w_dim] of z [..., z_dim]."""
        config = self.config
        shape, appearance = z.split((config.shape_dim, config.appearance_dim), -1)
        return torch.stack([F.pad(code, (0, config.w_dim - code.shape[-1])) for code in (shape, appearance)], -2)

    def features(self, ws: Tensor, points: Tensor) -> Tensor:
        """Return the last shape layer [batch, points, hidden_dim] at canonical points [batch, points, 3] (Eq. 8)."""
        shape, _ = self.codes(ws)
        encoded = positional_encoding(points, self.config.point_frequencies)
        encoded = torch.cat((encoded, shape[:, None].expand(*points.shape[:2], -1)), -1)
        x = encoded
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            if i == SKIP_AFTER:
                x = torch.cat((encoded, x), -1)
        return x

    def radiance(self, ws: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        """Evaluate the field (Eq. 8–10): raw colour (before its sigmoid) and raw density [batch, points, 4].

        Args:
            ws: [batch, 2, w_dim].
            points: canonical [batch, points, 3].
            directions: unit [batch, points, 3].
        """
        _, appearance = self.codes(ws)
        x = self.features(ws, points)
        seen_along = positional_encoding(directions, self.config.direction_frequencies)
        seen_along = torch.cat((seen_along, appearance[:, None].expand(*points.shape[:2], -1)), -1)
        color = F.relu(self.color_layer(torch.cat((self.bottleneck(x), seen_along), -1)))
        return torch.cat((self.color(color), self.density(x)), -1)

    def limits(self, origins: Tensor) -> tuple[Tensor, Tensor]:
        """Return near and far [..., 1] for rays from `origins` [..., 3].

        Trained with several radii, a camera closer than the farthest one starts sampling earlier.
        """
        config = self.config
        shift = torch.zeros_like(origins[..., :1])
        if config.radius[0] != config.radius[1]:
            shift = config.radius[1] - origins.contiguous().norm(dim=-1, keepdim=True)
        return config.near - shift, config.far - shift

    def render(
        self,
        ws: Tensor,
        origins: Tensor,
        directions: Tensor,
        *,
        jitter: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Rendering:
        """Volume render canonical rays (section 3.2.1).

        Args:
            ws: [batch, 2, w_dim].
            origins, directions: [batch, rays, 3]; t multiplies directions, whatever their length.
            jitter: [batch, rays, num_samples] in [0, 1); None samples evenly.
            t: [batch, rays, any]; None spreads num_samples between the limits.
        """
        if t is None:
            near, far = self.limits(origins)
            t = sampling.even(near, far, self.config.num_samples)
        if jitter is not None:
            t = sampling.stratified(t, jitter)
        speed = directions.norm(dim=-1, keepdim=True)
        points = origins[:, :, None] + directions[:, :, None] * t[..., None]
        seen_along = (directions / speed)[:, :, None].expand_as(points)
        raw = self.radiance(ws, points.flatten(1, 2), seen_along.flatten(1, 2)).unflatten(1, points.shape[1:3])
        weights = compositing.weights_from_density(F.relu(raw[..., 3]), t, speed=speed)
        rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
        alpha = weights.sum(-1)
        depth = (weights * t).sum(-1)
        disparity = 1 / (depth / (alpha + 1e-10)).clamp(min=1e-10)
        if self.config.white_background:
            rgb = rgb + (1 - alpha[..., None])
        return Rendering(rgb, alpha, depth, disparity)


def official_rays(world_from_camera: Tensor, height: int, width: int, focal: float) -> tuple[Tensor, Tensor]:
    """Return origins and directions [batch, height · width, 3] of official cameras [batch, 3, 4], rows from the top.

    Pixel i is seen at (i − width/2) / focal: a pixel's corner rather than its centre. Directions have depth one.
    """
    y, x = torch.meshgrid(
        torch.arange(height).to(world_from_camera), torch.arange(width).to(world_from_camera), indexing="ij"
    )
    in_camera = torch.stack(((x - width * 0.5) / focal, -(y - height * 0.5) / focal, -torch.ones_like(x)), -1).flatten(
        0, 1
    )
    directions = (in_camera[None, :, None] * world_from_camera[:, None, :, :3]).sum(-1)
    return world_from_camera[:, None, :, 3].expand_as(directions), directions


def sampled_rays(rays: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Return rays [2, n, 3] between the pixels of rays [2, height · width, 3] (the patches of section 3.2.2).

    places: [rows, columns, 2] as (x, y), −1 and 1 at the centres of the outer pixels.
    """
    image = rays.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    sampled = F.grid_sample(image, places.expand(2, *places.shape), align_corners=True)
    return sampled.permute(0, 2, 3, 1).flatten(1, 2)


class FastField:
    """The field of one pair of codes for marching: what the codes add to a layer is added to its bias once."""

    def __init__(self, network: GRAF, ws: Tensor):
        self.network = network
        config = network.config
        shape, appearance = network.codes(ws)
        self.layers = [self._without_code(i, layer, shape) for i, layer in enumerate(network.layers)]
        # no nonlinearity lies between the bottleneck and the colour layer: one matrix
        width = config.hidden_dim
        weight, bias = network.color_layer.weight, network.color_layer.bias
        num_encoded = weight.shape[1] - width - config.appearance_dim
        from_features, self.from_direction, from_code = (
            part.T.contiguous() for part in weight.split((width, num_encoded, config.appearance_dim), 1)
        )
        self.color_weight = network.bottleneck.weight.T @ from_features
        self.color_bias = bias + network.bottleneck.bias @ from_features + appearance @ from_code

    def _without_code(self, place: int, layer: nn.Module, shape: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(layer, nn.Linear)
        if place not in (0, SKIP_AFTER + 1):
            return layer.weight.T.contiguous(), layer.bias
        encoded = 3 + 6 * self.network.config.point_frequencies
        points, code, rest = layer.weight.split((encoded, len(shape), layer.in_features - encoded - len(shape)), 1)
        return torch.cat((points, rest), 1).T.contiguous(), layer.bias + code @ shape

    def features(self, points: Tensor) -> Tensor:
        """Return the last shape layer [n, hidden_dim] at canonical points [n, 3]. Differentiable."""
        encoded = positional_encoding(points, self.network.config.point_frequencies)
        x = encoded
        for i, (weight, bias) in enumerate(self.layers):
            x = torch.addmm(bias, x, weight).relu_()
            if i == SKIP_AFTER:
                x = torch.cat((encoded, x), -1)
        return x

    @property
    def num_features(self) -> int:
        """See marching.Field."""
        return self.network.config.hidden_dim

    def density(self, points: Tensor, features: Tensor) -> Tensor:
        """See marching.Field."""
        return self.network.density(features.copy_(self.features(points))).squeeze(-1)

    def positive(self, raw: Tensor) -> Tensor:
        """See marching.Field."""
        return F.relu(raw)

    def color(self, features: Tensor, directions: Tensor) -> Tensor:
        """See marching.Field."""
        encoded = positional_encoding(directions, self.network.config.direction_frequencies)
        x = torch.addmm(self.color_bias, encoded, self.from_direction).addmm_(features, self.color_weight)
        return torch.sigmoid(self.network.color(x.relu_()))


class GRAFScene:
    """One pair of codes in the world: what depends on ws alone is made once."""

    def __init__(self, network: GRAF, ws: Tensor, placement: Placement):
        self.network, self.ws, self.placement = network, ws, placement
        self.info = field_info(network.config, placement.metres_per_unit)
        with torch.no_grad():
            self.fast = FastField(network, ws)
        self._occupancy: Occupancy | None = None
        self._strides: dict[int, Strides] = {}
        self._shell = Shell(network.config.half_depth, network.config.reach, by_depth=True)

    @property
    def occupancy(self) -> Occupancy:
        """Where density may be positive; made when first asked for."""
        if self._occupancy is None:
            half = self.network.config.reach
            self._occupancy = Occupancy(self.fast, half, OCCUPANCY_RESOLUTION, like=self.ws)
        return self._occupancy

    @property
    def _occupied(self) -> Occupancy | None:
        return self.occupancy if self.occupancy.share < WORTH_SKIPPING else None

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from in front and level."""
        canonical = self.placement.to_canonical(points).reshape(1, -1, 3)
        if directions is None:
            along = canonical.new_tensor(FRONT_DIRECTION).expand_as(canonical)
        else:
            along = self.placement.directions_to_canonical(directions).reshape(1, -1, 3)
        color, density = self.network.radiance(self.ws[None], canonical, along).split((3, 1), -1)
        density = F.relu(density) / self.placement.metres_per_unit
        return FieldSample(density.reshape(points.shape[:-1]), torch.sigmoid(color).reshape(points.shape))

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
        straightforward: bool = False,
    ) -> Image:
        """See Scene.render. A draft has half the rays each way and half the samples. straightforward: by the network
        itself, every sample evaluated."""
        config = self.network.config
        steps = max(config.num_samples // 2, 4) if quality == "draft" else config.num_samples
        return render_volume(
            camera,
            self.placement,
            self._shell,
            self._straightforward if straightforward else self._fast,
            steps=samples_per_ray or steps,
            quality=quality,
            jitter=jitter,
            progress=progress,
            density=self._straight_density if straightforward else self._density,
        )

    def _straight_density(self, points: Tensor) -> Tensor:
        return self.network.density(self.network.features(self.ws[None], points[None])).flatten()

    def _density(self, points: Tensor) -> Tensor:
        return self.network.density(self.fast.features(points)).flatten()

    def _straightforward(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        result = self.network.render(self.ws[None], origins[None], directions[None], t=t[None])
        rgb, alpha = result.rgb[0], result.alpha[0]
        if self.network.config.white_background:  # white is for pictures; here what is behind shows through
            rgb = rgb - (1 - alpha[:, None])
        return Pixels(rgb, alpha, result.depth[0])

    def _strides_for(self, steps: int) -> Strides:
        if steps not in self._strides:
            rays = chords(self._shell, PROBES, steps, self.ws)
            self._strides[steps] = strides_for(self.fast, *rays, occupied=self._occupied)
        return self._strides[steps]

    def _fast(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> Pixels:
        strides = self._strides_for(t.shape[-1])
        result = march(self.fast, origins, directions, t, occupied=self._occupied, strides=strides)
        return Pixels(result.rgb, result.alpha, result.t)


def field_info(config: GRAFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
    )


class GRAFGenerator:
    """GRAF as a Generator (backend/generator.py)."""

    def __init__(self, network: GRAF, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(WORLD_FROM_CANONICAL.to(self.device), metres_per_unit)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.density.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim]: the first normal numbers after seeding torch, as the official evaluation draws them."""
        z = torch.randn(1, self.network.config.z_dim, generator=torch.Generator().manual_seed(seed))
        return z.to(self.device)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping. GRAF has none: z is scaled towards its mean, which is zero."""
        return self.network.ws_from_z(z) * truncation_psi

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> GRAFScene:
        """See Generator.synthesize."""
        if tuple(ws.shape) != (2, self.network.config.w_dim):
            raise ValueError(f"ws must be [2, {self.network.config.w_dim}], got {list(ws.shape)}")
        return GRAFScene(self.network, ws.to(self.device), self.placement)


def model_info(name: str, card: ModelCard, config: GRAFConfig, num_parameters: int) -> ModelInfo:
    """Return what the panel needs to know of a GRAF."""
    field = field_info(config, card.metres_per_unit)
    prior = PosePrior(
        radius=sum(config.radius) / 2 * card.metres_per_unit,
        fov=math.radians(config.fov_degrees),
        elevation=(0.0, math.pi / 2),
        default_elevation=math.pi / 8,
    )
    return ModelInfo(
        name=name,
        **card.told,
        z_dim=config.z_dim,
        num_ws=2,
        w_dim=config.w_dim,
        num_geometry_ws=1,
        num_parameters=num_parameters,
        has_truncation=True,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=field.iso_level,
        iso_range=(field.iso_level / 10, field.iso_level * 10),
        bounds=field.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=config.image_size,
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GRAFGenerator:
    """Return the generator in a model folder."""
    values = dict(card.constructor)
    if "radius" in values:
        values["radius"] = tuple(values["radius"])
    config = GRAFConfig(**values)
    network = GRAF(config)
    network.load_state_dict(tensors)
    network.to(next(iter(tensors.values())).device)
    info = model_info(name, card, config, sum(p.numel() for p in network.parameters()))
    return GRAFGenerator(network, info, card.metres_per_unit)
