"""The two small networks, a tile of samples at a time, all layers in one pass. CPU."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...threads import num_threads, run_on_threads
from ..cpp_snippets import TILE, snippet
from ..warp_runtime import wp
from .spec import RadianceMlpSpec

U64 = wp.uint64  # addresses

SMALLEST = 64 * TILE
"""Fewest samples for which another thread is worth its start."""


def radiance_mlp_fused(
    features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `radiance_mlp`."""
    result: Tensor = _RadianceMlp.apply(
        features.contiguous(), view.contiguous(), rays.to(torch.int32).contiguous(), parameters.contiguous(), spec
    )
    return result


def density_mlp_fused(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """See `density_mlp`. No gradient."""
    features = features.contiguous()
    result = features.new_empty(len(features))
    kernel, count = _kernels(spec).density, len(features)
    pointers = [features.data_ptr(), parameters.data_ptr(), result.data_ptr()]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers], device="cpu")

    run_on_threads(work, count, SMALLEST)
    return result


def forward_into(
    raw: Tensor, features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> None:
    """Write raw [N, 4]. No gradient. All contiguous; rays int32."""
    kernel = _kernels(spec).forward
    pointers = [x.data_ptr() for x in (features, view, rays, parameters, raw)]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers], device="cpu")

    run_on_threads(work, len(features), SMALLEST)


def backward_into(
    to_features: Tensor,
    gradient: Tensor,
    features: Tensor,
    view: Tensor,
    rays: Tensor,
    parameters: Tensor,
    spec: RadianceMlpSpec,
    to_view: Tensor | None = None,
) -> Tensor:
    """Write the gradient of the features [N, inputs] (it may be the features' own memory) and of each sample's view
    [N, view], given that of raw [N, 4]; return that of the parameters."""
    kernel = _kernels(spec).backward
    totals = torch.zeros(num_threads(), spec.num_parameters)
    pointers = [x.data_ptr() for x in (features, view, rays, parameters, gradient, to_features)]
    pointers.append(0 if to_view is None else to_view.data_ptr())

    def work(number: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers, totals[number].data_ptr()], device="cpu")

    run_on_threads(work, len(features), SMALLEST)
    return totals.sum(0)


class _RadianceMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
    ) -> Tensor:
        ctx.spec = spec
        ctx.save_for_backward(features, view, rays, parameters)
        raw = features.new_empty(len(features), 4)
        forward_into(raw, features, view, rays, parameters, spec)
        return raw

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        features, view, rays, parameters = ctx.saved_tensors
        to_features = torch.empty_like(features)
        of_samples = features.new_empty(len(features), ctx.spec.view) if ctx.needs_input_grad[1] else None
        to_parameters = backward_into(
            to_features, gradients[0].contiguous(), features, view, rays, parameters, ctx.spec, of_samples
        )
        to_view = None
        if of_samples is not None:
            to_view = torch.zeros_like(view).index_add_(0, rays, of_samples)
        return to_features, to_view, None, to_parameters, None


# -------------------------------------------------------------------------------------------------------------- kernels


@dataclass(frozen=True)
class _Kernels:
    forward: Any
    density: Any
    backward: Any


def constants(spec: RadianceMlpSpec) -> dict[str, int]:
    """Return the `#define` preamble of the files in this folder: the widths, and where each matrix begins."""
    offsets = {f"WEIGHTS_{number}": offset for number, offset in enumerate(spec.offsets[1:-1], start=2)}
    widths = {"INPUTS": spec.inputs, "HIDDEN": spec.hidden, "GEOMETRY": spec.geometry, "VIEW": spec.view}
    return {"TILE": TILE, **widths, **offsets}


@lru_cache(maxsize=8)
def _kernels(spec: RadianceMlpSpec) -> _Kernels:
    """Compiled for this network. A launch index is a whole slice of the samples."""

    @wp.func_native(snippet("radiance_mlp/forward.inl", **constants(spec)))
    def run(start: int, end: int, features_at: U64, view_at: U64, rays_at: U64, parameters_at: U64, raw_at: U64): ...

    @wp.func_native(snippet("radiance_mlp/density.inl", **constants(spec)))
    def run_density(start: int, end: int, features_at: U64, parameters_at: U64, density_at: U64): ...

    @wp.func_native(snippet("radiance_mlp/backward.inl", **constants(spec)))
    def run_backward(
        start: int, end: int, features_at: U64, view_at: U64, rays_at: U64, parameters_at: U64, gradient_at: U64,
        to_features_at: U64, to_view_at: U64, total_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def forward(start: int, end: int, features: U64, view: U64, rays: U64, parameters: U64, raw: U64) -> None:
        run(start, end, features, view, rays, parameters, raw)

    @wp.kernel(enable_backward=False, module="unique")
    def density(start: int, end: int, features: U64, parameters: U64, result: U64) -> None:
        run_density(start, end, features, parameters, result)

    @wp.kernel(enable_backward=False, module="unique")
    def backward(
        start: int, end: int, features: U64, view: U64, rays: U64, parameters: U64, gradient: U64,
        to_features: U64, to_view: U64, total: U64,
    ) -> None:  # fmt: skip
        run_backward(start, end, features, view, rays, parameters, gradient, to_features, to_view, total)

    return _Kernels(forward, density, backward)
