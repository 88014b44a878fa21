"""How a position or direction becomes the input of a network."""

from __future__ import annotations

import torch
from torch import Tensor


def positional_encoding(p: Tensor, num_frequencies: int) -> Tensor:
    """Return (p, sin 2⁰p, cos 2⁰p, …, sin 2^{L−1}p, cos 2^{L−1}p): [..., d] -> [..., d + 2 d L].

    Eq. 4 of arxiv.org/abs/2003.08934, in the form that the released weights expect: with p itself in front, and without
    the factor π of the equation. num_frequencies 0 is p itself: the network without positional encoding.
    """
    frequencies = 2.0 ** torch.arange(num_frequencies, dtype=p.dtype, device=p.device)
    angles = p[..., None, :] * frequencies[:, None]  # [..., L, d]
    waves = torch.stack((torch.sin(angles), torch.cos(angles)), -2)  # [..., L, 2, d]
    return torch.cat((p, waves.flatten(-3)), -1)


def opened_encoding(weights: Tensor) -> Tensor:
    """Return the factor of each feature of `positional_encoding` [3 + 6 L], 3D, of the weights of its octaves [L]."""
    return torch.cat((weights.new_ones(3), weights.repeat_interleave(6)))


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Return the real spherical harmonics of degrees 0..3 of unit directions: [..., 3] -> [..., 16].

    The encoding of view directions in Sec. 5.4 of arxiv.org/abs/2201.05989; constants are those of the orthonormal
    basis (Sloan, Stupid Spherical Harmonics Tricks, appendix A2).
    """
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
