"""Voxels as a Scene: where the surface is, how it is drawn, cut, moved and meshed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.cameras import Camera, from_wire, intrinsics_from_fov, look_at
from backend.scenes.cropped import cropped
from backend.scenes.placed import PlacedScene
from backend.scenes.protocol import FieldInfo, FieldSample, Scene
from backend.scenes.trace import RayTraced
from backend.scenes.voxels import VoxelScene, cube_in_world
from backend.tasks.mesh import extract
from tests.gradients import agreement, check_gradients, moved_by, weighted_sum

RADIUS, HALF, SIDE = 0.3, 0.5, 32


def middles(side: int, half: float) -> Tensor:
    """World places of the voxels, indexed z, y, x. [side, side, side, 3]"""
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * half
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack((x, y, z), -1)


def ball(quantity: str = "density") -> VoxelScene:
    distance = middles(SIDE, HALF).norm(dim=-1) - RADIUS
    voxel = 2 * HALF / SIDE
    values = (0.5 - distance / voxel / 2).clamp(0, 1) if quantity == "density" else distance
    return VoxelScene(values, cube_in_world(HALF), "density" if quantity == "density" else "sdf")


def camera(eye: tuple[float, float, float], size: int = 65) -> Camera:
    pose, intrinsics = look_at(eye, (0.0, 0.0, 0.0)), intrinsics_from_fov(0.6, size, size)
    return Camera(torch.tensor(pose), torch.tensor(intrinsics), size, size)


def test_the_field_is_the_stored_value_in_the_middle_of_a_voxel_and_linear_between() -> None:
    values = torch.rand(3, 4, 5)
    world_from_grid = torch.tensor([[2.5, 0, 0, 1.0], [0, 2.0, 0, 2.0], [0, 0, 1.5, 3.0], [0, 0, 0, 1]])
    scene = VoxelScene(values, world_from_grid)  # voxels of one metre
    corner = torch.tensor([-1.5, 0.0, 1.5])
    at = corner + torch.tensor([3.5, 1.5, 0.5])  # x, y, z
    assert scene.field(at).value.item() == pytest.approx(values[0, 1, 3].item(), abs=1e-6)
    between = scene.field(at + torch.tensor([0.5, 0.0, 0.0])).value.item()
    assert between == pytest.approx((values[0, 1, 3] + values[0, 1, 4]).item() / 2, abs=1e-6)
    assert scene.info.bounds == ((-1.5, 0.0, 1.5), (3.5, 4.0, 4.5))


def test_occupancy_is_nothing_outside_and_a_distance_grows_there() -> None:
    outside = torch.tensor([[2.0, 0.0, 0.0], [0.0, -3.0, 0.0]])
    assert (VoxelScene(torch.ones(4, 4, 4), cube_in_world(1.0)).field(outside).value == 0).all()
    distance = VoxelScene(torch.full((4, 4, 4), 0.25), cube_in_world(1.0), "sdf").field(outside).value
    assert torch.allclose(distance, torch.tensor([1.25, 2.25]))


def test_the_field_has_gradients_in_points_and_values() -> None:
    values = torch.rand(4, 4, 4, dtype=torch.float64, requires_grad=True)
    points = (torch.rand(5, 3, dtype=torch.float64) - 0.5).requires_grad_()
    matrix = cube_in_world(1.0).double()
    assert torch.autograd.gradcheck(lambda v, p: VoxelScene(v, matrix).field(p).value, (values, points))


@pytest.mark.parametrize("quantity", ["density", "sdf"])
def test_a_ball_is_seen_where_it_is(quantity: str) -> None:
    view = camera((1.2, -1.6, 0.0))
    image = ball(quantity).render(view)
    middle = image.depth[32, 32].item()
    assert middle == pytest.approx(2.0 - RADIUS, abs=2e-3)
    assert image.normal is not None
    towards = torch.tensor([0.6, -0.8, 0.0])
    assert (image.normal[32, 32] @ towards).item() > 0.999
    silhouette = math.asin(RADIUS / 2.0)  # half the angle under which a ball is seen
    radius = math.tan(silhouette) * view.intrinsics[0, 0].item()
    assert math.sqrt(image.alpha.sum().item() / math.pi) == pytest.approx(radius, rel=0.01)
    assert torch.isinf(image.depth[0, 0]) and image.alpha[0, 0] == 0


def test_every_ray_that_meets_the_ball_ends_on_it() -> None:
    view = camera((0.3, -1.7, 0.8))
    image = ball().render(view)
    rays = view.rays()
    hit = image.alpha == 1
    points = rays.origins + rays.directions * (image.depth / rays.depth_from_distance)[..., None]
    assert hit.sum() > 500
    assert (points[hit].norm(dim=-1) - RADIUS).abs().max() < 3e-3


def test_a_draft_shows_the_same_picture_roughly() -> None:
    view = camera((1.0, -1.5, 0.5), 64)
    full, draft = ball().render(view), ball().render(view, quality="draft")
    assert draft.rgb.shape == full.rgb.shape
    assert (draft.alpha - full.alpha).abs().mean() < 0.03


def test_an_orthographic_camera_sees_the_ball_in_its_own_size() -> None:
    view = replace(camera((0.0, -2.0, 0.0)), projection="orthographic")
    intrinsics = torch.tensor([[60.0, 0, 32.5], [0, 60.0, 32.5], [0, 0, 1]])
    image = ball().render(replace(view, intrinsics=intrinsics))
    assert math.sqrt(image.alpha.sum().item() / math.pi) == pytest.approx(60 * RADIUS, rel=0.01)


def test_a_moved_and_stretched_scene_is_drawn_where_it_is() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0]))
    matrix[0, 3] = 1.0
    image = PlacedScene(ball(), matrix).render(camera((1.0, -3.0, 0.0)))
    front = PlacedScene(ball(), matrix).render(
        replace(camera((0.0, 0.0, 0.0)), world_from_camera=torch.tensor(look_at((1.0, -3.0, 0.0), (1.0, 0.0, 0.0))))
    )
    assert front.depth[32, 32].item() == pytest.approx(3.0 - RADIUS, abs=3e-3)
    assert image.alpha.sum() > 0


def test_a_crop_cuts_the_picture_as_it_cuts_the_field() -> None:
    scene = cropped(ball(), ((-1.0, 0.1, -1.0), (1.0, 1.0, 1.0)))
    image = scene.render(camera((0.0, -2.0, 0.0)))
    assert image.depth[32, 32].item() == pytest.approx(2.1, abs=1e-3)  # the flat cut
    assert image.normal is not None and image.normal[32, 32, 1].item() == pytest.approx(-1.0, abs=1e-3)
    assert scene.field(torch.tensor([0.0, 0.05, 0.0])).value == 0
    assert scene.field(torch.tensor([0.0, 0.15, 0.0])).value > 0.5


def rough_ball(quantity: str) -> tuple[Tensor, Tensor]:
    """Values of a ball with dents, and the placement of its grid, in float64."""
    values = ball(quantity).values
    dents = 0.02 * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return (values + dents).double(), cube_in_world(HALF).double()


PIXELS = {
    "image": lambda scene, camera: scene.image(camera),
    "trace": lambda scene, camera: scene.trace(camera.rays()),
}


@pytest.mark.parametrize("made_by", PIXELS)
@pytest.mark.parametrize("quantity", ["density", "sdf"])
def test_pixels_have_the_gradients_of_central_differences(quantity: str, made_by: str) -> None:
    values, world_from_grid = rough_ball(quantity)
    values.requires_grad_(True)
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    view = camera((1.2, -1.6, 0.5), 17)

    def loss() -> Tensor:
        scene = VoxelScene(values, world_from_grid, quantity)  # type: ignore[arg-type]
        return weighted_sum(PIXELS[made_by](scene, moved_by(view, twist)))

    check_gradients(loss, {"values": values, "camera": twist}, rel=1e-4, step=1e-7)


@pytest.mark.parametrize("quantity", ["density", "sdf"])
def test_the_differentiable_image_is_the_one_that_is_rendered(quantity: str) -> None:
    scene, view = ball(quantity), camera((1.2, -1.6, 0.5))
    rendered, image = scene.render(view), scene.image(view)
    assert agreement(image, rendered) > 40 > scene.info.trace_psnr
    inside = rendered.alpha == 1
    depth = image.mean_distance() * view.rays().depth_from_distance
    assert torch.allclose(depth[inside], rendered.depth[inside], atol=2e-3)
    assert image.normal is not None and rendered.normal is not None
    assert float((image.normal * rendered.normal).sum(-1)[inside & (image.alpha == 1)].min()) > 0.99
    silhouettes = scene.trace(view.rays()).alpha, image.alpha
    assert all(float(alpha.sum()) == pytest.approx(float(rendered.alpha.sum()), rel=0.01) for alpha in silhouettes)


def test_a_ball_that_grows_covers_more_of_the_image() -> None:
    values, world_from_grid = rough_ball("sdf")
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    view = camera((1.2, -1.6, 0.5), 17)
    view = moved_by(view, torch.zeros(6, dtype=torch.float64))
    VoxelScene(values - offset, world_from_grid, "sdf").image(view).alpha.sum().backward()
    assert offset.grad is not None
    # the disc of a ball at distance 2 has an area of π (f r / √(4 − r²))², in pixels
    focal, tangent = float(view.intrinsics[0, 0]), RADIUS / math.sqrt(4.25 - RADIUS**2)
    growth = 2 * math.pi * focal**2 * tangent * 4.25 / (4.25 - RADIUS**2) ** 1.5
    assert float(offset.grad) == pytest.approx(growth, rel=0.15)


@pytest.mark.parametrize("made_by", PIXELS)
def test_a_moved_and_stretched_scene_has_its_gradients_and_its_image(made_by: str) -> None:
    values, world_from_grid = rough_ball("density")
    turned = torch.tensor([[0.0, -1.2, 0, 0.3], [1.0, 0, 0.1, -0.2], [0, 0, 0.9, 0.1], [0, 0, 0, 1]])
    view = camera((1.2, -1.6, 0.5), 17)
    values.requires_grad_(True)
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        scene = PlacedScene(VoxelScene(values, world_from_grid), turned.double())
        return weighted_sum(PIXELS[made_by](scene, moved_by(view, twist)))

    check_gradients(loss, {"values": values, "camera": twist}, rel=1e-4, step=1e-7)
    scene, view = PlacedScene(ball(), turned), camera((1.2, -1.6, 0.5))
    rendered, image = scene.render(view), scene.image(view)
    assert agreement(image, rendered) > scene.info.trace_psnr
    inside = rendered.alpha == 1
    depth = image.mean_distance() * view.rays().depth_from_distance
    assert torch.allclose(depth[inside], rendered.depth[inside], atol=3e-3)
    assert image.normal is not None and rendered.normal is not None
    assert float((image.normal * rendered.normal).sum(-1)[inside & (image.alpha == 1)].min()) > 0.98


@dataclass(frozen=True)
class Fog(RayTraced):
    """A coloured density without a way to crop itself."""

    thickness: Tensor

    @property
    def info(self) -> FieldInfo:
        return FieldInfo("density", 1.0, ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        density = self.thickness * torch.exp(-4 * points.square().sum(-1))
        return FieldSample(density, torch.sigmoid(3 * points))


@pytest.mark.parametrize("kind", ["fog", "voxels"])
def test_a_cropped_scene_has_its_gradients_and_its_image(kind: str) -> None:
    box = ((-0.5, -0.21, -0.53), (0.22, 0.8, 0.4))
    values, world_from_grid = rough_ball("density")
    thickness = torch.tensor(4.0, dtype=torch.float64)
    variable = values if kind == "voxels" else thickness
    variable.requires_grad_(True)
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    view = camera((1.2, -1.6, 0.5), 17)

    def scene() -> Scene:
        return cropped(VoxelScene(values, world_from_grid) if kind == "voxels" else Fog(thickness), box)

    def loss() -> Tensor:
        return weighted_sum(scene().trace(moved_by(view, twist).rays()))

    check_gradients(loss, {kind: variable, "camera": twist}, rel=1e-4, step=1e-7)
    view = moved_by(view, twist.detach())
    rendered, image = scene().render(view), scene().image(view)
    assert agreement(image, rendered) > (30 if kind == "voxels" else 80)


@pytest.mark.parametrize("quantity", ["density", "sdf"])
def test_its_mesh_is_the_ball(quantity: str) -> None:
    scene = ball(quantity)
    made = extract(scene, 64, scene.info.iso_level, torch.device("cpu"), lambda *_, **__: None)
    assert np.abs(np.linalg.norm(made.vertices, axis=1) - RADIUS).max() < 3e-3
    corners = made.vertices[made.faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.02)


def test_solid_voxels_up_to_the_border_give_a_closed_surface() -> None:
    scene = VoxelScene(torch.ones(4, 4, 4), cube_in_world(1.0))
    made = extract(scene, 32, 0.5, torch.device("cpu"), lambda *_, **__: None)
    corners = made.vertices[made.faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(8.0, rel=0.15)


def test_nothing_there_is_an_empty_picture() -> None:
    image = VoxelScene(torch.zeros(4, 4, 4), cube_in_world(1.0)).render(camera((0.0, -2.0, 0.0), 9))
    assert image.alpha.sum() == 0


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[D, H, W\]"):
        VoxelScene(torch.zeros(1, 4, 4, 4), torch.eye(4))


def test_a_wire_camera_inside_the_solid_sees_its_own_place() -> None:
    from addon.wire import messages

    wire = messages.Camera(look_at((0.0, 0.0, 0.1), (0.0, 1.0, 0.1)), intrinsics_from_fov(0.6, 5, 5), 5, 5)
    image = ball().render(from_wire(wire))
    assert (image.alpha == 1).all() and (image.depth == 0).all()
