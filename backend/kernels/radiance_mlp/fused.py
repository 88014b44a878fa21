"""The two small networks, a tile of samples at a time, all layers in one pass. CPU."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...threads import in_slices, num_slices
from ..native import FUSED, TILE, layer, layer_inputs_gradient, layer_weights_gradient
from ..warp_runtime import wp
from .spec import RadianceMlpSpec

U64 = wp.uint64  # addresses

SMALLEST = 64 * TILE
"""Samples below which another thread is not worth its start."""


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

    in_slices(work, count, SMALLEST)
    return result


def forward_into(
    raw: Tensor, features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> None:
    """Write raw [N, 4]. No gradient. All contiguous; rays int32."""
    kernel = _kernels(spec).forward
    pointers = [x.data_ptr() for x in (features, view, rays, parameters, raw)]

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers], device="cpu")

    in_slices(work, len(features), SMALLEST)


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
    totals = torch.zeros(num_slices(), spec.num_parameters)
    pointers = [x.data_ptr() for x in (features, view, rays, parameters, gradient, to_features)]
    pointers.append(0 if to_view is None else to_view.data_ptr())

    def work(number: int, start: int, end: int) -> None:
        wp.launch(kernel, 1, inputs=[start, end, *pointers, totals[number].data_ptr()], device="cpu")

    in_slices(work, len(features), SMALLEST)
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


def _tiles(inputs: int) -> str:
    """Code that opens the loop over tiles and loads x [inputs][TILE]; past the end, the last sample again."""
    return f"""
    const float* parameters = (const float*)parameters_at;
    for (int first = start; first < end; first += {TILE}) {{
    const int count = end - first < {TILE} ? end - first : {TILE};
    float x[{inputs * TILE}];
    for (int s = 0; s < {TILE}; ++s) {{
        const float* from = (const float*)features_at + (size_t)(first + (s < count ? s : count - 1)) * {inputs};
        for (int k = 0; k < {inputs}; ++k) x[k * {TILE} + s] = from[k];
    }}"""


def geometry_layers(spec: RadianceMlpSpec) -> str:
    """Code for the density network, from x [inputs][TILE]: h1, and geometry [channels][TILE], whose first is the
    density before its activation."""
    return f"""
    {layer("h1", "x", "parameters", spec.inputs, spec.hidden, relu=True)}
    {layer("geometry", "h1", f"parameters + {spec.offsets[1]}", spec.hidden, spec.geometry, relu=False)}"""


def color_layers(spec: RadianceMlpSpec, view: str) -> str:
    """Code for the colour network, from geometry [channels][TILE]: c0 (geometry and view), c1, c2, and rgb [4][TILE]
    before its activation. view: code that writes to c0 [channels..][TILE] what the network is told of each sample's
    ray."""
    first = f"parameters + {spec.offsets[2]}"
    return f"""
    float c0[{(spec.geometry + spec.view) * TILE}];
    for (int k = 0; k < {spec.geometry * TILE}; ++k) c0[k] = geometry[k];
    {view}
    {layer("c1", "c0", first, spec.geometry + spec.view, spec.hidden, relu=True)}
    {_after_first(spec)}"""


def layer_of_view(name: str, spec: RadianceMlpSpec, view: str) -> str:
    """Code for `float name[hidden]`: what the colour network's first layer makes of a ray's `view` [view] alone. All
    samples of the ray share it."""
    return f"""
    float {name}[{spec.hidden}] = {{}};
    for (int k = 0; k < {spec.view}; ++k) {{
        {FUSED}
        const float* w = parameters + {spec.offsets[2]} + ({spec.geometry} + k) * {spec.hidden};
        for (int j = 0; j < {spec.hidden}; ++j) {name}[j] += {view}[k] * w[j];
    }}"""


def color_layers_of_rays(spec: RadianceMlpSpec, of_views: str) -> str:
    """The code of `color_layers`, from geometry [channels][TILE] and what `layer_of_view` made of each sample's ray,
    of_views [hidden][TILE]."""
    first = f"parameters + {spec.offsets[2]}"
    return f"""
    {layer("c1", "geometry", first, spec.geometry, spec.hidden, relu=True, onto=of_views)}
    {_after_first(spec)}"""


def _after_first(spec: RadianceMlpSpec) -> str:
    return f"""
    {layer("c2", "c1", f"parameters + {spec.offsets[3]}", spec.hidden, spec.hidden, relu=True)}
    {layer("rgb", "c2", f"parameters + {spec.offsets[4]}", spec.hidden, 4, relu=False)}"""


def _view(spec: RadianceMlpSpec) -> str:
    """Code for `color_layers`: the view of the ray of each sample of a tile, past the end the last one's."""
    return f"""
    for (int s = 0; s < {TILE}; ++s) {{
        const int ray = ((const int*)rays_at)[first + (s < count ? s : count - 1)];
        const float* from = (const float*)view_at + (size_t)ray * {spec.view};
        for (int k = 0; k < {spec.view}; ++k) c0[({spec.geometry} + k) * {TILE} + s] = from[k];
    }}"""


def _forward(spec: RadianceMlpSpec) -> str:
    return f"""
    {_tiles(spec.inputs)}
    {geometry_layers(spec)}
    {color_layers(spec, _view(spec))}
    float* raw = (float*)raw_at + (size_t)first * 4;
    for (int s = 0; s < count; ++s) {{
        raw[4 * s] = geometry[s];
        for (int c = 0; c < 3; ++c) raw[4 * s + 1 + c] = rgb[c * {TILE} + s];
    }}
    }}"""


def density_layers(spec: RadianceMlpSpec) -> str:
    """Code for the density alone, from x [inputs][TILE]: density [TILE] before its activation."""
    return f"""
    {layer("h1", "x", "parameters", spec.inputs, spec.hidden, relu=True)}
    float density[{TILE}] = {{}};
    for (int k = 0; k < {spec.hidden}; ++k) {{
        const float w = parameters[{spec.offsets[1]} + k * {spec.geometry}];
        for (int s = 0; s < {TILE}; ++s) density[s] += w * h1[k * {TILE} + s];
    }}"""


def _density(spec: RadianceMlpSpec) -> str:
    return f"""
    {_tiles(spec.inputs)}
    {density_layers(spec)}
    for (int s = 0; s < count; ++s) ((float*)density_at)[first + s] = density[s];
    }}"""


def _backward(spec: RadianceMlpSpec) -> str:
    weights = [f"parameters + {offset}" for offset in spec.offsets]
    totals = [f"total + {offset}" for offset in spec.offsets]
    color, geometry, view, hidden = spec.geometry + spec.view, spec.geometry, spec.view, spec.hidden
    return f"""
    float* total = (float*)total_at;
    {_tiles(spec.inputs)}
    {geometry_layers(spec)}
    {color_layers(spec, _view(spec))}
    const float* given = (const float*)gradient_at + (size_t)first * 4;
    float to_rgb[{4 * TILE}] = {{}}, to_density[{TILE}] = {{}};
    for (int s = 0; s < count; ++s) {{
        to_density[s] = given[4 * s];
        for (int c = 0; c < 3; ++c) to_rgb[c * {TILE} + s] = given[4 * s + 1 + c];
    }}
    {layer_weights_gradient("c2", "to_rgb", totals[4], hidden, 4)}
    {layer_inputs_gradient("to_c2", "to_rgb", weights[4], hidden, 4, gate="c2")}
    {layer_weights_gradient("c1", "to_c2", totals[3], hidden, hidden)}
    {layer_inputs_gradient("to_c1", "to_c2", weights[3], hidden, hidden, gate="c1")}
    {layer_weights_gradient("c0", "to_c1", totals[2], color, hidden)}
    {layer_inputs_gradient("to_c0", "to_c1", weights[2], color, hidden)}
    if (to_view_at)
        for (int s = 0; s < count; ++s)
            for (int k = 0; k < {view}; ++k)
                ((float*)to_view_at)[(size_t)(first + s) * {view} + k] = to_c0[({geometry} + k) * {TILE} + s];
    for (int s = 0; s < {TILE}; ++s) to_c0[s] += to_density[s];
    {layer_weights_gradient("h1", "to_c0", totals[1], hidden, geometry)}
    {layer_inputs_gradient("to_h1", "to_c0", weights[1], hidden, geometry, gate="h1")}
    {layer_weights_gradient("x", "to_h1", totals[0], spec.inputs, hidden)}
    {layer_inputs_gradient("to_x", "to_h1", weights[0], spec.inputs, hidden)}
    for (int s = 0; s < count; ++s) {{
        float* to = (float*)to_features_at + (size_t)(first + s) * {spec.inputs};
        for (int k = 0; k < {spec.inputs}; ++k) to[k] = to_x[k * {TILE} + s];
    }}
    }}"""


@lru_cache(maxsize=8)
def _kernels(spec: RadianceMlpSpec) -> _Kernels:
    """Compiled for this network. A launch index is a whole slice of the samples."""

    @wp.func_native(_forward(spec))
    def run(start: int, end: int, features_at: U64, view_at: U64, rays_at: U64, parameters_at: U64, raw_at: U64): ...

    @wp.func_native(_density(spec))
    def run_density(start: int, end: int, features_at: U64, parameters_at: U64, density_at: U64): ...

    @wp.func_native(_backward(spec))
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
