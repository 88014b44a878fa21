"""Rendered chairs: geometry, masks and poses agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from addon.wire.errors import UnreadableFile
from backend.generators.deepsdf.mesh_distance import MeshDistance
from backend.generators.deepsdf.scene import WORLD_FROM_CANONICAL
from backend.training.data import chair_views

PLAIN = chair_views.Material(np.full(3, 0.5, np.float32), np.full(3, 0.5, np.float32), (0.0, 0.0, 0.0))


@pytest.mark.parametrize("recipe", ["deepsdf", "gan3d", "image-to-shape"])
def test_a_recipe_without_its_data_names_the_command_to_run(recipe: str, backend_command: Any, tmp_path: Path) -> None:
    status, _, said = backend_command("train", recipe, tmp_path / "nowhere", "--out", tmp_path / "run")
    assert status == 1 and "nowhere" in said and "is missing: run" in said


def _box(*size: float) -> tuple[Any, Any]:
    mesh = trimesh.creation.box(size)
    return mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)


def test_depth_unprojects_onto_the_mesh_from_every_camera() -> None:
    canonical_from_world = np.array(WORLD_FROM_CANONICAL, np.float32).T
    vertices, faces = _box(0.9, 0.5, 0.7)
    views = chair_views.views_of(vertices @ canonical_from_world.T, faces, seed=3)
    assert views["images"].shape == (24, 64, 64, 3) and views["distances"].shape == (32, 32, 32)
    focal = views["intrinsics"][0, 0]
    ticks = (np.arange(64) + 0.5 - 32) / focal
    for mask, depth, pose in zip(views["masks"], views["depths"], views["world_from_camera"], strict=True):
        seen = mask == 255
        z = depth[seen].astype(np.float32)
        x, y = np.meshgrid(ticks, ticks)
        points = np.stack((x[seen] * z, y[seen] * z, z), -1) @ pose[:3, :3].T + pose[:3, 3]
        # the nearest of a pixel's rays is not its centre: half a pixel is 0.015
        outside = np.abs(points) - np.array([0.45, 0.25, 0.35])
        assert outside.max() < 0.03
        assert np.median(np.abs(outside.max(1))) < 0.01
        assert not np.isfinite(depth[mask == 0]).any()


def test_the_front_is_seen_from_azimuth_zero_and_the_right_side_a_quarter_later() -> None:
    vertices, faces = _box(0.2, 0.2, 0.2)
    vertices = vertices + np.array([0.0, -0.5, 0.3], np.float32)  # in front and above
    mesh = MeshDistance(vertices, faces)
    coverage = chair_views.render(mesh, 0.0, (PLAIN,) * 3, chair_views.camera(0.0, 0.0))[1]
    rows, columns = np.nonzero(coverage)
    assert rows.max() < 32 and columns.mean() == pytest.approx(31.5)
    coverage = chair_views.render(mesh, 0.0, (PLAIN,) * 3, chair_views.camera(np.pi / 2, 0.0))[1]
    assert np.nonzero(coverage)[1].max() < 32  # from +X, the front is to the left


def test_distances_are_those_of_the_shape_with_z_first() -> None:
    sphere = trimesh.creation.icosphere(3, 0.5)
    lifted = sphere.vertices.astype(np.float32) + np.array([0, 0.25, 0], np.float32)  # canonical y is up
    distances = chair_views.views_of(lifted, sphere.faces.astype(np.int32), 0)["distances"]
    expected = np.linalg.norm(chair_views.voxel_centers() - [0, 0, 0.25], axis=-1) - 0.5
    assert np.abs(distances - expected).max() < 0.01
    solid = chair_views.occupancy(distances)
    voxel = (2 * chair_views.CUBE_HALF / 32) ** 3
    assert solid.sum() * voxel == pytest.approx(4 / 3 * np.pi * 0.52**3, rel=0.05)


def test_the_seat_is_at_the_height_with_most_upward_area() -> None:
    seat, back = trimesh.creation.box((0.5, 0.5, 0.06)), trimesh.creation.box((0.5, 0.05, 0.8))
    back.apply_translation((0, 0.225, 0.4))
    chair = trimesh.util.concatenate([seat, back])
    found = chair_views.seat_height(chair.vertices.astype(np.float32), chair.faces.astype(np.int32))
    assert found == pytest.approx(0.03, abs=1 / 32)


def test_materials_alternate_with_their_period() -> None:
    one, two = np.zeros(3, np.float32), np.ones(3, np.float32)
    checks = chair_views.Material(one, two, (0.2, 0.2, 0.0))
    points = np.array([[0, 0, 0], [0.2, 0, 9], [0.2, 0.2, 0], [0.05, 0.05, 1]], np.float32)
    np.testing.assert_array_equal(checks.at(points)[:, 0], [0, 1, 0, 0])


def test_views_are_read_back_and_a_missing_chair_is_named(tmp_path: Path) -> None:
    for seed in (4, 5):
        np.savez(tmp_path / f"chair{seed:04d}.npz", images=np.full((2, 4, 4, 3), seed, np.uint8))
    assert chair_views.load_views(tmp_path, range(4, 6))["images"].shape == (2, 2, 4, 4, 3)
    with pytest.raises(UnreadableFile, match="chair0006"):
        chair_views.load_views(tmp_path, range(4, 7))
