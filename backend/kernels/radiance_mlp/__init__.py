"""Density and colour of samples from their features: the two small networks of a hash-grid field as one operation.

Vocabulary: `features` [N, inputs] of the samples, `view` [R, view] of the rays (spherical harmonics of their
directions), `rays` [N] which ray each sample lies on, `parameters` flat (RadianceMlpSpec says where each matrix is).

Engines, all with the same signature and layout:

- `reference` (reference.py): the definition, in plain PyTorch, whose matrix library it uses. Any device.
- `fused` (fused.py): a tile of samples goes through all five layers in registers and first-level cache. CPU. The
  backward pass computes the hidden layers again instead of reading them back from memory.
"""

from __future__ import annotations

import logging
from typing import Literal

from torch import Tensor

from .reference import density_mlp_reference, radiance_mlp_reference
from .spec import RadianceMlpSpec

__all__ = ["Impl", "RadianceMlpSpec", "density_mlp", "radiance_mlp"]

log = logging.getLogger(__name__)

Impl = Literal["auto", "reference", "fused"]
_logged: set[str] = set()


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
    if features.ndim != 2 or features.shape[1] != spec.inputs:
        raise ValueError(f"features must be [N, {spec.inputs}], got {list(features.shape)}")
    if view.ndim != 2 or view.shape[1] != spec.view:
        raise ValueError(f"view must be [R, {spec.view}], got {list(view.shape)}")
    if rays.shape != features.shape[:1]:
        raise ValueError(f"rays must be [{len(features)}], got {list(rays.shape)}")
    _check_parameters(parameters, spec)
    if _engine(features, impl) == "reference":
        return radiance_mlp_reference(features, view, rays, parameters, spec)
    from .fused import radiance_mlp_fused

    return radiance_mlp_fused(features, view, rays, parameters, spec)


def density_mlp(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec, *, impl: Impl = "auto") -> Tensor:
    """Return the density alone, before its activation: [N]. The fused engine gives no gradient here; "auto" takes the
    reference where one is wanted. Raises as `radiance_mlp` does."""
    if features.ndim != 2 or features.shape[1] != spec.inputs:
        raise ValueError(f"features must be [N, {spec.inputs}], got {list(features.shape)}")
    _check_parameters(parameters, spec)
    if impl == "auto" and (features.requires_grad or parameters.requires_grad):
        impl = "reference"
    if _engine(features, impl) == "reference":
        return density_mlp_reference(features, parameters, spec)
    from .fused import density_mlp_fused

    return density_mlp_fused(features, parameters, spec)


def _check_parameters(parameters: Tensor, spec: RadianceMlpSpec) -> None:
    if parameters.shape != (spec.num_parameters,):
        raise ValueError(f"parameters must be [{spec.num_parameters}], got {list(parameters.shape)}")


def _engine(features: Tensor, impl: Impl) -> Impl:
    kind = features.device.type
    if impl == "auto":
        chosen: Impl = "fused" if kind == "cpu" else "reference"
        if kind not in _logged:
            _logged.add(kind)
            why = "one pass in registers" if chosen == "fused" else "the device's own matrix library"
            log.info("radiance_mlp: %s on %s (%s)", chosen, features.device, why)
        return chosen
    if impl not in ("reference", "fused"):
        raise ValueError(f"no engine {impl!r}; there are reference and fused")
    if impl == "fused" and kind != "cpu":
        raise RuntimeError(f"radiance_mlp: the fused engine runs on the CPU, not on {features.device}")
    return impl
