"""Finding codes of measured shapes, and learning one shape alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from addon.wire.errors import Cancelled, UnreadableFile
from backend.cameras import Camera, from_wire, orbit, points_of_depth
from backend.generators.deepsdf.mesh_distance import MeshDistance
from backend.generators.deepsdf.reconstruct import complete, interpolate, reconstruct, scan_from_depth, scan_from_points
from backend.generators.deepsdf.scene import DeepSDF, constructor_of, load, model_info
from backend.generators.deepsdf.single_shape import SingleShape, fit_single
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder
from meshing.grid import extract_surface


@pytest.fixture(scope="module")
def starter() -> DeepSDF:
    model = load_model(model_folder("deepsdf_chairs"))
    assert isinstance(model, DeepSDF)
    return model


def card_of(shape: SingleShape) -> ModelCard:
    metres = shape.model.metres_per_unit
    return ModelCard("deepsdf", "One", "", "", False, constructor_of(shape.model), metres_per_unit=metres)


def _stop(fraction: float, text: str = "", preview: object = None) -> None:
    if fraction > 0:
        raise Cancelled


def _disagreement(model: DeepSDF, first: Tensor, second: Tensor) -> float:
    """The share of the first shape's inside on which the two differ."""
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points * torch.tensor(model.bounds)[1]
    with torch.no_grad():
        a, b = model.sdf(points, first) < 0, model.sdf(points, second) < 0
    return float((a != b).sum() / a.sum())


def test_a_code_is_found_again_from_signed_distances(starter: DeepSDF) -> None:
    code = starter.mapping(starter.sample_z(3))[0, 0]
    points = torch.rand(8000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    points = points * torch.tensor(starter.bounds)[1]
    with torch.no_grad():
        samples = torch.cat([points, starter.sdf(points, code)[:, None]], -1)
        samples = samples[samples[:, 3].abs() < 0.1]
    found, loss = reconstruct(
        starter.sdf, samples, starter.code_mean, iterations=150, rate=0.02, points_per_step=512, code_weight=0.0
    )
    assert loss < 0.006
    start = _disagreement(starter, code, starter.code_mean)
    assert _disagreement(starter, code, found) < 0.5 * start


def test_a_chair_seen_from_the_front_is_completed_behind(starter: DeepSDF) -> None:
    """A depth image of one side; the back half of the chair was not seen."""
    ws = starter.mapping(starter.sample_z(9))[0]
    camera = from_wire(orbit(starter.info, 48, azimuth=0.4))
    depth = starter.synthesize(ws).render(camera, quality="full").depth
    scan = scan_from_depth(depth, camera)
    result = complete(starter, scan, iterations=120, starts=2, points_per_step=512)
    assert result.error < 0.012
    mean_error = _disagreement(starter, ws[0], starter.code_mean)
    assert _disagreement(starter, ws[0], result.ws[0]) < 0.7 * mean_error


def test_points_in_free_space_lie_between_the_point_and_where_it_was_seen_from() -> None:
    points, origin = torch.randn(50, 3), torch.tensor([0.0, -5.0, 0.0])
    scan = scan_from_points(points, None, origin.expand_as(points))
    assert scan.free is not None and scan.free_distance is not None
    away = (scan.free.reshape(4, 50, 3) - points).norm(dim=-1)
    torch.testing.assert_close(away, scan.free_distance.reshape(4, 50), rtol=1e-4, atol=1e-4)
    to_origin = (scan.free.reshape(4, 50, 3) - origin).norm(dim=-1)
    torch.testing.assert_close(away + to_origin, (points - origin).norm(dim=-1).expand(4, 50), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (torch.zeros(3, 3), "at least 10 points"),
        (torch.zeros(20, 2), r"\[N, 3\]"),
        (torch.full((20, 3), torch.nan), "not finite"),
        (torch.full((20, 3), 50.0), "Move and scale it"),
    ],
)
def test_a_scan_that_cannot_be_completed_says_why(starter: DeepSDF, points: Tensor, why: str) -> None:
    from backend.generators.deepsdf.reconstruct import PartialScan

    with pytest.raises(UnreadableFile, match=why):
        complete(starter, PartialScan(points), iterations=1)


