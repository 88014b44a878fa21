"""Packed compositing as Warp kernels, one thread for each ray, with a hand-written adjoint."""

from typing import Any

import torch
from torch import Tensor

from ..warp_runtime import launch, wp
from .types import LARGEST_EXPONENT, CompositedRays

RAYS = 256
"""Fewest rays for which another thread is worth its start."""

LARGEST = wp.constant(LARGEST_EXPONENT)


def composite_warp(raw: Tensor, t: Tensor, lengths: Tensor, offsets: Tensor) -> CompositedRays:
    """See `composite_packed`."""
    rgb, sums, weights = _Composite.apply(raw.contiguous(), t.contiguous(), lengths.contiguous(), offsets)
    return CompositedRays(rgb, sums[:, 0], sums[:, 1], sums[:, 2], weights)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, t: Tensor, lengths: Tensor, offsets: Tensor) -> Any:
        count = len(offsets) - 1
        rgb, sums = raw.new_zeros(count, 3), raw.new_zeros(count, 3)
        weights = raw.new_empty(len(raw))
        ctx.given = (raw, t, lengths, offsets)
        if len(raw):
            launch(_forward, count, [*_views(ctx.given), *_views((rgb, sums, weights))], raw.device, RAYS)
        ctx.weights = weights
        ctx.mark_non_differentiable(weights)
        return rgb, sums, weights

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raw = ctx.given[0]
        to_raw = torch.zeros_like(raw)
        if len(raw):
            to_rgb, to_sums = gradients[0].contiguous(), gradients[1].contiguous()
            count = len(to_rgb)
            launch(
                _backward,
                count,
                [*_views(ctx.given), *_views((ctx.weights, to_rgb, to_sums, to_raw))],
                raw.device,
                RAYS,
            )
        return to_raw, None, None, None


def _views(tensors: tuple[Tensor, ...]) -> list[Any]:
    kinds = {3: wp.vec3, 4: wp.vec4}
    return [
        wp.from_torch(x.detach(), dtype=kinds[x.shape[1]]) if x.ndim == 2 else wp.from_torch(x.detach())
        for x in tensors
    ]


@wp.func
def _capped(x: float) -> float:
    return wp.where(x > LARGEST, LARGEST, x)  # unlike min, keeps NaN


@wp.func
def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + wp.exp(-x))


@wp.kernel(enable_backward=False)
def _forward(
    first: int,
    raw: wp.array(dtype=wp.vec4), t: wp.array(dtype=float), lengths: wp.array(dtype=float),
    offsets: wp.array(dtype=int),
    rgb: wp.array(dtype=wp.vec3), sums: wp.array(dtype=wp.vec3), weights: wp.array(dtype=float),
):  # fmt: skip  # type: ignore[no-untyped-def]
    r = first + wp.tid()
    color = wp.vec3(0.0)
    light = float(1.0)
    alpha = float(0.0)  # and Σ w in front, for the distortion
    depth = float(0.0)
    distortion = float(0.0)
    for i in range(offsets[r], offsets[r + 1]):
        x = raw[i]
        opacity = 1.0 - wp.exp(-wp.exp(_capped(x[0])) * lengths[i])
        w = light * opacity
        light = light * (1.0 - opacity)
        weights[i] = w
        if not w <= 0.0:
            color += w * wp.vec3(_sigmoid(x[1]), _sigmoid(x[2]), _sigmoid(x[3]))
        distortion += 2.0 * w * (t[i] * alpha - depth) + w * w * lengths[i] / 3.0
        alpha += w
        depth += w * t[i]
    rgb[r] = color
    sums[r] = wp.vec3(alpha, depth, distortion)


@wp.kernel(enable_backward=False)
def _backward(
    first: int,
    raw: wp.array(dtype=wp.vec4), t: wp.array(dtype=float), lengths: wp.array(dtype=float),
    offsets: wp.array(dtype=int), weights: wp.array(dtype=float),
    to_rgb: wp.array(dtype=wp.vec3), to_sums: wp.array(dtype=wp.vec3), to_raw: wp.array(dtype=wp.vec4),
):  # fmt: skip  # type: ignore[no-untyped-def]
    # With g_i = ∂L/∂w_i: ∂L/∂σ_i = δ_i (T_{i+1} g_i − Σ_{j>i} w_j g_j), as w_i = T_i (1 − exp(−σ_i δ_i)).
    r = first + wp.tid()
    start = offsets[r]
    end = offsets[r + 1]
    given = to_sums[r]
    alpha = float(0.0)
    depth = float(0.0)
    for i in range(start, end):
        alpha += weights[i]
        depth += weights[i] * t[i]
    light = 1.0 - alpha  # T behind the last sample
    behind = float(0.0)  # Σ_{j>i} w_j g_j
    alpha_behind = float(0.0)
    depth_behind = float(0.0)
    for k in range(end - start):
        i = end - 1 - k
        x = raw[i]
        w = weights[i]
        c = wp.vec3(_sigmoid(x[1]), _sigmoid(x[2]), _sigmoid(x[3]))
        alpha_front = alpha - alpha_behind - w
        depth_front = depth - depth_behind - w * t[i]
        spread = 2.0 * (t[i] * (alpha_front - alpha_behind) - (depth_front - depth_behind)) + w * lengths[i] * 2.0 / 3.0
        g = wp.dot(to_rgb[r], c) + given[0] + given[1] * t[i] + given[2] * spread
        density = wp.exp(_capped(x[0]))
        to_density = wp.where(x[0] < LARGEST, density * lengths[i] * (light * g - behind), 0.0)
        shade = wp.cw_mul(wp.cw_mul(to_rgb[r], c), wp.vec3(1.0) - c) * w
        to_raw[i] = wp.vec4(to_density, shade[0], shade[1], shade[2])
        behind += w * g
        alpha_behind += w
        depth_behind += w * t[i]
        light += w
