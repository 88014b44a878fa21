"""Densities as tasks see them: cropped, and meshed at one level after another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest, NotSupported
from addon.wire.messages import IDENTITY4, MeshRequest, RenderRequest, SceneRef
from backend.cameras import Camera, from_wire, orbit
from backend.progress import silent
from backend.scenes.cropped import CroppedScene, cropped
from backend.scenes.placed import PlacedScene
from backend.scenes.protocol import FieldInfo, FieldSample, Image, value_of
from backend.tasks.mesh import mesh
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from meshing.errors import LevelOutOfRange
from tests.backend.fixtures import shapes

BOX = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
UPPER = ((-2.0, -2.0, 0.2), (2.0, 2.0, 2.0))


@dataclass(frozen=True)
class Ball:
    """A red ball of radius 0.7, 40 / metre inside, whose edge is 0.2 m wide. Counts its points."""

    count: list[int] = field(default_factory=list)

    @property
    def info(self) -> FieldInfo:
        return FieldInfo("density", 20.0, BOX)

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        self.count.append(points[..., 0].numel())
        value = 40 * ((0.8 - points.norm(dim=-1)) / 0.2).clamp(0, 1)
        return FieldSample(value, torch.tensor((1.0, 0.0, 0.0)).expand(points.shape))

    def render(self, camera: Camera, **_: Any) -> Image:
        return CroppedScene(self, BOX).render(camera)


@pytest.fixture
def ball() -> Ball:
    return Ball()


@pytest.fixture
def workspace(shapes_model: str, ball: Ball, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(shapes.ShapesGenerator, "synthesize", lambda self, ws, controls=None: ball)
    return Workspace("cpu")


def test_nothing_is_left_outside_the_box_and_all_inside_it(ball: Ball) -> None:
    scene = cropped(ball, UPPER)
    assert scene.info.bounds == ((-1.0, -1.0, 0.2), (1.0, 1.0, 1.0))
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inside = points[:, 2] >= 0.2
    value = scene.field(points).value
    assert (value[~inside] == 0).all() and (ball.field(points).value[~inside] > 0).any()
    torch.testing.assert_close(value[inside], ball.field(points).value[inside])


def test_what_is_no_density_and_a_box_beside_the_field_are_sentences(ball: Ball) -> None:
    with pytest.raises(NotSupported, match="Only a radiance field"):
        cropped(shapes.ShapesScene(0.0, torch.ones(3)), UPPER)
    with pytest.raises(InvalidRequest, match="beside the field"):
        cropped(ball, ((2.0, 2.0, 2.0), (3.0, 3.0, 3.0)))
    with pytest.raises(InvalidRequest, match="inside out"):
        SceneRef("shapes", crop=((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)))


def test_a_cropped_render_is_the_integral_along_each_ray(ball: Ball) -> None:
    """Straight from above through the middle: the optical depth of the upper cap, by hand."""
    info = replace(shapes.load("a", _card(), {"basis": torch.eye(4)}).info)
    camera = from_wire(orbit(info, 9, elevation=math.pi / 2 - 1e-3), torch.device("cpu"))
    image = cropped(ball, UPPER).render(camera, samples_per_ray=2000)
    optical = 40 * 0.4 + 20 * 0.2  # from 0.2 to 0.6 whole, to 0.8 falling off
    alpha = float(image.alpha[4, 4])
    assert alpha == pytest.approx(1 - math.exp(-optical), abs=1e-4)
    assert image.rgb[4, 4].tolist() == pytest.approx([1, 0, 0], abs=1e-4)
    assert 3 - 0.8 < float(image.depth[4, 4]) < 3 - 0.5
    corner = image.alpha[0, 0]
    assert corner == 0 and math.isinf(image.depth[0, 0])


def test_a_field_that_is_thin_everywhere_is_meshed_at_half_its_most(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = FieldInfo("density", 500.0, BOX)
    monkeypatch.setattr(Ball, "info", property(lambda self: thin))
    made = mesh(MeshRequest(SceneRef("shapes"), 32, color="none"), silent, workspace)
    assert made.iso_level == pytest.approx(20.0, rel=1e-3)


def test_a_level_above_a_density_is_answered_in_its_own_unit(workspace: Workspace) -> None:
    with pytest.raises(LevelOutOfRange, match="level 100: the field lies between 0 and 40") as caught:
        mesh(MeshRequest(SceneRef("shapes"), 16, iso_level=100.0), silent, workspace)
    assert caught.value.remedy == {"action": "set_level", "label": "Use a level in range", "value": 20.0}


def test_a_scene_with_ways_of_its_own_is_asked_for_them(ball: Ball) -> None:
    asked = []

    class Own(Ball):
        def value(self, points: Tensor) -> Tensor:
            asked.append("value")
            return self.field(points).value

        def within(self, box: Any) -> Any:
            asked.append(box)
            return ball

    scene = cropped(Own(), UPPER)
    points = torch.zeros(2, 3)
    points[1, 2] = 0.5
    assert value_of(scene, points).tolist() == [0.0, 40.0]
    scene.render(from_wire(orbit(shapes.load("a", _card(), {"basis": torch.eye(4)}).info, 4), torch.device("cpu")))
    assert asked == ["value", ((-1.0, -1.0, 0.2), (1.0, 1.0, 1.0))]


def _card() -> Any:
    return shapes.ModelCard(shapes.KIND, "Shapes", "", "CC0-1.0", False, {})


def test_a_crop_moves_with_the_object(ball: Ball, workspace: Workspace) -> None:
    move = np.eye(4)
    move[:3, 3] = 5, 0, 0
    ref = SceneRef("shapes", world_from_scene=tuple(map(tuple, move.tolist())), crop=UPPER)
    scene = workspace.scene(ref)
    assert isinstance(scene, PlacedScene)
    np.testing.assert_allclose(scene.info.bounds, ((4, -1, 0.2), (6, 1, 1)), atol=1e-6)
    camera = orbit(workspace.generator("shapes").info, 32)
    assert ref.world_from_scene != IDENTITY4
    seen = [
        render(RenderRequest(SceneRef("shapes", crop=crop), camera), silent, workspace).rgba[..., 3].sum()
        for crop in (None, UPPER)
    ]
    assert 0.1 * seen[0] < seen[1] < 0.7 * seen[0]


def test_a_cropped_mesh_is_closed_and_ends_at_the_box(workspace: Workspace) -> None:
    made = mesh(MeshRequest(SceneRef("shapes", crop=UPPER), 32, color="none"), silent, workspace)
    assert made.vertices[:, 2].min() == pytest.approx(0.2, abs=1e-3)
    assert made.vertices[:, 2].max() == pytest.approx(0.7, abs=5e-3)
    edges = np.sort(made.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_another_level_evaluates_no_point_of_the_field_again(ball: Ball, workspace: Workspace) -> None:
    def meshed(level: float | None, resolution: int = 32, crop: Any = None) -> tuple[float, int]:
        before = sum(ball.count)
        ref = SceneRef("shapes", crop=crop)
        made = mesh(MeshRequest(ref, resolution, level, color="none"), silent, workspace)
        return float(np.linalg.norm(made.vertices, axis=1).max()), sum(ball.count) - before

    radius, asked = meshed(None)
    assert radius == pytest.approx(0.7, abs=5e-3) and asked == 33**3
    assert meshed(30.0) == (pytest.approx(0.65, abs=5e-3), 0)
    assert meshed(10.0) == (pytest.approx(0.75, abs=5e-3), 0)
    assert meshed(10.0, 24)[1] > 0, "another lattice is another grid"
    assert meshed(10.0, 24, UPPER)[1] > 0, "and so is another box"
    workspace.unload()
    assert meshed(10.0, 24, UPPER)[1] > 0
