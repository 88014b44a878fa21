"""The ablation of positional encoding: two fits, their figures, and resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from addon.wire.messages import FitOptions
from backend.nerf.datasets import Dataset, open_dataset
from backend.nerf.mlp.trainer import NeRFTrainer
from backend.training.experiments.positional_encoding import demonstrate, fitted
from tests.backend.fixtures import fits, photographed
from tests.backend.fixtures.elsewhere import REAL_CUDA, device_of

OPTIONS = FitOptions(method="nerf", steps=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(photographed.write(tmp_path_factory.mktemp("images"), size=16, train=4, test=2))


@pytest.mark.parametrize("kind", ["cuda", REAL_CUDA])
def test_figures_and_the_image_row_are_written_on_any_device(dataset: Dataset, kind: str, tmp_path: Path) -> None:
    expected = demonstrate(dataset, fits.TRAINING, OPTIONS, tmp_path / "cpu")
    with device_of(kind) as device:
        found = demonstrate(dataset, fits.TRAINING, OPTIONS, tmp_path / "there", device=device)
    stored = json.loads((tmp_path / "there" / "figures.json").read_text())
    assert stored["views"] == 2 and stored["gap"] == found["gap"]
    assert found["psnr_with"] == pytest.approx(expected["psnr_with"], abs=0.5)
    assert found["psnr_without"] == pytest.approx(expected["psnr_without"], abs=0.5)
    with Image.open(tmp_path / "there" / "positional_encoding.png") as row:
        assert row.width > row.height / 2


def test_a_fit_resumes_with_the_same_settings_alone(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(options: FitOptions) -> NeRFTrainer:
        state = tmp_path / "state.safetensors"
        return fitted(dataset, fits.TRAINING, options, state, lambda text: None, torch.device("cpu"))

    assert fit(OPTIONS).step == 2
    with monkeypatch.context() as patch:
        patch.setattr(NeRFTrainer, "advance", lambda made: pytest.fail("it was finished"))
        assert fit(OPTIONS).step == 2
    with pytest.raises(ValueError, match="other settings"):
        fit(FitOptions(method="nerf", steps=2, seed=1))
