"""The pose regressor: it reads the poses of objects that it has not seen, and measures how far objects are turned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from addon.wire.errors import UnreadableFile, UnusableDataset
from backend.training.judging.pose_regressor import (
    BINS,
    PoseRegressor,
    angles_of,
    augmented,
    estimate_poses,
    load_regressor,
    peak,
    pose_errors,
    save_regressor,
    train_pose_regressor,
    turning,
)

from .boxes import FOV, RADIUS, box_chairs


@pytest.fixture(scope="module")
def regressor() -> PoseRegressor:
    data = box_chairs(200, 4)
    assert data.world_from_camera is not None
    return train_pose_regressor(data.images, data.world_from_camera, data.objects, fov=FOV, steps=160, batch=32)


def test_the_poses_of_new_objects_are_estimated(regressor: PoseRegressor) -> None:
    assert regressor.held_out.images == 80 and regressor.held_out.azimuth_median < 12
    new = box_chairs(24, 4, first=5000)
    assert new.world_from_camera is not None
    errors = pose_errors(regressor(new.images), angles_of(new.world_from_camera))
    assert errors.azimuth_median < 12 and errors.elevation_rms < 10  # guessing: 90° and 16°
    cameras = estimate_poses(regressor, new.images)
    assert cameras[:, :3, 3].norm(dim=-1) == pytest.approx(RADIUS, rel=1e-4)
    torch.testing.assert_close(angles_of(cameras), regressor(new.images), atol=1e-4, rtol=0)
    # each camera looks at the object
    toward = torch.nn.functional.normalize(-cameras[:, :3, 3], dim=-1)
    torch.testing.assert_close(cameras[:, :3, 2], toward, atol=1e-4, rtol=0)


def test_a_turn_and_its_size_are_measured(regressor: PoseRegressor) -> None:
    new = box_chairs(24, 4, first=6000)
    assert new.world_from_camera is not None
    asked = angles_of(new.world_from_camera)
    measured = regressor(new.images)
    assert turning(measured, asked).slope == pytest.approx(1, abs=0.15)
    assert turning(measured + torch.tensor([math.pi / 2, 0]), asked).errors.azimuth_median == pytest.approx(90, abs=12)
    half = asked * 0.5
    found = turning(half, asked)
    assert found.slope == pytest.approx(0.5, abs=1e-3) and found.correlation == pytest.approx(1, abs=1e-4)


def test_a_saved_regressor_is_the_same(regressor: PoseRegressor, tmp_path: Path) -> None:
    save_regressor(tmp_path / "poses.safetensors", regressor)
    again = load_regressor(tmp_path / "poses.safetensors")
    images = box_chairs(4, 2).images
    assert torch.equal(again(images), regressor(images)) and again.held_out == regressor.held_out
    (tmp_path / "poses.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableFile, match="regressor"):
        load_regressor(tmp_path / "poses.safetensors")


def test_too_few_images_are_refused() -> None:
    data = box_chairs(5, 4)
    assert data.world_from_camera is not None
    with pytest.raises(UnusableDataset, match="64"):
        train_pose_regressor(data.images, data.world_from_camera, fov=FOV, steps=1)


def test_the_peak_lies_between_bins() -> None:
    angle = torch.linspace(-3.1, 3.1, 50)
    centers = (torch.arange(BINS) + 0.5) * (2 * math.pi / BINS)
    away = torch.atan2((angle[:, None] - centers).sin(), (angle[:, None] - centers).cos())
    found = peak(-0.5 * (away / math.radians(10)).square())
    assert torch.remainder(found - angle + math.pi, 2 * math.pi) - math.pi == pytest.approx(0, abs=math.radians(1))


def test_a_mirrored_image_is_seen_from_the_opposite_azimuth() -> None:
    images, angles = torch.zeros(64, 3, 32, 32), torch.tensor([[0.5, 0.2]]).repeat(64, 1)
    images[..., :16] = 1  # the left half
    found, wanted = augmented(images, angles, torch.Generator().manual_seed(0))
    left_is_light = found[:, :, :, :8].mean((1, 2, 3)) > found[:, :, :, 24:].mean((1, 2, 3))
    assert torch.equal(left_is_light, wanted[:, 0] > 0) and 16 < left_is_light.sum() < 48
