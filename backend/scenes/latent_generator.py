"""The Generator that models with a latent space share: seeds, truncation, checks, weights to edit, loading.

A model derives its own class from `LatentGenerator` and adds `map_z`, `find_center`, `editable_parts` and
`synthesize`; its `load` is `load_network` and `latent_model_info`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from addon.wire.messages import Control, ModelInfo, PosePrior

from ..cameras import Camera
from ..models.card import ModelCard
from .generator import Part
from .protocol import FieldInfo, Scene
from .volume import Placement, pose_prior

Network = TypeVar("Network", bound=nn.Module)
Editable = Iterable[nn.Module | nn.Parameter]


class LatentGenerator(ABC, Generic[Network]):
    """A network in evaluation mode, its weights frozen, as a Generator (scenes/generator.py)."""

    world_from_canonical: ClassVar[Tensor]
    """Rotation [3, 3] from the model's own frame to the world."""

    seeds: ClassVar[Literal["torch", "numpy"]] = "torch"
    """The random number generator that the official scripts seed."""

    without_edits: ClassVar[tuple[str, ...]] = ("mapping_network.",)
    """Prefixes of parameters that are not among "all": those that make `ws` rather than use it."""

    def __init__(self, network: Network, info: ModelInfo, metres_per_unit: float = 1.0):
        self.network, self.info = network.eval().requires_grad_(False), info
        self.placement = Placement(self.world_from_canonical.to(self.device), metres_per_unit)
        self._mean_ws: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    def normal(self, seed: int, length: int) -> Tensor:
        """Return the first normal numbers [1, length] after seeding, in the weights' type, on their device."""
        if self.seeds == "numpy":
            drawn = torch.from_numpy(np.random.RandomState(seed).randn(1, length)).float()
        else:
            drawn = torch.randn(1, length, generator=torch.Generator().manual_seed(seed))
        return drawn.to(next(self.network.parameters()))

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim] as the official scripts draw it."""
        return self.normal(seed, self.info.z_dim)

    @abstractmethod
    def map_z(self, z: Tensor, condition: Camera | None) -> Tensor:
        """Return ws [..., num_ws, w_dim] of z [..., z_dim], without truncation. Differentiable."""

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return ws [..., num_ws, w_dim] of z [..., z_dim], truncated towards `mean_ws`, a constant.

        See Generator.mapping.
        """
        ws = self.map_z(z, condition)
        if truncation_psi == 1:
            return ws
        mean = self.mean_ws()
        return mean + truncation_psi * (ws - mean)

    @abstractmethod
    def find_center(self) -> Tensor:
        """Return the centre of the latent space [num_ws, w_dim]."""

    def mean_ws(self) -> Tensor:
        """Return the centre of the latent space [num_ws, w_dim], found once. See Generator.mean_ws."""
        if self._mean_ws is None:
            with torch.no_grad():
                self._mean_ws = self.find_center()
        return self._mean_ws

    @abstractmethod
    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> Scene:
        """Return the Scene of one ws [num_ws, w_dim]. See Generator.synthesize."""

    def checked(self, ws: Tensor) -> Tensor:
        """Return ws on the weights' device. Raises ValueError unless its shape is [num_ws, w_dim]."""
        wanted = (self.info.num_ws, self.info.w_dim)
        if tuple(ws.shape) != wanted:
            raise ValueError(f"ws must be {list(wanted)}, got {list(ws.shape)}")
        return ws.to(self.device)

    @abstractmethod
    def editable_parts(self) -> Mapping[Part, Editable]:
        """Return the layers and parameters of the parts "geometry", "appearance" and "late layers"."""

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for."""
        if part == "all":
            named = self.network.named_parameters()
            return [parameter for name, parameter in named if not name.startswith(self.without_edits)]
        return list(_parameters(self.editable_parts()[part]))


def _parameters(editable: Editable) -> Iterator[nn.Parameter]:
    for layer in editable:
        if isinstance(layer, nn.Parameter):
            yield layer
        else:
            yield from layer.parameters()


def control_value(controls: Mapping[str, float] | None, control: Control) -> float:
    """Return the value of a slider: what `controls` says under its name, or its default."""
    return (controls or {}).get(control.name, control.default)


def latent_model_info(
    name: str,
    card: ModelCard,
    network: nn.Module,
    field: FieldInfo,
    *,
    z_dim: int,
    ws: tuple[int, int],
    num_geometry_ws: int,
    prior: PosePrior,
    image_size: int,
    iso_range: tuple[float, float] | None = None,
    pose_conditioned: bool = False,
    controls: Sequence[Control] = (),
) -> ModelInfo:
    """Return the ModelInfo of a model with a latent space and truncation.

    Args:
        field: of every scene of the network.
        ws: num_ws and w_dim.
        prior: replaced field by field by what the card says.
        iso_range: None is a tenth to ten times the iso level.
    """
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=z_dim,
        num_ws=ws[0],
        w_dim=ws[1],
        num_geometry_ws=num_geometry_ws,
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
        has_truncation=True,
        has_surface=field.has_surface,
        no_surface_reason="",
        has_color=field.has_color,
        quantity=field.quantity,
        iso_level=field.iso_level,
        iso_range=iso_range or (field.iso_level / 10, field.iso_level * 10),
        bounds=field.bounds,
        pose_prior=pose_prior(card, prior),
        image_size=image_size,
        pose_conditioned=pose_conditioned,
        controls=tuple(controls),
    )


def load_network(network: Network, tensors: dict[str, Tensor]) -> Network:
    """Return the network with these weights, on their device. Raises RuntimeError unless all names and shapes fit."""
    network.load_state_dict(tensors)
    return network.to(next(iter(tensors.values())).device)


def tuples_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values with their lists as tuples, which is how a config dataclass holds them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
