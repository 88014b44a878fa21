"""SH direction encoding, degrees 0–3: real spherical harmonics of a direction, in the order of l, m.

Sec. 5.4 of arxiv.org/abs/2201.05989; the polynomials and constants of the orthonormal basis are those of Sloan, Stupid
Spherical Harmonics Tricks, appendix A2.
"""

from __future__ import annotations

import torch
from torch import Tensor

COUNT = 16
"""Harmonics of degrees 0..3."""


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Return the harmonics of unit directions: [..., 3] -> [..., 16]. Differentiable."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        (
            torch.full_like(x, 0.28209479177387814),
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * zz - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            -0.4570457994644658 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ),
        -1,
    )
