"""What a colour network is told of a direction: its real spherical harmonics of degrees 0..3, in the order of l, m.

Sec. 5.4 of arxiv.org/abs/2201.05989; the polynomials and constants of the orthonormal basis are those of Sloan, Stupid
Spherical Harmonics Tricks, appendix A2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .native import TILE

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


def harmonics_of_tile(name: str, directions: str, tile: int = TILE) -> str:
    """Return code that writes the harmonics of a tile of directions to name [16][tile].

    directions: an expression, the address of the three numbers of sample `s`.
    """
    return f"""
    for (int s = 0; s < {tile}; ++s) {{
        const float* d = {directions};
        ({name})[s] = d[0]; ({name})[{tile} + s] = d[1]; ({name})[{2 * tile} + s] = d[2];
    }}
    for (int s = 0; s < {tile}; ++s) {{
        float* h = ({name}) + s;
        const float x = h[0], y = h[{tile}], z = h[{2 * tile}];
        const float xx = x * x, yy = y * y, zz = z * z;
        h[0] = 0.28209479f;
        h[{tile}] = -0.48860251f * y;
        h[{2 * tile}] = 0.48860251f * z;
        h[{3 * tile}] = -0.48860251f * x;
        h[{4 * tile}] = 1.0925484f * x * y;
        h[{5 * tile}] = -1.0925484f * y * z;
        h[{6 * tile}] = 0.31539157f * (3.0f * zz - 1.0f);
        h[{7 * tile}] = -1.0925484f * x * z;
        h[{8 * tile}] = 0.54627422f * (xx - yy);
        h[{9 * tile}] = -0.59004359f * y * (3.0f * xx - yy);
        h[{10 * tile}] = 2.8906114f * x * y * z;
        h[{11 * tile}] = -0.45704580f * y * (5.0f * zz - 1.0f);
        h[{12 * tile}] = 0.37317633f * z * (5.0f * zz - 3.0f);
        h[{13 * tile}] = -0.45704580f * x * (5.0f * zz - 1.0f);
        h[{14 * tile}] = 1.4453057f * z * (xx - yy);
        h[{15 * tile}] = -0.59004359f * x * (xx - 3.0f * yy);
    }}"""
