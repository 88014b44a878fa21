"""The benchmark of the radiance-field engine runs on a tiny image, and times each stage of a render and of a step."""

from __future__ import annotations

import json
import math

import pytest

from addon.wire.errors import InvalidRequest
from backend import bench
from backend.bench import nerf
from backend.bench.ray_traced import ray_traced
from backend.nerf.hash.trainer import HashTrainer
from tests.backend.fixtures.elsewhere import REAL_CUDA, device_of


@pytest.fixture(scope="module")
def fit() -> HashTrainer:
    return nerf.instant_ngp(15, sizes=nerf.TINY)


def figures(rows: list[nerf.Row], name: str) -> dict[str, float]:
    """The values by what they measure; each row is one, is a number and has this name."""
    found = {row.measure.removeprefix(f"{name}: "): row.value for row in rows}
    assert len(found) == len(rows) and all(row.measure.startswith(name) for row in rows)
    assert all(math.isfinite(value) for value in found.values())
    json.dumps([row.to_dict() for row in rows], allow_nan=False)
    return found


def test_a_render_agrees_with_its_definition_and_each_stage_has_a_time(fit: HashTrainer) -> None:
    found = figures(nerf.rendering(fit, 15, 1e9, nerf.TINY), "render 24², table 2^15")
    assert found["largest difference of a pixel"] <= 0.02
    assert found["PSNR to the render that evaluates and colours all"] > nerf.CLOSE
    assert found["samples marched"] >= found["samples that light reaches"] >= found["groups of them coloured"] > 0
    assert found["ratio"] == pytest.approx(found["reference, chunks of 576 rays"] / found["engine"])
    stages = {name.removeprefix("alone, "): value for name, value in found.items() if name.startswith("alone")}
    assert list(stages) == ["march", "encode", "density", "density and colour of as many as are coloured"]
    assert all(value > 0 for value in stages.values())


def test_a_training_step_has_a_time_for_each_stage_and_leaves_the_field_nearly_as_it_is(fit: HashTrainer) -> None:
    before = fit.field.table.clone()
    found = figures(nerf.step(fit, 15, nerf.TINY), "training step of 256 rays, table 2^15")
    assert found["samples of the engine"] == pytest.approx(found["samples of the reference"], rel=0.2)
    stages = {name.removeprefix("alone, "): value for name, value in found.items() if name.startswith("alone")}
    assert list(stages) == [
        "march",
        "encode, density and what light reaches",
        "networks forward",
        "networks forward and backward",
        "composite and loss, forward and backward",
        "gradient of the table",
        "optimiser of the table",
    ]
    assert all(value > 0 for value in stages.values())
    assert float((fit.field.table - before).abs().max()) < 1e-6


@pytest.mark.parametrize("kind", ["cuda", REAL_CUDA])
def test_on_another_device_a_render_and_a_step_are_measured_without_targets(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = nerf.Sizes(side=12, rays=64, steps=3, repeats=1, chunks=(144,))
    monkeypatch.setattr(nerf, "FULL", sizes)
    monkeypatch.setattr(nerf, "peak_bytes_on", lambda device: 1)
    monkeypatch.setattr(nerf, "matrix_rate", lambda device, size, budget: 1e9)
    for view in ray_traced(12).views:
        ray_traced(12).load(view)  # slow where a device is played
    with device_of(kind) as device:
        fit = nerf.instant_ngp(15, device, sizes)
        fit._rays_per_step = 64
        monkeypatch.setattr(nerf, "instant_ngp", lambda log2_size, where, sizes: fit)
        found = nerf.rows(device)
    assert all(row.target is None and row.ok and math.isfinite(row.value) for row in found)
    assert {"render 12², table 2^19: engine", "training step of 64 rays, table 2^15: ratio"} <= {
        row.measure for row in found
    }


def test_a_benchmark_of_the_processor_takes_no_device() -> None:
    with pytest.raises(InvalidRequest, match="belong to `bench nerf`"):
        bench.run("meshing", "cuda")
