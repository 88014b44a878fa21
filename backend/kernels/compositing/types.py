"""Result of packed compositing, and the limit of its exponential."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

LARGEST_EXPONENT = 15.0
"""Upper limit of raw₀: opaque at any step, and its exponential stays finite."""


@dataclass(frozen=True)
class CompositedRays:
    """Result for each ray: rgb [R, 3] premultiplied; alpha [R]; t [R] Σ w t; distortion [R] (Eq. 15 of
    arxiv.org/abs/2111.12077, in units of t); weights [N] of each sample, without gradient."""

    rgb: Tensor
    alpha: Tensor
    t: Tensor
    distortion: Tensor
    weights: Tensor
