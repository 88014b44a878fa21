"""NeRF as published: two networks, positional encoding, coarse and fine samples (arxiv.org/abs/2003.08934).

This file is the whole method at the precision and cost of the paper: the definition that faster engines are measured
against. Vocabulary: `raw` is the network's output before sigmoid and ReLU. `t` are positions along a ray in units of
its (unnormalised) direction; `NDC` is the paper's space of normalised device coordinates for forward-facing captures.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from addon.wire.messages import Bounds
from backend.cameras import Camera
from backend.progress import Progress, silent
from backend.rendering import compositing, sampling
from backend.rendering.color import srgb_from_linear
from backend.scene import FieldInfo, FieldSample, Image

from .encodings import positional_encoding
from .stored_scene import StoredScene, density_model_info

if TYPE_CHECKING:
    from backend.checkpoints.store import ModelCard

BLENDER_BOUNDS: Bounds = ((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5))
"""A box that holds each of the paper's synthetic scenes."""

ISO_LEVEL = 25.0
"""1/metre. Of the surface, where nothing else is known: 4 cm of it stop two thirds of the light."""


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of one network (Fig. 7 of the paper)."""

    depth: int = 8  # layers of the trunk
    width: int = 256
    bottleneck: int = 256  # features handed to the view branch
    view_width: int = 128
    skips: tuple[int, ...] = (4,)  # the encoded position is joined again after these layers
    position_frequencies: int = 10
    view_frequencies: int = 4
    view_dependent: bool = True

    def __post_init__(self) -> None:
        sizes = (self.depth, self.width, self.bottleneck, self.view_width)
        if not (all(1 <= size <= 4096 for size in sizes) and self.depth <= 64):
            raise ValueError(f"no network has these layers: {sizes}")
        if not all(0 <= count <= 32 for count in (self.position_frequencies, self.view_frequencies)):
            raise ValueError("a position or direction is encoded at 0 to 32 frequencies")


@dataclass(frozen=True)
class Opened:
    """How far the encodings are open while a fit goes from coarse to fine: a factor 0..1 for each of their features."""

    position: Tensor  # [3 + 6 · position_frequencies]
    view: Tensor  # [3 + 6 · view_frequencies]


class Network(nn.Module):
    """Position and viewing direction to colour and density (Fig. 7 of arxiv.org/abs/2003.08934)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        encoded = 3 + 6 * config.position_frequencies
        self.trunk = nn.ModuleList(
            nn.Linear(encoded if i == 0 else config.width + (encoded if i - 1 in config.skips else 0), config.width)
            for i in range(config.depth)
        )
        self.density = nn.Linear(config.width, 1)
        if config.view_dependent:
            self.bottleneck = nn.Linear(config.width, config.bottleneck)
            self.view = nn.Linear(config.bottleneck + 3 + 6 * config.view_frequencies, config.view_width)
            self.rgb = nn.Linear(config.view_width, 3)
        else:
            self.rgb = nn.Linear(config.width, 3)

    def features(self, points: Tensor, opened: Tensor | None = None) -> Tensor:
        """Return the trunk's features [..., width] at points [..., 3]."""
        encoded = positional_encoding(points, self.config.position_frequencies)
        if opened is not None:
            encoded = encoded * opened
        h = encoded
        for i, layer in enumerate(self.trunk):
            h = relu(layer(h))
            if i in self.config.skips:
                h = torch.cat((encoded, h), -1)
        return h

    def forward(self, points: Tensor, directions: Tensor, opened: Opened | None = None) -> Tensor:
        """Return [..., 4]: colour before the sigmoid, density before the ReLU.

        points [..., 3]; unit viewing directions [..., 3], broadcast against points.
        """
        h = self.features(points, None if opened is None else opened.position)
        density = self.density(h)
        if self.config.view_dependent:
            encoded = positional_encoding(directions, self.config.view_frequencies)
            if opened is not None:
                encoded = encoded * opened.view
            encoded = encoded.expand(*h.shape[:-1], -1)
            h = relu(self.view(torch.cat((self.bottleneck(h), encoded), -1)))
        return torch.cat((self.rgb(h), density), -1)

    @torch.no_grad()
    def fold(self, opened: Opened) -> None:
        """Make this the network that gives wholly open what it gave with its encodings opened so far."""
        for i, layer in enumerate(self.trunk):
            assert isinstance(layer, nn.Linear)
            if i == 0 or i - 1 in self.config.skips:
                layer.weight[:, : len(opened.position)] *= opened.position
        if self.config.view_dependent:
            self.view.weight[:, -len(opened.view) :] *= opened.view


