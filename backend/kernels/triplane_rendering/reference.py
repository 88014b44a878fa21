"""Definition of tri-plane rendering, in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...rendering.compositing import weights_from_alpha
from .spec import TriplaneSpec


def render_triplanes_reference(
    planes: Tensor, parameters: Tensor, origins: Tensor, directions: Tensor, distances: Tensor, spec: TriplaneSpec
) -> Tensor:
    """See `render_triplanes`."""
    points = origins[:, :, None] + distances[..., None] * directions[:, :, None]
    features = sample_planes_reference(planes, points.flatten(1, 2), spec)
    raw, values = (x.unflatten(1, distances.shape[1:]) for x in _decoded(features, parameters, spec))
    density = F.softplus(_between(raw) - 1)
    weights = weights_from_alpha(1 - torch.exp(-density * distances.diff(dim=-1)))[..., None]
    values = (values[..., 1:, :] + values[..., :-1, :]) / 2
    mixed = (weights * values).sum(dim=-2)
    depth = (weights[..., 0] * _between(distances)).sum(dim=-1, keepdim=True)
    return torch.cat([mixed, weights.sum(dim=-2), depth], dim=-1)


def decode_points_reference(
    planes: Tensor, parameters: Tensor, points: Tensor, spec: TriplaneSpec
) -> tuple[Tensor, Tensor]:
    """See `decode_points`."""
    return _decoded(sample_planes_reference(planes[None], points[None], spec)[0], parameters, spec)


def _decoded(features: Tensor, parameters: Tensor, spec: TriplaneSpec) -> tuple[Tensor, Tensor]:
    hidden, hidden_bias, out, out_bias = spec.matrices(parameters)
    made = F.softplus(features @ hidden + hidden_bias) @ out + out_bias
    return made[..., 0], torch.sigmoid(made[..., 1:]) * 1.002 - 0.001


def sample_planes_reference(planes: Tensor, points: Tensor, spec: TriplaneSpec) -> Tensor:
    """Mean of the planes' bilinear features [b, points, channels] at points [b, points, 3], 0 outside."""
    at = torch.stack([points[..., list(pair)] for pair in spec.axes], dim=1) / spec.half
    sampled = F.grid_sample(planes.flatten(0, 1), at.flatten(0, 1)[:, None], align_corners=False)
    return sampled[:, :, 0].unflatten(0, (len(planes), 3)).mean(dim=1).mT


def _between(x: Tensor) -> Tensor:
    return (x[..., 1:] + x[..., :-1]) / 2
