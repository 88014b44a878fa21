"""The two small networks in plain PyTorch: the definition."""

from __future__ import annotations

import torch
from torch import Tensor, relu

from .spec import RadianceMlpSpec


def radiance_mlp_reference(
    features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `radiance_mlp`. Differentiable by autograd."""
    geometry = geometry_mlp_reference(features, parameters, spec)
    return torch.cat((geometry[:, :1], color_mlp_reference(geometry, view, rays, parameters, spec)), -1)


def geometry_mlp_reference(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """See `geometry_mlp`. Differentiable by autograd."""
    w1, w2 = spec.matrices(parameters)[:2]
    return relu(features @ w1) @ w2


def color_mlp_reference(
    geometry: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `color_mlp`. Differentiable by autograd."""
    w3, w4, w5 = spec.matrices(parameters)[2:]
    return relu(relu(torch.cat((geometry, view.index_select(0, rays)), -1) @ w3) @ w4) @ w5[:, :3]


def density_mlp_reference(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """See `density_mlp`. Differentiable by autograd."""
    w1, w2 = spec.matrices(parameters)[:2]
    return relu(features @ w1) @ w2[:, 0]
