"""The commands `judge` and `estimate-poses`, on the shapes model and the box chairs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend.cameras import Camera
from backend.nerf.datasets import open_dataset
from backend.nerf.datasets.transforms import write_transforms
from backend.nerf.datasets.views import View
from backend.training.data.training_images import TrainingImages
from backend.training.features import ImageFeatures
from backend.training.judging import kept
from backend.training.judging.feature_networks import own_network
from backend.training.judging.pose_regressor import (
    PoseErrors,
    PoseNetwork,
    PoseRegressor,
    angles_of,
    save_regressor,
)

from .boxes import FOV, RADIUS, box_chairs


@pytest.fixture
def run(shapes_model: str, backend_command: Any) -> Any:
    return backend_command


def _write(folder: Path, data: TrainingImages, posed: bool = True) -> Path:
    """Write images, and their cameras, as a data set."""
    folder.mkdir()
    views = []
    assert data.world_from_camera is not None and data.intrinsics is not None
    for number, pixels in enumerate(data.images):
        path = folder / f"{number:04d}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
        side = pixels.shape[-1]
        intrinsics = data.intrinsics[number].clone()
        intrinsics[:2] *= side
        views.append(View(path.name, Camera(data.world_from_camera[number], intrinsics, side, side), path))
    if posed:
        write_transforms(folder, views)
    return folder


@pytest.fixture
def regressor(tmp_path: Path) -> Path:
    """A regressor that was not trained, which is enough to write its answers."""
    torch.manual_seed(0)
    errors = PoseErrors(5.0, 9.0, 4.0, 0.0, 80)
    path = tmp_path / "poses.safetensors"
    save_regressor(path, PoseRegressor(PoseNetwork().eval().requires_grad_(False), errors, RADIUS, FOV))
    return path


def test_judge_writes_figures_table_and_sheets(
    run: Any, tmp_path: Path, regressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = ImageFeatures().eval().requires_grad_(False)
    monkeypatch.setattr(kept, "feature_network", lambda data, *_: own_network(network, data.images))
    data = _write(tmp_path / "images", box_chairs(24, 4))
    out = tmp_path / "judged"
    files = ("--data", str(data), "--regressor", str(regressor), "--out", str(out))
    status, text, _ = run("judge", "shapes", *files, "--images", "32", "--json")
    assert status == 0
    found = json.loads(text)
    assert found["images"] == 32 and found["distances"]["kid_x1000"] > found["distances"]["kid_x1000_real"]
    assert found["poses"]["real"]["azimuth_median"] == 5.0 and "psnr" in found["consistency"]
    assert found["left_out"].keys() == {"shapes"}
    assert {**json.loads((out / "figures.json").read_text()), "files": 0} == {**found, "files": 0}
    assert "| KID-like × 1000 |" in (out / "table.md").read_text(encoding="utf-8")
    for name in ("samples", "neighbours", "consistency"):
        assert np.asarray(Image.open(out / f"{name}.png")).std() > 5


def test_judge_refuses_what_it_cannot_use(run: Any, tmp_path: Path) -> None:
    data = _write(tmp_path / "images", box_chairs(4, 2))
    status, _, error = run("judge", "shapes", "--data", str(data), "--features", str(tmp_path / "none.tgz"))
    assert status == 1 and "npm pack" in error
    status, _, error = run("judge", "shapes", "--data", str(data))
    assert status == 1 and "64" in error
    assert run("judge", "shapes", "--data", str(data), "--images", "4")[0] == 1


def test_estimated_poses_are_a_data_set_that_opens(run: Any, tmp_path: Path, regressor: Path) -> None:
    data = replace(box_chairs(4, 3))
    folder = _write(tmp_path / "photographs", data, posed=False)
    Image.new("RGB", (60, 40), "white").save(folder / "wide.png")
    status, text, _ = run("estimate-poses", str(folder), "--regressor", str(regressor), "--json")
    assert status == 0 and json.loads(text)["images"] == 13 and json.loads(text)["azimuth_error_median_degrees"] == 5.0
    views = open_dataset(folder).views
    assert len(views) == 13
    wide = next(view.camera for view in views if view.name == "wide.png")
    assert (wide.width, wide.height) == (60, 40)
    assert float(wide.intrinsics[1, 1]) == pytest.approx(20 / np.tan(FOV / 2), rel=1e-4)
    centers = torch.stack([view.camera.world_from_camera for view in views])
    assert centers[:, :3, 3].norm(dim=-1) == pytest.approx(RADIUS, rel=1e-3)
    assert angles_of(centers).isfinite().all()
    status, _, error = run("estimate-poses", str(folder), "--regressor", str(regressor))
    assert status == 1 and "--overwrite" in error
    assert run("estimate-poses", str(folder), "--regressor", str(regressor), "--overwrite")[0] == 0
    status, _, error = run("estimate-poses", str(folder), "--overwrite")
    assert status == 1 and "--like" in error


def test_networks_are_kept_for_the_data_that_they_were_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def train(images: torch.Tensor, *_: Any, **named: Any) -> PoseRegressor:
        trained.append(len(images))
        errors = PoseErrors(5.0, 9.0, 4.0, 0.0, 80)
        return PoseRegressor(PoseNetwork().eval(), errors, RADIUS, FOV, named["trained_on"])

    monkeypatch.setattr(kept, "train_pose_regressor", train)
    monkeypatch.setattr(
        kept,
        "train_features",
        lambda images, *_, **__: trained.append(len(images)) or ImageFeatures().eval().requires_grad_(False),
    )
    first, second = box_chairs(6, 4), box_chairs(8, 4)
    for data in (first, first, second, second):
        assert kept.pose_regressor(data, tmp_path) is not None
        assert kept.feature_network(data, tmp_path).side == 64
    assert trained == [24, 24, 32, 32]
    assert kept.pose_regressor(replace(first, world_from_camera=None), tmp_path) is None
