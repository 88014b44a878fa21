"""The two small networks by tiny-cuda-nn's fully fused ones, in half precision. See `tinycudann_modules`.

Parameters stay ours, float32: each pass rounds them and lays them out (`tinycudann_layout`), and the gradient comes
back the same way. The package scales gradients inside the pass so that small ones survive being rounded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import tinycudann_modules
from ..tinycudann_layout import COLORS, network_configs, networks_from_parameters
from .reference import color_mlp_reference, geometry_mlp_reference, radiance_mlp_reference
from .spec import RadianceMlpSpec


def radiance_mlp_tinycudann(
    features: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `radiance_mlp`.

    Raises:
        RuntimeError: the features are not on a CUDA device, tiny-cuda-nn is not installed or does not run on the
            device, or it lays networks of these shapes out in another way.
    """
    geometry = geometry_mlp_tinycudann(features, parameters, spec)
    return torch.cat((geometry[:, :1], color_mlp_tinycudann(geometry, view, rays, parameters, spec)), -1)


def geometry_mlp_tinycudann(features: Tensor, parameters: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """See `geometry_mlp`. Raises as `radiance_mlp_tinycudann` does."""
    tinycudann_modules.check_device("radiance_mlp", features.device)
    if not len(features):
        return geometry_mlp_reference(features, parameters, spec)
    density, _ = _modules(spec, features.device)
    return tinycudann_modules.run(density, networks_from_parameters(parameters, spec)[0], features)


def color_mlp_tinycudann(
    geometry: Tensor, view: Tensor, rays: Tensor, parameters: Tensor, spec: RadianceMlpSpec
) -> Tensor:
    """See `color_mlp`. Raises as `radiance_mlp_tinycudann` does."""
    tinycudann_modules.check_device("radiance_mlp", geometry.device)
    if not len(geometry):
        return color_mlp_reference(geometry, view, rays, parameters, spec)
    _, color = _modules(spec, geometry.device)
    given = torch.cat((geometry, view.index_select(0, rays)), -1)
    return tinycudann_modules.run(color, networks_from_parameters(parameters, spec)[1], given)


@lru_cache(maxsize=8)
def why_not(spec: RadianceMlpSpec, device: torch.device) -> str:
    """Return why "auto" takes another engine for these networks on this device; nothing if there is no reason."""

    def both() -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        features, view = torch.randn(256, spec.inputs, generator=random), torch.randn(256, spec.view, generator=random)
        rays, parameters = torch.arange(256, dtype=torch.int32), spec.initial(random)
        features, view, rays, parameters = (x.to(device) for x in (features, view, rays, parameters))
        return (
            radiance_mlp_tinycudann(features, view, rays, parameters, spec),
            radiance_mlp_reference(features, view, rays, parameters, spec),
        )

    return tinycudann_modules.reason_against(both, tolerance=5e-2)


@lru_cache(maxsize=8)
def _modules(spec: RadianceMlpSpec, device: torch.device) -> tuple[Any, Any]:
    """The density network and the colour network."""
    lengths = [len(flat) for flat in networks_from_parameters(torch.zeros(spec.num_parameters), spec)]
    sizes = (spec.inputs, spec.geometry), (spec.geometry + spec.view, COLORS)
    density, color = (
        tinycudann_modules.make(
            "radiance_mlp", lambda package: package.Network(*size, config), length, device  # noqa: B023
        )
        for size, config, length in zip(sizes, network_configs(spec), lengths)
    )  # fmt: skip
    return density, color
