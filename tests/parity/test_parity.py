"""Every official set that this project implements is reproduced; and the harness itself can fail."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend.nerf.mlp.network import composite
from tests.parity.__main__ import main
from tests.parity.oracle import OracleSet, compare, find_sets, read_set, stated_floor
from tests.parity.systems import is_implemented, load_system
from tests.parity.systems.nerf import disparity
from tests.shared import ORACLES

SETS = [
    path for path in find_sets(ORACLES) if is_implemented(json.loads(path.with_suffix(".json").read_text())["system"])
]


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_official_outputs_are_reproduced(path: Path) -> None:
    oracle = read_set(path)
    system = load_system(oracle.system)
    results = list(compare(oracle, system.outputs(oracle), system.not_reproduced))
    assert {result.output for result in results} >= oracle.expected.keys()
    assert [result for result in results if not result.passed] == []


def test_an_empty_ray_has_the_disparity_of_each_framework() -> None:
    """TensorFlow's maximum of 1e-10 and 0/0 is 1e-10, PyTorch's is NaN; for any number of samples."""
    for count in (1, 3, 17):
        raw = torch.full((2, count, 4), -1.0, dtype=torch.float64)
        raw[1, :, 3] = 2.0
        t = torch.linspace(2.0, 6.0, count, dtype=torch.float64).expand(2, -1)
        colors = composite(raw, t, torch.ones(2, 3, dtype=torch.float64), False)
        for system, empty in (("bmild/nerf", 1e10), ("yenchenlin/nerf-pytorch", float("nan"))):
            found = disparity(colors, system)
            assert torch.equal(found[:1].nan_to_num(-1.0), torch.tensor([empty]).double().nan_to_num(-1.0))
            torch.testing.assert_close(found[1], colors.alpha[1] / colors.depth[1])


def _set(**changes: object) -> OracleSet:
    outputs = {"image": torch.tensor([0.5, float("nan"), float("inf"), 2e10])}
    base = OracleSet("made-up", Path("made-up.safetensors"), {"system": "made/up"}, {}, {}, outputs)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_equal_nan_and_infinity_agree_and_steps_of_float32_pass() -> None:
    ours = torch.tensor([0.5 + 9e-5, float("nan"), float("inf"), 2e10 + 2048.0])
    (result,) = compare(_set(), {"out/image": ours})
    assert result.verdict == "ok"


@pytest.mark.parametrize(
    "ours",
    [
        torch.tensor([0.5 + 1.2e-4, float("nan"), float("inf"), 2e10]),
        torch.tensor([float("nan"), float("nan"), float("inf"), 2e10]),
        torch.tensor([0.5, 0.0, float("inf"), 2e10]),
        torch.tensor([0.5, float("nan"), -float("inf"), 2e10]),
        torch.tensor([0.5, float("nan"), float("inf"), 2.001e10]),
        torch.zeros(4, 1),
    ],
    ids=["just over", "our nan", "their nan", "other infinity", "far", "shape"],
)
def test_a_difference_is_a_miss(ours: torch.Tensor) -> None:
    (result,) = compare(_set(), {"image": ours})
    assert result.verdict == "miss"


def test_an_output_that_is_not_computed_is_a_miss_unless_a_reason_is_given() -> None:
    assert [r.verdict for r in compare(_set(), {})] == ["miss"]
    assert [r.verdict for r in compare(_set(), {}, {"image": "not part of the model"})] == ["left out"]
    assert [r.verdict for r in compare(_set(expected={}), {"invented": torch.zeros(1)})] == ["miss"]


def test_floors_are_read_from_the_sentence_of_the_set() -> None:
    sentence = (
        "float32 vs float64 official run (det): image max 3.48e-06 mean 5.72e-07, image_raw max 6.59e-05 mean 1e-08"
    )
    oracle = _set(meta={"system": "made/up", "numeric_floor": sentence})
    assert stated_floor(oracle, "det_image") == (3.48e-6, 5.72e-7)
    assert stated_floor(oracle, "rnd_image_raw") == (6.59e-5, 1e-8)
    assert stated_floor(oracle, "planes") == (6.59e-5, 1e-8)
    assert stated_floor(_set(), "image") is None


def test_a_floor_of_the_set_widens_the_tolerance_three_times() -> None:
    floor = {"system": "made/up", "numeric_floor": "float32 vs float64: image max 1e-3 mean 1e-3"}
    oracle = _set(meta=floor, expected={"image": torch.zeros(3)})
    assert [r.verdict for r in compare(oracle, {"image": torch.full((3,), 2.9e-3)})] == ["ok"]
    assert [r.verdict for r in compare(oracle, {"image": torch.full((3,), 3.1e-3)})] == ["miss"]


def test_the_command_exits_non_zero_for_an_unknown_system_and_for_an_empty_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    save_file({"out/image": torch.zeros(1)}, tmp_path / "anything.safetensors")
    (tmp_path / "anything.json").write_text(json.dumps({"system": "nobody/nothing"}))
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path), "--skip-unknown"]) == 0
    assert "no implementation of nobody/nothing" in capsys.readouterr().out
