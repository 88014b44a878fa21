"""Density and colour of samples from their features: the two small networks of a hash-grid field as one operation.

Vocabulary: `features` [N, inputs] of the samples, `view` [R, view] of the rays (spherical harmonics of their
directions), `rays` [N] which ray each sample lies on, `parameters` flat (RadianceMlpSpec says where each matrix is).

Engines, all with the same signature and layout:

- `reference` (reference.py): the definition, in plain PyTorch, whose matrix library it uses. Any device.
- `fused` (fused.py): a tile of samples goes through all five layers in registers and first-level cache. CPU. The
  backward pass computes the hidden layers again instead of reading them back from memory.
- `tinycudann` (tinycudann_engine.py): in half precision on a GPU's tensor cores. CUDA, where that package is installed.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from ...device import fastest_engine
from ..engine_choice import prefers_tinycudann
from .reference import color_mlp_reference, density_mlp_reference, geometry_mlp_reference, radiance_mlp_reference
from .spec import RadianceMlpSpec

__all__ = ["Impl", "RadianceMlpSpec", "color_mlp", "density_mlp", "geometry_mlp", "radiance_mlp"]

Impl = Literal["auto", "reference", "fused", "tinycudann"]


def radiance_mlp(
    features: Tensor,  # [N, spec.inputs]
    view: Tensor,  # [R, spec.view]
    rays: Tensor,  # int32 [N], 0 <= rays < R
    parameters: Tensor,  # [spec.num_parameters]
    spec: RadianceMlpSpec,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """Return [N, 4]: density before its activation, and colour before its sigmoid. Differentiable in features, view
    and parameters (Sec. 5.4 of arxiv.org/abs/2201.05989).

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
        RuntimeError: the engine cannot run on this device.
    """
    _check_width("features", features, spec.inputs)
    _check_rays(view, rays, len(features), spec)
    _check_parameters(parameters, spec)
    if impl == "auto":
        impl = choose(features.device, spec)
    if impl == "reference":
        return radiance_mlp_reference(features, view, rays, parameters, spec)
    if impl == "fused":
        _check_fused(features)
        from .fused import radiance_mlp_fused

        return radiance_mlp_fused(features, view, rays, parameters, spec)
    if impl == "tinycudann":
        from .tinycudann_engine import radiance_mlp_tinycudann

        return radiance_mlp_tinycudann(features, view, rays, parameters, spec)
    raise ValueError(f"no engine {impl!r}; there are reference, fused and tinycudann")


def density_mlp(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec, *, impl: Impl = "auto") -> Tensor:
    """Return the density alone, before its activation: [N]. The fused engine gives no gradient here; "auto" takes the
    reference where one is wanted. Raises as `radiance_mlp` does."""
    _check_width("features", features, spec.inputs)
    _check_parameters(parameters, spec)
    if impl == "auto":
        differentiated = features.requires_grad or parameters.requires_grad
        impl = "reference" if differentiated else choose(features.device, spec)
    if impl == "reference":
        return density_mlp_reference(features, parameters, spec)
    if impl == "fused":
        _check_fused(features)
        from .fused import density_mlp_fused

        return density_mlp_fused(features, parameters, spec)
    if impl == "tinycudann":
        from .tinycudann_engine import geometry_mlp_tinycudann

        return geometry_mlp_tinycudann(features, parameters, spec)[:, 0]
    raise ValueError(f"no engine {impl!r}; there are reference, fused and tinycudann")


def geometry_mlp(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec, *, impl: Impl = "auto") -> Tensor:
    """Return the outputs of the density network: [N, spec.geometry], density before its activation first.
    Differentiable. There is no fused engine: `ray_rendering` has one for the whole of rendering. Raises as
    `radiance_mlp` does."""
    _check_width("features", features, spec.inputs)
    _check_parameters(parameters, spec)
    if _by_tinycudann(impl, features.device, spec):
        from .tinycudann_engine import geometry_mlp_tinycudann

        return geometry_mlp_tinycudann(features, parameters, spec)
    return geometry_mlp_reference(features, parameters, spec)


def color_mlp(
    geometry: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec, *, impl: Impl = "auto"
) -> Tensor:
    """Return the outputs of the colour network for geometry [N, spec.geometry]: colour before its sigmoid, [N, 3].
    Otherwise as `geometry_mlp`."""
    _check_width("geometry", geometry, spec.geometry)
    _check_rays(view, rays, len(geometry), spec)
    _check_parameters(parameters, spec)
    if _by_tinycudann(impl, geometry.device, spec):
        from .tinycudann_engine import color_mlp_tinycudann

        return color_mlp_tinycudann(geometry, view, rays, parameters, spec)
    return color_mlp_reference(geometry, view, rays, parameters, spec)


def _by_tinycudann(impl: Impl, device: torch.device, spec: RadianceMlpSpec) -> bool:
    """Return whether tiny-cuda-nn evaluates one of the two networks alone. Raises ValueError for a fused engine."""
    if impl not in ("auto", "reference", "tinycudann"):
        raise ValueError(f"no engine {impl!r} for one network alone; there are reference and tinycudann")
    return impl == "tinycudann" or (impl == "auto" and choose(device, spec) == "tinycudann")


def _check_width(name: str, x: Tensor, width: int) -> None:
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"{name} must be [N, {width}], got {list(x.shape)}")


def _check_rays(view: Tensor, rays: Tensor, count: int, spec: RadianceMlpSpec) -> None:
    if view.ndim != 2 or view.shape[1] != spec.view:
        raise ValueError(f"view must be [R, {spec.view}], got {list(view.shape)}")
    if rays.shape != (count,):
        raise ValueError(f"rays must be [{count}], got {list(rays.shape)}")


def _check_parameters(parameters: Tensor, spec: RadianceMlpSpec) -> None:
    if parameters.shape != (spec.num_parameters,):
        raise ValueError(f"parameters must be [{spec.num_parameters}], got {list(parameters.shape)}")


def _check_fused(features: Tensor) -> None:
    if features.device.type != "cpu":
        raise RuntimeError(f"radiance_mlp: the fused engine runs on the CPU, not on {features.device}")


def choose(device: torch.device, spec: RadianceMlpSpec) -> Impl:
    """Return the fastest engine for these networks on a device, and log it once."""
    otherwise = cast(Impl, fastest_engine("radiance_mlp", device))
    why = "one pass in registers" if otherwise == "fused" else "the device's own matrix library"

    def reason_against() -> str:
        from .tinycudann_engine import why_not

        return why_not(spec, device)

    return "tinycudann" if prefers_tinycudann("radiance_mlp", device, otherwise, why, reason_against) else otherwise
