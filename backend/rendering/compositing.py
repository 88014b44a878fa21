"""Compositing of samples along a ray.

Vocabulary. `density` σ: chance of being stopped per unit length, never negative. `lengths` δ: how far the ray travels
for each sample, in the same unit. `alpha`: opacity of one sample. `transmittance` T: share of the light left in front
of a sample. `weights` w = T·alpha: the share of a sample in its pixel. All are [..., num_samples].

The quadrature of the volume rendering integral (Eq. 1 of arxiv.org/abs/2003.08934) is Eq. 3 there:
C = Σ T_i (1 − exp(−σ_i δ_i)) c_i with T_i = exp(−Σ_{j<i} σ_j δ_j).
"""

from __future__ import annotations

import torch
from torch import Tensor

ENDLESS = 1e10
"""Length of the last interval where nothing bounds it: any density there is opaque."""

TRANSMITTANCE_FLOOR = 1e-10
"""Added to 1 − alpha, so that the product never becomes zero: its gradient would be lost. Trained weights saw it."""


def interval_lengths(t: Tensor, last: float | Tensor = ENDLESS, speed: Tensor | float = 1.0) -> Tensor:
    """Return δ [..., num_samples]: the distance from each sample to the next, and `last` after the last.

    speed: length of the ray's direction [..., 1], where t is not a distance.
    """
    difference = t[..., 1:] - t[..., :-1]
    tail = last.expand_as(t[..., :1]) if isinstance(last, Tensor) else torch.full_like(t[..., :1], last)
    return torch.cat((difference, tail), -1) * speed


def opacity(density: Tensor, lengths: Tensor) -> Tensor:
    """Return alpha = 1 − exp(−σ δ): the second factor of Eq. 3."""
    return 1.0 - torch.exp(-density * lengths)


def transmittance(alpha: Tensor) -> Tensor:
    """Return T_i = Π_{j<i} (1 − alpha_j): the first factor of Eq. 3."""
    shifted = torch.cat((torch.ones_like(alpha[..., :1]), 1.0 - alpha + TRANSMITTANCE_FLOOR), -1)
    return torch.cumprod(shifted, -1)[..., :-1]


def weights_from_alpha(alpha: Tensor) -> Tensor:
    """Return w_i = T_i alpha_i (Eq. 5 of arxiv.org/abs/2003.08934)."""
    return alpha * transmittance(alpha)


def weights_from_density(
    density: Tensor, t: Tensor, last: float | Tensor = ENDLESS, speed: Tensor | float = 1.0
) -> Tensor:
    """Return w of samples at t: `interval_lengths`, `opacity` and `weights_from_alpha` in a row."""
    return weights_from_alpha(opacity(density, interval_lengths(t, last, speed)))


def with_background_last(weights: Tensor) -> Tensor:
    """Return weights whose last sample takes all remaining light, so that every pixel is opaque."""
    return torch.cat((weights[..., :-1], weights[..., -1:] + (1.0 - weights.sum(-1, keepdim=True))), -1)


def composite(weights: Tensor, values: Tensor) -> Tensor:
    """Return Σ w_i v_i (Eq. 3): [..., channels] of values [..., num_samples, channels]."""
    return (weights[..., None] * values).sum(-2)


def distortion(weights: Tensor, t: Tensor, lengths: Tensor) -> Tensor:
    """Return the distortion [...] of a ray's weights (Eq. 15 of arxiv.org/abs/2111.12077).

    t: [..., num_samples] centers of the intervals, ascending; lengths: theirs. Σ w_i w_j |t_i − t_j| + Σ w_i² δ_i / 3,
    the double sum by sums over what lies in front of each sample.
    """
    in_front = weights.cumsum(-1) - weights
    moment = (weights * t).cumsum(-1) - weights * t
    return (2 * weights * (t * in_front - moment) + weights.square() * lengths / 3).sum(-1)


def unpremultiply(premultiplied: Tensor, alpha: Tensor, smallest: float = 1e-4) -> Tensor:
    """Undo the multiplication by alpha: [..., channels] from [..., channels] and [...]; 0 where alpha is tiny."""
    divided = premultiplied / alpha.clamp(min=smallest)[..., None]
    return torch.where((alpha > smallest)[..., None], divided, torch.zeros_like(divided))
