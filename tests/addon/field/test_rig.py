"""Where the capture's cameras stand, and its file, without Blender."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.field import rig
from addon.scene import frames, png
from addon.wire.messages import Camera
from backend.nerf.datasets import open_dataset


def lens(
    fx: float = 300, fy: float = 250, cx: float = 120, cy: float = 90, width: int = 200, height: int = 160
) -> Camera:
    return Camera(frames.matrix4(np.eye(4)), ((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0)), width, height)


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize("lowest", [0.0, -1.0])
def test_a_spiral_is_spread_evenly_over_its_part_of_the_sphere(count: int, lowest: float) -> None:
    found = rig.spiral(count, lowest, 0.3)
    assert found.shape == (count, 3) and np.allclose(np.linalg.norm(found, axis=1), 1)
    assert (found[:, 2] > lowest).all()
    assert found[:, 2].mean() == pytest.approx((1 + lowest) / 2)
    if count == 100:
        between = np.linalg.norm(found[:, None] - found, axis=-1) + np.eye(count) * 9
        share = 2 * math.pi * (1 - lowest) / count  # of the area, for each
        assert between.min(1).min() > 0.75 * math.sqrt(share), "no two are near each other"
        assert between.min(1).max() < 1.25 * math.sqrt(share), "none stands alone"


def test_an_orbit_is_a_circle_at_its_elevation() -> None:
    found = rig.orbit(8, 0.5, 1.0)
    assert np.allclose(found[:, 2], math.sin(0.5))
    assert np.allclose(np.diff(np.unwrap(np.arctan2(found[:, 1], found[:, 0]))), math.pi / 4)


@pytest.mark.parametrize("kind", ["orbit", "hemisphere", "sphere"])
def test_seed_and_split_turn_a_rig(kind: str) -> None:
    first = rig.directions(kind, 5, 0.4, 7, "train")
    assert (first == rig.directions(kind, 5, 0.4, 7, "train")).all()
    assert np.abs(first - rig.directions(kind, 5, 0.4, 8, "train")).max() > 1e-3
    assert np.abs(first - rig.directions(kind, 5, 0.4, 7, "test")).max() > 1e-3
    assert rig.directions(kind, 0, 0.4, 7, "val").shape == (0, 3)


def test_splits_are_spread_along_a_path() -> None:
    found = rig.interleaved({"train": 8, "val": 0, "test": 2})
    assert len(found) == 10 and [index for index, split in enumerate(found) if split == "test"] == [2, 7]


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 2 * math.pi),
    st.floats(-1, 1),
    st.floats(-150, 350),
    st.floats(-150, 310),
    st.floats(80, 500),
    st.floats(0.3, 1),
)
def test_an_aimed_camera_has_the_sphere_in_the_middle_of_its_frame(
    turn: float, height: float, cx: float, cy: float, fx: float, fill: float
) -> None:
    direction = np.array((math.cos(turn) * math.sqrt(1 - height**2), math.sin(turn) * math.sqrt(1 - height**2), height))
    middle, radius, seen = np.array((1.0, -2.0, 0.5)), 0.7, lens(fx=fx, cx=cx, cy=cy)
    world = rig.aimed(seen, direction, middle, radius, fill)
    rotation = world[:3, :3]
    assert np.allclose(rotation.T @ rotation, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1)
    assert np.allclose((world[:3, 3] - middle) / np.linalg.norm(world[:3, 3] - middle), direction, atol=1e-9)
    inside = rotation.T @ (middle - world[:3, 3])
    pixel = np.array(seen.intrinsics) @ inside
    assert np.allclose(pixel[:2] / pixel[2], (100, 80), atol=1e-6)
    sides = np.array(((fx, 0, cx), (-fx, 0, 200 - cx), (0, 250, cy), (0, -250, 160 - cy)))
    clear = (sides / np.linalg.norm(sides, axis=1, keepdims=True)) @ inside
    assert clear.min() == pytest.approx(radius / fill), "the sphere takes its share of the frame"


def test_without_lens_shift_the_horizon_is_level() -> None:
    for direction in rig.spiral(20, -1.0, 0.0):
        world = rig.aimed(lens(cx=100, cy=80), direction, np.zeros(3), 1.0, 1.0)
        assert abs(world[2, 0]) < 1e-12 and world[2, 1] < 0, "image x is horizontal, image y goes down"


@pytest.mark.parametrize("same", [True, False])
def test_the_file_says_what_the_cameras_are(same: bool, tmp_path: Path) -> None:
    shots = []
    for index, direction in enumerate(rig.spiral(3, 0.0, 0.0)):
        seen = lens(fx=300 if same else 300 + index)
        world = rig.aimed(seen, direction, np.array((1.0, 2.0, 3.0)), 1.0, 0.9)
        split = rig.SPLITS[index]
        camera = Camera(frames.matrix4(world), seen.intrinsics, seen.width, seen.height)
        shots.append(rig.Shot(f"{split}_000", split, camera))
        png.write(tmp_path / f"images/{split}_000.png", np.full((160, 200, 4), index / 2, np.float32))
        png.write(tmp_path / f"masks/{split}_000.png", np.eye(160, 200, dtype=np.float32)[..., None].repeat(4, -1))
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / f"depth/{split}_000.npy", np.full((160, 200), 1.5, np.float32))
    files = {"file_path": "images/{}.png", "depth_file_path": "depth/{}.npy", "mask_path": "masks/{}.png"}
    document = rig.transforms(shots, (np.zeros(3), np.array((2.0, 4.0, 6.0))), files)
    assert ("fl_x" in document) == same
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    read = open_dataset(tmp_path)
    assert read.bounds == ((0, 0, 0), (2, 4, 6)) and not read.warnings
    assert [view.split for view in read.views] == ["train", "val", "test"]
    for view, shot in zip(read.views, shots):
        assert np.allclose(view.camera.world_from_camera, shot.camera.world_from_camera, atol=1e-6)
        assert np.allclose(view.camera.intrinsics, shot.camera.intrinsics)
        pixels = read.load(view)
        assert pixels.depth is not None and (pixels.depth == 1.5).all()
        assert pixels.mask is not None and (pixels.mask == np.eye(160, 200, dtype=bool)).all()
