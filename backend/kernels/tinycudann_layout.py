"""Our parameters as tiny-cuda-nn's modules keep theirs, and back.

A hash table is the same numbers in the same order: level after level, entry after entry, the features of an entry
together. Of a FullyFusedMLP (and CutlassMLP), each matrix is [outputs, inputs] row by row, both padded to multiples of
16, where ours is [inputs, outputs]; a density network and a colour network are two modules there. Padded inputs are fed
with ones, so what a foreign network has learnt there is a bias, which ours have not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .hash_encoding import HashSpec
from .radiance_mlp import RadianceMlpSpec

COLORS = 3


def grid_config(spec: HashSpec) -> dict[str, Any]:
    """Return the configuration of the encoding that has this table."""
    return {
        "otype": "HashGrid",
        "n_levels": spec.num_levels,
        "n_features_per_level": spec.num_features,
        "log2_hashmap_size": spec.log2_size,
        "base_resolution": spec.coarsest,
        "per_level_scale": spec.growth,
        "interpolation": "Linear",
    }


def network_configs(spec: RadianceMlpSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the density network (spec.inputs → geometry) and the colour network (geometry and
    view → 3)."""
    kind = "FullyFusedMLP" if spec.hidden in (16, 32, 64, 128) else "CutlassMLP"
    shared = {"otype": kind, "activation": "ReLU", "output_activation": "None", "n_neurons": spec.hidden}
    return {**shared, "n_hidden_layers": 1}, {**shared, "n_hidden_layers": 2}


def grid_from_table(table: Tensor, spec: HashSpec) -> Tensor:
    """Return the encoding's flat parameters, given ours [num_entries, num_features]. Raises ValueError."""
    if table.shape != (spec.num_entries, spec.num_features):
        raise ValueError(f"table must be {[spec.num_entries, spec.num_features]}, got {list(table.shape)}")
    return table.reshape(-1)


def table_from_grid(grid: Tensor, spec: HashSpec) -> Tensor:
    """Return our table [num_entries, num_features], given the encoding's flat parameters.

    Raises:
        ValueError: there are as many as another configuration has.
    """
    wanted = spec.num_entries * spec.num_features
    if grid.shape != (wanted,):
        raise ValueError(f"a grid of this configuration has {wanted} parameters, got {list(grid.shape)}")
    return grid.float().reshape(spec.num_entries, spec.num_features)


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
