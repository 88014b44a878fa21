"""Which samples are coloured together: those that begin in the same part of a ray's light.

A ray's light is taken in 1 / `faintest` equal parts. The samples of a ray at whose front the same part is being taken
are a group, which may take more than the rest of that part; its colour is that of its geometry, the mean over the light
that each takes. A pixel is wrong by no more than about `faintest` if neighbouring samples have nothing to do with each
other; in a scene they do, and the mean of colours is close to the colour of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compositing import LARGEST_EXPONENT
from ..ray_marching import Samples
from ..visible_samples import thickness_in_front


@dataclass(frozen=True)
class Groups:
    """geometry [G, C] and rays int32 [G] of each group; weights [G], the light that it takes; t [G], Σ w t."""

    geometry: Tensor
    rays: Tensor
    weights: Tensor
    t: Tensor


@torch.no_grad()
def grouped(samples: Samples, geometry: Tensor, threshold: float, faintest: float) -> Groups:
    """Return the groups of samples, given what the density network says of each [N, C].

    Args:
        samples: see `visible_samples`. The one behind which no more than `threshold` of the light is left takes it all.
        faintest: the part of the light that samples of a group begin in, 0..1, more than 0.
    """
    thickness = torch.exp(geometry[:, 0].clamp(max=LARGEST_EXPONENT)) * samples.lengths
    in_front = thickness_in_front(thickness, samples).to(geometry)
    before, behind = torch.exp(-in_front), torch.exp(-(in_front + thickness))
    weights = before - torch.where(behind <= threshold, 0.0, behind)
    part = torch.floor((1 - before) / faintest)
    begins = torch.ones_like(part, dtype=torch.bool)
    begins[1:] = (part[1:] != part[:-1]) | (samples.rays[1:] != samples.rays[:-1])
    group = torch.cumsum(begins, 0, dtype=torch.int32) - 1
    rays = samples.rays[begins]
    told = torch.cat((geometry, samples.t[:, None], torch.ones_like(weights)[:, None]), -1) * weights[:, None]
    sums = told.new_zeros(len(rays), told.shape[1]).index_add_(0, group, told)
    taken = sums[:, -1]
    mean = sums[:, :-2] / torch.where(taken == 0, 1.0, taken)[:, None]
    return Groups(mean, rays, taken, sums[:, -2])
