"""DeepSDF as a Generator and its Scene: sphere-traced images, the model's info, and loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from addon.wire.errors import NotSupported
from addon.wire.messages import Bounds, ModelInfo, PosePrior

from ...cameras import Camera, Rays, flattened
from ...kernels.sdf_mlp import Impl, MlpWeights, sdf_mlp
from ...models.card import ModelCard
from ...progress import Progress, silent
from ...scenes.capabilities import Completion
from ...scenes.generator import Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.surface_image import (
    CLAY,
    camera_axes,
    clay_shade,
    draw,
    fixed_size,
    jittered,
    pixel_size,
    upright_axes,
)
from ...scenes.surface_trace import trace_clay
from ...scenes.trace import RayColors
from ...scenes.volume import pose_prior
from ..layers.code_distribution import gaussian_of_codes
from ..layers.config import config_from_json
from ..layers.stylegan2 import check_shape
from .model import Decoder, DecoderSpec
from .reconstruct import complete, scan_from_points
from .sphere_tracing import EmptySpace, trace

WORLD_FROM_CANONICAL = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
"""A rotation: canonical y (up) is world z, canonical -z (front) is world -y, the side Blender's front view shows."""

CELL = 1 / 16
"""Canonical edge of the cells that rays skip when empty."""

MAX_STEPS = 128
"""Steps of sphere tracing."""

CLEARANCE_SAMPLES = 256
"""Samples of a ray within the bounds that its silhouette is measured with."""

SOFT_SILHOUETTE = 1 / 128
"""Canonical width of the silhouettes of single rays, which know of no pixel."""

TRACE_PSNR = 30.0
"""`render` averages five rays in a silhouette's pixel, of which some see what is behind; `image` fades one."""

DRAW_SHARE = 0.05
"""Weight of the Gaussian sample in a new code; the rest is trained codes."""

SLOPE_STEP = 1 / 64
"""Canonical distance over which the slope of a trained network is measured."""

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
UNIT_BOX: Box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


