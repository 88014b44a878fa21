"""Training of HoloGAN: it learns, resumes after a kill, and its figures are correct."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.generators.hologan.model import Generator, HoloGANConfig
from backend.training import features
from backend.training.hologan import evaluate as figures
from backend.training.hologan.config import HoloGANTraining, official, small
from backend.training.hologan.data import real_images
from backend.training.hologan.train import contact_sheet, train

TINY = HoloGANTraining(
    HoloGANConfig(
        z_dim=4, constant_channels=8, volume_channels=(8, 6), projected=16, image_channels=(12, 8), slope=0.2
    ),
    discriminator_channels=6,
    azimuth=1.0,
    steps=50,
    batch=8,
    generator_rate=2e-3,
    discriminator_rate=1e-3,
    mean_decay=0.9,
)


def _discs(count: int = 64) -> Tensor:
    """Coloured discs on white [count, 3, 64, 64] uint8."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    inside = np.hypot(x, y) < random.uniform(10, 24, (count, 1, 1))
    color = random.uniform(0, 0.8, (count, 3, 1, 1))
    images = np.where(inside[:, None], color, 1.0) * np.ones((count, 3, 64, 64))
    return torch.from_numpy((images * 255).astype(np.uint8))


def test_in_fifty_steps_the_losses_improve_and_images_approach_the_real_ones(tmp_path: Path) -> None:
    images = _discs()
    real = (images / 127.5 - 1).mean(0)
    torch.manual_seed(TINY.seed)
    before = figures.generated(Generator(TINY.generator), TINY, 64).mean(0)
    trained = train(TINY, tmp_path, images, snapshot_steps=25, report_steps=10)
    after = figures.generated(trained, TINY, 64).mean(0)
    assert (after - real).abs().mean() < 0.8 * (before - real).abs().mean()
    losses = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in losses] == [10, 20, 30, 40, 50]
    assert losses[-1]["loss_d"] < losses[0]["loss_d"] < 2 * math.log(2) + 0.2  # guessing has 2 log 2
    assert losses[-1]["real"] > losses[-1]["fake"]
    assert losses[-1]["identity"] < 0.6 / 3  # the variance of z, the loss without any knowledge, is a third
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        "step000025.safetensors",
        "step000050.safetensors",
    ]
    assert (tmp_path / "progress.png").is_file()


class _KilledError(Exception):
    pass


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config, images = dataclasses.replace(TINY, steps=12), _discs()
    whole = train(config, tmp_path / "whole", images)

    def die(fraction: float, text: str) -> None:
        if fraction > 0.5:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(config, tmp_path / "killed", images, progress=die, checkpoint_seconds=0.0, report_steps=1)
    again = train(config, tmp_path / "killed", images)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=1e-5)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(dataclasses.replace(TINY, steps=1), tmp_path, _discs(8))
    with pytest.raises(ValueError, match=r"another configuration \(identity\)"):
        train(dataclasses.replace(TINY, steps=2, identity=9.0), tmp_path, _discs(8))


def test_presets_have_the_sizes_they_state() -> None:
    assert official().generator == HoloGANConfig() and official().generator_rate == 1e-4
    assert official().generator.side == small().generator.side == 64
    weights = sum(p.numel() for p in Generator(small().generator).parameters())
    assert 4 * weights < 12e6  # bytes of the starter model


def test_the_contact_sheet_rotates_a_code_along_each_row() -> None:
    sheet = np.asarray(contact_sheet(Generator(TINY.generator), TINY, rows=2, columns=3, scale=1))
    assert sheet.shape == (128, 192, 3)


def test_real_images_are_those_of_the_front(tmp_path: Path) -> None:
    azimuths = np.array([0.0, 1.0, 3.0, 6.0], np.float32)
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "chair0000.npz", images=images, azimuths=azimuths)
    found = real_images(tmp_path, azimuth=0.5, seeds=range(1))
    assert found.shape == (2, 3, 8, 8) and found[:, 0, 0, 0].tolist() == [0, 3]


# ----------------------------------------------------------------------------------------------------------- figures


def _views(chairs: int = 8) -> dict[str, np.ndarray]:
    """Chairs that are a bar at a place given by the azimuth, in one colour for each set of materials."""
    random = np.random.default_rng(0)
    azimuths = random.uniform(-1, 1, (chairs, 24)).astype(np.float32)
    images = np.full((chairs, 24, 64, 64, 3), 255, np.uint8)
    for chair in range(chairs):
        for view in range(24):
            if view % 6 == 0:
                color = random.integers(0, 255, 3)
            x = int(32 + 20 * azimuths[chair, view])
            images[chair, view, 10:54, x - 6 : x + 6] = color
    return {"images": images, "azimuths": azimuths, "elevations": np.zeros_like(azimuths)}


def test_features_learn_pose_and_identity() -> None:
    views = _views()
    network = features.train_features(*features.chairs(views), steps=100)
    images = features.as_input(views["images"])
    found = features.features_of(network, images)
    error = network.azimuths(found) - torch.from_numpy(views["azimuths"]).flatten()
    assert error.abs().mean() < 0.3  # guessing gives 0.5
    same, other = features.identity_ratio(images.view(8 * 4, 6, 3, 64, 64), network)
    assert same < 0.7 * other


class _Turns(torch.nn.Module):
    """A generator whose images are the azimuth itself, and a network that reads it."""

    def __init__(self, direction: float, offset: float) -> None:
        super().__init__()
        self.direction, self.offset = direction, offset

    def forward(self, x: Tensor, view: Tensor | None = None) -> Tensor:
        return x if view is None else view[:, 0] * self.direction + self.offset

    def azimuths(self, features: Tensor) -> Tensor:
        return torch.atan2(features.sin(), features.cos())


@pytest.mark.parametrize(("direction", "offset"), [(1.0, 0.3), (-1.0, 2.8)])
def test_direction_and_offset_of_a_turn_are_found(direction: float, offset: float) -> None:
    one = _Turns(direction, offset)
    found = figures.turning(one, TINY, one)  # type: ignore[arg-type]
    assert found.direction == direction and found.offset == pytest.approx(math.degrees(offset), abs=0.1)
    assert found.slope == pytest.approx(1, abs=1e-3) and found.error < 0.1
    facing = figures.facing_of(found, 1.0)
    # a world azimuth is seen as itself, but for what the middle of the range is off by
    asked = facing.front + facing.direction * 0.4
    assert float(one(torch.zeros(0), torch.tensor([[asked]]))) == pytest.approx(0.4 + offset, abs=1e-3)
