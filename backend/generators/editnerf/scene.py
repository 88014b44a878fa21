"""EditNeRF as a Generator and its Scene: volume rendering, instances and transfer, the model's info, and loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import InvalidRequest
from addon.wire.messages import Control, ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...scenes.generator import Part
from ...scenes.latent_generator import Editable, LatentGenerator, control_value, latent_model_info, load_network
from ...scenes.marched import MarchedField
from ...scenes.protocol import FieldInfo, FieldSample
from ...scenes.trace import RayColors
from ...scenes.volume import Placement, Shell, VolumeScene, cube, opaque_within
from ..layers.config import config_from_json
from .codes import codes_from_z
from .fast import FastField
from .model import EditNeRF, EditNeRFConfig

IMAGE_MEMORY = ImageMemory(192 * MEBI, per_pixel=48, per_sample=13, samples=64)

TRACE_PSNR = 40.0
"""dB. With two networks, both paths are the same."""

FRONT_DIRECTION = (0.0, 1.0, 0.0)
"""The viewing direction of colours that are asked for without one."""


class EditNeRFScene(VolumeScene):
    """One pair of codes in the world."""

    def __init__(self, network: EditNeRF, ws: Tensor, placement: Placement, *, differentiable: bool) -> None:
        config = network.config
        shell = Shell(config.half_depth, config.reach, by_depth=True)
        super().__init__(placement, shell, field_info(config, placement.metres_per_unit))
        self.network, self.ws, self.differentiable = network, ws, differentiable
        self._fast: MarchedField | None = None

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """See Scene.field: of the fine network. Without directions, colours are those seen from in front and level."""
        canonical = self.placement.to_canonical(points).reshape(-1, 3)
        if directions is None:
            seen_along = canonical.new_tensor(FRONT_DIRECTION).expand_as(canonical)
        else:
            seen_along = self.placement.directions_to_canonical(directions).reshape(-1, 3)
        field = self.network.fine
        color, density = field(field.embed(self.ws), canonical, seen_along).split((3, 1), -1)
        density = F.relu(density) / self.placement.metres_per_unit
        return FieldSample(density.reshape(points.shape[:-1]), torch.sigmoid(color).reshape(points.shape))

    def num_steps(self, samples: int | None, quality: Literal["draft", "full"]) -> int:
        """See VolumeScene.num_steps. A draft has half the samples."""
        config = self.network.config
        if samples is not None:
            return max(round(samples * config.num_samples / (config.num_samples + config.num_fine)), 4)
        return max(config.num_samples // 2, 4) if quality == "draft" else config.num_samples

    def reference_rays(self, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> RayColors:
        """See VolumeScene.reference_rays."""
        result = self.network.render(self.ws, origins, directions, t=t, u=u).fine
        rgb = result.rgb
        if self.network.config.white_background:  # white belongs to official images; here the background shows through
            rgb = rgb - (1 - result.alpha[:, None])
        return RayColors(rgb, result.alpha, result.depth)

    def raw_density(self, points: Tensor) -> Tensor:
        """See VolumeScene.raw_density."""
        return self.network.fine.raw_density(self.network.fine.embed(self.ws), points)

    def fast_field(self) -> MarchedField | None:
        """Return the field with the codes folded into its biases; of a differentiable scene, whose ws and weights may
        change between two renders, a new one each time. None where a coarse network places the samples."""
        if self.network.coarse is not None:
            return None
        if self._fast is None or self.differentiable:
            ws = self.ws.detach()
            self._fast = MarchedField(FastField(self.network.fine, ws), self.shell, ws)
        return self._fast


def field_info(config: EditNeRFConfig, metres_per_unit: float) -> FieldInfo:
    """Return the info of every scene of this network."""
    return FieldInfo(
        quantity="density",
        iso_level=opaque_within(2 * config.half_depth / 24) / metres_per_unit,
        bounds=cube(config.half_depth * metres_per_unit),
        trace_psnr=TRACE_PSNR,
    )


def instance_controls(config: EditNeRFConfig) -> tuple[Control, ...]:
    """Return the sliders that choose training objects: shape and colours apart, which is the paper's transfer."""
    if not config.num_codes:
        return ()
    last = float(config.num_codes)
    return (
        Control("shape_of", "Shape of", "Training object whose shape is taken; 0 takes that of the seeds",
                0.0, 0.0, last, "integer"),
        Control("color_of", "Colours of", "Training object whose colours are taken; 0 takes those of the seeds",
                0.0, 0.0, last, "integer"),
        Control("instance_mix", "Mix", "From the codes of the seeds (0) to those of the chosen training objects (1)",
                1.0, 0.0, 1.0),
    )  # fmt: skip


