"""The harness reads every size from the set: sets of other sizes than the ones at hand run through it.

Each is an official set with its json changed and its tensors drawn anew from their own values in other shapes. What it
"expects" is what our network gives in float64, so a size taken from anywhere but the set shows as another shape, an
error or a difference.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.parity.__main__ import main
from tests.parity.oracle import OracleSet, compare, read_set
from tests.parity.systems import load_system
from tests.shared import ORACLES

Sizes = Mapping[int, int] | tuple[int, ...]  # axis length → another, or the whole shape


@dataclass(frozen=True)
class Other:
    """How a set changes. sizes: pattern of a tensor's name, with its group → sizes; the first that matches counts."""

    sizes: dict[str, Sizes]
    meta: Callable[[dict[str, Any]], Any]
    raised: str = ""  # pattern of weights that are raised by thirty, where the drawn ones leave all rays empty


def _pigan(meta: dict[str, Any]) -> None:
    meta["render_kwargs"] |= {"img_size": 7, "num_steps": 5, "fov": 15, "white_back": True, "eval_last_back": False}


def _shadegan(meta: dict[str, Any]) -> None:
    meta["render_kwargs"] |= {"img_size": 8, "num_steps": 6, "fov": 10}
    meta["delta"] = 0.1


def _graf(meta: dict[str, Any]) -> None:
    meta["HW"], meta["focal"] = [9, 11], 20.0
    meta["config"]["z_dist"] |= {"dim": 20, "dim_appearance": 8}
    meta["config"]["data"] |= {"near": 7.0, "far": 12.0, "radius": "9.5,10.5", "white_bkgd": False}
    meta["config"]["nerf"]["N_samples"] = 9


def _stylenerf(meta: dict[str, Any]) -> None:
    constructor = meta["constructor"]
    constructor["z_dim"] = 14
    synthesis = constructor["synthesis_kwargs"]
    synthesis["foreground_kwargs"]["hidden_size"] = 22
    synthesis["renderer_kwargs"] |= {"n_ray_samples": 5, "n_bg_samples": 4}
    synthesis["camera_kwargs"] |= {"fov": 15, "depth_range": [0.8, 1.2]}


def _eg3d(meta: dict[str, Any]) -> None:
    meta["neural_rendering_resolution"] = 9
    meta["constructor_kwargs"]["z_dim"] = 12
    rendering = meta["constructor_kwargs"]["rendering_kwargs"]
    rendering |= {"depth_resolution": 7, "depth_resolution_importance": 6, "box_warp": 1.2, "ray_end": 3.4}


def _stylesdf(meta: dict[str, Any]) -> None:
    meta["rendering_opt"]["N_samples"] = 6


def _deepsdf(meta: dict[str, Any]) -> None:
    meta["constructor"] |= {"latent_size": 10, "dims": [40] * 8}
    meta["recon"] = meta["recon"].replace("num_iterations=30", "num_iterations=6")


def _nerf(meta: dict[str, Any]) -> None:
    meta["args"] |= {"N_samples": 10, "N_importance": 12}
    meta["near_far"] = [1.5, 5.0]


def _nerf_tf1(meta: dict[str, Any]) -> None:
    meta |= {"N_samples": 9, "N_importance": 11, "white_bkgd": False}


