"""Sample positions along rays.

Vocabulary. `t` [..., num_samples] are positions along rays, ascending, in the unit of the ray's direction (a distance
where that is a unit vector). `near`, `far` bound a ray: numbers, or tensors that broadcast against [..., num_samples].
`u` are numbers in [0, 1): drawn uniformly, or evenly spaced for an image that is the same every time.

The papers differ in small ways that trained weights rely on. Each way is a function or an option here, under a name.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def even(
    near: float | Tensor,
    far: float | Tensor,
    num_samples: int,
    *,
    include_far: bool = True,
    in_disparity: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return evenly spaced t [..., num_samples] from near to far.

    include_far: False takes the left edges of num_samples equal intervals, so that far itself is left out.
    in_disparity: evenly spaced in 1/t, denser close by (appendix A of arxiv.org/abs/2003.08934, for forward-facing
        scenes).
    """
    for bound in (near, far):
        if isinstance(bound, Tensor):
            device, dtype = bound.device, bound.dtype
    last = 1.0 if include_far else 1.0 - 1.0 / num_samples
    s = torch.linspace(0.0, last, num_samples, device=device, dtype=dtype)
    if in_disparity:
        return 1.0 / (1.0 / near * (1.0 - s) + 1.0 / far * s)
    return near * (1.0 - s) + far * s


def stratified(t: Tensor, jitter: Tensor) -> Tensor:
    """Move each sample at random inside the bin whose edges lie halfway to its neighbours.

    Eq. 2 of arxiv.org/abs/2003.08934, for bins around given samples. The first and last bins end at the samples.

    Args:
        t: [..., num_samples].
        jitter: uniform in [0, 1), the shape of t.
    """
    centers = 0.5 * (t[..., 1:] + t[..., :-1])
    upper = torch.cat((centers, t[..., -1:]), -1)
    lower = torch.cat((t[..., :1], centers), -1)
    return lower + (upper - lower) * jitter


def jittered(t: Tensor, jitter: Tensor) -> Tensor:
    """Move each evenly spaced sample by up to half a step either way, also beyond the ends. Shapes: `stratified`."""
    return t + (jitter - 0.5) * (t[..., 1:2] - t[..., 0:1])


def evenly_drawn(num_samples: int, like: Tensor) -> Tensor:
    """Return u [..., num_samples] evenly spaced in [0, 1] for each ray of `like` [..., any]: no randomness."""
    u = torch.linspace(0.0, 1.0, num_samples, device=like.device, dtype=like.dtype)
    return u.expand(*like.shape[:-1], num_samples)


def inverse_cdf(
    edges: Tensor,
    weights: Tensor,
    u: Tensor,
    *,
    padding: float = 1e-5,
    smallest_bin: float = 1e-5,
    side: Literal["left", "right"] = "right",
) -> Tensor:
    """Draw t from the piecewise-constant density that coarse weights make along each ray.

    Hierarchical sampling, section 5.2 of arxiv.org/abs/2003.08934 (the weights of Eq. 5, normalised). Inside a bin the
    inverse is linear. Not differentiable on purpose: sample positions are not trained.

    Args:
        edges: [..., num_bins + 1], ascending.
        weights: [..., num_bins], not negative.
        u: [..., num_draws] in [0, 1].
        padding: added to each weight, so that an empty ray is sampled evenly.
        smallest_bin: a bin with less probability than this gives its left edge instead of a division by almost zero.
        side: to which bin a u belongs that lies exactly on a step of the CDF.

    Returns:
        t [..., num_draws], in the order of u.
    """
    padded = weights.detach() + padding
    pdf = padded / padded.sum(-1, keepdim=True)
    cdf = torch.cumsum(pdf, -1)
    cdf = torch.cat((torch.zeros_like(cdf[..., :1]), cdf), -1)
    u = u.expand(*cdf.shape[:-1], u.shape[-1]).contiguous()
    index = torch.searchsorted(cdf, u, right=side == "right")
    below = (index - 1).clamp(min=0)
    above = index.clamp(max=cdf.shape[-1] - 1)
    cdf_below, cdf_above = cdf.gather(-1, below), cdf.gather(-1, above)
    edges = edges.expand(*cdf.shape[:-1], edges.shape[-1])
    edge_below, edge_above = edges.gather(-1, below), edges.gather(-1, above)
    probability = cdf_above - cdf_below
    probability = torch.where(probability < smallest_bin, torch.ones_like(probability), probability)
    return edge_below + (u - cdf_below) / probability * (edge_above - edge_below)


def midpoints(t: Tensor) -> Tensor:
    """Return the points halfway between neighbours: [..., num_samples - 1]."""
    return 0.5 * (t[..., :-1] + t[..., 1:])


def merged(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Sort two sets of t into one. Returns t and the order that sorts anything concatenated like (first, second)."""
    return torch.sort(torch.cat((first, second), -1), dim=-1)
