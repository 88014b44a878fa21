"""The comparison of representations of one shape."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from backend.generators.deepsdf.mesh_distance import MeshDistance
from backend.training.experiments.representations import comparison as r
from backend.training.experiments.representations import models
from backend.training.experiments.representations.config import Recipe, candidates
from backend.training.experiments.representations.report import smallest

TINY = Recipe(
    resolutions=(12, 24),
    hash_sizes=(8, 12),
    planes=((32, 8),),
    widths=(32,),
    levels=5,
    finest=32,
    frequencies=3,
    steps=120,
    network_steps=120,
    points_per_step=2048,
    network_points=2048,
    samples=40_000,
    mesh_resolution=32,
    tile=100,
)


def torus() -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.torus(0.4, 0.15, major_sections=48, minor_sections=24)
    return r.normalised(np.asarray(mesh.vertices, np.float32)), np.asarray(mesh.faces, np.int32)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("representations")
    return r.demonstrate(*torus(), TINY, out), out


def test_memory_is_the_number_of_parameters_times_four(done):
    rows, _ = done
    assert rows["grid 12³"]["bytes"] == models.grid_bytes(12) == 4 * 12**3
    head = 4 * (8 * 64 + 64 + 64 + 1)
    assert rows["planes 32² × 8"]["bytes"] == 4 * 3 * 8 * 32**2 + head
    encoded = 3 + 6 * 3
    layers = [(encoded, 32), *[(32, 32)] * 3, (32 + encoded, 32), *[(32, 32)] * 3, (32, 1)]
    assert rows["8 × 32"]["bytes"] == 4 * sum(a * b + b for a, b in layers)
    assert rows["hash 2^8"]["bytes"] < rows["hash 2^12"]["bytes"]


def test_a_finer_grid_and_a_larger_table_are_nearer_to_the_surface(done):
    rows, _ = done
    assert rows["grid 24³"]["error"] < rows["grid 12³"]["error"] / 2
    assert rows["hash 2^12"]["error"] < rows["hash 2^8"]["error"]
    for name in ("hash 2^12", "planes 32² × 8", "8 × 32"):
        assert rows[name]["error"] < 1.5, name  # per cent of the longest side
        assert rows[name]["normals"] > 0.8, name


def test_the_smallest_of_equal_error_is_named():
    rows = {
        "a": {"family": "f", "bytes": 10, "error": 0.5},
        "b": {"family": "f", "bytes": 20, "error": 0.1},
        "c": {"family": "f", "bytes": 30, "error": None},
        "d": {"family": "g", "bytes": 1, "error": 0.0},
    }
    assert smallest(rows, "f", 0.6) == "a"
    assert smallest(rows, "f", 0.1) == "b"
    assert smallest(rows, "f", 0.05) is None


def test_figures_table_and_images_are_written(done):
    rows, out = done
    assert json.loads((out / "figures.json").read_text())["rows"] == rows
    text = (out / "table.md").read_text()
    assert "4.29 GB" in text and all(f"| {name} |" in text for name in rows)
    with Image.open(out / "representations.png") as page:
        assert page.height > 200
    with Image.open(out / "representations_memory.png") as page:
        assert len(page.getcolors(1 << 20)) > 5


def test_a_run_that_is_started_again_repeats_nothing(done, monkeypatch):
    rows, out = done
    monkeypatch.setattr(r, "train", None)
    monkeypatch.setattr(r, "filled", None)
    assert r.demonstrate(*torus(), TINY, out) == rows
    with pytest.raises(ValueError, match="other options"):
        r.demonstrate(*torus(), Recipe(), out)


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def kill(text):
        raise Killed

    monkeypatch.setattr(r, "AUTOSAVE_SECONDS", 0.0)
    samples = r.distance_samples(MeshDistance(*torus()), 4000, 0)
    network = dataclasses.replace(candidates(TINY)[-1], steps=16)
    whole, _ = r.train(network, samples, TINY, tmp_path / "whole", lambda text: None)
    with pytest.raises(Killed):
        r.train(network, samples, TINY, tmp_path / "cut", kill)
    again, seconds = r.train(network, samples, TINY, tmp_path / "cut", lambda text: None)
    assert seconds > 0
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("resolution", [17, 40])
def test_a_dense_grid_holds_the_distance_near_the_surface_and_its_sign_everywhere(resolution):
    distance = MeshDistance(*torus())
    grid = models.filled(distance, resolution)
    assert grid.values.shape == (resolution,) * 3
    side = np.linspace(-models.HALF, models.HALF, resolution, dtype=np.float32)
    points = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1)
    cut = 3 * 2 * models.HALF / (resolution - 1)
    expected = distance.signed_distance(points).clip(-cut, cut)
    assert np.abs(grid.values.numpy() - expected).max() < 1e-5
    with torch.no_grad():
        asked = grid(torch.from_numpy(points.reshape(-1, 3))).numpy().reshape(expected.shape)
    assert np.abs(asked - expected).max() < 1e-5