def test_an_empty_depth_image_says_so() -> None:
    camera = Camera(torch.eye(4), torch.eye(3), 4, 4)
    with pytest.raises(UnreadableFile, match="empty"):
        scan_from_depth(torch.full((4, 4), torch.inf), camera)
    with pytest.raises(ValueError, match=r"must be \[4, 4\]"):
        scan_from_depth(torch.zeros(3, 4), camera)


def test_what_was_not_measured_is_neither_a_point_nor_free_space() -> None:
    camera = Camera(torch.eye(4), torch.tensor([[4.0, 0, 2], [0, 4.0, 2], [0, 0, 1]]), 4, 4)
    depth = torch.full((4, 4), 2.0)
    whole = scan_from_depth(depth, camera)
    for nothing in (0.0, torch.nan, -1.0):
        depth[1, 2] = nothing
        scan = scan_from_depth(depth, camera)
        assert len(scan.points) == 15 and scan.free is not None and whole.free is not None
        assert len(scan.free) < len(whole.free)
        assert (points_of_depth(depth, camera)[0] - whole.points[torch.arange(16) != 6]).abs().max() < 1e-6


def test_completion_can_be_cancelled(starter: DeepSDF) -> None:
    scan = scan_from_points(0.2 * torch.randn(50, 3))
    with pytest.raises(Cancelled):
        complete(starter, scan, iterations=40, points_per_step=64, progress=_stop)


def test_interpolation_begins_and_ends_at_its_codes(starter: DeepSDF) -> None:
    a, b = starter.codes[0][None], starter.codes[1][None]
    line = interpolate(starter, a, b, 5)
    assert line.shape == (5, 1, 64)
    torch.testing.assert_close(line[0], a)
    torch.testing.assert_close(line[-1], b)
    torch.testing.assert_close(line[2], (a + b) / 2)


def test_one_mesh_is_learnt_alone() -> None:
    """An open box over a rod: two parts that overlap, one of them open."""
    box, rod = trimesh.creation.box((0.8, 0.8, 0.2)), trimesh.creation.cylinder(0.1, 1.0)
    both = trimesh.util.concatenate([trimesh.Trimesh(box.vertices, box.faces[:-1], process=False), rod])
    both.apply_translation((5.0, 0.0, 0.0))
    vertices, faces = both.vertices.astype(np.float32), both.faces.astype(np.int32)
    single = fit_single(vertices, faces, steps=250, points_per_step=1024)
    scene = single.model.synthesize(single.model.mapping(single.model.sample_z(0))[0])

    def field(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return scene.field(torch.from_numpy(points)).value.numpy()

    mesh = extract_surface(field, scene.info.bounds, 64, 0.0, lipschitz=2.0, clamp=scene.info.clamp)
    off = MeshDistance(vertices, faces).signed_distance(mesh.vertices)
    assert np.abs(off).mean() < 0.02  # where it was: 5 m off the origin
    camera = from_wire(orbit(model_info("one", card_of(single), single.model), 33))
    assert scene.render(camera).alpha[12:20].max() == 1 and scene.image(camera).alpha[12:20].max() > 0.9
    again = load("one", card_of(single), single.model.state_dict())
    assert again.center == single.model.center == pytest.approx((5.0, 0.0, 0.0), abs=0.1)
    assert (mesh.vertices.max(0) - mesh.vertices.min(0)) == pytest.approx([0.8, 0.8, 1.0], abs=0.08)


def test_a_mesh_without_faces_or_size_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="nothing to learn"):
        fit_single(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(UnreadableFile, match="no size"):
        fit_single(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
