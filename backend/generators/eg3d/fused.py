"""Differentiable volume rendering of EG3D's planes by the fused kernel (kernels/triplane_rendering)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...kernels.triplane_rendering import Impl, TriplaneSpec, render_triplanes
from ...rendering.sampling import merged
from ..layers.stylegan2 import EqualLinear
from .model import EG3D, EG3DConfig, coarse_distances, importance_distances, interval_weights


class RayFeatures(NamedTuple):
    """Rays of a batch."""

    features: Tensor
    """[batch, rays, features] in −1..1, the first three being the raw colour."""
    alpha: Tensor
    """[batch, rays, 1], opacity."""
    distance: Tensor
    """[batch, rays, 1], mean distance of what is seen."""


def has_fused_gradients(planes: Tensor, *rays: Tensor) -> bool:
    """Return whether `render_planes` is exact and faster: on a processor, in float32, without gradients of rays."""
    return planes.device.type == "cpu" and planes.dtype == torch.float32 and not any(x.requires_grad for x in rays)


def render_planes(
    network: EG3D,
    planes: Tensor,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    *,
    jitter: Tensor | None = None,
    u: Tensor | None = None,
    samples: tuple[int, int] | None = None,
    features: int | None = None,
    impl: Impl = "auto",
) -> RayFeatures:
    """Render rays: the same as `EG3D.render_rays`. Differentiable in planes and decoder.

    Args:
        planes: [batch, 3, plane features, height, width].
        origins, directions: [batch, rays, 3], canonical.
        near, far: distances, broadcast against [batch, rays, 1].
        jitter: 0..1, broadcasts against [batch, rays, coarse samples, 1]; None: none.
        u: 0..1, [batch, rays, fine samples]; None: evenly from 0 to 1.
        samples: (coarse, fine) instead of the trained numbers.
        features: how many features, the first of all; None: all of them.
    """
    r = network.config.rendering
    num_coarse, num_fine = samples or (r.depth_resolution, r.depth_resolution_importance)
    at = coarse_distances(near, far, num_coarse, disparity=r.disparity_space_sampling, jitter=jitter)
    at = at.expand(*origins.shape[:2], num_coarse)
    if num_fine > 0:
        with torch.no_grad():  # the coarse pass only says where to look
            points = origins[:, :, None] + at[..., None] * directions[:, :, None]
            raw, _ = network.density_and_features(planes, points.flatten(1, 2))
        if u is None:
            u = torch.linspace(0, 1, num_fine, device=at.device).expand(*at.shape[:2], -1)
        at, _ = merged(at, importance_distances(at, interval_weights(at, raw.reshape(at.shape)), u))
    spec = triplane_spec(network.config, features)
    sums = render_triplanes(
        planes, decoder_parameters(network, spec), origins, directions, at.contiguous(), spec, impl=impl
    )
    mixed, alpha = sums[..., : spec.features], sums[..., spec.features, None]
    if r.white_back:
        mixed = mixed + 1 - alpha
    distance = (sums[..., -1:] / alpha.clamp(min=1e-8)).clamp(at.min(), at.max())
    return RayFeatures(mixed * 2 - 1, alpha, distance)


def triplane_spec(config: EG3DConfig, features: int | None) -> TriplaneSpec:
    """Return the sizes of the kernel's planes and decoder; features: as in `render_planes`."""
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