OTHERS = {
    "pigan": Other(
        {
            r"weights/": {24: 20, 32: 28, 35: 31, 576: 504, 256: 64},
            r"in/(z|avg_.*)$": {24: 20, 288: 252},
            r"out/.*(frequencies|phase_shifts)": {288: 252},
            r"(in|out)/(det|rnd|forward)": {100: 49, 200: 98, 10: 7, 8: 5, 16: 10},
        },
        _pigan,
    ),
    "shadegan": Other(
        {
            r"weights/siren": {16: 12, 20: 18, 24: 22, 256: 64, 360: 324},
            r"weights/surfacenet.linear": {360: 324},
            r"in/(z|avg_.*)$": {16: 12, 180: 162},
            r"out/(frequencies|phase_shifts)": {180: 162},
            r"(in|out)/(det|rnd)": {100: 64, 200: 128, 10: 8, 8: 6, 16: 12},
        },
        _shadegan,
    ),
    "graf": Other(
        {
            r"weights/.*pts_linears.0.weight": {40: 32, 77: 75},
            r"weights/.*pts_linears.5.weight": {40: 32, 117: 107},
            r"weights/.*views_linears.0.weight": {20: 16, 77: 67},
            r"weights/": {40: 32, 20: 16},
            r"in/z": {24: 20},
            r"out/(rays|rgb|disp|acc)": {196: 99, 392: 198},
        },
        _graf,
    ),
    "stylesdf": Other(
        {
            r"weights/decoder.noises": {},
            r"weights/": {16: 20, 19: 23, 12: 10},
            r"in/(z|mean_latent_renderer)": {16: 20},
            r"out/features": (2, 20, 16, 16),
            r"out/points_rgb_sdf_feat": {20: 24},
            r"out/renderer_latent": {16: 20},
            r"out/sdf": {8: 6},
        },
        _stylesdf,
    ),
    "stylenerf": Other(
        {
            r"weights/mapping.fc0.weight": {16: 14},
            r"weights/synthesis.fg_nerf": {20: 22},
            r"in/z$": {16: 14},
            r"out/fg_(weights|di|depths)": {12: 10},
            r"out/bg_(weights|di)": (2, 256, 4),
        },
        _stylenerf,
    ),
    "eg3d": Other(
        {
            r"weights/backbone.mapping.fc0.weight": {48: 44},
            r"weights/decoder": {64: 40},
            r"in/z": {16: 12},
            r"in/rnd_jitter|out/..._depths_coarse": {144: 81, 10: 7},
            r"in/rnd_u|out/..._depths_fine": {288: 162, 144: 81, 10: 6},
            r"out/..._weights_coarse": {144: 81, 9: 6},
            r"out/(ray|det|rnd)": {144: 81, 12: 9},
        },
        _eg3d,
    ),
    "deepsdf": Other(
        {r"weights/": {48: 40, 19: 13, 29: 27}, r"(in|out)/(latent|recon_(init_)?latent)": {16: 10}}, _deepsdf
    ),
    "nerf": Other(
        {
            r"weights/network_fn": {40: 32, 103: 95, 20: 16, 67: 59},
            r"weights/network_fine": {48: 36, 111: 99, 24: 18, 75: 63},
            r"out/pdf": {99: 42, 11: 9, 10: 8, 16: 12},
            r"out/(rgb|disp|acc|raw|rays|z_std)": {9: 7, 11: 6, 28: 22},
        },
        _nerf,
        raised=r".*alpha_linear.bias",
    ),
    "nerf_tf1": Other(
        {
            r"weights/": {32: 40, 95: 103, 16: 20},
            r"out/(rgb|disp|acc|raw|z_std)": {8: 5, 10: 6, 26: 20},
        },
        _nerf_tf1,
    ),
}

SENSITIVE = {"raw", "rgb", "disp", "acc", "z_std", "pdf_samples"}
"""Of NeRF: where the second pass lands is not the same in float32 (tests/parity/oracle.py); shapes are compared."""


