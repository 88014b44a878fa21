"""Differentiable rendering of a batch of EG3D's planes: `EG3D.render` through the fused kernel where it is faster."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.eg3d.fused import render_planes
from ...generators.eg3d.model import EG3D, rays, square_image
from ...kernels.triplane_rendering import Impl


class Rendered(NamedTuple):
    """Square images of a batch."""

    features: Tensor
    """[batch, features, n, n] in −1..1, the first three being the raw colour."""
    alpha: Tensor
    """[batch, 1, n, n], opacity."""

    def over_white(self, image: Tensor) -> Tensor:
        """Images [batch, 3, m, m] in −1..1 over white by this opacity, as scenes of the model show them."""
        alpha = F.interpolate(self.alpha, image.shape[-2:], mode="bilinear", align_corners=False).clamp(0, 1)
        return torch.lerp(torch.ones_like(image), image, alpha)


def render_features(
    network: EG3D,
    planes: Tensor,
    world_from_camera: Tensor,
    intrinsics: Tensor,
    resolution: int,
    *,
    jitter: Tensor | None = None,
    u: Tensor | None = None,
    features: int | None = None,
    impl: Impl = "auto",
) -> Rendered:
    """Render square images: the same as `EG3D.render` of `rays(world_from_camera, intrinsics, resolution)`.

    Differentiable in planes and decoder.

    Args:
        planes: [batch, 3, plane features, height, width].
        world_from_camera, intrinsics: [batch, 4, 4] and [batch, 3, 3], canonical, see `rays`.
        resolution: n.
        jitter: 0..1, broadcasts against [batch, rays, coarse samples, 1]; None: none.
        u: 0..1, [batch, rays, fine samples]; None: evenly from 0 to 1.
        features: how many features, the first of all; None: all of them.
    """
    origins, directions = rays(world_from_camera, intrinsics, resolution)
    near, far = network.ray_limits(origins, directions)
    made = render_planes(
        network, planes, origins, directions, near, far, jitter=jitter, u=u, features=features, impl=impl
    )
    return Rendered(square_image(made.features), square_image(made.alpha))
