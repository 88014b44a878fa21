"""A Generator turns latents into Scenes."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from addon.wire.messages import ModelInfo

from ..cameras import Camera
from .protocol import Scene

Part = Literal["geometry", "appearance", "late layers", "all"]


class Generator(Protocol):
    """A 3D-aware generative model. Weights live on one device; everything is evaluation mode."""

    @property
    def info(self) -> ModelInfo:
        """The description that the panel is drawn from."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim] by the official seed convention of the model."""

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return ws [..., num_ws, w_dim] of z [..., z_dim].

        condition: world camera that a pose-conditioned model is conditioned on; None is its front view.
        Differentiable in z, and in weights that require gradients.
        """

    def mean_ws(self) -> Tensor:
        """Return the centre of the latent space [num_ws, w_dim]: where truncation and inversion start."""

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> Scene:
        """Return the Scene of one ws [num_ws, w_dim]. Work that depends on ws alone is done once for all its images.

        differentiable: the scene's `trace` and `image` pass gradients to ws and to weights that require them, and
        nothing they use is precomputed without gradients. `render` has no gradients in either case.
        """

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """Return the weights that an edit of this part changes. They are frozen until `requires_grad_(True)`.

        part: "geometry" (of density or distance), "appearance" (colour alone), "late layers" (the last ones
        of the field or the 2D network, for local edits), "all" (the whole generator without its mapping network).
        Raises NotSupported where the model has no such part.
        """
