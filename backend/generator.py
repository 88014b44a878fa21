"""A Generator turns latents into Scenes."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from addon.wire.messages import Latent, ModelInfo

from .scene import Scene


class Generator(Protocol):
    """A 3D-aware generative model. Weights live on one device; everything is evaluation mode."""

    @property
    def info(self) -> ModelInfo:
        """What the panel needs to know."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim] by the official seed convention of the model."""

    def mapping(self, z: Tensor, condition: Tensor | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return ws [..., num_ws, w_dim] of z [..., z_dim]."""

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> Scene:
        """Return the Scene of one ws [num_ws, w_dim]: all that depends on ws alone is done here, once."""


def ws_from_latent(generator: Generator, latent: Latent, code: Tensor | None = None) -> Tensor:
    """Return ws [num_ws, w_dim] of a wire Latent: two seeds mixed linearly in w, geometry and appearance apart.

    code: ws [num_ws, w_dim] that stands in for seed_a.
    """
    psi = latent.truncation_psi

    def mapped(seed: int) -> Tensor:
        return generator.mapping(generator.sample_z(seed), truncation_psi=psi)[0]

    first = mapped(latent.seed_a) if code is None else code.to(generator.device)
    if latent.mix_geometry == 0.0 and latent.mix_appearance == 0.0:
        return first
    second = mapped(latent.seed_b)
    split = generator.info.num_geometry_ws
    geometry = torch.lerp(first[:split], second[:split], latent.mix_geometry)
    appearance = torch.lerp(first[split:], second[split:], latent.mix_appearance)
    return torch.cat((geometry, appearance))
