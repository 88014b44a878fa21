"""A fitted hash-grid radiance field as a Scene, and loading one."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from addon.wire.messages import Bounds

from ...cameras import Camera
from ...kernels.compositing import LARGEST_EXPONENT
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.radiance_mlp import radiance_mlp
from ...kernels.ray_marching import OccupancyBits
from ...kernels.spherical_harmonics import spherical_harmonics
from ...kernels.warm_up import warm_up
from ...progress import Progress, silent
from ...rendering.color import linear_from_srgb, srgb_from_linear
from ...scenes.generator import Generator
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.trace import RayTraced

if TYPE_CHECKING:
    from ...models.card import ModelCard
from .field import KIND, HashField, HashFieldConfig

DARK = 2e-3
"""Of the light, what passes a step of what is solid."""


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
        return FieldInfo("density", level, config.bounds or box)

    def value(self, points: Tensor) -> Tensor:
        """The density of `field`, without the colours: [...] of world points [..., 3]."""
        model = self.hash_field
        local = model.from_world(points.reshape(-1, 3))
        unit = model.unit(local)
        held, solid = self._held(unit)
        held = held.nonzero(as_tuple=True)[0]
        density = model.density(unit[held]) / model.size_at(local[held])
        value = torch.zeros_like(unit[:, 0]).index_put((held,), density)
        return torch.where(solid, self._solid_density, value).reshape(points.shape[:-1])

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field. Without directions, a colour is the mean of those seen from six sides.

        Where training and rendering skip empty space, so does this: density is 0 there. Within what is solid no picture
        says how dense it is: enough that no light passes a step.
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
        value = torch.exp(density.clamp(max=LARGEST_EXPONENT)) / model.size_at(local)
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
        """Whether points [N, 3] of the unit cube lie in cells that may hold something, and in solid ones: [N] each."""
        model = self.hash_field
        n = model.occupancy.resolution
        cell = (unit.detach() * n).floor()
        inside = ((cell >= 0) & (cell < n)).all(-1)
        x, y, z = cell.long().clamp(0, n - 1).unbind(-1)
        solid = model.solid[x, y, z] & inside
        return model.occupancy.occupied[x, y, z] & inside & ~solid, solid

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
        """See Scene.render. samples_per_ray: along the box's edge. A draft walks in steps twice as long."""
        model = self.hash_field
        warm_up(model.config.table, model.config.networks, model.device, progress, training=False)
        step = 1 / samples_per_ray if samples_per_ray else model.config.step * (2 if quality == "draft" else 1)
        rays = camera.to(model.device).rays()
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        origins = model.from_world(origins)
        rows = max(1, 65536 // camera.width)
        has_sky = model.config.sky and model.clip is None
        parts, normals, behind = [], [], []
        for first in range(0, camera.height, rows):
            progress(first / camera.height, "Rendering")
            part = slice(first * camera.width, (first + rows) * camera.width)
            late = None
            if jitter is not None:
                late = torch.rand(len(origins[part]), generator=jitter, device=jitter.device).to(model.device)
            found = model.render_rays(origins[part], directions[part], late, step=step)
            parts.append(found)
            normals.append(self._normals(origins[part], directions[part], found))
            if has_sky:
                behind.append(self._behind(directions[part], 1 - found[:, 3]))
        result = torch.cat(parts)
        alpha = result[:, 3].clamp(0, 1)
        opacity = alpha.clamp(min=1e-4)[:, None]
        distance = torch.where(alpha > 0.5, result[:, 4] / opacity[:, 0] * model.config.side, torch.inf)
        rgb = result[:, :3]
        if has_sky:
            rgb, alpha, opacity = rgb + torch.cat(behind), torch.ones_like(alpha), torch.ones_like(opacity)
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
        """The scene whose pictures show what lies in a box of the world alone."""
        clipped = copy.copy(self.hash_field)
        clipped.clip = box
        return HashScene(clipped)

    def _behind(self, directions: Tensor, light: Tensor) -> Tensor:
        """The sky's part of the pixels of rays with so much light left [R]: [R, 3], as it is composited."""
        model, lit = self.hash_field, (light > 1e-4).nonzero(as_tuple=True)[0]
        colors = model.sky(directions[lit])
        if model.config.linear:
            colors = linear_from_srgb(colors)
        return torch.zeros_like(directions).index_copy(0, lit, light[lit, None] * colors)

    def _normals(self, origins: Tensor, directions: Tensor, found: Tensor) -> Tensor:
        """Where the surface is seen, which way density falls fastest: [R, 3] unit, 0 where empty."""
        solid = (found[:, 3] > 0.5).nonzero(as_tuple=True)[0]
        normals = torch.zeros_like(directions)
        if not len(solid):
            return normals
        t = found[solid, 4] / found[solid, 3]
        points = origins[solid] + directions[solid] * t[:, None]
        # central differences over about a step: finer, the table's own grain would show
        size = self.hash_field.config.step
        offsets = torch.cat((torch.eye(3), -torch.eye(3))).to(points) * size
        around = self.hash_field.unit((points[:, None] + offsets).reshape(-1, 3))
        raw = self.hash_field.density_raw(around).reshape(-1, 6)
        normals[solid] = normalize(raw[:, 3:] - raw[:, :3], dim=-1)
        return normals

    def tensors(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return kind, config and tensors to keep it by."""
        model = self.hash_field
        return (
            KIND,
            asdict(model.config),
            {
                "table": model.table,
                "networks": model.networks,
                "occupied": model.occupancy.bits,
                "solid": OccupancyBits(model.solid).bits,
            },
        )


def scene_from_tensors(config: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> HashScene:
    """Return the scene that `HashScene.tensors` was asked of. Raises ValueError or KeyError where they do not fit."""
    values = dict(config)
    if values.get("unbounded") and "sky" not in values:
        raise ValueError("fields of scenes without end were other ones in earlier versions: fit the pictures again")
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