class EditNeRFGenerator(LatentGenerator[EditNeRF]):
    """EditNeRF as a Generator."""

    world_from_canonical = torch.eye(3)
    without_edits = ("coarse.",)  # it places samples, the pixels are made by the fine field

    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return the two codes: draws from the Gaussians fitted to those of the training objects (our choice: the paper
        edits training objects only)."""
        return codes_from_z(self.network, z)

    def find_center(self) -> Tensor:
        """Return the mean codes of the training objects."""
        return self.network.code_mean.clone()

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> EditNeRFScene:
        """See Generator.synthesize. Raises InvalidRequest for a training object that there is not."""
        ws = self.with_instances(self.checked(ws), controls)
        return EditNeRFScene(self.network, ws, self.placement, differentiable=differentiable)

    def with_instances(self, ws: Tensor, controls: Mapping[str, float] | None) -> Tensor:
        """Return ws [2, w_dim] with the codes of the training objects that the controls choose."""
        known = instance_controls(self.network.config)
        if not known:
            return ws
        *chosen, mix = (control_value(controls, control) for control in known)
        rows = []
        for row, (number, control) in enumerate(zip(chosen, known[:2], strict=True)):
            if not 0 <= number <= len(self.network.codes):
                raise InvalidRequest(
                    f"{control.label} is {number:g}, but the model has training objects 1 to "
                    f"{len(self.network.codes)}; 0 is the code of the seed."
                )
            code = self.network.codes[int(number) - 1, row] if number >= 1 else ws[row]
            rows.append(torch.lerp(ws[row], code, mix))
        return torch.stack(rows)

    def resolve(self, ws: Tensor, controls: Mapping[str, float] | None) -> tuple[Tensor, dict[str, float]]:
        """Return ws with the codes that the controls choose, and controls that take ws as it is."""
        return self.with_instances(self.checked(ws), controls), {**(controls or {}), "instance_mix": 0.0}

    def editable_parts(self) -> Mapping[Part, Editable]:
        """Density ends the fusion network; bottleneck and colour layers make colour alone. The late layers are those
        that the paper's edits change: the fusion network and density, and the last colour layer."""
        n = self.network.fine
        appearance = (n.embeddings[2], n.bottleneck, n.color_layers, n.color)
        return {
            "geometry": (
                *n.embeddings[:2],
                n.shared,
                n.shared_output,
                n.instance,
                n.instance_output,
                n.fusion,
                n.density,
            ),
            "appearance": appearance,
            "late layers": (n.fusion, n.density, n.embeddings[2], n.color),
        }


def model_info(name: str, card: ModelCard, network: EditNeRF) -> ModelInfo:
    """Return the info that the panel shows of an EditNeRF."""
    config = network.config
    return latent_model_info(
        name,
        card,
        network,
        field_info(config, card.metres_per_unit),
        z_dim=sum(config.rank),
        ws=(2, config.w_dim),
        num_geometry_ws=1,
        prior=PosePrior(
            radius=config.radius * card.metres_per_unit,
            fov=math.radians(config.fov_degrees),
            elevation=(0.0, math.pi / 2),
            default_elevation=math.pi / 8,
        ),
        image_size=config.image_size,
        controls=instance_controls(config),
    )


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> EditNeRFGenerator:
    """Return the generator in a model folder."""
    network = load_network(EditNeRF(config_from_json(EditNeRFConfig, card.constructor)), tensors)
    return EditNeRFGenerator(network, model_info(name, card, network), card.metres_per_unit)
