"""A scene whose image is a constant gradient, and its generator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from addon.wire.messages import ModelInfo, PosePrior

from ...cameras import Camera
from ...models.card import ModelCard
from ...progress import Progress, silent
from ...scenes.protocol import FieldInfo, FieldSample, Image
from ...scenes.trace import RayTraced

SIDE = 512
BOUNDS = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


class GradientScene(RayTraced):
    """An image that costs nothing: made once, returned for every camera. Its depth says which latent it is."""

    info = FieldInfo("sdf", 0.0, BOUNDS)

    def __init__(self, ws: Tensor) -> None:
        ramp = torch.linspace(0, 1, SIDE)
        self._rgb = torch.stack((ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), torch.ones(SIDE, SIDE)), -1)
        self._alpha, self._depth = torch.ones(SIDE, SIDE), torch.full((SIDE, SIDE), float(ws[0, 0]))

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        return FieldSample(points[..., 0])

    def render(self, camera: Camera, *, progress: Progress = silent, **options: Any) -> Image:
        return Image(self._rgb, self._alpha, self._depth)


class GradientGenerator:
    """See GradientScene."""

    device = torch.device("cpu")

    def __init__(self, name: str, card: ModelCard, tensors: dict[str, Tensor]) -> None:
        self.info = ModelInfo(
            name, card.label, card.kind, "", card.licence, False, "", 1, 1, 1, 1, 0, False, False, "", True, "sdf", 0.0,
            (0.0, 0.0), BOUNDS, PosePrior(3.0, 0.8), SIDE,
        )  # fmt: skip

    def sample_z(self, seed: int) -> Tensor:
        return torch.full((1, 1), float(seed))

    def mapping(self, z: Tensor, condition: Any = None, *, truncation_psi: float = 1.0) -> Tensor:
        return z[..., None]

    def mean_ws(self) -> Tensor:
        return torch.zeros(1, 1)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> GradientScene:
        return GradientScene(ws)

    def parameters_for(self, part: str) -> list[nn.Parameter]:
        return []


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GradientGenerator:
    """Return the generator."""
    return GradientGenerator(name, card, tensors)