@dataclass(frozen=True)
class RenderConfig:
    """How rays are sampled (Sec. 5.2-5.3 and appendix A, C of the paper)."""

    near: float = 2.0
    far: float = 6.0
    coarse_samples: int = 64
    fine_samples: int = 128
    in_disparity: bool = False
    white_background: bool = True
    ndc: bool = False  # rays are warped into normalised device coordinates; near 0, far 1
    ndc_focal: tuple[float, float] = (1.0, 1.0)  # focal length of the capture over its width, and over its height
    linear: bool = False  # colours are composited as linear light

    def __post_init__(self) -> None:
        if not (0 <= self.near < self.far < 1e9):
            raise ValueError(f"rays go from near to far, got {self.near:g} to {self.far:g}")
        if not (1 <= self.coarse_samples <= 4096 and 0 <= self.fine_samples <= 4096):
            raise ValueError("a ray has 1 to 4096 coarse samples and up to 4096 fine ones")


@dataclass(frozen=True)
class RayColors:
    """What a set of rays sees. rgb [..., 3]; disparity, accumulated alpha, depth [...]; weights [..., num_samples]."""

    rgb: Tensor
    disparity: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor


@dataclass(frozen=True)
class RayPasses:
    """Both passes over a set of rays. raw [num_rays, num_samples, 4] and t_fine [num_rays, num_samples] are of the fine
    one; drawn are the positions that the coarse weights added."""

    coarse: RayColors
    fine: RayColors
    raw: Tensor
    t_coarse: Tensor
    t_fine: Tensor
    drawn: Tensor


def composite(raw: Tensor, t: Tensor, ray_directions: Tensor, white_background: bool) -> RayColors:
    """Composite raw samples [..., num_samples, 4] at t [..., num_samples] (Eq. 3)."""
    speed = ray_directions.norm(dim=-1, keepdim=True)
    weights = compositing.weights_from_density(relu(raw[..., 3]), t, speed=speed)
    rgb = compositing.composite(weights, torch.sigmoid(raw[..., :3]))
    depth = (weights * t).sum(-1)
    alpha = weights.sum(-1)
    disparity = 1.0 / torch.maximum(torch.full_like(depth, 1e-10), depth / alpha)
    if white_background:
        rgb = rgb + (1.0 - alpha[..., None])
    return RayColors(rgb, disparity, alpha, depth, weights)


