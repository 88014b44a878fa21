"""Memorising an image with and without positional encoding."""

import json

import pytest
import torch
from PIL import Image

from backend.training.experiments import image_memorisation
from backend.training.experiments.image_memorisation import Memorisation, demonstrate, memorise

TINY = Memorisation(size=16, frequencies=5, depth=2, width=64, steps=300, pixels_per_step=256, rate=5e-3)


def _noise() -> torch.Tensor:
    return torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(0))


def test_detail_is_memorised_with_the_encoding_and_not_without(tmp_path):
    figures = demonstrate(_noise(), TINY, tmp_path)
    assert figures["psnr_with"] > figures["psnr_without"] + 3
    assert json.loads((tmp_path / "figures.json").read_text())["gap"] == figures["gap"]
    with Image.open(tmp_path / "image_memorisation.png") as page:
        assert page.width > 3 * 256


def test_a_continued_run_is_the_uninterrupted_one(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def kill(text):
        raise Killed

    monkeypatch.setattr(image_memorisation, "AUTOSAVE_SECONDS", 0.0)
    whole = memorise(_noise(), TINY)
    with pytest.raises(Killed):
        memorise(_noise(), TINY, tmp_path / "state", kill)
    assert torch.equal(memorise(_noise(), TINY, tmp_path / "state"), whole)


def test_a_run_of_other_options_is_not_continued(tmp_path):
    demonstrate(_noise(), TINY, tmp_path)
    with pytest.raises(ValueError, match="width"):
        demonstrate(_noise(), Memorisation(**{**TINY.__dict__, "width": 16}), tmp_path)


def test_the_image_is_cropped_to_a_square_and_averaged(tmp_path):
    Image.new("RGB", (40, 20), (51, 102, 255)).save(tmp_path / "wide.png")
    image = image_memorisation.read_image(tmp_path / "wide.png", 10)
    assert image.shape == (10, 10, 3)
    assert torch.allclose(image, torch.tensor([0.2, 0.4, 1.0]))
