"""Surface extent of a fit without a known box, and the solid cells behind its surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from addon.wire.messages import FitOptions
from backend.bench.ray_traced import VIEWS, RayTracedDataset, views_around
from backend.nerf.hash.presets import Training
from backend.nerf.hash.surface_extent import SurfaceExtent
from backend.nerf.hash.trainer import HashTrainer
from backend.nerf.hash.visual_hull import Silhouette, carve
from backend.progress import silent
from backend.tasks.mesh import extract
from meshing.cleanup import CleanUp, clean
from meshing.mesh import Mesh

CPU = torch.device("cpu")
SMALL = Training(network_rate=5e-3, log2_size=14, num_levels=8, samples_per_step=1 << 12, grid=64, warm_up=50)
STEPS = 300
OBJECT = np.array([[-0.44, -0.44, -0.32], [0.44, 0.44, 0.35]])  # a ball over a ring, metres
SIDE = 0.88
TOLERANCE = 0.015 * SIDE  # 0.8 of a pixel


def fitted(lowest: float, seed: int = 0) -> HashTrainer:
    """A fit to pictures of 64² from cameras no lower than this, whose data set knows no box."""
    views = tuple(view for view in views_around(VIEWS, 64) if view.camera.world_from_camera[2, 3] > lowest)
    made = HashTrainer(
        RayTracedDataset(Path(), "ray-traced", views), FitOptions(steps=STEPS, seed=seed), CPU, training=SMALL
    )
    for _ in range(STEPS):
        made.advance()
    return made


@pytest.fixture(scope="module")
def from_all_sides() -> HashTrainer:
    return fitted(-2.0)


def meshed(made: HashTrainer) -> Mesh:
    scene = made.scene()
    found = extract(scene, 96, scene.info.iso_level, CPU, silent)
    return clean(found, CleanUp(least_fraction=0.01, measure="area"))


def outside(found: Mesh) -> np.ndarray:
    """Return the metres that each face of the mesh's box lies outside that of the object: [low or high, axis]."""
    return np.stack((OBJECT[0] - found.vertices.min(0), found.vertices.max(0) - OBJECT[1]))


def test_the_mesh_is_as_large_as_the_object(from_all_sides: HashTrainer) -> None:
    assert np.abs(outside(meshed(from_all_sides))).max() < TOLERANCE


def test_what_no_camera_saw_does_not_hang_below_the_object() -> None:
    made = fitted(0.3)
    missed = outside(meshed(made))
    bottom = missed[0, 2]
    missed[0, 2] = 0
    assert np.abs(missed).max() < TOLERANCE, "what cameras saw is where it is"
    assert -0.08 * SIDE < bottom < 0.02 * SIDE, "of its lowest part they see but the edge"


def test_there_are_no_caves_behind_the_surface(from_all_sides: HashTrainer) -> None:
    around = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    inside = torch.tensor((0.0, 0.0, 0.1)) + 0.15 * torch.nn.functional.normalize(around, dim=-1)
    shares = []
    for made in (from_all_sides, fitted(-2.0, seed=1), fitted(-2.0, seed=2)):  # rounding alone moves one by 0.005
        scene = made.scene()
        shares.append(float((scene.value(inside) > scene.info.iso_level).float().mean()))
        torch.testing.assert_close(scene.value(inside), scene.field(inside).value)
    assert sum(shares) / len(shares) > 0.98


def test_what_is_solid_is_kept_with_the_scene(from_all_sides: HashTrainer) -> None:
    from backend.nerf.hash.scene import scene_from_tensors

    scene = from_all_sides.scene()
    _, config, tensors = scene.tensors()
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(scene_from_tensors(config, tensors, CPU).value(points), scene.value(points))
    assert scene.hash_field.solid.any()
    del tensors["solid"]
    assert not scene_from_tensors(config, tensors, CPU).hash_field.solid.any(), "a file from before is still read"


def extent(seen: torch.Tensor, hits: torch.Tensor) -> SurfaceExtent:
    return SurfaceExtent(seen, hits, torch.ones(len(hits)))


def test_hidden_cells_are_solid_and_empty_ones_that_light_reaches_are_not() -> None:
    """A hollow block with an unseen inside, and one with a window."""
    occupied = torch.zeros(16, 16, 16, dtype=torch.bool)
    occupied[2:7, 2:7, 2:7] = occupied[9:14, 9:14, 9:14] = True
    occupied[4, 4, 4] = occupied[11, 11, 11] = False
    seen = torch.zeros_like(occupied)
    seen[9:11, 11, 11] = True
    solid = extent(seen, torch.zeros(0, 3)).solid(occupied)
    expected = occupied.clone()
    expected[4, 4, 4] = True
    expected[9:11, 11, 11] = False
    assert torch.equal(solid, expected)


def test_the_box_is_that_of_the_surface_without_floaters_and_stray_rays() -> None:
    random = torch.Generator().manual_seed(0)
    plate = torch.rand(20000, 3, generator=random) * torch.tensor([0.5, 0.4, 0.2]) + 0.25
    floater = torch.rand(100, 3, generator=random) * 0.01 + 0.91  # one cell of 32³
    stray = torch.rand(30, 3, generator=random)
    seen = torch.zeros(32, 32, 32, dtype=torch.bool)
    found = extent(seen, torch.cat((plate, floater, stray))).box
    assert found is not None
    torch.testing.assert_close(found[0], torch.tensor([0.25, 0.25, 0.25]), rtol=0, atol=0.02)
    torch.testing.assert_close(found[1], torch.tensor([0.75, 0.65, 0.45]), rtol=0, atol=0.02)
    assert extent(seen, stray).box is None and extent(seen, stray).level is None


def test_a_sheet_has_a_box_that_it_can_be_meshed_in() -> None:
    sheet = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.5, 0.5, 0.0]) + 0.25
    found = extent(torch.zeros(32, 32, 32, dtype=torch.bool), sheet).box
    assert found is not None
    torch.testing.assert_close(torch.stack(found)[:, 2], torch.tensor([0.25 - 2 / 32, 0.25 + 2 / 32]))
    assert (found[0][:2] >= 0.25).all() and (found[1][:2] <= 0.75).all()


def test_the_hull_leaves_out_what_no_picture_shows() -> None:
    """A camera above a ball: beside its view nothing is known, and nothing is there."""
    camera = next(view.camera for view in views_around(VIEWS, 32) if view.camera.world_from_camera[2, 3] > 1.5)
    seen = torch.zeros(32, 32, dtype=torch.bool)
    seen[12:20, 12:20] = True
    hull = carve([Silhouette.of(camera, seen)], torch.full((3,), -1.5), 3.0, 32)
    assert hull[16, 16, 16] and not hull[0, :, :16].any() and not hull[:, :, -1].all()
