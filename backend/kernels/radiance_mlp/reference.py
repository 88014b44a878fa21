"""The two small networks in plain PyTorch: the definition."""

from __future__ import annotations

import torch
from torch import Tensor, relu

from .spec import RadianceMlpSpec


def radiance_mlp_reference(
    features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `radiance_mlp`. Differentiable by autograd."""
    w1, w2, w3, w4, w5 = spec.matrices(parameters)
    geometry = relu(features @ w1) @ w2
    hidden = relu(relu(torch.cat((geometry, view.index_select(0, rays)), -1) @ w3) @ w4)
    return torch.cat((geometry[:, :1], hidden @ w5[:, :3]), -1)


def density_mlp_reference(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """See `density_mlp`. Differentiable by autograd."""
    w1, w2 = spec.matrices(parameters)[:2]
    return relu(features @ w1) @ w2[:, 0]
