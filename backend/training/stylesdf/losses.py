"""Losses of StyleSDF beside the adversarial ones (arxiv.org/abs/2112.11427, section 3.3).

Signed distances and points are in the unit of the cameras: their distance from the origin is one. The renderer scales
points before its first layer; the eikonal term is taken with respect to the points *before* that scaling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distance_gradient(distances: Tensor, points: Tensor) -> Tensor:
    """Return ∇sdf [..., 3] of distances [...] at the points [..., 3] that they were computed from, differentiable."""
    (gradient,) = torch.autograd.grad(distances.sum(), points, create_graph=True)
    return gradient


def eikonal(gradient: Tensor) -> Tensor:
    """Return the mean of (|∇sdf| − 1)² (Eq. 6) of gradients [..., 3]: zero for a distance."""
    return (gradient.norm(dim=-1) - 1).square().mean()


def minimal_surface(distances: Tensor, sharpness: float = 100.0, inside: Tensor | None = None) -> Tensor:
    """Return the mean of exp(−sharpness · |sdf|) (Eq. 7): few points lie on a surface.

    inside: bool, shaped like distances; points outside count as far from any surface.
    """
    near = torch.exp(-sharpness * distances.abs())
    return (near if inside is None else near * inside).mean()


def view_loss(estimated: Tensor, views: Tensor) -> Tensor:
    """Return the smooth L1 distance (Eq. 5) of estimated and true views [batch, 2] (azimuth, elevation, radians)."""
    return F.smooth_l1_loss(estimated, views)


def sphere_distance(points: Tensor, radius: float | Tensor) -> Tensor:
    """Return the signed distance [...] of a sphere around the origin at points [..., 3]: the target of the first
    steps. The published radius is a quarter of the rays' extent."""
    return points.norm(dim=-1) - radius


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Return |Jᵀy| [batch], J the derivative of images by latents and y random (Eq. 4 of arxiv.org/abs/1912.04958).

    Args:
        images: [batch, 3, height, width], computed from `ws`.
        ws: [batch, num_ws, w_dim].
        noise: standard normal, shaped like images.
    """
    scaled = noise / (images.shape[-2] * images.shape[-1]) ** 0.5
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(-1).mean(-1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return the mean squared deviation of path lengths [batch] from their running mean, and that mean, updated."""
    mean = mean + decay * (lengths.mean() - mean).detach()
    return (lengths - mean).square().mean(), mean
