"""Folders of images for training: cameras, crops, warnings and errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from addon.wire.errors import InvalidRequest, UnreadableFile, UnusableDataset
from addon.wire.messages import TrainingSetRequest
from backend.training.data import family_views
from backend.training.data.image_folder import MIN_IMAGES, WORLD_FROM_EG3D, prior_of, read_images, view_angles
from backend.training.data.report import duplicates, report_of

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def picture(seed: int, width: int = 16, height: int = 16, mode: str = "RGB") -> Image.Image:
    """A smooth random image."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, len(mode)), np.uint8)
    return Image.fromarray(small.squeeze(), mode).resize((width, height), Image.Resampling.BICUBIC)


def orbit(count: int, radius: float = 3.8, center: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    """Poses around a centre, OpenCV axes."""
    poses = []
    for index in range(count):
        pose = family_views.camera_pose(2 * math.pi * index / count, 0.4 * math.sin(index)).astype(float)
        pose[:3, 3] = pose[:3, 3] * radius / family_views.RADIUS + np.array(center)
        poses.append(pose)
    return np.stack(poses)


def write(folder: Path, poses: np.ndarray | None, fov: float = 30.0, **top: Any) -> Path:
    """A folder of images, with transforms.json if there are poses."""
    (folder / "images").mkdir(parents=True)
    count = MIN_IMAGES if poses is None else len(poses)
    for index in range(count):
        picture(index).save(folder / f"images/{index:03d}.png")
    if poses is not None:
        frames = [
            {"file_path": f"images/{i:03d}.png", "transform_matrix": (pose @ OPENGL).tolist(), "object": i // 4}
            for i, pose in enumerate(poses)
        ]
        top = {"camera_angle_x": math.radians(fov), "frames": frames, **top}
        (folder / "transforms.json").write_text(json.dumps(top))
    return folder


def test_images_with_transforms_keep_a_world_that_is_centred_already(tmp_path: Path) -> None:
    poses = orbit(64)
    found = read_images(write(tmp_path / "set", poses, licence="CC0"), 8, needs_poses=True)
    assert found.images.shape == (64, 3, 8, 8) and found.images.dtype == torch.uint8
    area_mean = np.asarray(picture(5)).reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(found.images[5].permute(1, 2, 0).numpy() - area_mean).max() <= 1
    assert found.world_from_camera is not None and found.intrinsics is not None and found.objects is not None
    np.testing.assert_allclose(found.world_from_camera, poses, atol=1e-5)
    focal = 0.5 / math.tan(math.radians(15))
    np.testing.assert_allclose(found.intrinsics[0], [[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], rtol=1e-5)
    assert found.objects.tolist() == [index // 4 for index in range(64)]
    assert found.alpha is None and found.licence == "CC0" and not report_of(found).warnings
    assert found.prior.radius == pytest.approx(3.8) and found.prior.azimuth == (-math.pi, math.pi)


def test_a_far_object_of_another_size_is_moved_to_the_unit_sphere(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", orbit(64, radius=38.0, center=(5.0, -7.0, 2.0)))
    found = read_images(folder, 8, needs_poses=True)
    assert found.world_from_camera is not None
    poses = found.world_from_camera.double().numpy()
    eyes, forward = poses[:, :3, 3], poses[:, :3, 2]
    past = eyes - (eyes * forward).sum(1, keepdims=True) * forward
    assert np.linalg.norm(past, axis=1).max() < 1e-4  # all axes meet at the origin
    assert np.linalg.norm(eyes, axis=1) * math.sin(math.radians(15)) == pytest.approx(1)  # the unit sphere fills them
    assert any("moved and scaled" in warning for warning in report_of(found).warnings)


def test_eg3d_labels_give_the_same_cameras_as_transforms(tmp_path: Path) -> None:
    poses = orbit(64)
    folder = write(tmp_path / "set", None)
    focal = 0.5 / math.tan(math.radians(15))
    k = [focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1]
    theirs = np.linalg.inv(WORLD_FROM_EG3D) @ poses
    labels = [[f"images/{i:03d}.png", [*pose.ravel().tolist(), *k]] for i, pose in enumerate(theirs)]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    found = read_images(folder, 16, needs_poses=True)
    assert report_of(found).format == "dataset.json"
    np.testing.assert_allclose(found.world_from_camera, poses, atol=1e-5)
    np.testing.assert_allclose(found.intrinsics[3].ravel(), k, atol=1e-6)  # type: ignore[index]


def test_a_crop_moves_the_principal_point_and_scales_the_focal_length(tmp_path: Path) -> None:
    top = {"fl_x": 40.0, "fl_y": 40.0, "cx": 18.0, "cy": 9.0, "w": 32, "h": 16}
    folder = write(tmp_path / "set", orbit(64), **top)
    for index in range(64):
        picture(index, 32, 16).save(folder / f"images/{index:03d}.png")
    found = read_images(folder, 8)
    # x: 18 − 8 pixels from the crop's left, of 16.
    np.testing.assert_allclose(
        found.intrinsics[0],  # type: ignore[index]
        [[2.5, 0, 10 / 16], [0, 2.5, 9 / 16], [0, 0, 1]],
        rtol=1e-6,
    )
    middle = np.asarray(picture(3, 32, 16))[:, 8:24].reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(found.images[3].permute(1, 2, 0).numpy() - middle).max() <= 1


def test_mixed_images_are_used_and_named_in_the_report(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", None)
    picture(0, 20, 16, "L").save(folder / "images/grey.png")
    clear = picture(1, 16, 16, "RGBA")
    clear.putalpha(0)
    clear.save(folder / "images/zz_clear.png")
    (folder / "images/broken.png").write_bytes((folder / "images/000.png").read_bytes()[:60])
    picture(1, 8, 8).save(folder / "images/small.jpg")
    found = read_images(folder, 16)
    notes = "\n".join(report_of(found).warnings)
    assert len(found.images) == MIN_IMAGES + 3 and found.world_from_camera is None
    assert "67 of 68 images used, because 1 cannot be read, broken.png first" in notes
    for part in ("3 sizes", "1 images are grey", "1 images have alpha", "1 images are smaller than 16"):
        assert part in notes
    assert (found.images[-1] == 255).all()  # transparent: the white background
    assert found.alpha is not None and found.alpha.shape == (len(found.images), 1, 16, 16)
    assert not found.alpha[-1].any() and (found.alpha[:-1] == 255).all()
    grey = found.images[report_of(found).names.index("images/grey.png")]
    assert (grey[0] == grey[1]).all() and (grey[0] == grey[2]).all()


def test_copies_are_found_in_another_format_and_size() -> None:
    images = np.stack([np.asarray(picture(index, 32, 32)) for index in range(40)])
    smaller = picture(3, 32, 32).resize((24, 24), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BICUBIC)
    exact, near = duplicates(np.concatenate([images, images[7:8], np.asarray(smaller)[None]]))
    assert exact == ((7, 40),) and near == 1


@pytest.mark.parametrize("count", [0, 1, MIN_IMAGES - 1])
def test_too_few_images_are_an_error_that_says_how_many_there_are(tmp_path: Path, count: int) -> None:
    (tmp_path / "set").mkdir()
    for index in range(count):
        picture(index).save(tmp_path / f"set/{index}.png")
    with pytest.raises(UnusableDataset, match=f"{count} images.*at least 64" if count else "holds no images"):
        read_images(tmp_path / "set", 8)


def test_a_model_that_needs_poses_says_how_to_get_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", None)
    with pytest.raises(UnusableDataset, match=r"have no cameras.*Make Training Set.*estimate-poses"):
        read_images(folder, 8, needs_poses=True)
    assert read_images(folder, 8).prior.radius == 3.8


def test_equal_poses_are_an_error_or_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", np.repeat(orbit(3)[2:], 64, 0))
    with pytest.raises(UnusableDataset, match="All 64 cameras of set are the same"):
        read_images(folder, 8, needs_poses=True)
    found = read_images(folder, 8)
    assert found.world_from_camera is None and any("the same" in note for note in report_of(found).warnings)


def test_damaged_lists_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no folder"):
        read_images(tmp_path / "missing", 8)
    folder = write(tmp_path / "set", None)
    (folder / "dataset.json").write_text('{"labels": [["images/000.png", [1, 2]]]}')
    with pytest.raises(UnusableDataset, match="have 2 numbers each; cameras have 25"):
        read_images(folder, 8)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(UnreadableFile, match=r"dataset\.json of set is not as EG3D writes it"):
        read_images(folder, 8)
    (folder / "dataset.json").write_text('{"labels": [["../000.png", [' + ",".join("1" * 25) + "]]]}")
    with pytest.raises(UnusableDataset, match="outside its folder"):
        read_images(folder, 8)


def test_the_prior_is_the_range_of_the_cameras_also_across_the_seam() -> None:
    angles = np.radians([150, 170, -170, -140])
    poses = np.stack([family_views.camera_pose(a, e) for a, e in zip(angles, (0.1, 0.2, 0.3, 0.5), strict=True)])
    np.testing.assert_allclose(view_angles(poses)[:, 0], angles, atol=1e-6)
    prior = prior_of(poses, np.tile(np.diag([2.0, 2.0, 1.0]), (4, 1, 1)))
    width = prior.azimuth[1] - prior.azimuth[0]
    assert math.degrees(width) == pytest.approx(70)  # 150° … 220°
    for angle in angles:
        assert (angle - prior.azimuth[0]) % (2 * math.pi) <= width + 1e-6
    assert prior.elevation == pytest.approx((0.1, 0.5)) and prior.fov == pytest.approx(2 * math.atan(0.25))


def test_a_set_is_resumed_and_its_cameras_see_the_object(tmp_path: Path) -> None:
    folder = tmp_path / "chairs"
    request = TrainingSetRequest(str(folder), "chairs", objects=3, views=4, size=32)
    assert family_views.write_set(request, folder) == 12
    kept = folder / family_views.image_path(0, 0)
    before = kept.read_bytes()
    (folder / family_views.image_path(2, 3)).unlink()
    assert family_views.write_set(request, folder) == 1 and kept.read_bytes() == before
    found = read_images(folder, 32, needs_poses=True, min_images=12)
    assert found.name == "Chairs" and not any("moved" in note for note in report_of(found).warnings)
    dark = (found.images < 200).any(1).float().mean((1, 2))
    assert dark.min() > 0.05 and dark.max() < 0.9


def test_another_set_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    family_views.write_set(TrainingSetRequest(str(tmp_path), objects=1, views=1, size=16), tmp_path)
    with pytest.raises(InvalidRequest, match=r"holds another set.*elevation_degrees"):
        family_views.write_set(TrainingSetRequest(str(tmp_path), objects=1, views=1, size=16, highest=20), tmp_path)
