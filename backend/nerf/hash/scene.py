"""A fitted hash-grid radiance field as a Scene, and loading one."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from addon.wire.messages import Bounds

from ...cameras import Camera, Rays
from ...kernels.compositing import LARGEST_EXPONENT
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.radiance_mlp import radiance_mlp
from ...kernels.ray_marching import OccupancyBits
from ...kernels.spherical_harmonics import spherical_harmonics
from ...kernels.warm_up import warm_up
from ...progress import Progress, silent
from ...rendering.color import linear_from_srgb, srgb_from_linear
from ...rendering.compositing import unpremultiply
from ...scenes.generator import Generator, Part
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.trace import RayColors, RayTraced
from .field import KIND, HashField, HashFieldConfig, TracedRays

if TYPE_CHECKING:
    from ...models.card import ModelCard

DARK = 2e-3
"""Transmittance of one ray step through a solid cell."""


def ray_colors(traced: TracedRays, config: HashFieldConfig) -> RayColors:
    """Return traced rays [R] as sRGB pixels over black, distances in metres.

    With a sky every pixel is opaque; its distance is then the mean one of what stands before the sky, infinite where
    that stops less than half of the light, as in `HashScene.render`.
    """
    rgb, alpha, distance = traced.pixels.rgb, traced.pixels.alpha, traced.pixels.t * config.side
    if traced.sky is not None:
        sky = linear_from_srgb(traced.sky) if config.linear else traced.sky
        rgb = rgb + (1 - alpha[:, None]) * sky
        distance = torch.where(alpha > 0.5, distance / alpha.clamp(min=0.5), torch.inf)
        alpha = torch.ones_like(alpha)
    if config.linear:
        rgb = srgb_from_linear(unpremultiply(rgb, alpha)) * alpha[:, None]
    return RayColors(rgb, alpha, distance)


class HashScene(RayTraced):
    """A hash field as a Scene."""

    def __init__(self, hash_field: HashField) -> None:
        self.hash_field = hash_field

    @property
    def info(self) -> FieldInfo:
        """See Scene.info."""
        config = self.hash_field.config
        low, side = config.low, config.side
        box: Bounds = (low, (low[0] + side, low[1] + side, low[2] + side))
        level = config.iso_level if config.iso_level is not None else math.log(2) / (config.step * side)
        return FieldInfo("density", level, config.bounds or box, rough=True)

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for. geometry: table and density network; appearance: colour network; late layers:
        the last two of the colour network."""
        model = self.hash_field
        parts = {
            "geometry": [model.table, *model.matrices[:2]],
            "appearance": model.matrices[2:],
            "late layers": model.matrices[3:],
            "all": [model.table, *model.matrices],
        }
        return parts[part]

    def value(self, points: Tensor) -> Tensor:
        """Return the density of `field` without the colours: [...] of world points [..., 3]."""
        model = self.hash_field
        local = model.from_world(points.reshape(-1, 3))
        unit = model.unit(local)
        held, solid = self._held(unit)
        held = held.nonzero(as_tuple=True)[0]
        density = model.density(unit[held]) / model.metres_per_length(local[held])
        value = torch.zeros_like(unit[:, 0]).index_put((held,), density)
        return torch.where(solid, self._solid_density, value).reshape(points.shape[:-1])

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, a colour is the mean of those seen from six sides.

        Density is 0 in the cells that training and rendering skip as empty. Solid cells, whose density no image
        determines, have one that lets no light pass a step.
        """
        model, shape = self.hash_field, points.shape[:-1]
        local = model.from_world(points.reshape(-1, 3))
        unit = model.unit(local)
        if directions is None:
            sides = torch.cat((torch.eye(3), -torch.eye(3))).to(unit)
            view = spherical_harmonics(sides)
        else:
            view = spherical_harmonics(normalize(directions, dim=-1).expand_as(points).reshape(-1, 3))
        features = hash_encode(unit, model.table, model.config.table)
        spec = model.config.networks
        if directions is None:
            rows = [torch.full((len(unit),), number, dtype=torch.int32, device=unit.device) for number in range(6)]
            each = torch.stack([radiance_mlp(features, view, row, model.networks, spec) for row in rows])
            density, rgb = each[0, :, 0], torch.sigmoid(each[:, :, 1:]).mean(0)
        else:
            rows_of = torch.arange(len(unit), dtype=torch.int32, device=unit.device)
            raw = radiance_mlp(features, view, rows_of, model.networks, spec)
            density, rgb = raw[:, 0], torch.sigmoid(raw[:, 1:])
        value = torch.exp(density.clamp(max=LARGEST_EXPONENT)) / model.metres_per_length(local)
        held, solid = self._held(unit)
        value = torch.where(solid, self._solid_density, value * held)
        if model.config.linear:
            rgb = srgb_from_linear(rgb)
        return FieldSample(value.reshape(shape), rgb.reshape(*shape, 3))

    @property
    def _solid_density(self) -> float:
        config = self.hash_field.config
        return -math.log(DARK) / (config.step * config.side)

    def _held(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether points [N, 3] of the unit cube lie in occupied and in solid cells: [N] each, exclusive."""
        model = self.hash_field
        n = model.occupancy.resolution
        cell = (unit.detach() * n).floor()
        inside = ((cell >= 0) & (cell < n)).all(-1)
        x, y, z = cell.long().clamp(0, n - 1).unbind(-1)
        solid = model.solid[x, y, z] & inside
        return model.occupancy.occupied[x, y, z] & inside & ~solid, solid

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """See Scene.trace and `HashField.trace`. samples: along the box's edge, as of `render`."""
        model = self.hash_field
        origins, directions = (x.reshape(-1, 3).to(model.table) for x in (rays.origins, rays.directions))
        offsets = None
        if jitter is not None:
            offsets = torch.rand(len(origins), generator=jitter, device=jitter.device).to(origins)
        step = None if samples is None else 1 / samples
        traced = model.trace(model.from_world(origins), directions, offsets, step=step)
        return ray_colors(traced, model.config).reshape(*rays.origins.shape[:-1])

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
        """See Scene.render. samples_per_ray: along the box's edge. A draft takes steps twice as long."""
        model = self.hash_field
        warm_up(model.config.table, model.config.networks, model.device, progress, training=False)
        step = 1 / samples_per_ray if samples_per_ray else model.config.step * (2 if quality == "draft" else 1)
        rays = camera.to(model.device).rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        origins = model.from_world(origins)
        rows = max(1, 65536 // camera.width)
        has_sky = model.config.sky and model.clip is None
        parts, normals, sky = [], [], []
        for first in range(0, camera.height, rows):
            progress(first / camera.height, "Rendering")
            part = slice(first * camera.width, (first + rows) * camera.width)
            offsets = None
            if jitter is not None:
                offsets = torch.rand(len(origins[part]), generator=jitter, device=jitter.device).to(model.device)
            found = model.render_rays(origins[part], directions[part], offsets, step=step)
            parts.append(found)
            normals.append(self._normals(origins[part], directions[part], found))
            if has_sky:
                sky.append(self._sky(directions[part], 1 - found[:, 3]))
        result = torch.cat(parts)
        alpha = result[:, 3].clamp(0, 1)
        opacity = alpha.clamp(min=1e-4)[:, None]
        distance = torch.where(alpha > 0.5, result[:, 4] / opacity[:, 0] * model.config.side, torch.inf)
        rgb = result[:, :3]
        if has_sky:
            rgb, alpha, opacity = rgb + torch.cat(sky), torch.ones_like(alpha), torch.ones_like(opacity)
        rgb = (rgb / opacity).clamp(0, 1)
        if model.config.linear:
            rgb = srgb_from_linear(rgb)
        rgb = torch.where(alpha[:, None] > 1e-4, rgb, torch.zeros_like(rgb))
        shape = (camera.height, camera.width)
        return Image(
            rgb.reshape(*shape, 3),
            alpha.reshape(shape),
            distance.reshape(shape) * rays.depth_from_distance,
            torch.cat(normals).reshape(*shape, 3),
        )

    def within(self, box: Bounds) -> HashScene:
        """Return the scene rendered inside a world box alone; it shares the parameters."""
        clipped = copy.copy(self.hash_field)
        clipped.clip = box
        return HashScene(clipped)

    def _sky(self, directions: Tensor, light: Tensor) -> Tensor:
        """Return the sky's part [R, 3] of the pixels of rays with transmittance `light` [R], as it is composited."""
        model, lit = self.hash_field, (light > 1e-4).nonzero(as_tuple=True)[0]
        colors = model.sky(directions[lit])
        if model.config.linear:
            colors = linear_from_srgb(colors)
        return torch.zeros_like(directions).index_copy(0, lit, light[lit, None] * colors)

    def _normals(self, origins: Tensor, directions: Tensor, found: Tensor) -> Tensor:
        """Return the surface normals of rendered rays [R, 5]: minus the density's gradient, [R, 3] unit, 0 where
        empty."""
        solid = (found[:, 3] > 0.5).nonzero(as_tuple=True)[0]
        normals = torch.zeros_like(directions)
        if not len(solid):
            return normals
        t = found[solid, 4] / found[solid, 3]
        points = origins[solid] + directions[solid] * t[:, None]
        # central differences over about a step: finer ones would show the grain of the table
        size = self.hash_field.config.step
        offsets = torch.cat((torch.eye(3), -torch.eye(3))).to(points) * size
        around = self.hash_field.unit((points[:, None] + offsets).reshape(-1, 3))
        raw = self.hash_field.density_raw(around).reshape(-1, 6)
        normals[solid] = normalize(raw[:, 3:] - raw[:, :3], dim=-1)
        return normals

    def tensors(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return kind, config and tensors, as a model folder or a scene file holds them."""
        model = self.hash_field
        return (
            KIND,
            asdict(model.config),
            {
                "table": model.table.detach(),
                "networks": model.networks.detach(),
                "occupied": model.occupancy.bits,
                "solid": OccupancyBits(model.solid).bits,
            },
        )


def scene_from_tensors(config: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> HashScene:
    """Return the scene of what `HashScene.tensors` returned. Raises ValueError or KeyError where they do not fit."""
    values = dict(config)
    if values.get("unbounded") and "sky" not in values:
        raise ValueError("unbounded fields of earlier versions cannot be read: fit the images again")
    values["table"] = HashSpec(**values["table"])
    values["low"] = tuple(values["low"])
    if values.get("bounds") is not None:
        values["bounds"] = tuple(tuple(corner) for corner in values["bounds"])
    made = HashFieldConfig(**values)
    table, networks, bits = tensors["table"], tensors["networks"], tensors["occupied"]
    n = round((bits.numel() * 8) ** (1 / 3))
    expected = {
        "table": (made.table.num_entries, made.table.num_features),
        "networks": (made.networks.num_parameters,),
        "occupied": (n**3 // 8,),
    }
    if "solid" in tensors:  # fields of earlier versions hold none
        expected["solid"] = expected["occupied"]
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} must be {list(shape)}, got {list(tensors[name].shape)}")
    occupied, solid = (
        OccupancyBits.from_bits(tensors[name]).occupied.to(device) if name in tensors else None
        for name in ("occupied", "solid")
    )
    assert occupied is not None
    return HashScene(HashField(made, table.float().to(device), networks.float().to(device), occupied, solid))


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> Generator:
    """See backend/generators/__init__.py."""
    from ...scenes.stored import StoredScene, density_model_info

    scene = scene_from_tensors(card.constructor, tensors, tensors["table"].device)
    low, high = scene.info.bounds
    radius = 2.0 * max(b - a for a, b in zip(low, high))
    count = tensors["table"].numel() + tensors["networks"].numel()
    info = density_model_info(name, card, scene.info, num_parameters=count, radius=radius)
    return StoredScene(info, scene, tensors["table"].device)
