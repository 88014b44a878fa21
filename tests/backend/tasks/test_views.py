"""Views of a model as a data set: the fit's own reader opens them, and the cameras are those of the renders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addon.wire import payload
from addon.wire.errors import InvalidRequest
from addon.wire.messages import FitOptions, FitRequest, Latent, SceneRef, ViewsRequest
from backend.cameras import from_wire
from backend.nerf import consistency
from backend.nerf.datasets import open_dataset
from backend.progress import silent
from backend.scenes.protocol import Image
from backend.tasks.fit_staging import stage
from backend.tasks.render import image8, rgba
from backend.tasks.views import HIGHEST, render_views, viewpoints, views
from backend.tasks.workspace import Workspace


@pytest.fixture
def workspace(data: Path, shapes_model: str) -> Workspace:
    return Workspace("cpu")


def test_the_data_set_opens_with_the_cameras_and_pixels_of_the_scene(workspace: Workspace, tmp_path: Path) -> None:
    ref = SceneRef("shapes", Latent(3))
    written = render_views(ViewsRequest(ref, 16, 24), tmp_path, silent, workspace)
    found = open_dataset(tmp_path)
    assert len(found.views) == 16 and len(found.split("train")) == 14 and written.background == "auto"
    assert found.bounds == pytest.approx(np.array(workspace.generator("shapes").info.bounds))
    scene = workspace.scene(ref)
    for view in found.views[:4]:
        pixels = found.load(view)
        with torch.no_grad():
            expected = image8(rgba(scene.render(view.camera)))
        assert pixels.alpha is not None
        assert np.abs(pixels.alpha.astype(int) - expected[..., 3]).max() <= 2
        assert np.abs(pixels.rgb.astype(int) - expected[..., :3])[pixels.alpha > 0].max() <= 2


def test_viewpoints_fill_the_trained_range_evenly_and_keep_off_the_poles(workspace: Workspace) -> None:
    info = workspace.generator("shapes").info
    cameras = viewpoints(info, 64, 32)
    centre = np.mean(info.bounds, axis=0)
    eyes = np.array([np.array(camera.world_from_camera)[:3, 3] for camera in cameras]) - centre
    azimuth, elevation = np.arctan2(eyes[:, 0], -eyes[:, 1]), np.arcsin(eyes[:, 2] / np.linalg.norm(eyes, axis=1))
    low, high = info.pose_prior.azimuth
    counts, _ = np.histogram(azimuth, 8, (low, high))
    assert counts.min() >= 6
    assert np.abs(elevation).max() <= HIGHEST + 1e-6
    assert viewpoints(info, 64, 32) == cameras != viewpoints(info, 64, 32, seed=1)


def test_the_files_are_uploads_that_a_fit_takes(workspace: Workspace, tmp_path: Path) -> None:
    result = views(ViewsRequest(SceneRef("shapes"), 9, 16), silent, workspace)
    payload.unpack(payload.pack(result))
    assert result.world_from_camera.shape == (9, 4, 4)
    request = FitRequest("mine", result.files, FitOptions(background=result.background))
    assert len(stage(request, tmp_path / "fit", workspace.blobs).views) == 9


def test_a_folder_with_something_in_it_is_refused(backend_command: Any, shapes_model: str, tmp_path: Path) -> None:
    status, out, _ = backend_command("views", "shapes", "--out", tmp_path / "new", "--count", 8, "--size", 16, "--json")
    answer = json.loads(out)
    assert status == 0 and answer["views"] == 8 and "python -m backend fit" in answer["next"]
    status, _, complaint = backend_command("views", "shapes", "--out", tmp_path / "new", "--count", 8)
    assert status == 1 and "is not empty" in complaint


def test_a_request_out_of_range_is_refused() -> None:
    for wrong in ({"count": 3}, {"size": 8}, {"seed": -1}):
        with pytest.raises(InvalidRequest):
            ViewsRequest(SceneRef("shapes"), **wrong)


# ------------------------------------------------------------------------------------------------------ consistency


def _pair(workspace: Workspace) -> tuple[Any, Any]:
    info = workspace.generator("shapes").info
    first, second = consistency.neighbours(info, 1, 64, math.radians(12))[0]
    return from_wire(first), from_wire(second)


def test_views_of_one_field_agree_where_both_see_it(workspace: Workspace) -> None:
    scene = workspace.scene(SceneRef("shapes"))

    def painted(camera: Any) -> Image:
        """The shape with colours that belong to its points."""
        image = scene.render(camera)
        rays = camera.rays()
        points = rays.origins + rays.directions * (image.depth / rays.depth_from_distance)[..., None]
        return Image(
            torch.where(image.alpha[..., None] > 0.5, (3 * points).sin() * 0.5 + 0.5, 1.0), image.alpha, image.depth
        )

    with torch.no_grad():
        pair = consistency.compare(*_pair(workspace), painted, scene.render)
    assert pair.agreement.pixels > 200
    assert pair.agreement.psnr > 28 and pair.agreement.psnr > pair.agreement.psnr_unmoved + 6


def test_a_texture_that_sticks_to_the_screen_is_found_out(workspace: Workspace) -> None:
    scene = workspace.scene(SceneRef("shapes"))
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    stuck = (((rows // 4 + columns // 4) % 2).float() * 0.8 + 0.1)[..., None].expand(-1, -1, 3)

    def painted(camera: Any) -> Image:
        image = scene.render(camera)
        return Image(stuck, image.alpha, image.depth)

    with torch.no_grad():
        pair = consistency.compare(*_pair(workspace), painted, scene.render)
    assert pair.agreement.psnr < 12
    assert pair.agreement.squared_unmoved == pytest.approx(0, abs=0.01)


def test_what_is_hidden_from_the_neighbour_does_not_count() -> None:
    """A card in front of a wall: beside it lies wall that only one of two cameras sees."""
    from addon.wire.messages import Camera

    def at(x: float) -> Any:
        pose = ((1.0, 0.0, 0.0, x), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        return from_wire(Camera(pose, ((40.0, 0.0, 20.0), (0.0, 40.0, 20.0), (0.0, 0.0, 1.0)), 40, 40))

    def seen(camera: Any) -> Image:
        rays = camera.rays()
        slope = rays.directions / rays.directions[..., 2:]
        near = rays.origins + slope * 2.0
        card = (near[..., :2].abs() < 0.4).all(-1)
        depth = torch.where(card, 2.0, 4.0)
        return Image(card[..., None].float().expand(-1, -1, 3) * 0.8, torch.ones_like(depth), depth)

    first, second = at(0.0), at(0.5)
    pair = consistency.compare(first, second, seen, seen)
    hidden = ~pair.visible[20]
    assert 3 <= int(hidden.sum()) <= 12  # the card's shadow, 0.5 m seen from 2 m before a wall at 4 m
    assert pair.agreement.absolute < 0.03


def test_pooling_weighs_by_pixels() -> None:
    made = [consistency.Agreement(0.1, 0.2, 0.3, 10), consistency.Agreement(0.4, 0.5, 0.6, 30)]
    assert consistency.pooled(made).squared == pytest.approx(0.325) and consistency.pooled(made).pixels == 40
    assert math.isnan(consistency.pooled([]).squared)


def test_the_command_measures_a_field_by_its_own_depth(backend_command: Any, shapes_model: str, tmp_path: Path) -> None:
    status, out, _ = backend_command(
        "consistency", "shapes", "--pairs", 2, "--size", 48, "--picture", tmp_path / "pairs.png", "--json"
    )
    found = json.loads(out)
    assert status == 0 and found["depth"] == "own" and found["pairs"] == 2
    assert found["psnr"] > 28 and found["pixels"] > 500
    assert (tmp_path / "pairs.png").is_file()
    assert backend_command("consistency", "shapes", "--step", 0)[0] == 1
