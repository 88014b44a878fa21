"""Parameters go to tiny-cuda-nn's layout and back; its engines say what they need, and are the reference, in half
precision where they compute so. Without a GPU a double of the package is run (tests/backend/fixtures/installed)."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from addon.wire.messages import FitOptions
from backend.bench.ray_traced import ray_traced
from backend.kernels import engine_choice, hash_encoding
from backend.kernels import radiance_mlp as networks
from backend.kernels.hash_encoding import HashSpec, hash_encode
from backend.kernels.hash_encoding.tinycudann_engine import grid_config, grid_from_table, table_from_grid
from backend.kernels.radiance_mlp import RadianceMlpSpec, color_mlp, density_mlp, geometry_mlp, radiance_mlp
from backend.kernels.radiance_mlp.tinycudann_engine import (
    network_configs,
    networks_from_parameters,
    parameters_from_networks,
)
from backend.nerf.datasets import Dataset
from backend.nerf.hash.presets import Training
from backend.nerf.hash.trainer import HashTrainer
from tests.backend import fixtures
from tests.backend.fixtures.elsewhere import played

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


def test_the_engines_say_that_they_need_cuda() -> None:
    spec = NETWORKS["no padding"]
    given = torch.zeros(3, 32), torch.zeros(1, 16), torch.zeros(3, dtype=torch.int32), torch.zeros(spec.num_parameters)
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        hash_encode(torch.zeros(3, 3), torch.zeros(SPEC.num_entries, 2), SPEC, impl="tinycudann")
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        radiance_mlp(*given, spec, impl="tinycudann")
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        density_mlp(given[0], given[3], spec, impl="tinycudann")
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        color_mlp(torch.zeros(3, 16), *given[1:], spec, impl="tinycudann")


@pytest.mark.skipif(importlib.util.find_spec("tinycudann") is not None, reason="tinycudann is installed")
def test_without_the_package_the_engines_say_so_and_auto_takes_others(caplog: pytest.LogCaptureFixture) -> None:
    spec = NETWORKS["no padding"]
    with played("cuda") as device, caplog.at_level(logging.INFO):
        with pytest.raises(RuntimeError, match="needs the package tinycudann"):
            hash_encode(torch.zeros(3, 3, device=device), torch.zeros(SPEC.num_entries, 2, device=device), SPEC,
                        impl="tinycudann")  # fmt: skip
        engine_choice._logged.clear()
        assert hash_encoding.choose(device, SPEC) == "warp"
        assert networks.choose(device, spec) == "reference"
    assert "hash_encode: warp on cuda (compiled kernels; tinycudann is not installed)" in caplog.text


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    """A small data set, whose images are computed before a device is simulated, which is slow."""
    dataset = ray_traced(24)
    for view in dataset.views:
        dataset.load(view)
    return dataset


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A CUDA device that the processor plays, with a double of the package."""
    monkeypatch.delitem(sys.modules, "tinycudann", raising=False)
    monkeypatch.syspath_prepend(Path(fixtures.__file__).parent / "installed")
    with played("cuda") as found:
        yield found
    sys.modules.pop("tinycudann", None)


@pytest.mark.parametrize("count", [0, 1, 17, 300])
def test_the_encoding_is_the_reference(device: torch.device, count: int) -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random) * 1.2 - 0.1
    points[:1] = torch.nan
    table = torch.randn(SPEC.num_entries, 2, generator=random)
    weights = torch.randn(count, SPEC.width, generator=random).to(device)
    results = []
    for impl in ("reference", "tinycudann"):
        leaves = points.to(device).requires_grad_(), table.to(device).requires_grad_()
        features = hash_encode(*leaves, SPEC, impl=impl)
        assert features.device == device and features.shape == (count, SPEC.width)
        results.append((features.detach(), *torch.autograd.grad((features * weights).sum(), leaves)))
    for got, expected in zip(results[1], results[0]):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.cpu(), expected.cpu(), rtol=1e-3, atol=1e-3)


def radiance_mlp_of(spec: RadianceMlpSpec, count: int, device: torch.device, impl: Any) -> dict[str, Tensor]:
    """Outputs of the networks for an example, and the gradients, on the CPU."""
    random = torch.Generator().manual_seed(0)
    given = torch.randn(count, spec.inputs, generator=random), torch.randn(5, spec.view, generator=random)
    rays = (torch.arange(count) % 5).int().to(device)
    leaves = [x.to(device).requires_grad_() for x in (*given, spec.initial(random))]
    raw = radiance_mlp(leaves[0], leaves[1], rays, leaves[2], spec, impl=impl)
    assert raw.device == device and raw.shape == (count, 4)
    weights = torch.randn(count, 4, generator=random).to(device)
    gradients = torch.autograd.grad((raw * weights).sum(), leaves)
    density = density_mlp(leaves[0].detach(), leaves[2].detach(), spec, impl=impl)
    geometry = geometry_mlp(leaves[0].detach(), leaves[2].detach(), spec, impl=impl)
    rgb = color_mlp(geometry, leaves[1].detach(), rays, leaves[2].detach(), spec, impl=impl)
    found = dict(zip(("features", "view", "parameters"), gradients), raw=raw.detach(), density=density)
    found.update(geometry=geometry, rgb=rgb)
    return {name: value.cpu() for name, value in found.items()}


