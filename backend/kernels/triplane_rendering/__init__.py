"""Volume rendering of tri-planes: features from three planes, a small decoder, compositing, as one operation
(section 4 of arxiv.org/abs/2112.07945), or decoded at points alone.

Engines, both with the same signature and layout:

- `reference` (reference.py): the definition, in plain PyTorch. Any device.
- `fused` (fused.py): one kernel for a whole ray, forward and backward. CPU.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .reference import decode_points_reference, render_triplanes_reference
from .spec import TriplaneSpec

__all__ = ["Impl", "TriplaneSpec", "decode_points", "render_triplanes"]

Impl = Literal["auto", "reference", "fused"]


def render_triplanes(
    planes: Tensor,
    parameters: Tensor,
    origins: Tensor,
    directions: Tensor,
    distances: Tensor,
    spec: TriplaneSpec,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """Composite rays through tri-planes. Differentiable in planes and parameters.

    Each interval between neighbouring samples has the mean density and features of its ends; nothing is behind the
    last. A ray whose samples are all at one place shows nothing.

    Args:
        planes: [b, 3, channels, resolution, resolution].
        parameters: of the decoder, [spec.num_parameters].
        origins, directions: [b, rays, 3], in the frame of the planes; unit directions.
        distances: of the samples along each ray, ascending, [b, rays, samples].
    Returns:
        [b, rays, features + 2]: sums over intervals, by weight, of the features (0..1), of 1, and of the distance.
    Raises:
        ValueError: a shape does not fit, a ray asks for a gradient, or there is no engine named `impl`.
    """
    size = (3, spec.channels, spec.resolution, spec.resolution)
    if planes.shape[1:] != size or parameters.shape != (spec.num_parameters,):
        raise ValueError(
            f"planes must be [b, {', '.join(map(str, size))}] and parameters [{spec.num_parameters}], "
            f"got {list(planes.shape)} and {list(parameters.shape)}"
        )
    if origins.shape != (*distances.shape[:2], 3) or directions.shape != origins.shape or len(planes) != len(origins):
        raise ValueError(
            f"origins and directions must be [{len(planes)}, rays, 3] and distances [{len(planes)}, rays, samples], "
            f"got {list(origins.shape)}, {list(directions.shape)} and {list(distances.shape)}"
        )
    if impl == "auto":
        wanted = any(x.requires_grad for x in (origins, directions, distances))
        fits = spec.channels % 4 == 0 and spec.hidden % 4 == 0
        impl = "fused" if planes.device.type == "cpu" and fits and not wanted else "reference"
    if impl == "reference":
        return render_triplanes_reference(planes, parameters, origins, directions, distances, spec)
    if impl == "fused":
        if any(x.requires_grad for x in (origins, directions, distances)):
            raise ValueError("the fused engine has no gradient for rays: use impl='reference'")
        from .fused import render_triplanes_fused

        return render_triplanes_fused(planes, parameters, origins, directions, distances, spec)
    raise ValueError(f"no engine {impl!r}; there are reference and fused")


def decode_points(
    planes: Tensor, parameters: Tensor, points: Tensor, spec: TriplaneSpec, *, impl: Impl = "auto"
) -> tuple[Tensor, Tensor]:
    """Return density before its activation [n] and features (0..1) [n, features] at points [n, 3].

    Args:
        planes: [3, channels, resolution, resolution]; the fused engine wants the numbers of one place and plane to lie
            together in memory, [resolution, resolution, 3, channels], and copies others.
        parameters: see `render_triplanes`.
    Raises:
        ValueError: the fused engine cannot decode these: it has no gradients, and takes float32 on the CPU with
            channels, hidden units and features in multiples of 4.
    """
    tensors = (planes, parameters, points)
    fits = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)
    fits &= spec.channels % 4 == 0 and spec.hidden % 4 == 0 and spec.features % 4 == 0
    fits &= not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))
    if impl == "reference" or (impl == "auto" and not fits):
        return decode_points_reference(planes, parameters, points, spec)
    if not fits:
        raise ValueError("the fused engine decodes float32 on the CPU, in multiples of 4, without gradients")
    from .fused import decode_points_fused

    return decode_points_fused(planes, parameters, points, spec)
