"""The two small networks by tiny-cuda-nn's fully fused ones, in half precision. See `tinycudann_modules`.

Of a FullyFusedMLP (and CutlassMLP), each matrix is [outputs, inputs] row by row, both padded to multiples of 16, where
ours is [inputs, outputs]; a density network and a colour network are two modules there. Padded inputs are ones, so what
a foreign network has learnt there is a bias, which ours do not have.

Parameters stay ours, float32: each pass rounds them and lays them out as above, and the gradient comes back the same
way. The package scales gradients inside the pass so that small ones survive rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import tinycudann_modules
from .reference import color_mlp_reference, geometry_mlp_reference, radiance_mlp_reference
from .spec import RadianceMlpSpec

COLORS = 3


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


def network_configs(spec: RadianceMlpSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the density network (spec.inputs → geometry) and the colour network (geometry and
    view → 3)."""
    kind = "FullyFusedMLP" if spec.hidden in (16, 32, 64, 128) else "CutlassMLP"
    shared = {"otype": kind, "activation": "ReLU", "output_activation": "None", "n_neurons": spec.hidden}
    return {**shared, "n_hidden_layers": 1}, {**shared, "n_hidden_layers": 2}


def networks_from_parameters(parameters: Tensor, spec: RadianceMlpSpec) -> tuple[Tensor, Tensor]:
    """Return the flat parameters of the density and of the colour network, given ours. Raises ValueError."""
    if parameters.shape != (spec.num_parameters,):
        raise ValueError(f"parameters must be [{spec.num_parameters}], got {list(parameters.shape)}")
    matrices = spec.matrices(parameters)
    matrices[-1] = matrices[-1][:, :COLORS]
    turned = []
    for matrix in matrices:
        inputs, outputs = matrix.shape
        turned.append(pad(matrix.T, (0, _padded(inputs) - inputs, 0, _padded(outputs) - outputs)).reshape(-1))
    return torch.cat(turned[:2]), torch.cat(turned[2:])


def parameters_from_networks(density: Tensor, color: Tensor, spec: RadianceMlpSpec) -> Tensor:
    """Return our flat parameters, given those of the density and of the colour network.

    Raises:
        ValueError: there are as many as other networks have, or the padding of their inputs has learnt a bias.
    """
    shapes = [*spec.shapes[:-1], (spec.hidden, COLORS)]
    result = torch.zeros(spec.num_parameters, device=density.device)
    ours = spec.matrices(result)
    for name, flat, which in (("density", density, (0, 1)), ("colour", color, (2, 3, 4))):
        sizes = [_padded(shapes[i][0]) * _padded(shapes[i][1]) for i in which]
        if flat.shape != (sum(sizes),):
            raise ValueError(f"the {name} network has {sum(sizes)} parameters, got {list(flat.shape)}")
        for i, part in zip(which, flat.float().split(sizes)):
            inputs, outputs = shapes[i]
            matrix = part.reshape(_padded(outputs), _padded(inputs))[:outputs]
            if bool((matrix[:, inputs:] != 0).any()):
                raise ValueError(
                    f"the {name} network has a bias in the padding of its inputs, which ours has no place for"
                )
            ours[i][:, :outputs].copy_(matrix[:, :inputs].T)
    return result


def _padded(size: int) -> int:
    return -(-size // 16) * 16
