"""The bench of the generators runs whole on tiny networks, and one case's failure is its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from addon.wire.errors import InvalidRequest
from backend import bench
from backend.bench import generators
from backend.bench.generators import CASES, Renders, over_white, psnr, rows
from backend.training.experiments import solid_object


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process that imports PyTorch takes seconds: one test does it."""
    monkeypatch.setattr(generators, "peak_memory", lambda *args, **options: 1.0)


def test_a_case_reports_speed_psnr_arithmetic_and_memory(tmp_path: Path) -> None:
    seen: list[bench.Row] = []
    found = rows(only=("graf",), weights=tmp_path, tiny=True, on_row=seen.append)
    assert found == seen
    assert not any("failed" in row.measure for row in found)
    by_name = {row.measure.split(": ", 1)[1]: row for row in found}
    assert by_name["PSNR to the reference render"].ok
    assert by_name["new latent, speed-up"].target == 1.5
    assert 0 < by_name["reference, share of the arithmetic limit"].value < 100
    assert 50 < by_name["peak memory, reference"].value < 2000
    assert by_name["peak memory, new latent"].target == by_name["peak memory, reference"].value
    config = graf_config()
    samples = 16 * 16 * config.num_samples
    multiplications = config.hidden_dim**2 * 8  # seven inner layers and the bottleneck; more with the codes
    assert by_name["its matrix products and convolutions"].value > 2e-9 * samples * multiplications * 0.7
    json.dumps([row.to_dict() for row in found], allow_nan=False)


def graf_config() -> generators.graf.GRAFConfig:
    config: generators.graf.GRAFConfig = CASES["graf"].make(True, Path()).network.config
    return config


@pytest.mark.parametrize("name", ["eg3d", "stylenerf", "stylesdf", "pigan", "graf"])
def test_every_path_gives_the_reference_render(name: str) -> None:
    renders = Renders(CASES[name], Path(), tiny=True, size=16)
    expected = renders.take("reference")
    assert float(expected.rgb.std()) > 0.01
    paths: tuple[generators.RenderPath, ...] = ("new", "camera")
    for path in paths:
        assert psnr(over_white(renders.take(path)), over_white(expected)) > CASES[name].psnr_target
    assert renders.take("draft").rgb.shape == expected.rgb.shape


@pytest.mark.usefixtures("no_processes")
def test_a_case_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(tiny: bool, weights: Path, device: torch.device) -> None:
        raise RuntimeError("no such network")

    case = CASES["pigan"]
    monkeypatch.setitem(CASES, "pigan", generators.dataclasses.replace(case, make=broken))
    found = rows(only=("pigan", "stylenerf"), weights=tmp_path, tiny=True)
    failed = [row for row in found if "failed" in row.measure]
    assert [row.ok for row in failed] == [False]
    assert "no such network" in failed[0].measure
    assert sum(row.measure.startswith("StyleNeRF") for row in found) > 5


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="eg3d"):
        rows(only=("egg3d",))


def test_random_weights_are_nowhere_empty_and_nowhere_opaque() -> None:
    for name in ("pigan", "graf"):
        generator = CASES[name].make(True, Path())
        scene = generator.synthesize(generator.mapping(generator.sample_z(0))[0])
        half = generator.network.config.half_depth
        density = scene.field((2 * torch.rand(4096, 3) - 1) * half).value
        assert 0.3 < float((density > 0).float().mean()) < 0.7
        assert 0.5 < float(density.mean()) * 2 * half < 5


@pytest.mark.parametrize("kind", solid_object.KINDS)
def test_the_solid_object_fills_a_third_of_the_box_and_a_stopped_fit_goes_on(
    kind: solid_object.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = 2 * torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) - 1
    assert float((solid_object.distance(points) < 0).float().mean()) == pytest.approx(1 / 3, abs=0.01)

    monkeypatch.setattr(solid_object, "POINTS", 64)
    whole, first, second = (solid_object.SolidFit(kind, 4) for _ in range(3))
    losses = [whole.advance() for _ in range(4)]
    assert [first.advance(), first.advance()] == losses[:2]
    second.restore(first.tensors())
    assert [second.advance(), second.advance()] == losses[2:]

    solid_object.fit(kind, tmp_path / kind, steps=2)
    generator = CASES[f"{kind}-solid"].make(True, tmp_path)
    fit = solid_object.SolidFit(kind, 2)
    fit.advance(), fit.advance()
    at = points[None, :100] * fit.half
    ours = generator.network.density(generator.network.features(fit.ws, at))
    assert torch.allclose(ours, fit.network.density(fit.network.features(fit.ws, at)) * fit.largest, rtol=1e-4)
    assert not list(tmp_path.glob("*.state.*"))