def ndc_rays(
    origins: Tensor, directions: Tensor, focal: float, width: float, height: float, near: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Warp rays of a camera that looks along −z into normalised device coordinates (appendix C, Eq. 25 and 26)."""
    t = -(near + origins[..., 2]) / directions[..., 2]
    origins = origins + t[..., None] * directions  # onto the near plane
    x_scale, y_scale = -2.0 * focal / width, -2.0 * focal / height
    ox, oy, oz = origins.unbind(-1)
    dx, dy, dz = directions.unbind(-1)
    warped_origins = torch.stack((x_scale * ox / oz, y_scale * oy / oz, 1.0 + 2.0 * near / oz), -1)
    warped_directions = torch.stack(
        (x_scale * (dx / dz - ox / oz), y_scale * (dy / dz - oy / oz), -2.0 * near / oz), -1
    )
    return warped_origins, warped_directions


class NeRF(nn.Module):
    """A coarse and a fine network, rendered together (Sec. 5.2)."""

    def __init__(self, coarse: NetworkConfig, fine: NetworkConfig, render: RenderConfig) -> None:
        super().__init__()
        self.coarse = Network(coarse)
        self.fine = Network(fine)
        self.config = render

    def render_rays(
        self,
        origins: Tensor,
        directions: Tensor,
        view_directions: Tensor,
        *,
        generator: torch.Generator | None = None,
        config: RenderConfig | None = None,
        opened: Opened | None = None,
    ) -> RayPasses:
        """Render rays [num_rays, 3] coarse to fine.

        directions need not be unit vectors (t is in their unit); view_directions are. generator: jitter the samples
        (training); None: evenly spaced. config: other samples than the network's own. opened: None is wholly.
        """
        config = self.config if config is None else config
        t = sampling.even(
            config.near,
            config.far,
            config.coarse_samples,
            in_disparity=config.in_disparity,
            device=origins.device,
            dtype=origins.dtype,
        ).expand(*origins.shape[:-1], -1)
        if generator is not None:
            t = sampling.stratified(t, torch.rand(t.shape, generator=generator, dtype=t.dtype, device=t.device))
        coarse = self._pass(self.coarse, origins, directions, view_directions, t, config, opened)[1]
        if generator is None:
            u = sampling.evenly_drawn(config.fine_samples, t)
        else:
            u = torch.rand((*t.shape[:-1], config.fine_samples), generator=generator, dtype=t.dtype, device=t.device)
        drawn = sampling.inverse_cdf(sampling.midpoints(t), coarse.weights[..., 1:-1], u)
        t_fine, _ = sampling.merged(t, drawn)
        raw, fine = self._pass(self.fine, origins, directions, view_directions, t_fine, config, opened)
        return RayPasses(coarse, fine, raw, t, t_fine, drawn)

    def _pass(
        self,
        network: Network,
        origins: Tensor,
        directions: Tensor,
        view_directions: Tensor,
        t: Tensor,
        config: RenderConfig,
        opened: Opened | None,
    ) -> tuple[Tensor, RayColors]:
        points = origins[..., None, :] + directions[..., None, :] * t[..., None]
        raw = network(points, view_directions[..., None, :], opened)
        return raw, composite(raw, t, directions, config.white_background)

    def folded(self, opened: Opened) -> NeRF:
        """Return a copy that is wholly open what this is opened so far."""
        made = copy.deepcopy(self)
        for network in (made.coarse, made.fine):
            network.fold(opened)
        return made


CHUNK_RAYS = 512


@dataclass(frozen=True)
class Placement:
    """Where the networks' own frame lies in the world: world = middle + metres_per_unit · own."""

    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres
    metres_per_unit: float = 1.0


class PublishedScene:
    """A fitted NeRF as a Scene. World is the capture's own frame (Z up for Blender captures), metres as captured.

    The networks see their own frame, in which the capture has the size of the paper's; near and far are measured there.
    """

    def __init__(self, nerf: NeRF, info: FieldInfo, placement: Placement = Placement()) -> None:
        self.nerf = nerf.eval()
        self._info = info
        self.placement = placement

    @property
    def info(self) -> FieldInfo:
        """density, in 1/metre."""
        return self._info

    def tensors(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return kind, constructor and weights: what a model folder or a scene file holds, and `load` takes."""
        constructor = constructor_of(
            self.nerf.coarse.config,
            self.nerf.fine.config,
            self.nerf.config,
            self.info.bounds,
            iso_level=self.info.iso_level,
            placement=self.placement,
        )
        return "nerf", constructor, {name: tensor.detach() for name, tensor in self.nerf.state_dict().items()}

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, colours are those seen from above."""
        if directions is None:
            directions = torch.tensor([0.0, 0.0, -1.0], dtype=points.dtype, device=points.device)
        metres = self.placement.metres_per_unit
        points = (points - points.new_tensor(self.placement.middle)) / metres
        scale: Tensor | float = 1.0
        if self.nerf.config.ndc:
            points, scale = ndc_points(points, self.nerf.config.ndc_focal)
        raw = self.nerf.fine(points, directions)
        rgb = torch.sigmoid(raw[..., :3])
        if self.nerf.config.linear:
            rgb = srgb_from_linear(rgb)
        return FieldSample(relu(raw[..., 3]) * scale / metres, rgb)

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
        """See Scene.render. samples_per_ray is split between the passes as the network's own number is.

        near and far are those of the capture, measured along the camera's z as published. For a camera that stands
        elsewhere than those of the capture they move with the middle of the bounds. draft: a quarter of the side.
        """
        if quality == "draft":
            small = camera.resized(-(-camera.width // 4), -(-camera.height // 4))
            image = self.render(small, samples_per_ray=samples_per_ray, jitter=jitter, progress=progress)
            return _enlarged(image, camera.width, camera.height)
        camera = camera.to(next(self.nerf.parameters()).device)
        own_from_world = torch.eye(4, device=camera.world_from_camera.device) / self.placement.metres_per_unit
        own_from_world[:3, 3] = -own_from_world.new_tensor(self.placement.middle) / self.placement.metres_per_unit
        own_from_world[3, 3] = 1.0
        camera = camera.transformed(own_from_world)
        config = self._sampled_for(camera, samples_per_ray)
        rays = camera.rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        # t is measured along the camera's z, in the networks' own unit whatever the scale of the camera's matrix
        units = camera.world_from_camera[:3, 2].norm()
        speed = 1.0 / (rays.depth_from_distance.reshape(-1, 1).clamp(min=0.05) * units)
        rgb, alpha, depth = [], [], []
        for start in range(0, len(origins), CHUNK_RAYS):
            progress(start / len(origins), "Rendering")
            part = slice(start, start + CHUNK_RAYS)
            seen, t = self._colors(origins[part], directions[part], speed[part], config, jitter)
            premultiplied = seen.rgb - (1.0 - seen.alpha[..., None]) if config.white_background else seen.rgb
            straight = compositing.straight(premultiplied, seen.alpha)
            rgb.append(srgb_from_linear(straight) if config.linear else straight)
            alpha.append(seen.alpha)
            depth.append(torch.where(seen.alpha > 0.5, t / units, torch.inf))
        shape = (camera.height, camera.width)
        return Image(
            torch.cat(rgb).reshape(*shape, 3).clamp(0, 1),
            torch.cat(alpha).reshape(shape).clamp(0, 1),
            torch.cat(depth).reshape(shape),
        )

    def _sampled_for(self, camera: Camera, samples_per_ray: int | None) -> RenderConfig:
        """The network's sampling, for this many samples and for a camera at this distance."""
        config = self.nerf.config
        if samples_per_ray is not None:
            total = config.coarse_samples + config.fine_samples
            coarse = max(3, round(samples_per_ray * config.coarse_samples / total))
            config = replace(config, coarse_samples=coarse, fine_samples=max(1, samples_per_ray - coarse))
        if config.ndc:
            return config
        forward = torch.nn.functional.normalize(camera.world_from_camera[:3, 2], dim=0)
        middle = forward.new_tensor(self.info.bounds).mean(0) - forward.new_tensor(self.placement.middle)
        middle = middle / self.placement.metres_per_unit
        moved = float((middle - camera.world_from_camera[:3, 3]) @ forward) - (config.near + config.far) / 2
        if abs(moved) <= (config.far - config.near) / 4:
            return config
        nearest = min(config.near, 0.02 * config.far)
        return replace(
            config, near=max(config.near + moved, nearest), far=max(config.far + moved, nearest + config.far / 10)
        )

    def _colors(
        self,
        origins: Tensor,
        directions: Tensor,
        speed: Tensor,
        config: RenderConfig,
        jitter: torch.Generator | None,
    ) -> tuple[RayColors, Tensor]:
        """What rays with unit directions see, and its depth [...] along the camera's z, in the networks' unit."""
        if not config.ndc:
            fine = self.nerf.render_rays(origins, directions * speed, directions, generator=jitter, config=config).fine
            return fine, fine.depth / fine.alpha
        focal_x, focal_y = config.ndc_focal
        ahead = directions[..., 2] < -1e-3  # the capture looks along −z; nothing is known behind it
        forward = torch.where(ahead[..., None], directions, directions.new_tensor([0.0, 0.0, -1.0]))
        warped = ndc_rays(origins, forward, 1.0, 1.0 / focal_x, 1.0 / focal_y)
        fine = self.nerf.render_rays(*warped, forward, generator=jitter, config=config).fine
        z = 2.0 / (warped[0][..., 2] + fine.depth / fine.alpha * warped[1][..., 2] - 1.0)
        distance = (z - origins[..., 2]) / forward[..., 2]
        return replace(fine, alpha=torch.where(ahead, fine.alpha, 0.0)), distance / speed[..., 0]


def ndc_points(points: Tensor, ndc_focal: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Take world points [..., 3] into normalised device coordinates (Eq. 14 of appendix C, near plane 1).

    Also returns the scale [...] of densities there, 1/metre for each 1/unit: the mean stretch of the warp; 0 in front
    of the near plane, where nothing was seen.
    """
    z = points[..., 2].clamp(max=-1.0)
    x_scale, y_scale = -2.0 * ndc_focal[0], -2.0 * ndc_focal[1]
    warped = torch.stack((x_scale * points[..., 0] / z, y_scale * points[..., 1] / z, 1.0 + 2.0 / z), -1)
    stretch = (2.0 * x_scale * y_scale / z**4) ** (1 / 3)
    return warped, torch.where(points[..., 2] <= -1.0, stretch, 0.0)


def _enlarged(image: Image, width: int, height: int) -> Image:
    """A draft at full size: colour and alpha interpolated, depth of the nearest pixel."""
    stacked = torch.cat((image.rgb * image.alpha[..., None], image.alpha[..., None]), -1).permute(2, 0, 1)[None]
    smooth = interpolate(stacked, (height, width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    depth = interpolate(image.depth[None, None], (height, width), mode="nearest")[0, 0]
    rgb = compositing.straight(smooth[..., :3], smooth[..., 3])
    return Image(rgb.clamp(0, 1), smooth[..., 3], depth)


def constructor_of(
    coarse: NetworkConfig,
    fine: NetworkConfig,
    render: RenderConfig,
    bounds: Bounds,
    *,
    iso_level: float = ISO_LEVEL,
    placement: Placement = Placement(),
) -> dict[str, Any]:
    """What `load` builds the scene from, as plain JSON; goes into the card, where it may be edited."""
    return {
        "coarse": asdict(coarse),
        "fine": asdict(fine),
        "render": asdict(render),
        "bounds": [list(corner) for corner in bounds],
        "iso_level": iso_level,
        "placement": asdict(placement),
    }


def scene_from(constructor: Mapping[str, Any], tensors: dict[str, Tensor]) -> PublishedScene:
    """Build the scene that `PublishedScene.tensors` described. Raises KeyError, TypeError or RuntimeError."""

    def known(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    coarse, fine = NetworkConfig(**known(constructor["coarse"])), NetworkConfig(**known(constructor["fine"]))
    with torch.device("meta"):  # takes no memory until the tensors are known to fit
        nerf = NeRF(coarse, fine, RenderConfig(**known(constructor["render"])))
    nerf.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    nerf.requires_grad_(False).to(next(iter(tensors.values())).device)
    low, high = constructor["bounds"]
    info = FieldInfo("density", float(constructor["iso_level"]), (tuple(low), tuple(high)))
    return PublishedScene(nerf, info, Placement(**known(constructor["placement"])))


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> StoredScene:
    """The stored scene of a model folder. Raises KeyError, ValueError, TypeError or RuntimeError if it does not fit."""
    scene = scene_from(card.constructor, tensors)
    config = scene.nerf.config
    count = sum(parameter.numel() for parameter in scene.nerf.parameters())
    radius = (1.5 if config.ndc else (config.near + config.far) / 2) * scene.placement.metres_per_unit
    info = density_model_info(name, card, scene.info, num_parameters=count, radius=radius, image_size=128)
    return StoredScene(info, scene, next(iter(tensors.values())).device)
