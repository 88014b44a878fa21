"""transforms.json in its three dialects, and as we write it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend.cameras import Camera
from backend.nerf.datasets import Lens, View, open_dataset, read_cameras, write_transforms
from tests.backend.nerf.datasets import captures
from tests.backend.nerf.datasets.captures import SIZE


def poses_of(views: tuple[View, ...]) -> np.ndarray:
    return np.stack([view.camera.world_from_camera.numpy() for view in views])


def test_nerf_synthetic_has_its_splits_alpha_and_cameras(tmp_path: Path) -> None:
    poses = captures.synthetic(tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "nerf-synthetic" and dataset.warnings == ()
    for split in ("train", "val", "test"):
        views = dataset.split(split)
        assert np.allclose(poses_of(views), poses[split], atol=1e-6)
    camera = dataset.views[0].camera
    focal = SIZE[0] / 2 / math.tan(0.35)
    expected = [[focal, 0, SIZE[0] / 2], [0, focal, SIZE[1] / 2], [0, 0, 1]]
    assert camera.intrinsics.flatten().tolist() == pytest.approx(np.array(expected).ravel(), rel=1e-6)
    pixels = dataset.load(dataset.views[0])
    assert pixels.rgb[0, 0].tolist() == [10, 20, 30] and pixels.alpha is not None and pixels.alpha.shape == SIZE[::-1]
    assert pixels.mask is None and pixels.depth is None
    assert [view.appearance for view in dataset.views] == list(range(10))


def test_nerfstudio_frames_have_intrinsics_and_lenses_of_their_own(tmp_path: Path) -> None:
    def frame(index: int, entry: dict[str, Any]) -> None:
        if index == 1:
            entry |= {"fl_x": 20.0, "fl_y": 21.0, "cx": 1.0, "cy": 2.0, "k1": 0.1, "k2": 0.2, "p1": 0.01, "p2": 0.02}
        if index == 2:
            entry |= {"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4}
        if index == 4:
            entry |= {"camera_model": "FULL_OPENCV", "k1": 0.1, "k3": 0.3, "k4": 0.4, "k5": 0.5, "k6": 0.6}
        if index == 3:
            captures.picture(tmp_path / entry["file_path"], (20, 30))
            entry |= {"w": 20, "h": 30, "cx": 10, "cy": 15}

    poses = captures.transforms(tmp_path, frame=frame)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "nerfstudio" and dataset.warnings == ()
    views = dataset.views
    assert np.allclose(poses_of(views), poses, atol=1e-6)
    assert views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 11, 3.75], [0, 0, 1]] and views[0].lens == Lens()
    assert views[1].camera.intrinsics.tolist() == [[20, 0, 1], [0, 21, 2], [0, 0, 1]]
    assert views[1].lens == Lens("opencv", (0.1, 0.2, 0.0, 0.0), (0.01, 0.02))
    assert views[2].lens == Lens("fisheye", (0.1, 0.2, 0.3, 0.4))
    assert views[4].lens == Lens("opencv", (0.1, 0.0, 0.3, 0.0), d=(0.4, 0.5, 0.6))
    assert (views[3].camera.width, views[3].camera.height) == (20, 30)
    assert dataset.load(views[3]).rgb.shape == (30, 20, 3)


def test_split_lists_are_followed(tmp_path: Path) -> None:
    names = [f"images/{i:02d}.png" for i in range(9)]
    top = {"fl_x": 10.0, "train_filenames": names[:6], "val_filenames": [f"./{names[6]}"], "test_filenames": names[7:8]}
    captures.transforms(tmp_path, top=top)
    dataset = open_dataset(tmp_path)
    assert [[view.name for view in dataset.split(s)] for s in ("train", "val", "test")] == [
        names[:6],
        names[6:7],
        names[7:8],
    ]
    assert len(dataset.views) == 8  # the ninth is in no list


def test_without_splits_every_eighth_view_is_held_back(tmp_path: Path) -> None:
    captures.transforms(tmp_path / "many", count=17)
    dataset = open_dataset(tmp_path / "many")
    assert [view.name for view in dataset.split("test")] == ["images/00.png", "images/08.png", "images/16.png"]
    assert len(dataset.split("train")) == 14 and dataset.split("val") == dataset.split("test")
    captures.transforms(tmp_path / "few", count=7)
    assert len(open_dataset(tmp_path / "few").split("train")) == 7


def test_masks_keep_white_in_nerfstudio_and_black_in_instant_ngp(tmp_path: Path) -> None:
    drawn = np.zeros(SIZE[::-1], np.uint8)
    drawn[2:5, 3:7] = 255

    def nerfstudio(index: int, entry: dict[str, Any]) -> None:
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(drawn).save(tmp_path / "a/mask.png")
        entry["mask_path"] = "mask.png"

    captures.transforms(tmp_path / "a", frame=nerfstudio)
    dataset = open_dataset(tmp_path / "a")
    assert np.array_equal(dataset.load(dataset.views[0]).mask, drawn > 0)

    captures.transforms(tmp_path / "b", top={"camera_angle_x": 0.9, "aabb_scale": 2})
    Image.fromarray(drawn).save(tmp_path / "b/images/dynamic_mask_00.png")
    dataset = open_dataset(tmp_path / "b")
    assert dataset.format == "instant-ngp"
    assert np.array_equal(dataset.load(dataset.views[0]).mask, drawn == 0)
    assert dataset.load(dataset.views[1]).mask is None


def test_instant_ngp_s_box_is_in_the_data_set_s_frame(tmp_path: Path) -> None:
    """Its unit cube is position · scale + offset."""
    top: dict[str, Any] = {"camera_angle_x": 0.9, "aabb_scale": 2, "scale": 0.5, "offset": [0.5, 0.25, 0.75]}
    captures.transforms(tmp_path / "a", top=top)
    assert open_dataset(tmp_path / "a").bounds == ((-2.0, -1.5, -2.5), (2.0, 2.5, 1.5))
    captures.transforms(tmp_path / "b", top={"camera_angle_x": 0.9, "aabb_scale": 1})
    assert np.allclose(open_dataset(tmp_path / "b").bounds, [[-0.5 / 0.33] * 3, [0.5 / 0.33] * 3])
    captures.transforms(tmp_path / "c", top={"camera_angle_x": 0.9, "aabb_scale": 32})  # a landscape, not an object
    assert open_dataset(tmp_path / "c").bounds is None
    captures.transforms(tmp_path / "d", top={"camera_angle_x": 0.9, "aabb": [[-1, -2, -3], [1, 2, 3]]})
    assert open_dataset(tmp_path / "d").bounds == ((-1, -2, -3), (1, 2, 3))


def test_depth_comes_in_metres_and_not_known_where_zero(tmp_path: Path) -> None:
    stored = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]) * 600

    def frame(index: int, entry: dict[str, Any]) -> None:
        name = f"depth/{index}.png" if index != 1 else "depth/1.npy"
        (tmp_path / "depth").mkdir(parents=True, exist_ok=True)
        if index == 1:
            np.save(tmp_path / name, stored.astype(np.float32) / 100)
        else:
            Image.fromarray(stored).save(tmp_path / name)
        entry["depth_file_path"] = name
        if index == 2:
            entry["depth_unit_scale_factor"] = 0.25

    captures.transforms(tmp_path, frame=frame)
    dataset = open_dataset(tmp_path)
    for index, scale in ((0, 1e-3), (1, 0.01), (2, 0.25)):
        depth = dataset.load(dataset.views[index]).depth
        assert depth is not None and np.isnan(depth[0, 0])
        assert np.allclose(depth.ravel()[1:], stored.ravel()[1:] * scale, rtol=1e-6)


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    captures.transforms(tmp_path, count=6)
    views = []
    lenses = [Lens(), Lens("opencv", (0.1, 0.02, 0.003, 0.0), (0.01, -0.02)), Lens("fisheye", (0.1, 0.2, 0.3, 0.4)),
              Lens("opencv", (0.1, 0.02, 0.003, 0.0), (0.01, -0.02), (0.05, 0.01, -0.02))]  # fmt: skip
    for index, view in enumerate(open_dataset(tmp_path).views):
        camera = replace(view.camera, intrinsics=view.camera.intrinsics * torch.tensor([[1.1 + index], [1.3], [1.0]]))
        split = ("train", "train", "val", "test", "train", "train")[index]
        views.append(replace(view, camera=replace(camera, lens=lenses[index % 4]), split=split))
    Image.fromarray(np.full(SIZE[::-1], 255, np.uint8)).save(tmp_path / "images/mask.png")
    Image.fromarray(np.full(SIZE[::-1], 2000, np.uint16)).save(tmp_path / "images/depth.png")
    views[2] = replace(views[2], mask=tmp_path / "images/mask.png")
    views[3] = replace(views[3], depth=tmp_path / "images/depth.png", depth_scale=0.002)
    points, colors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), np.eye(5, 3, dtype=np.uint8) * 200
    bounds = ((-1.0, -2.0, -3.0), (1.5, 2.5, 3.5))
    write_transforms(tmp_path, views, points=points, colors=colors, bounds=bounds, extra={"health": {"posed": 6}})

    dataset = open_dataset(tmp_path)
    for view, written in zip(dataset.views, views, strict=True):
        assert (view.name, view.image, view.split, view.lens, view.mask, view.depth, view.depth_scale) == (
            written.name,
            written.image,
            written.split,
            written.lens,
            written.mask,
            written.depth,
            written.depth_scale,
        )
        assert torch.equal(view.camera.intrinsics, written.camera.intrinsics)
        assert (view.camera.world_from_camera - written.camera.world_from_camera).abs().max() < 1e-6
    assert np.array_equal(dataset.points, points) and np.array_equal(dataset.point_colors, colors)
    assert dataset.bounds == bounds
    assert json.loads((tmp_path / "transforms.json").read_text())["health"] == {"posed": 6}
    assert not list(tmp_path.rglob("*.part"))


def test_cameras_can_be_read_without_images(tmp_path: Path) -> None:
    poses = captures.transforms(tmp_path, images=False)
    views = read_cameras(tmp_path / "transforms.json")
    assert np.allclose(poses_of(views), poses, atol=1e-6) and (views[0].camera.width, views[0].camera.height) == SIZE
    captures.transforms(tmp_path, images=False, top={"camera_angle_x": 0.7})
    camera = read_cameras(tmp_path / "transforms.json", 100, 50)[0].camera
    assert camera.intrinsics[0, 0].item() == pytest.approx(50 / math.tan(0.35))


def test_a_smaller_copy_of_the_images_scales_the_cameras_and_says_so(tmp_path: Path) -> None:
    captures.transforms(tmp_path, top={"w": 48, "h": 32, "fl_x": 40.0, "fl_y": 44.0, "cx": 26.0, "cy": 15.0})
    dataset = open_dataset(tmp_path)
    assert dataset.views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 11, 3.75], [0, 0, 1]]
    assert len(dataset.warnings) == 1 and "another size" in dataset.warnings[0]


def test_a_turned_photograph_is_turned_only_if_its_camera_is(tmp_path: Path) -> None:
    """EXIF orientation 6: stored lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :6] = 255  # left half as stored: the top half of the turned photograph

    def frame(index: int, entry: dict[str, Any]) -> None:
        entry["file_path"] = f"images/{index:02d}.jpg"
        Image.fromarray(pixels).save(tmp_path / entry["file_path"], exif=exif, quality=100)

    captures.transforms(tmp_path, frame=frame, top={"w": 8, "h": 12, "fl_x": 10.0})
    dataset = open_dataset(tmp_path)
    turned = dataset.load(dataset.views[0]).rgb
    assert turned.shape == (12, 8, 3) and turned[:5].min() > 200 and turned[7:].max() < 50
    captures.transforms(tmp_path, frame=frame, top={"w": 12, "h": 8, "fl_x": 10.0})
    dataset = open_dataset(tmp_path)
    assert dataset.load(dataset.views[0]).rgb.shape == (8, 12, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode_become_8_bit_colour(tmp_path: Path, mode: str) -> None:
    def frame(index: int, entry: dict[str, Any]) -> None:
        entry["file_path"] = f"images/{index:02d}.tiff" if mode == "CMYK" else f"images/{index:02d}.png"
        grey = np.full(SIZE[::-1], 200, np.uint8)
        image = Image.fromarray(grey.astype(np.uint16) << 8) if mode == "I;16" else Image.fromarray(grey).convert(mode)
        image.save(tmp_path / entry["file_path"])

    captures.transforms(tmp_path, count=2, frame=frame)
    dataset = open_dataset(tmp_path)
    pixels = dataset.load(dataset.views[0])
    assert pixels.rgb.shape == (*SIZE[::-1], 3) and pixels.rgb.dtype == np.uint8
    assert abs(int(pixels.rgb[0, 0, 0]) - (255 if mode == "1" else 200)) <= 1
    assert (pixels.alpha is not None) == (mode in ("LA", "RGBA"))


def test_a_lens_mask_hides_what_has_no_ray(tmp_path: Path) -> None:
    captures.transforms(tmp_path, top={"fl_x": 6.0, "k1": -1.0})
    dataset = open_dataset(tmp_path)
    mask = dataset.load(dataset.views[0]).mask
    assert mask is not None and not mask[0, 0] and mask[4, 6]


def test_write_transforms_refuses_what_the_format_cannot_say(tmp_path: Path) -> None:
    camera = Camera(torch.eye(4), torch.tensor([[10.0, 0.5, 6], [0, 10, 4], [0, 0, 1]]), *SIZE)
    with pytest.raises(ValueError, match="skewed"):
        write_transforms(tmp_path, [View("a.png", camera, tmp_path / "a.png")])
