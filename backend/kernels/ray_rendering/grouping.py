"""Groups of samples that share one evaluation of the colour network: those that begin in the same bin of opacity.

The opacity of a ray, 0..1, is divided into 1 / `faintest` equal bins. The samples of a ray at whose front the opacity
lies in the same bin are a group; the colour of a group is that of its mean geometry, weighted by rendering weights. The
error of a pixel is no more than about `faintest` if neighbouring samples are unrelated; in a scene they are related,
and the mean of colours is close to the colour of the mean.
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
    """geometry [G, C] and rays int32 [G] of each group; weights [G], the sum of rendering weights; t [G], Σ w t."""

    geometry: Tensor
    rays: Tensor
    weights: Tensor
    t: Tensor


@torch.no_grad()
def grouped(samples: Samples, geometry: Tensor, threshold: float, faintest: float) -> Groups:
    """Return the groups of samples, given the outputs of the density network [N, C].

    Args:
        samples: see `visible_samples`. The first one behind which the transmittance is no more than `threshold` is
            made opaque.
        faintest: width of a bin of opacity, more than 0, at most 1.
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
    values = torch.cat((geometry, samples.t[:, None], torch.ones_like(weights)[:, None]), -1) * weights[:, None]
    sums = values.new_zeros(len(rays), values.shape[1]).index_add_(0, group, values)
    taken = sums[:, -1]
    mean = sums[:, :-2] / torch.where(taken == 0, 1.0, taken)[:, None]
    return Groups(mean, rays, taken, sums[:, -2])
