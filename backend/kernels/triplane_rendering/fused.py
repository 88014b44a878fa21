"""Tri-plane rendering as one kernel, forward and backward (forward.inl, backward.inl). CPU.

A tile is one sample of as many neighbouring rays that meet the box. All samples of a tile's rays go through planes and
decoder, and are composited, in first-level cache; nothing of a sample is written to memory. The backward pass computes
everything again. Threads share the images of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...threads import num_threads, run_on_threads
from ..cpp_snippets import TILE, snippet
from ..warp_runtime import wp
from .spec import TriplaneSpec

U64 = wp.uint64  # addresses


def render_triplanes_fused(
    planes: Tensor, parameters: Tensor, origins: Tensor, directions: Tensor, distances: Tensor, spec: TriplaneSpec
) -> Tensor:
    """See `render_triplanes`."""
    padded = _with_spare_outputs(parameters, spec)
    table = planes.permute(0, 3, 4, 1, 2).contiguous()  # [b, y, x, plane, channel]
    rays = [x.detach().float().contiguous() for x in (origins, directions, distances)]
    result: Tensor = _Render.apply(table, padded, *rays, spec)
    return result


def decode_points_fused(
    planes: Tensor, parameters: Tensor, points: Tensor, spec: TriplaneSpec
) -> tuple[Tensor, Tensor]:
    """See `decode_points`."""
    table, points = planes.permute(2, 3, 0, 1).contiguous(), points.contiguous()
    padded = _with_spare_outputs(parameters, spec)
    density, features = points.new_empty(len(points)), points.new_empty(len(points), spec.features)
    pointers = [x.data_ptr() for x in (padded, table, points, density, features)]
    wp.launch(_decode_kernel(spec), 1, inputs=[len(points), *pointers], device="cpu")
    return density, features


def _with_spare_outputs(parameters: Tensor, spec: TriplaneSpec) -> Tensor:
    matrices = spec.matrices(parameters)
    spare = _padded(spec) - 1 - spec.features
    return spec.flat(matrices[0], matrices[1], F.pad(matrices[2], (0, spare)), F.pad(matrices[3], (0, spare)))


def _padded(spec: TriplaneSpec) -> int:
    """Outputs of the decoder with those added that make them a multiple of 4."""
    return -(-(1 + spec.features) // 4) * 4


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, parameters: Tensor, origins: Tensor, directions: Tensor, distances: Tensor,
        spec: TriplaneSpec,
    ) -> Tensor:  # fmt: skip
        ctx.spec = spec
        ctx.save_for_backward(table, parameters, origins, directions, distances)
        batch, num_rays, samples = distances.shape
        result = table.new_zeros(batch, num_rays, spec.features + 2)
        kernel = _kernels(spec, samples).forward
        images = (table, origins, directions, distances, result)

        def work(_: int, start: int, end: int) -> None:
            for image in range(start, end):
                pointers = [x[image].data_ptr() for x in images]
                wp.launch(kernel, 1, inputs=[num_rays, parameters.data_ptr(), *pointers], device="cpu")

        run_on_threads(work, batch)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        spec: TriplaneSpec = ctx.spec
        table, parameters, origins, directions, distances = ctx.saved_tensors
        batch, num_rays, samples = distances.shape
        gradient = gradients[0].contiguous()
        to_table = torch.zeros_like(table)
        totals = table.new_zeros(num_threads(), len(parameters))
        kernel = _kernels(spec, samples).backward
        images = (table, origins, directions, distances, gradient, to_table)

        def work(number: int, start: int, end: int) -> None:
            scratch = torch.empty(samples * (spec.channels + 2 * spec.hidden) * TILE)
            own = [totals[number].data_ptr(), scratch.data_ptr()]
            for image in range(start, end):
                pointers = [x[image].data_ptr() for x in images]
                wp.launch(kernel, 1, inputs=[num_rays, parameters.data_ptr(), *pointers, *own], device="cpu")

        run_on_threads(work, batch)
        return to_table, totals.sum(0), None, None, None, None


# -------------------------------------------------------------------------------------------------------------- kernels


@dataclass(frozen=True)
class _Kernels:
    forward: Any
    backward: Any


def _constants(spec: TriplaneSpec, samples: int) -> dict[str, int | float]:
    outputs = _padded(spec)
    biases_1 = spec.channels * spec.hidden
    weights_2 = biases_1 + spec.hidden
    axes = {f"ACROSS_{plane}": across for plane, (across, _) in enumerate(spec.axes)}
    axes |= {f"DOWN_{plane}": down for plane, (_, down) in enumerate(spec.axes)}
    return {
        "TILE": TILE, "CHANNELS": spec.channels, "HIDDEN": spec.hidden, "FEATURES": spec.features, "OUTPUTS": outputs,
        "SAMPLES": samples, "RESOLUTION": spec.resolution, "BIASES_1": biases_1, "WEIGHTS_2": weights_2,
        "BIASES_2": weights_2 + spec.hidden * outputs, **axes,
    }  # fmt: skip


@lru_cache(maxsize=8)
def _kernels(spec: TriplaneSpec, samples: int) -> _Kernels:
    """Compiled for these sizes. A launch is one image."""
    constants = _constants(spec, samples) | {"scale": 1 / spec.half}

    @wp.func_native(snippet("triplane_rendering/forward.inl", **constants))
    def run(
        num_rays: int, parameters_at: U64, planes_at: U64, origins_at: U64, directions_at: U64, distances_at: U64,
        result_at: U64,
    ): ...  # fmt: skip

    @wp.func_native(snippet("triplane_rendering/backward.inl", **constants))
    def run_backward(
        num_rays: int, parameters_at: U64, planes_at: U64, origins_at: U64, directions_at: U64, distances_at: U64,
        gradient_at: U64, to_planes_at: U64, total_at: U64, scratch_at: U64,
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def forward(
        num_rays: int, parameters: U64, planes: U64, origins: U64, directions: U64, distances: U64, result: U64
    ) -> None:
        run(num_rays, parameters, planes, origins, directions, distances, result)

    @wp.kernel(enable_backward=False, module="unique")
    def backward(
        num_rays: int, parameters: U64, planes: U64, origins: U64, directions: U64, distances: U64, gradient: U64,
        to_planes: U64, total: U64, scratch: U64,
    ) -> None:  # fmt: skip
        run_backward(
            num_rays, parameters, planes, origins, directions, distances, gradient, to_planes, total, scratch
        )  # fmt: skip

    return _Kernels(forward, backward)


@lru_cache(maxsize=8)
def _decode_kernel(spec: TriplaneSpec) -> Any:
    """Compiled for these sizes. A launch is one set of points, on the calling thread."""
    constants = _constants(spec, 1) | {"scale": 1 / spec.half}

    @wp.func_native(snippet("triplane_rendering/decode_points.inl", **constants))
    def run(
        num_points: int, parameters_at: U64, planes_at: U64, points_at: U64, density_at: U64, colors_at: U64
    ): ...  # fmt: skip

    @wp.kernel(enable_backward=False, module="unique")
    def decode(
        num_points: int, parameters: U64, planes: U64, points: U64, density: U64, colors: U64
    ) -> None:  # fmt: skip
        run(num_points, parameters, planes, points, density, colors)

    return decode
