"""A fitted scene as a Generator without latents, which always makes the same scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from addon.wire.errors import NotSupported
from addon.wire.messages import ModelInfo, PosePrior

from ..cameras import Camera
from .generator import Part
from .protocol import FieldInfo, Scene

if TYPE_CHECKING:
    from ..models.card import ModelCard


class StoredScene:
    """A `Generator` of z_dim 0 and num_ws 0."""

    def __init__(self, info: ModelInfo, scene: Scene, device: torch.device) -> None:
        self._info, self.scene, self._device = info, scene, device

    @property
    def info(self) -> ModelInfo:
        """See Generator.info."""
        return self._info

    @property
    def device(self) -> torch.device:
        """See Generator.device."""
        return self._device

    def sample_z(self, seed: int) -> Tensor:
        """Return an empty z [1, 0], for every seed."""
        return torch.zeros(1, 0, device=self._device)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return empty ws [..., 0, 0]."""
        return z.new_zeros((*z.shape[:-1], 0, 0))

    def mean_ws(self) -> Tensor:
        """Return empty ws [0, 0]."""
        return torch.zeros(0, 0, device=self._device)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> Scene:
        """Return the scene, for every ws."""
        return self.scene

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for, answered by the scene."""
        answer = getattr(self.scene, "parameters_for", None)
        if answer is None:
            raise NotSupported(f"{self._info.label} has no weights to edit.")
        parameters: list[nn.Parameter] = answer(part)
        return parameters


def density_model_info(
    name: str,
    card: ModelCard,
    field: FieldInfo,
    *,
    num_parameters: int,
    radius: float,
    image_size: int = 256,
) -> ModelInfo:
    """Return the description of a fitted density field, for the panel.

    radius: of the default view, from the centre of the bounds, metres; overridden by the card's pose_prior.
    """
    prior: dict[str, Any] = {
        "radius": radius,
        "fov": 0.69,
        "default_azimuth": 0.6,
        "default_elevation": 0.5,
        **{key: tuple(value) if isinstance(value, list) else value for key, value in card.pose_prior.items()},
    }
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=0,
        num_ws=0,
        w_dim=0,
        num_geometry_ws=0,
        num_parameters=num_parameters,
        has_truncation=False,
        has_surface=True,
        no_surface_reason="",
        has_color=True,
        quantity="density",
        iso_level=field.iso_level,
        iso_range=(0.1 * field.iso_level, 10.0 * field.iso_level),
        bounds=field.bounds,
        pose_prior=PosePrior(**prior),
        image_size=image_size,
    )