class DeepSDF(nn.Module):
    """The decoder, the codes it was trained with, and a Gaussian over them to draw new ones from. A `Generator`.

    The paper gives no rule for new codes: its N(0, 0.01² I) is where the training starts, not where the codes end.
    Ours: a draw from the Gaussian fitted to the trained codes, mean + z @ factor with z standard normal and one row of
    `code_factor` for each principal direction (standard deviation times direction), is moved most of the way to the
    midpoint between the trained code nearest to it and that code's partner. A draw alone lies between chairs with and
    without arms and has half an arm; partners are neighbours, and for the starter model neighbours whose midpoint was
    found to be of one piece. truncation_psi then scales the distance from the mean code.
    """

    code_mean: Tensor  # [latent_size]
    code_factor: Tensor  # [rank, latent_size]
    codes: Tensor  # [num_codes, latent_size]; of the training shapes
    partners: Tensor  # [num_codes] which code each is mixed with when it is drawn; -1: it is not drawn

    def __init__(
        self,
        decoder: DecoderSpec,
        *,
        num_codes: int,
        rank: int,
        mirror: bool = False,
        clamp: float = 0.1,
        bounds: Box = UNIT_BOX,
        lipschitz: float = 1.5,
        metres_per_unit: float = 1.0,
        center: tuple[float, float, float] = (0.0, 0.0, 0.0),
        info: ModelInfo | None = None,
    ) -> None:
        """
        mirror: every shape is symmetric in x; the decoder is evaluated at (|x|, y, z).
        clamp: the δ of training, canonical units.
        bounds: canonical box that holds every shape.
        lipschitz: largest slope of the decoder that was measured (`measured_slope`).
        metres_per_unit: world metres in one canonical unit.
        center: world position of the canonical origin, metres.
        """
        super().__init__()
        self.decoder = Decoder(decoder)
        self.mirror, self.clamp, self.bounds, self.lipschitz = mirror, clamp, bounds, lipschitz
        self.metres_per_unit, self.center = metres_per_unit, center
        self.register_buffer("code_mean", torch.zeros(decoder.latent_size))
        self.register_buffer("code_factor", torch.zeros(rank, decoder.latent_size))
        self.register_buffer("codes", torch.zeros(num_codes, decoder.latent_size))
        self.register_buffer("partners", torch.zeros(num_codes, dtype=torch.long))
        self._info = info
        self.eval().requires_grad_(False)

    @property
    def info(self) -> ModelInfo:
        """See Generator.info."""
        if self._info is None:
            raise ValueError("this DeepSDF was built without a model card")
        return self._info

    @property
    def device(self) -> torch.device:
        """See Generator.device."""
        return self.code_mean.device

    def fit_gaussian(self) -> None:
        """Set mean, factor and partners (nearest neighbours) from the codes, when a model is trained or imported."""
        mean, factor = gaussian_of_codes(self.codes, len(self.code_factor))
        self.code_mean.copy_(mean)
        self.code_factor.copy_(factor)
        if len(self.codes) > 1:
            self.partners.copy_(self.neighbours(1)[:, 0])

    def neighbours(self, count: int) -> Tensor:
        """Return the `count` codes nearest to each code, nearest first. [num_codes, count]"""
        distance = torch.cdist(self.codes, self.codes).fill_diagonal_(torch.inf)
        return distance.topk(count, largest=False).indices

    def measured_slope(self, num_codes: int = 16, num_points: int = 4096) -> float:
        """The largest change of the distance over `SLOPE_STEP` that was met, with a margin of 10 %, at least 1.1.

        Canonical, over codes drawn from the Gaussian. Not a bound: none is known for a trained network, and its slope
        at a single point, where two parts nearly touch, may be larger.
        """
        random = torch.Generator().manual_seed(0)
        low, high = torch.tensor(self.bounds, device=self.device)
        largest = 1.0
        for seed in range(num_codes):
            code = self.mapping(self.sample_z(seed))
            points = low + (high - low) * torch.rand(1, num_points, 3, generator=random).to(self.device)
            step = SLOPE_STEP * functional.normalize(torch.randn(points.shape, generator=random), dim=-1)
            ends = [self.sdf(p, code[0]).clamp(-self.clamp, self.clamp) for p in (points, points + step.to(points))]
            largest = max(largest, float((ends[0] - ends[1]).abs().max() / SLOPE_STEP))
        return round(1.1 * largest, 3)

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, rank], standard normal, the same for a seed on every device."""
        random = torch.Generator().manual_seed(seed)
        return torch.randn(1, len(self.code_factor), generator=random).to(self.code_mean)

    def mapping(self, z: Tensor, condition: Tensor | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return a code [..., 1, latent_size] for each z [..., rank], moved towards the mean code by truncation_psi."""
        code = self.code_mean + z @ self.code_factor
        drawn = torch.nonzero(self.partners >= 0)[:, 0]
        if len(self.codes) > 1 and len(drawn):
            chosen = drawn[torch.cdist(code.reshape(-1, code.shape[-1]), self.codes[drawn]).argmin(-1)]
            middle = (self.codes[chosen] + self.codes[self.partners[chosen]]) / 2
            code = torch.lerp(middle.reshape(code.shape), code, DRAW_SHARE)
        return (self.code_mean + truncation_psi * (code - self.code_mean))[..., None, :]

    @property
    def world_from_canonical(self) -> Tensor:
        """The rotation [3, 3], on the model's device."""
        return self.code_mean.new_tensor(WORLD_FROM_CANONICAL)

    def complete(
        self,
        points: Tensor,
        normals: Tensor | None = None,
        origins: Tensor | None = None,
        *,
        iterations: int = 800,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Completion:
        """See Completes.complete."""
        scan = scan_from_points(points, normals, origins)
        return complete(self, scan, iterations=iterations, seed=seed, progress=progress)

    def mean_ws(self) -> Tensor:
        """Return the mean of the trained codes [1, latent_size]. See Generator.mean_ws."""
        return self.code_mean[None].clone()

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> DeepSDFScene:
        """Return the shape of one code, ws [1, latent_size]. See Generator.synthesize."""
        check_shape("ws", ws, (1, self.code_mean.shape[0]))
        return DeepSDFScene(self, ws[0].to(self.device), differentiable=differentiable)

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for. All weights are geometry; late layers: the last two of the decoder."""
        if part == "appearance":
            raise NotSupported("DeepSDF makes shapes without colour: there is no appearance to edit.")
        if part == "late layers":
            last = self.decoder.num_layers - 1
            names = tuple(f"{kind}{index}." for kind in ("lin", "bn") for index in (last - 1, last))
            return [p for name, p in self.decoder.named_parameters() if name.startswith(names)]
        return list(self.decoder.parameters())

    def sdf(self, points: Tensor, codes: Tensor, *, impl: Impl = "auto") -> Tensor:
        """Return the decoder's distances [..., num_points] at canonical points [..., num_points, 3] under codes
        [..., latent_size].

        Not clamped; beyond ± clamp only the sign is meaningful.
        """
        if self.mirror:
            points = torch.cat([points[..., :1].abs(), points[..., 1:]], dim=-1)
        return self.decoder(points, codes, impl=impl)


class DeepSDFScene:
    """One shape: a truncated signed distance in world metres, rendered as clay. A `Scene`.

    `trace` and `image` are differentiable in rays, code and weights: sphere tracing without gradients, then the hit
    point by implicit differentiation and a soft silhouette (scenes/surface_trace.py). `image` has the lamp of `render`,
    which moves with the camera; single rays have that of an upright camera that looks along them.
    """

    def __init__(self, model: DeepSDF, code: Tensor, *, differentiable: bool = False) -> None:
        self.model, self.differentiable = model, differentiable
        self.code = code if differentiable else code.detach()  # [latent_size]
        rotation = code.new_tensor(WORLD_FROM_CANONICAL)
        self._world_from_canonical = model.metres_per_unit * rotation  # [3, 3]
        self._canonical_from_world = rotation.T / model.metres_per_unit  # [3, 3]
        self._center = code.new_tensor(model.center)  # [3]

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        model = self.model
        return FieldInfo(
            quantity="sdf",
            iso_level=0.0,
            bounds=world_bounds(model),
            has_color=False,
            lipschitz=model.lipschitz,
            clamp=model.clamp * model.metres_per_unit,
            trace_psnr=TRACE_PSNR,
        )

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. The distance is truncated at ± info.clamp, as it was learnt."""
        flat = points.reshape(-1, 3).to(self._canonical_from_world)
        value = self._sdf(self._canonical(flat)).clamp(-self.model.clamp, self.model.clamp) * self.model.metres_per_unit
        return FieldSample(value.reshape(points.shape[:-1]))

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace. samples bounds the steps of a ray (128). Nothing is random here."""
        metres = self.model.metres_per_unit
        return self._traced(
            rays,
            upright_axes(rays.directions.reshape(-1, 3)),
            fixed_size(SOFT_SILHOUETTE * metres),
            lambda distance: torch.full_like(distance, SOFT_SILHOUETTE / 16),
            samples or MAX_STEPS,
        )

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.image. Silhouettes are a pixel wide; jitter moves each ray within its pixel."""
        canonical = camera.transformed(self._canonical_from_world_4x4().to(camera.world_from_camera))
        rays = camera.rays(jittered(camera, jitter))
        return self._traced(rays, camera_axes(camera), pixel_size(camera), _pixel_tolerance(canonical), MAX_STEPS)

    def _traced(
        self,
        rays: Rays,
        axes: Tensor,
        width: Callable[[Rays, Tensor], Tensor],
        tolerance: Callable[[Tensor], Tensor],
        max_steps: int,
    ) -> RayColors:
        """Return the pixels of world rays [...] under a lamp with axes [3, 3] or [N, 3, 3]. width: of the silhouettes,
        from rays and distances along them [N]; tolerance: see sphere_tracing.trace."""
        flat, metres = flattened(rays), self.model.metres_per_unit
        surface = _World(self, self._space)
        origins, directions = self._canonical(flat.origins), flat.directions @ self._canonical_from_world.T * metres
        with torch.no_grad():
            crossing = trace(self._sdf, surface.space, origins, directions, tolerance, max_steps=max_steps)
        near, far = surface.space.entry_and_exit(origins, directions)
        interval = near * metres, far * metres
        pixels = trace_clay(
            surface, flat, axes, interval, crossing * metres, width, CLEARANCE_SAMPLES, surface.openness
        )
        return pixels.reshape(*rays.origins.shape[:-1])

    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """See Scene.render. samples_per_ray bounds the steps of a ray (128).

        full: pixels on a silhouette or a jump of depth get 4 more rays. draft: a quarter of the rays. jitter moves each
        ray within its pixel.
        """
        steps = samples_per_ray or MAX_STEPS

        def shade(view: Camera, pixels: Tensor | None, report: Progress) -> Image:
            return self._image(view, pixels, steps, report)

        return draw(shade, camera, quality=quality, jitter=jitter, progress=progress)

    def _sdf(self, points: Tensor) -> Tensor:
        """Return canonical distances [N], not truncated, at canonical points [N, 3]."""
        if self.model.mirror:
            points = torch.cat([points[:, :1].abs(), points[:, 1:]], dim=-1)
        return sdf_mlp(points, self.code, self._weights)

    def _canonical(self, points: Tensor) -> Tensor:
        """Return canonical points [..., 3] of world points."""
        return (points - self._center) @ self._canonical_from_world.T

    def _canonical_from_world_4x4(self) -> Tensor:
        matrix = torch.eye(4).to(self.code)
        matrix[:3, :3] = self._canonical_from_world
        matrix[:3, 3] = -self._canonical_from_world @ self._center
        return matrix

    @property
    def _weights(self) -> MlpWeights:
        """The decoder's matrices; of a differentiable scene made anew, for they may have been trained since."""
        return self.model.decoder.weights() if self.differentiable else self._kept_weights

    @property
    def _space(self) -> EmptySpace:
        """The cells that rays skip; of a differentiable scene made anew."""
        return self._empty_space() if self.differentiable else self._kept_space

    @cached_property
    def _kept_weights(self) -> MlpWeights:
        with torch.no_grad():
            return self.model.decoder.weights()

    @cached_property
    def _kept_space(self) -> EmptySpace:
        return self._empty_space()

    def _empty_space(self) -> EmptySpace:
        model = self.model
        low, high = self.code.new_tensor(model.bounds)
        cell = min(CELL, model.clamp / model.lipschitz)  # half a diagonal must be less than clamp / lipschitz
        return EmptySpace.of(self._sdf, low, high, cell, lipschitz=model.lipschitz, clamp=model.clamp)

    def _image(
        self,
        camera: Camera,
        pixels: Tensor | None,  # [..., 2]: x, y, or None for the centres of all pixels
        max_steps: int,
        progress: Progress,
    ) -> Image:
        camera = camera.to(self.code.device).transformed(self._canonical_from_world_4x4())
        rays = camera.rays(pixels)
        shape = rays.directions.shape[:-1]
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        scale = rays.depth_from_distance.reshape(-1)

        with torch.no_grad():
            distance = trace(
                self._sdf,
                self._space,
                origins,
                directions,
                _pixel_tolerance(camera),
                max_steps=max_steps,
                report=lambda fraction: progress(0.8 * fraction, "Rendering"),
            )
            hit = torch.nonzero(torch.isfinite(distance))[:, 0]
            points = origins[hit] + distance[hit, None] * directions[hit]
        normals = self._normals(points)
        with torch.no_grad():
            progress(0.9, "Shading")
            axes = camera_axes(camera)
            up = normals.new_tensor(WORLD_FROM_CANONICAL).T @ normals.new_tensor([0.0, 0.0, 1.0])
            shade = clay_shade(normals, axes, up) * self._openness(points, normals)
            rgb = distance.new_tensor(CLAY).repeat(len(distance), 1)
            rgb[hit] = rgb[hit] * shade[:, None]
            normal = torch.zeros_like(rgb)
            rotation = self._world_from_canonical / self.model.metres_per_unit
            normal[hit] = normals @ rotation.T
        progress(1.0, "Rendering")
        alpha = torch.isfinite(distance).to(rgb.dtype)
        return Image(
            rgb.clamp(0, 1).reshape(*shape, 3),
            alpha.reshape(shape),
            (distance * scale).reshape(shape),
            normal.reshape(*shape, 3),
        )

    def _normals(self, points: Tensor) -> Tensor:
        """Return the unit gradient [N, 3] of the distance at canonical points [N, 3]."""
        with torch.enable_grad():
            gradients = []
            for part in points.split(4096):
                part = part.detach().requires_grad_()
                gradients.append(torch.autograd.grad(self._sdf(part).sum(), part)[0])
        gradient = torch.cat(gradients) if gradients else torch.zeros_like(points)
        return functional.normalize(gradient, dim=-1)

    def _openness(self, points: Tensor, normals: Tensor) -> Tensor:
        """Return a factor of ambient occlusion [N]: 1 where a step along the normal leads away from the surface by its
        whole length, less in hollows."""
        reach = 0.6 * self.model.clamp
        return 0.6 + 0.4 * (self._sdf(points + reach * normals) / reach).clamp(0, 1)


@dataclass(frozen=True)
class _World:
    """A shape in the world as a `surface_trace.Surface`."""

    scene: DeepSDFScene
    space: EmptySpace

    def signed(self, points: Tensor) -> Tensor:
        return self.scene._sdf(self.scene._canonical(points)) * self.scene.model.metres_per_unit

    def gradient(self, points: Tensor) -> Tensor:
        differentiated = torch.is_grad_enabled()
        with torch.enable_grad():
            points = points if points.requires_grad else points.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.signed(points).sum(), points, create_graph=differentiated)
        return gradient

    def may_touch(self, points: Tensor) -> Tensor:
        return self.space.may_touch(self.scene._canonical(points))

    def openness(self, points: Tensor, normals: Tensor) -> Tensor:
        scene = self.scene
        canonical_normals = normals @ scene._canonical_from_world.T * scene.model.metres_per_unit
        return scene._openness(scene._canonical(points), canonical_normals)


