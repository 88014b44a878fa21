"""Differentiable rendering of a batch of EG3D's planes: `EG3D.render` through the fused kernel where it is faster."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.eg3d.model import (
    EG3D,
    EG3DConfig,
    coarse_distances,
    importance_distances,
    interval_weights,
    rays,
    square_image,
)
from ...generators.layers.stylegan2 import EqualLinear
from ...kernels.triplane_rendering import Impl, TriplaneSpec, render_triplanes
from ...rendering.sampling import merged


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
    r = network.config.rendering
    origins, directions = rays(world_from_camera, intrinsics, resolution)
    near, far = network.ray_limits(origins, directions)
    at = coarse_distances(near, far, r.depth_resolution, disparity=r.disparity_space_sampling, jitter=jitter)
    at = at.expand(*origins.shape[:2], r.depth_resolution)
    if r.depth_resolution_importance > 0:
        with torch.no_grad():  # the coarse pass only says where to look
            points = origins[:, :, None] + at[..., None] * directions[:, :, None]
            raw, _ = network.density_and_features(planes, points.flatten(1, 2))
        if u is None:
            u = torch.linspace(0, 1, r.depth_resolution_importance, device=at.device)
            u = u.expand(*at.shape[:2], -1)
        at, _ = merged(at, importance_distances(at, interval_weights(at, raw.reshape(at.shape)), u))
    spec = triplane_spec(network.config, features)
    sums = render_triplanes(
        planes, decoder_parameters(network, spec), origins, directions, at.contiguous(), spec, impl=impl
    )
    mixed = sums[..., : spec.features]
    if r.white_back:
        mixed = mixed + 1 - sums[..., spec.features, None]
    return Rendered(square_image(mixed * 2 - 1), square_image(sums[..., spec.features, None]))


def triplane_spec(config: EG3DConfig, features: int | None) -> TriplaneSpec:
    """Return the sizes of the kernel's planes and decoder; features: as in `render_features`."""
    r = config.rendering
    return TriplaneSpec(
        config.backbone.resolution,
        config.plane_features,
        config.decoder_width,
        config.plane_features if features is None else features,
        r.box_warp / 2,
        tuple((a, b) for a, b in r.plane_axes),
    )


def decoder_parameters(network: EG3D, spec: TriplaneSpec) -> Tensor:
    """Return the decoder's weights as the kernel takes them, their gains multiplied in; differentiable."""

    def folded(layer: EqualLinear) -> tuple[Tensor, Tensor]:
        gain = layer.lr_multiplier / math.sqrt(layer.weight.shape[1])
        return layer.weight.T * gain, layer.bias * layer.lr_multiplier

    out, out_bias = folded(network.decoder.out)
    first = 1 + spec.features
    return spec.flat(*folded(network.decoder.hidden), out[:, :first], out_bias[:first])
