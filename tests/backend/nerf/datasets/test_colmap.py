"""COLMAP models, text and binary, and what damaged ones say."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from addon.wire.errors import LatheError, UnreadableFile, UnusableDataset
from backend.lens import pixels_of
from backend.nerf.datasets import Lens, open_dataset
from backend.nerf.datasets.colmap import camera_model, read_model
from tests.backend.nerf.datasets import captures


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("place", ["sparse/0", "sparse", "."])
def test_a_model_has_its_cameras_lenses_images_and_points(tmp_path: Path, binary: bool, place: str) -> None:
    poses = captures.colmap(tmp_path, binary=binary, place=place)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "colmap" and dataset.warnings == ()
    assert [view.name for view in dataset.views] == [f"a/{i:02d}.png" for i in range(9)]
    assert np.allclose([view.camera.world_from_camera.numpy() for view in dataset.views], poses, atol=1e-6)
    assert dataset.views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 11, 3.75], [0, 0, 1]]
    assert [view.lens for view in dataset.views[:3]] == [
        Lens(),
        Lens("opencv", (0.05, -0.01, 0.0, 0.0), (0.001, -0.002)),
        Lens("fisheye", (0.05, -0.01, 0.001, -0.002)),
    ]
    assert np.allclose(dataset.points, captures.CLOUD) and np.array_equal(dataset.point_colors, captures.CLOUD_COLORS)
    assert [view.name for view in dataset.split("test")] == ["a/00.png", "a/08.png"]
    assert dataset.load(dataset.views[0]).rgb[0, 0].tolist() == [10, 20, 30]


def test_masks_of_colmap_keep_white(tmp_path: Path) -> None:
    captures.colmap(tmp_path, binary=True)
    captures.picture(tmp_path / "masks/a/00.png.png", mode="L")
    dataset = open_dataset(tmp_path)
    assert dataset.views[0].mask_keeps == "white" and dataset.views[1].mask is None
    assert dataset.load(dataset.views[0]).mask is not None


def test_every_model_of_one_family_gives_the_same_lens() -> None:
    k, expected = camera_model("SIMPLE_RADIAL", (10.0, 6.0, 4.0, 0.1))
    for name, parameters in (
        ("RADIAL", (10.0, 6.0, 4.0, 0.1, 0.0)),
        ("OPENCV", (10.0, 10.0, 6.0, 4.0, 0.1, 0.0, 0.0, 0.0)),
        ("FULL_OPENCV", (10.0, 10.0, 6.0, 4.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    ):
        same_k, lens = camera_model(name, parameters)
        assert np.array_equal(same_k, k) and lens == expected
    _, fisheye = camera_model("SIMPLE_RADIAL_FISHEYE", (10.0, 6.0, 4.0, 0.1))
    for name, parameters in (
        ("RADIAL_FISHEYE", (10.0, 6.0, 4.0, 0.1, 0.0)),
        ("OPENCV_FISHEYE", (10.0, 10.0, 6.0, 4.0, 0.1, 0.0, 0.0, 0.0)),
        ("THIN_PRISM_FISHEYE", (10.0, 10.0, 6.0, 4.0, 0.1, *[0.0] * 7)),
    ):
        assert camera_model(name, parameters)[1] == fisheye


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FOV", (10.0, 10.0, 6.0, 4.0, 0.9)),
        ("EUCM", (10.0, 10.0, 6.0, 4.0, 0.5, 1.0)),
        ("SIMPLE_DIVISION", (10.0, 6.0, 4.0, 0.1)),
        ("EQUIRECTANGULAR", (12.0, 8.0)),
        ("THIN_PRISM_FISHEYE", (10.0, 10.0, 6.0, 4.0, 0.1, *[0.0] * 6, 0.1)),
        ("SPHERICAL", (10.0, 6.0, 4.0)),
    ],
)
def test_a_model_that_no_lens_of_ours_is_says_what_to_do(name: str, parameters: tuple[float, ...]) -> None:
    with pytest.raises(UnusableDataset, match="undistort the images"):
        camera_model(name, parameters)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_binary_file_cut_anywhere_is_a_sentence(tmp_path: Path, name: str) -> None:
    captures.colmap(tmp_path, binary=True, count=3)
    path = tmp_path / "sparse/0" / f"{name}.bin"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableFile, match="truncated or damaged"):
            open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_count_that_lies_takes_no_memory(tmp_path: Path, name: str) -> None:
    captures.colmap(tmp_path, binary=True, count=3)
    path = tmp_path / "sparse/0" / f"{name}.bin"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    with pytest.raises(UnreadableFile, match="truncated or damaged"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_random_damage_never_gives_anything_but_our_errors(tmp_path: Path, binary: bool) -> None:
    captures.colmap(tmp_path, binary=binary, count=3)
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "sparse/0").iterdir()):
        whole = path.read_bytes()
        for _ in range(60):
            damaged = np.frombuffer(whole, np.uint8).copy()
            damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                open_dataset(tmp_path)
            except LatheError as error:
                assert error.message
        path.write_bytes(whole)
    open_dataset(tmp_path)


def test_an_image_outside_the_folder_is_refused(tmp_path: Path) -> None:
    captures.colmap(tmp_path / "set", binary=False)
    captures.picture(tmp_path / "secret.png")
    path = tmp_path / "set/sparse/0/images.txt"
    path.write_text(path.read_text().replace("a/00.png", "../../secret.png"))
    with pytest.raises(UnusableDataset, match="outside its folder"):
        open_dataset(tmp_path / "set")


def test_a_model_without_its_images_file_says_what_belongs_together(tmp_path: Path) -> None:
    captures.colmap(tmp_path, binary=True)
    (tmp_path / "sparse/0/images.bin").unlink()
    with pytest.raises(UnreadableFile, match="Copy the whole model"):
        open_dataset(tmp_path)


def test_a_model_is_found_where_instant_ngp_writes_it(tmp_path: Path) -> None:
    for place in ("colmap_text", "sparse_text", "text"):
        captures.colmap(tmp_path / place, binary=False, place=place)
        assert len(open_dataset(tmp_path / place).views) == 9


def test_the_largest_of_several_models_is_used_and_the_others_and_images_without_cameras_are_named(
    tmp_path: Path,
) -> None:
    captures.colmap(tmp_path, binary=False, count=3)
    captures.colmap(tmp_path, binary=True, place="sparse/1")
    captures.picture(tmp_path / "images/a/09.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.views) == 9
    assert "1 with 9 images is used, 0 with 3 is left out" in dataset.warnings[0]
    assert "9 of 10 images are used" in dataset.warnings[1] and "a/09.png" in dataset.warnings[1]


@pytest.mark.parametrize("blank", [True, False], ids=["blank lines", "none"])
def test_images_without_lines_of_points_are_all_read(tmp_path: Path, blank: bool) -> None:
    captures.colmap(tmp_path, binary=False)
    path = tmp_path / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[1::2]]) + ("\n\n" if blank else "\n"))
    assert len(read_model(path.parent).images) == 9
    assert [view.name for view in open_dataset(tmp_path).views] == [f"a/{i:02d}.png" for i in range(9)]


def test_names_with_backslashes_are_paths(tmp_path: Path) -> None:
    captures.colmap(tmp_path, binary=False)
    path = tmp_path / "sparse/0/images.txt"
    path.write_text(path.read_text().replace("a/", "a\\"))
    dataset = open_dataset(tmp_path)
    assert len(dataset.views) == 9 and dataset.warnings == ()


def test_a_camera_without_a_size_is_a_sentence(tmp_path: Path) -> None:
    captures.colmap(tmp_path, binary=False)
    path = tmp_path / "sparse/0/cameras.txt"
    path.write_text(path.read_text().replace("12 8", "0 0"))
    with pytest.raises(UnusableDataset, match="no size"):
        open_dataset(tmp_path)


def test_points_behind_the_cameras_are_said(tmp_path: Path) -> None:
    captures.colmap(tmp_path, binary=True, count=12)
    assert "look away" in open_dataset(tmp_path, flip_axes=True).warnings[0]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("camera_model_name", ["SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV",
                                               "FISHEYE", "SIMPLE_FISHEYE"])  # fmt: skip
def test_a_model_that_colmap_writes_is_read_as_colmap_reads_it(
    tmp_path: Path, binary: bool, camera_model_name: str
) -> None:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig, options.num_points3D = 2, 1, 3, 20
    options.camera_model_id = getattr(pycolmap.CameraModelId, camera_model_name)
    options.camera_params = {
        "SIMPLE_RADIAL": [1280.0, 512.0, 384.0, 0.05],
        "OPENCV": [1280.0, 1270.0, 512.0, 384.0, 0.05, -0.01, 0.001, -0.002],
        "OPENCV_FISHEYE": [600.0, 610.0, 512.0, 384.0, 0.05, -0.01, 0.001, -0.002],
        "FULL_OPENCV": [1280.0, 1270.0, 512.0, 384.0, 0.5, -0.01, 0.001, -0.002, 0.01, 0.4, 0.02, -0.01],
        "FISHEYE": [600.0, 610.0, 512.0, 384.0],
        "SIMPLE_FISHEYE": [600.0, 512.0, 384.0],
    }[camera_model_name]
    expected = pycolmap.synthesize_dataset(options)
    (expected.write_binary if binary else expected.write_text)(tmp_path)
    model = read_model(tmp_path)
    images = {image.name: image for image in expected.images.values()}
    assert {image.name for image in model.images} == images.keys()
    for image in model.images:
        truth = images[image.name]
        assert np.allclose(image.world_from_camera()[:3], truth.cam_from_world().inverse().matrix(), atol=1e-9)
        assert image.points == truth.num_points3D
        camera, stored = truth.camera, model.cameras[image.camera]
        assert (stored.model, stored.width, stored.height) == (camera_model_name, camera.width, camera.height)
        intrinsics, lens = camera_model(stored.model, stored.parameters)
        assert np.allclose(intrinsics, camera.calibration_matrix())
        rays = np.array([[0.1, -0.2, 1.0], [-0.3, 0.25, 1.0], [0.0, 0.0, 1.0]])
        pixels = pixels_of(torch.from_numpy(intrinsics), lens, torch.from_numpy(rays))
        assert np.allclose(pixels, camera.img_from_cam(rays), atol=1e-6)
    points = sorted(expected.points3D.values(), key=lambda point: tuple(point.xyz))
    assert model.points is not None
    order = np.lexsort(model.points.xyz.T[::-1])
    assert np.allclose(model.points.xyz[order], [point.xyz for point in points], atol=1e-6)
    assert np.array_equal(model.points.rgb[order], [point.color for point in points])
    assert model.points.track_lengths[order].tolist() == [point.track.length() for point in points]