def world_bounds(model: DeepSDF) -> Bounds:
    """Return the canonical box of a model as a world box, metres."""
    rotation, center = (torch.tensor(x, dtype=torch.float64) for x in (WORLD_FROM_CANONICAL, model.center))
    corners = torch.tensor(model.bounds, dtype=torch.float64) @ rotation.T * model.metres_per_unit + center
    low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _pixel_tolerance(camera: Camera) -> Callable[[Tensor], Tensor]:
    """Return the distance from the surface that is a hit, by the distance along the ray: a sixteenth of a pixel, within
    bounds that the network can resolve."""
    focal = float(camera.intrinsics[0, 0].detach())
    if camera.projection == "orthographic":
        unit = float(camera.world_from_camera[:3, 0].detach().norm())  # field units in a metre
        return lambda distance: torch.full_like(distance, min(max(unit / focal / 16, 2e-4), 2e-3))
    return lambda distance: (distance / focal / 16).clamp(2e-4, 2e-3)


def constructor_of(model: DeepSDF) -> dict[str, Any]:
    """Return the arguments from which `load` builds the model again, as plain JSON for the card."""
    spec = {field.name: getattr(model.decoder.spec, field.name) for field in fields(DecoderSpec)}
    return {
        "decoder": {name: list(value) if isinstance(value, tuple) else value for name, value in spec.items()},
        "num_codes": len(model.codes),
        "rank": len(model.code_factor),
        "mirror": model.mirror,
        "clamp": model.clamp,
        "bounds": [list(corner) for corner in model.bounds],
        "lipschitz": model.lipschitz,
        **({"center": list(model.center)} if any(model.center) else {}),
    }


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> DeepSDF:
    """Return the generator of a model folder.

    Raises KeyError, ValueError, TypeError or RuntimeError where card and tensors do not match.
    """
    arguments = dict(card.constructor)
    spec = config_from_json(DecoderSpec, arguments.pop("decoder"))
    low, high = arguments.pop("bounds")
    x, y, z = arguments.pop("center", (0.0, 0.0, 0.0))
    model = DeepSDF(
        spec,
        bounds=((low[0], low[1], low[2]), (high[0], high[1], high[2])),
        metres_per_unit=card.metres_per_unit,
        center=(x, y, z),
        **arguments,
    )
    model.load_state_dict(tensors)
    model._info = model_info(name, card, model)
    return model.to(next(iter(tensors.values())).device)


def model_info(name: str, card: ModelCard, model: DeepSDF) -> ModelInfo:
    """Return the description of a model with this card, for the panel."""
    metres, family = model.metres_per_unit, len(model.code_factor) > 0
    prior = PosePrior(radius=3.4 * metres, fov=0.6, elevation=(-0.3, 1.2), default_azimuth=0.6, default_elevation=0.35)
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=len(model.code_factor),
        num_ws=1,
        w_dim=model.code_mean.shape[0],
        num_geometry_ws=1,
        num_parameters=sum(parameter.numel() for parameter in model.decoder.parameters()),
        has_truncation=family,
        has_surface=True,
        no_surface_reason="",
        has_color=False,
        quantity="sdf",
        iso_level=0.0,
        iso_range=(-0.5 * model.clamp * metres, 0.5 * model.clamp * metres),
        bounds=world_bounds(model),
        pose_prior=pose_prior(card, prior),
        image_size=256,
        capabilities=("complete",) if family else (),
    )