def other(name: str) -> OracleSet:
    """Return the set with other sizes; its expected outputs are zeros of the shapes to expect."""
    original, change = read_set(ORACLES / f"{name}.safetensors"), OTHERS[name]
    meta = copy.deepcopy(original.meta)
    change.meta(meta)
    generator = torch.Generator().manual_seed(0)

    def shape_of(key: str, tensor: Tensor) -> tuple[int, ...]:
        sizes: Sizes = next((s for pattern, s in change.sizes.items() if re.match(pattern, key)), {})
        return sizes if isinstance(sizes, tuple) else tuple(sizes.get(length, length) for length in tensor.shape)

    def drawn(group: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for key, tensor in tensors.items():
            shape = shape_of(f"{group}/{key}", tensor)
            if shape != tuple(tensor.shape):
                places = torch.randint(tensor.numel(), shape, generator=generator)
                tensor = tensor.flatten()[places]
            found[key] = tensor
        return found

    expected = {key: torch.zeros(shape_of(f"out/{key}", tensor)) for key, tensor in original.expected.items()}
    return dataclasses.replace(
        original,
        meta=meta,
        weights={
            key: tensor + 30.0 * bool(change.raised and re.match(change.raised, key))
            for key, tensor in drawn("weights", original.weights).items()
        },
        inputs=drawn("in", original.inputs),
        expected=expected,
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_set_of_other_sizes_runs_through_the_harness(name: str) -> None:
    oracle = other(name)
    system = load_system(oracle.system)
    single, double = (system.outputs(one) for one in (oracle, oracle.to(torch.float64)))
    assert single.keys() == oracle.expected.keys()
    changed = False
    for key, value in oracle.expected.items():
        assert single[key].shape == double[key].shape == value.shape, key
        changed |= value.shape != read_set(oracle.path).expected[key].shape
        assert double[key].isfinite().all(), key
        if key not in SENSITIVE:
            difference = (single[key].double() - double[key]).abs().max()
            assert difference <= 1e-2 * (1 + double[key].abs().max()), key
    assert changed


@pytest.mark.parametrize("name", ["eg3d", "graf"])
def test_the_command_takes_a_folder_of_other_sets_under_other_names(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = other(name)
    outputs = load_system(oracle.system).outputs(oracle)
    folder = tmp_path / "deeper"
    folder.mkdir()

    def write(changes: dict[str, Tensor]) -> None:
        groups = {"weights": oracle.weights, "in": oracle.inputs, "out": outputs | changes}
        tensors = {f"{group}/{key}": value for group, values in groups.items() for key, value in values.items()}
        save_file({key: value.clone().contiguous() for key, value in tensors.items()}, folder / "a.b c.safetensors")
        (folder / "a.b c.json").write_text(json.dumps(oracle.meta))

    write({})
    assert main([str(tmp_path)]) == 0
    last = list(outputs)[-1]
    write({last: outputs[last] + 1})
    assert main([str(tmp_path)]) == 1
    assert f"{last} " in capsys.readouterr().out


@pytest.mark.parametrize("name", OTHERS)
def test_a_set_that_holds_fewer_outputs_and_inputs_still_runs(name: str) -> None:
    """A set may leave out what it does not need: what only optional outputs need is not asked for."""
    oracle = read_set(ORACLES / f"{name}.safetensors")
    optional = r"rnd_.*|recon_.*|patch_.*|points_plane_features|pdf_.*|embed5"

    def needed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: value for key, value in tensors.items() if not re.fullmatch(optional, key)}

    fewer = dataclasses.replace(oracle, inputs=needed(oracle.inputs), expected=needed(oracle.expected))
    system = load_system(oracle.system)
    assert [result for result in compare(fewer, system.outputs(fewer)) if not result.passed] == []


@pytest.mark.parametrize("name", ["pigan", "pigan_tall_carla", "shadegan", "stylenerf", "eg3d", "stylesdf"])
def test_one_of_a_batch_gives_what_it_gives_in_the_batch(name: str) -> None:
    oracle = read_set(ORACLES / f"{name}.safetensors")

    def first(key: str, tensor: Tensor) -> Tensor:
        return tensor[: len(tensor) // 2] if key == "rnd_u" or len(tensor) == 2 else tensor

    one = dataclasses.replace(
        oracle,
        inputs={key: first(key, value) for key, value in oracle.inputs.items()},
        expected={key: first(key, value) for key, value in oracle.expected.items()},
    )
    system = load_system(oracle.system)
    assert [result for result in compare(one, system.outputs(one)) if not result.passed] == []
