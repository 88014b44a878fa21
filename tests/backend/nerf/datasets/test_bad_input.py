"""Each thing that can be wrong with a data set is a sentence with a remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from addon.wire.errors import LatheError, Remedy, TaskError, UnreadableFile, UnusableDataset
from addon.wire.messages import FitOptions
from backend.cameras import look_at
from backend.nerf.datasets import Dataset, open_dataset, write_transforms
from backend.nerf.fit.scene_bounds import scene_bounds_of
from backend.nerf.hash.trainer import HashTrainer
from backend.nerf.mlp.trainer import NeRFTrainer
from tests.backend.nerf.datasets import captures
from tests.backend.nerf.datasets.captures import SIZE

NAMES = [f"images/{index:02d}.png" for index in range(9)]


def refused(folder: Path, kind: type[LatheError] = UnusableDataset, load: bool = False) -> LatheError:
    """Return the error that opening (and loading) the data set gives."""
    with pytest.raises(kind) as caught:
        dataset = open_dataset(folder)
        if load:
            dataset.load_all(dataset.views)
    assert isinstance(caught.value, TaskError)
    assert caught.value.message[-1] == "."
    return caught.value


def only(index: int, change: Callable[[dict[str, Any]], None]) -> Callable[[int, dict[str, Any]], None]:
    """Return a `frame` for captures.transforms that changes one entry."""
    return lambda i, entry: change(entry) if i == index else None


def scaled(matrix: list[list[float]], scale: np.ndarray) -> list[list[float]]:
    changed: list[list[float]] = (np.array(matrix) @ np.diag([*scale, 1.0])).tolist()
    return changed


def test_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    assert "is empty" in refused(tmp_path).message
    assert "There is no folder" in refused(tmp_path / "nowhere", UnreadableFile).message
    (tmp_path / "notes.txt").touch()
    assert "holds no data set" in refused(tmp_path).message


def test_photographs_without_cameras_name_the_way_to_them(tmp_path: Path) -> None:
    for index in range(4):
        captures.picture(tmp_path / f"{index}.jpg")
    error = refused(tmp_path)
    assert "4 photographs but no cameras" in error.message
    assert error.remedy is not None and error.remedy.action == "run_sfm"
    (tmp_path / "film.mp4").write_bytes(b"")
    assert "is a video" in refused(tmp_path / "film.mp4").message


def test_no_frames_and_one_image(tmp_path: Path) -> None:
    captures.transforms(tmp_path, count=0)
    assert "has no images" in refused(tmp_path).message
    captures.transforms(tmp_path, count=1)
    assert "one image only" in refused(tmp_path).message and "several sides" in refused(tmp_path).message


def test_no_views_to_fit_to(tmp_path: Path) -> None:
    captures.transforms(tmp_path / "empty", top={"fl_x": 10.0, "train_filenames": [], "test_filenames": NAMES})
    captures.transforms(tmp_path / "judged")
    (tmp_path / "judged/transforms.json").rename(tmp_path / "judged/transforms_test.json")
    for name in ("empty", "judged"):
        dataset = open_dataset(tmp_path / name)
        for kind in (HashTrainer, NeRFTrainer):
            with pytest.raises(UnusableDataset, match=f"{name} has no training views.*add transforms_train.json"):
                kind(dataset, FitOptions(), torch.device("cpu"))


def test_a_missing_image_is_left_out_and_named_and_with_none_there_is_no_data_set(tmp_path: Path) -> None:
    captures.transforms(tmp_path)
    (tmp_path / "images/03.png").unlink()
    dataset = open_dataset(tmp_path)
    assert len(dataset.views) == 8 and [view.appearance for view in dataset.views] == list(range(8))
    (warning,) = dataset.warnings
    assert "8 of 9 views are used" in warning and "03.png is missing" in warning and "Copy it there" in warning
    shutil.rmtree(tmp_path / "images")
    assert "00.png is missing" in refused(tmp_path, UnreadableFile).message


def test_test_poses_may_come_without_pictures_but_not_training_poses(tmp_path: Path) -> None:
    captures.synthetic(tmp_path)
    shutil.rmtree(tmp_path / "test")
    dataset = open_dataset(tmp_path)
    assert len(dataset.split("train")) == 5 and len(dataset.views) == 7
    assert "0 of 3 test views are used" in dataset.warnings[0]
    shutil.rmtree(tmp_path / "train")
    assert "r_0 is missing" in refused(tmp_path, UnreadableFile).message


def test_names_may_differ_in_case_alone_and_two_such_files_are_not_guessed(tmp_path: Path) -> None:
    captures.transforms(tmp_path, frame=lambda i, entry: entry.update(file_path=f"Images/{i:02d}.PNG"), images=False)
    for index in range(9):
        captures.picture(tmp_path / f"images/{index:02d}.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.views) == 9 and dataset.warnings == ()
    captures.picture(tmp_path / "images/00.Png")
    assert len(open_dataset(tmp_path).views) == 8


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_in_place_of_any_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    captures.transforms(tmp_path, top={"fl_x": 10.0, "ply_file_path": "points.ply"},
                        frame=only(1, lambda entry: entry.update(mask_path="m.png", depth_path="d.npy")))  # fmt: skip
    (tmp_path / "images/00.png").unlink()
    for name in ("images/00.png", "m.png", "d.npy", "points.ply"):
        os.mkfifo(tmp_path / name)
    assert "pipe" in refused(tmp_path, UnreadableFile).message
    (tmp_path / "images/00.png").unlink()
    dataset = open_dataset(tmp_path)
    assert len(dataset.views) == 8 and "points.ply cannot be read" in str(dataset.warnings)
    with pytest.raises(UnreadableFile, match="pipe"):
        dataset.load(dataset.views[0])


def test_far_coordinates_keep_their_digits_and_the_offset_is_given_back(tmp_path: Path) -> None:
    far = np.array([431250.25, 4582300.5, 120.0])
    captures.transforms(tmp_path / "near", top={"fl_x": 10.0, "aabb": [[-1, -1, -1], [1, 1, 1]]})

    def move(index: int, entry: dict[str, Any]) -> None:
        matrix = np.array(entry["transform_matrix"])
        matrix[:3, 3] += far
        entry["transform_matrix"] = matrix.tolist()

    box = [(far - 1).tolist(), (far + 1).tolist()]
    captures.transforms(tmp_path / "far", top={"fl_x": 10.0, "aabb": box}, frame=move)
    near, moved = (open_dataset(tmp_path / name) for name in ("near", "far"))
    assert near.offset == (0.0, 0.0, 0.0) and any("taken off" in warning for warning in moved.warnings)

    def positions(dataset: Dataset) -> np.ndarray:
        return np.array([view.camera.world_from_camera[:3, 3].double().numpy() for view in dataset.views])

    assert np.abs(positions(moved) + np.array(moved.offset) - far - positions(near)).max() < 1e-5
    assert moved.bounds is not None and np.allclose(np.array(moved.bounds) + moved.offset, box, atol=1e-6)
    scene_bounds_of(moved, moved.views)  # they do not stand at one place
    path = write_transforms(tmp_path / "far", moved.views, offset=moved.offset, path=tmp_path / "far/again.json")
    again = json.loads(path.read_text())["frames"]
    given = json.loads((tmp_path / "far/transforms.json").read_text())["frames"]
    assert (
        np.abs(np.array([f["transform_matrix"] for f in again]) - [f["transform_matrix"] for f in given]).max() < 1e-5
    )


@pytest.mark.parametrize("keep", [0, 20, 60, -40])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named(tmp_path: Path, keep: int, suffix: str) -> None:
    captures.transforms(tmp_path, frame=lambda i, entry: entry.update(file_path=f"images/{i:02d}{suffix}"))
    for index in range(9):
        captures.picture(tmp_path / f"images/{index:02d}{suffix}")
    path = tmp_path / f"images/05{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    try:
        dataset = open_dataset(tmp_path)
        dataset.load_all(dataset.views)
        (message,) = dataset.warnings  # the header was damaged: the image was left out
    except UnreadableFile as error:
        message = error.message
    assert path.name in message and "truncated" in message


def test_mixed_sizes_that_the_intrinsics_do_not_fit(tmp_path: Path) -> None:
    captures.transforms(tmp_path)
    captures.picture(tmp_path / "images/04.png", (30, 30))
    message = refused(tmp_path).message
    assert "images/04.png has 30 × 30 pixels, its camera 12 × 8" in message and "w, h, fl_x" in message


def test_mixed_sizes_without_a_stated_size(tmp_path: Path) -> None:
    """An angle of view fits pictures of any size, but not of another shape."""
    captures.transforms(tmp_path, top={"camera_angle_x": 0.7})
    captures.picture(tmp_path / "images/04.png", (24, 16))
    dataset = open_dataset(tmp_path)
    assert dataset.views[4].camera.intrinsics[0, 0] == 2 * dataset.views[3].camera.intrinsics[0, 0]
    captures.picture(tmp_path / "images/05.png", (8, 12))
    assert "images/05.png has 8 × 12 pixels" in refused(tmp_path).message
    captures.transforms(tmp_path, top={"fl_x": 10.0})
    captures.picture(tmp_path / "images/04.png", (24, 16))
    assert "images/04.png has 24 × 16 pixels" in refused(tmp_path).message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_poses_that_are_not_finite(tmp_path: Path, value: float) -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["transform_matrix"][1][3] = value

    captures.transforms(tmp_path, frame=only(2, change))
    message = refused(tmp_path).message
    assert "images/02.png" in message and "not finite" in message and "Take this frame out" in message


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "not rigid"),
        ([[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "mirrored"),
        ([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "mirrored or flat"),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]], "last row"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], "no transform_matrix"),
        ("identity", "no transform_matrix"),
        ([[1, 0, 0, 0], [0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "no transform_matrix"),
    ],
)
def test_poses_that_no_camera_has(tmp_path: Path, matrix: object, said: str) -> None:
    captures.transforms(tmp_path, frame=only(2, lambda entry: entry.update(transform_matrix=matrix)))
    message = refused(tmp_path).message
    assert "images/02.png" in message and said in message


def test_scale_of_a_camera_object_is_taken_off_and_said(tmp_path: Path) -> None:
    def change(index: int, entry: dict[str, Any]) -> None:
        if index % 2:
            entry["transform_matrix"] = scaled(entry["transform_matrix"], np.array([2.0, 0.5, 3.0]))

    poses = captures.transforms(tmp_path, frame=change)
    dataset = open_dataset(tmp_path)
    assert np.allclose([view.camera.world_from_camera.numpy() for view in dataset.views], poses, atol=1e-6)
    assert dataset.warnings == ("4 of 9 camera poses had a scale, which was removed.",)


def test_flipped_axes_are_detected_said_and_can_be_flipped_back(tmp_path: Path) -> None:
    def opencv_axes(index: int, entry: dict[str, Any]) -> None:
        entry["transform_matrix"] = (np.array(entry["transform_matrix"]) @ captures.GL_FROM_CV).tolist()

    poses = captures.transforms(tmp_path, frame=opencv_axes)
    warnings = open_dataset(tmp_path).warnings
    assert len(warnings) == 1 and "look away" in warnings[0] and "flipped axes" in warnings[0]
    dataset = open_dataset(tmp_path, flip_axes=True)
    assert dataset.warnings == ()
    assert np.allclose([view.camera.world_from_camera.numpy() for view in dataset.views], poses, atol=1e-6)


@pytest.mark.parametrize("target", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.1), (40.0, -30.0, 5.0)])
@pytest.mark.parametrize("count", [9, 40])
@pytest.mark.parametrize("axes", [captures.GL_FROM_CV, np.eye(4)])
@pytest.mark.parametrize("level", [False, True])
def test_world_to_camera_poses_are_detected(
    tmp_path: Path, target: tuple[float, float, float], count: int, axes: np.ndarray, level: bool
) -> None:
    poses = about(np.array(target), count, level)

    def write(matrices: np.ndarray) -> None:
        captures.transforms(tmp_path, count, frame=lambda i, e: e.update(transform_matrix=matrices[i].tolist()))

    write(np.linalg.inv(poses @ axes))
    message = refused(tmp_path).message
    assert "world-to-camera" in message and "numpy.linalg.inv" in message
    write(poses @ axes)
    assert len(open_dataset(tmp_path).views) == count


def about(target: np.ndarray, count: int, level: bool) -> np.ndarray:
    """Return world_from_camera [count, 4, 4] about a point, 3 m away or so, looking at it or closely past it."""
    random = np.random.default_rng(1)
    found = []
    for number in range(count):
        azimuth = 2.4 * number
        elevation = 0.3 if level else np.arcsin(random.uniform(0.0, 0.95))
        out = [np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), np.sin(elevation)]
        eye = target + random.uniform(2.8, 3.2) * np.array(out)
        found.append(look_at(tuple(eye), tuple(target + random.normal(0, 0.05, 3))))
    return np.array(found).reshape(-1, 4, 4)


@pytest.mark.parametrize("walk", [0.3, 1.5])
def test_poses_in_a_room_are_not_called_inverted(tmp_path: Path, walk: float) -> None:
    """Somebody walks in a circle above the origin, and looks outward."""
    random = np.random.default_rng(2)

    def outward(index: int, entry: dict[str, Any]) -> None:
        a = 2.4 * index
        eye = np.array([walk * np.sin(a), -walk * np.cos(a), 1.6])
        way = np.array([np.sin(a), -np.cos(a), random.uniform(-0.4, 0.4)])
        pose = np.array(look_at(tuple(eye), tuple(eye + way))).reshape(4, 4)
        entry["transform_matrix"] = (pose @ captures.GL_FROM_CV).tolist()

    captures.transforms(tmp_path, 40, frame=outward)
    assert len(open_dataset(tmp_path).views) == 40


@pytest.mark.parametrize("cloud", [False, True])
def test_a_fit_to_flipped_cameras_offers_to_flip_them(tmp_path: Path, cloud: bool) -> None:
    captures.transforms(
        tmp_path,
        frame=lambda i, e: e.update(transform_matrix=(np.array(e["transform_matrix"]) @ captures.GL_FROM_CV).tolist()),
    )
    dataset = open_dataset(tmp_path)
    assert "--flip-axes" in dataset.warnings[0]
    if cloud:
        dataset = replace(dataset, points=np.random.default_rng(0).normal((0.5, 0, 0.25), 0.05, (50, 3)))
    with pytest.raises(UnusableDataset, match="--flip-axes") as caught:
        scene_bounds_of(dataset, dataset.views)
    assert caught.value.remedy == Remedy("flip_axes", "Flip Axes")
    flipped = open_dataset(tmp_path, flip_axes=True)
    assert np.allclose(scene_bounds_of(flipped, flipped.views).center, (0.5, 0, 0.25), atol=1e-3)


def test_cameras_at_one_place_make_no_box(tmp_path: Path) -> None:
    pose = captures.orbit(1)[0] @ captures.GL_FROM_CV
    captures.transforms(tmp_path, frame=lambda i, e: e.update(transform_matrix=pose.tolist()))
    dataset = open_dataset(tmp_path)
    with pytest.raises(UnusableDataset, match="stand at one place"):
        scene_bounds_of(dataset, dataset.views)


def test_cameras_in_a_row_that_look_ahead_are_not_called_flipped(tmp_path: Path) -> None:
    def row(index: int, entry: dict[str, Any]) -> None:
        pose = np.eye(4)
        pose[0, 3] = index * 0.1
        entry["transform_matrix"] = pose.tolist()

    captures.transforms(tmp_path, frame=row)
    assert open_dataset(tmp_path).warnings == ()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_all_images_black_or_transparent(tmp_path: Path, mode: str) -> None:
    captures.transforms(tmp_path)
    for index in range(9):
        color = (1, 0, 2) if mode == "RGB" else (200, 200, 200, 0)
        Image.new(mode, SIZE, color).save(tmp_path / f"images/{index:02d}.png")
    message = refused(tmp_path, load=True).message
    assert "All 9 images are black or fully transparent" in message and "render them again" in message
    captures.picture(tmp_path / "images/00.png")  # one picture is enough
    dataset = open_dataset(tmp_path)
    assert len(dataset.load_all(dataset.views)) == 9


def test_a_mask_of_the_wrong_size(tmp_path: Path) -> None:
    captures.transforms(tmp_path, frame=lambda i, entry: entry.update(mask_path="mask.png"))
    captures.picture(tmp_path / "mask.png", (8, 12), mode="L")
    error = refused(tmp_path, load=True)
    assert "mask mask.png has 8 × 12 pixels, its image images/00.png 12 × 8" in error.message
    assert error.remedy is not None and error.remedy.action == "ignore_masks"
    dataset = open_dataset(tmp_path).without_masks()
    assert dataset.load(dataset.views[0]).mask is None


def test_a_smaller_mask_or_depth_image_is_brought_to_the_image_s_size_without_blending(tmp_path: Path) -> None:
    captures.transforms(
        tmp_path, frame=lambda i, entry: entry.update(mask_path="m.png", depth_path="d.png", depth_unit_scale_factor=1)
    )
    stored = np.array([[0, 2000, 3000], [1000, 0, 4000]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "d.png")
    Image.fromarray((stored > 0).astype(np.uint8) * 255).save(tmp_path / "m.png")
    dataset = open_dataset(tmp_path)
    pixels = dataset.load(dataset.views[0])
    expected = stored.astype(np.float32).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(np.nan_to_num(pixels.depth), expected) and np.array_equal(pixels.mask, expected > 0)


def test_depth_that_is_not_asked_for_stops_nothing(tmp_path: Path) -> None:
    captures.transforms(tmp_path, frame=lambda i, entry: entry.update(depth_path="nowhere.exr"))
    dataset = open_dataset(tmp_path)
    HashTrainer(dataset, FitOptions(), torch.device("cpu"))
    with pytest.raises(UnreadableFile, match=r"nowhere\.exr"):
        HashTrainer(dataset, FitOptions(depth_weight=0.1), torch.device("cpu"))


def test_masks_that_leave_nothing_name_the_polarity(tmp_path: Path) -> None:
    captures.transforms(tmp_path, frame=lambda i, entry: entry.update(mask_path="mask.png"))
    Image.new("L", SIZE, 0).save(tmp_path / "mask.png")
    error = refused(tmp_path, load=True)
    assert "opposite polarity" in error.message and error.remedy is not None


def test_a_missing_mask_and_a_damaged_depth_image_are_named(tmp_path: Path) -> None:
    captures.transforms(tmp_path, frame=only(0, lambda entry: entry.update(mask_path="nowhere.png")))
    assert "mask nowhere.png is missing" in refused(tmp_path, UnreadableFile, load=True).message
    for name, data, said in (("d.exr", b"", "EXR"), ("d.npy", b"\x93NUMPY", "cannot be read"), ("d.png", b"", "d.png")):
        (tmp_path / name).write_bytes(data)
        captures.transforms(tmp_path, frame=only(0, lambda entry, name=name: entry.update(depth_file_path=name)))
        assert said in refused(tmp_path, UnreadableFile, load=True).message
    captures.picture(tmp_path / "d.png")  # colours are no depth
    assert "expected one number" in refused(tmp_path, UnreadableFile, load=True).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ('{"frames": [', "truncated"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no list of frames"),
        ('{"frames": 3}', "no list of frames"),
        ('{"frames": [{}, {}]}', "has no file_path"),
        ('{"frames": [{"file_path": ""}]}', "has no file_path"),
        ('{"frames": ["a", "b"]}', "has no file_path"),
        ("\udcff", "not valid JSON"),
    ],
)
def test_a_damaged_transforms_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "transforms.json").write_bytes(text.encode(errors="surrogateescape"))
    assert said in refused(tmp_path, TaskError).message


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ({}, "no focal length"),
        ({"fl_x": "wide"}, "not a finite number"),
        ({"fl_x": 10**4000}, "not a finite number"),
        ({"fl_x": -3.0}, "focal length of"),
        ({"fl_x": 0.0}, "focal length of"),
        (
            {"camera_angle_x": 0.0},
            "camera_angle_x of images/00.png in transforms.json is 0: an angle of view lies betw",
        ),
        (
            {"camera_angle_y": 4.0},
            "camera_angle_y of images/00.png in transforms.json is 4: an angle of view lies betw",
        ),
        ({"fl_x": 10.0, "k1": float("nan")}, "not a finite number"),
        ({"fl_x": 10.0, "camera_model": "EQUIRECTANGULAR"}, "not known"),
        ({"fl_x": 10.0, "aabb": [[1, 1, 1], [0, 0, 0]]}, "empty or not finite"),
        ({"fl_x": 10.0, "aabb": "big"}, "instant-ngp"),
        ({"fl_x": 10.0, "train_filenames": "all"}, "not a list of file names"),
    ],
)
def test_intrinsics_and_extras_that_make_no_sense(tmp_path: Path, top: dict[str, Any], said: str) -> None:
    captures.transforms(tmp_path, top=top)
    assert said in refused(tmp_path).message


@pytest.mark.parametrize(
    "name", ["../secret.png", "images/../../secret.png", "/etc/hostname", "..\\secret.png", "a\0b"]
)
@pytest.mark.parametrize("key", ["file_path", "mask_path", "depth_file_path"])
def test_a_data_set_opens_nothing_outside_its_folder(tmp_path: Path, name: str, key: str) -> None:
    captures.picture(tmp_path / "secret.png")
    captures.transforms(tmp_path / "set", frame=only(1, lambda entry: entry.update({key: name})))
    assert "outside its folder" in refused(tmp_path / "set").message


def test_a_missing_or_damaged_cloud_is_a_warning_only(tmp_path: Path) -> None:
    captures.transforms(tmp_path, top={"fl_x": 10.0, "ply_file_path": "points.ply"})
    assert "point cloud points.ply is missing" in open_dataset(tmp_path).warnings[0]
    for data in (
        b"",
        b"ply\nformat ascii 1.0\nelement vertex 1000000000\nproperty float x\nend_header\n1\n",
        b"\xff" * 99,
    ):
        (tmp_path / "points.ply").write_bytes(data)
        dataset = open_dataset(tmp_path)
        assert dataset.points is None and "cannot be read" in dataset.warnings[0]


def test_random_json_values_never_give_anything_but_our_errors(tmp_path: Path) -> None:
    captures.transforms(
        tmp_path, top={"w": 12, "h": 8, "fl_x": 10.0, "aabb_scale": 1, "scale": 0.3, "offset": [0, 0, 0]}
    )
    whole = json.loads((tmp_path / "transforms.json").read_text())
    strange: list[object] = [None, True, -1, 1e308, "x", [], {}, [1], [[]], "\0", 0]
    keys = [
        *whole,
        "camera_model",
        "mask_path",
        "depth_file_path",
        "ply_file_path",
        "test_filenames",
        "cx",
        "k1",
        "aabb",
    ]
    for key in keys:
        for value in strange:
            for where in ("top", "frame"):
                changed = json.loads(json.dumps(whole))
                (changed if where == "top" else changed["frames"][1])[key] = value
                (tmp_path / "transforms.json").write_text(json.dumps(changed))
                try:
                    open_dataset(tmp_path)
                except LatheError as error:
                    assert error.message