def assert_half_precision(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that results differ by no more than rounding to half precision, relative to their size."""
    for name, value in got.items():
        assert value.dtype == torch.float32 and value.shape == expected[name].shape
        if value.numel():
            off = float((value - expected[name]).norm() / expected[name].norm().clamp(min=1e-9))
            assert off < 0.05, f"{name} is off by {off:.3f}"  # rounding opens and closes a few ReLUs


@pytest.mark.parametrize("count", [0, 1, 17, 300])
@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_networks_are_the_reference_in_half_precision(
    device: torch.device, spec: RadianceMlpSpec, count: int
) -> None:
    got, expected = (radiance_mlp_of(spec, count, device, impl) for impl in ("tinycudann", "reference"))
    assert_half_precision(got, expected)


def test_auto_takes_the_package_and_says_so(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    engine_choice._logged.clear()
    with caplog.at_level(logging.INFO):
        assert hash_encoding.choose(device, SPEC) == "tinycudann"
        assert networks.choose(device, NETWORKS["no padding"]) == "tinycudann"
        hash_encoding.choose(device, SPEC)
    assert caplog.messages == [
        "hash_encode: tinycudann on cuda (installed, and agrees with the definition)",
        "radiance_mlp: tinycudann on cuda (installed, and agrees with the definition)",
    ]


def lays_out_otherwise(package: Any) -> None:
    package.Network.evaluate = lambda self, x, params: type(self).honest(self, x, params.flip(0))
    package.Encoding.evaluate = lambda self, x, params: type(self).honest(self, x, params.flip(0))


def fails(package: Any) -> None:
    def evaluate(self: Any, x: Tensor, params: Tensor) -> Tensor:
        raise RuntimeError("no kernel image is available for execution on the device")

    package.Network.evaluate = package.Encoding.evaluate = evaluate


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lays_out_otherwise, "away from the definition"),
        (fails, "tinycudann does not run: RuntimeError: no kernel image"),
    ],
)
def test_auto_does_not_take_a_package_that_fails_or_disagrees(
    device: torch.device, damage: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    import tinycudann

    for kind in (tinycudann.Network, tinycudann.Encoding):
        kind.honest = kind.evaluate
    damage(tinycudann)
    with caplog.at_level(logging.INFO):
        assert hash_encoding.choose(device, SPEC) == "warp"
        assert networks.choose(device, NETWORKS["no padding"]) == "reference"
    assert len(caplog.messages) == 2
    assert all(why in message for message in caplog.messages)


def test_auto_does_not_take_a_package_that_was_built_for_another_device(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tinycudann.py").write_text("raise OSError('Unknown compute capability')")
    monkeypatch.syspath_prepend(tmp_path)
    assert hash_encoding.choose(device, SPEC) == "warp"
    assert networks.choose(device, NETWORKS["no padding"]) == "reference"
    with pytest.raises(RuntimeError, match=r"needs the package tinycudann, built for this device.*Unknown compute"):
        radiance_mlp_of(NETWORKS["no padding"], 3, device, "tinycudann")


def test_a_module_of_another_size_is_refused(device: torch.device) -> None:
    other = HashSpec(4, 2, 10, 4, 31)
    from backend.kernels import tinycudann_modules

    with pytest.raises(RuntimeError, match="parameters where 7 are expected"):
        tinycudann_modules.make("x", lambda package: package.Encoding(3, grid_config(other)), 7, device)


def test_a_fit_with_the_package_learns_as_one_without(
    pictures: Dataset, device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    import tinycudann

    training = Training(
        network_rate=1e-2,
        log2_size=11,
        num_levels=4,
        finest=64,
        samples_per_step=1 << 10,
        grid=16,
        cells_per_update=1 << 8,
    )
    reached = []
    for where in (device, torch.device("cpu")):
        fit = HashTrainer(pictures, FitOptions(steps=25), where, training=training)
        fit._rays_per_step = 128
        for _ in range(25):
            report = fit.advance()
        reached.append(report.loss)
        if where == device:
            assert {"Encoding", "Network"} <= set(tinycudann.calls)
            assert fit.field.table.dtype == fit.field.networks.dtype == torch.float32
    assert reached[0] == pytest.approx(reached[1], rel=0.05) and reached[1] < 0.08


# ------------------------------------------------------------------------------------------------ with a GPU, and it


@pytest.fixture
def package() -> None:
    pytest.importorskip("tinycudann")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning:tinycudann")
@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("count", [0, 1, 17, 1000])
def test_on_a_device_the_encoding_is_the_reference(count: int) -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random)
    table = torch.randn(SPEC.num_entries, 2, generator=random)
    results = []
    for impl in ("reference", "tinycudann"):
        leaves = points.cuda().requires_grad_(), table.cuda().requires_grad_()
        features = hash_encode(*leaves, SPEC, impl=impl)
        results.append((features.detach(), *torch.autograd.grad(features.square().sum(), leaves)))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=1e-3)
    for got, expected in zip(results[1][1:], results[0][1:]):
        torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning:tinycudann")
@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("count", [0, 1, 17, 1000])
@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_on_a_device_the_networks_are_the_reference_in_half_precision(spec: RadianceMlpSpec, count: int) -> None:
    there = torch.device("cuda", torch.cuda.current_device())
    got, expected = (radiance_mlp_of(spec, count, there, impl) for impl in ("tinycudann", "reference"))
    assert_half_precision(got, expected)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning:tinycudann")
@pytest.mark.usefixtures("package")
def test_on_a_device_auto_takes_the_package() -> None:
    there = torch.device("cuda")
    assert hash_encoding.choose(there, HashSpec()) == "tinycudann"
    assert networks.choose(there, RadianceMlpSpec()) == "tinycudann"
