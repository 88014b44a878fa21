"""Parameters go to tiny-cuda-nn's layout and back; its engine says what it needs, and is the reference on a device."""

from __future__ import annotations

import importlib.util
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from backend.kernels.hash_encoding import HashSpec, hash_encode
from backend.kernels.radiance_mlp import RadianceMlpSpec, radiance_mlp
from backend.kernels.tinycudann_layout import (
    grid_config,
    grid_from_table,
    network_configs,
    networks_from_parameters,
    parameters_from_networks,
    table_from_grid,
)

SPEC = HashSpec(4, 2, 10, 4, 32)
NETWORKS = {"no padding": RadianceMlpSpec(32, 64, 16, 16), "padded": RadianceMlpSpec(20, 32, 12, 16)}


def padded_forward(x: Tensor, flat: Tensor, sizes: list[int]) -> Tensor:
    """A network as tiny-cuda-nn's documentation has it: W [outputs, inputs], sizes padded to 16, padded inputs 1."""
    up = [-(-size // 16) * 16 for size in sizes]
    x = torch.cat((x, torch.ones(len(x), up[0] - sizes[0])), 1)
    start = 0
    for layer, (inputs, outputs) in enumerate(pairwise(up)):
        matrix = flat[start : start + inputs * outputs].reshape(outputs, inputs)
        start += inputs * outputs
        x = x @ matrix.T
        if layer < len(up) - 2:
            x = torch.relu(x)
    assert start == len(flat)
    return x[:, : sizes[-1]]


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_go_there_and_back_and_mean_the_same(spec: RadianceMlpSpec) -> None:
    random = torch.Generator().manual_seed(0)
    parameters = spec.initial(random)
    density, color = networks_from_parameters(parameters, spec)
    assert torch.equal(parameters_from_networks(density, color, spec), parameters)
    features, view = torch.randn(9, spec.inputs, generator=random), torch.randn(9, spec.view, generator=random)
    geometry = padded_forward(features, density, [spec.inputs, spec.hidden, spec.geometry])
    rgb = padded_forward(
        torch.cat((geometry, view), 1), color, [spec.geometry + spec.view, spec.hidden, spec.hidden, 3]
    )
    expected = radiance_mlp(features, view, torch.arange(9, dtype=torch.int32), parameters, spec, impl="reference")
    torch.testing.assert_close(torch.cat((geometry[:, :1], rgb), 1), expected, rtol=1e-4, atol=1e-4)


def test_tables_go_there_and_back_entry_by_entry() -> None:
    table = torch.arange(SPEC.num_entries * 2, dtype=torch.float32).reshape(-1, 2)
    grid = grid_from_table(table, SPEC)
    assert grid.tolist()[:4] == [0.0, 1.0, 2.0, 3.0]
    assert torch.equal(table_from_grid(grid.half().float(), SPEC), table.half().float())
    assert torch.equal(table_from_grid(grid, SPEC), table)


def test_configurations_are_those_that_the_documentation_names() -> None:
    config = grid_config(SPEC)
    assert (config["n_levels"], config["n_features_per_level"], config["base_resolution"]) == (4, 2, 4)
    assert config["base_resolution"] * config["per_level_scale"] ** 3 == pytest.approx(32)
    density, color = network_configs(NETWORKS["no padding"])
    assert (density["otype"], density["n_hidden_layers"], color["n_hidden_layers"]) == ("FullyFusedMLP", 1, 2)
    assert network_configs(RadianceMlpSpec(hidden=48))[0]["otype"] == "CutlassMLP"


def test_parameters_of_something_else_are_refused() -> None:
    spec = NETWORKS["padded"]
    density, color = networks_from_parameters(spec.initial(torch.Generator().manual_seed(0)), spec)
    with pytest.raises(ValueError, match="a grid of this configuration has"):
        table_from_grid(torch.zeros(7), SPEC)
    with pytest.raises(ValueError, match="the colour network has"):
        parameters_from_networks(density, color[1:], spec)
    density[20] = 1.0  # row 0, column 20: the first padded input
    with pytest.raises(ValueError, match="the density network has a bias in the padding"):
        parameters_from_networks(density, color, spec)
    with pytest.raises(ValueError, match="table must be"):
        grid_from_table(torch.zeros(3, 2), SPEC)


def test_the_engine_says_that_it_needs_cuda() -> None:
    table = torch.zeros(SPEC.num_entries, 2)
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        hash_encode(torch.zeros(3, 3), table, SPEC, impl="tinycudann")


@pytest.mark.skipif(importlib.util.find_spec("tinycudann") is not None, reason="tinycudann is installed")
def test_the_engine_says_that_it_needs_the_package() -> None:
    from backend.kernels.hash_encoding.tinycudann_engine import _module

    with pytest.raises(RuntimeError, match="needs the package tinycudann"):
        _module(SPEC, 0)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [0, 1, 17, 1000])
def test_on_a_device_tinycudann_is_the_reference(count: int) -> None:
    pytest.importorskip("tinycudann")
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random).cuda()
    table = torch.randn(SPEC.num_entries, 2, generator=random).cuda()
    results = []
    for impl in ("reference", "tinycudann"):
        leaf = table.clone().requires_grad_()
        features = hash_encode(points, leaf, SPEC, impl=impl)  # type: ignore[arg-type]
        results.append((features.detach(), torch.autograd.grad(features.square().sum(), leaf)[0]))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=1e-3)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-2, atol=1e-2)
