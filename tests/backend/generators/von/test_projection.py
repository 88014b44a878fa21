"""The projection against rays that are followed exactly, through a world of its own conventions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.generators.von.projection import Optics, Sketch, composite, crop_boxes, cropped, normalised_depth, project
from backend.rendering.boxes import box_interval

SIDE = 48
OPTICS = Optics()
VOXEL = 2 / (SIDE - 1)
WORLD_FROM_FRAME = torch.tensor([-1.0, -1.0, 1.0])  # the frame's axes: left, front, up; the front faces -y

VIEWS = [(0.0, 0.0), (0.7, 0.4), (-1.3, 0.2), (2.4, 0.65)]


def _centres() -> Tensor:
    ticks = torch.linspace(-1, 1, SIDE)
    return torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1) * WORLD_FROM_FRAME


def _rays(azimuth: float, elevation: float) -> tuple[Tensor, Tensor]:
    """Origins and directions of unit depth [SIDE, SIDE, 3] of a camera of backend/cameras.py whose outermost pixel
    centres are where the sketch's outermost rays are."""
    level = OPTICS.distance * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), OPTICS.distance * math.sin(elevation))
    fov = 2 * math.atan(OPTICS.half_width * SIDE / (SIDE - 1))
    camera = Camera(
        torch.tensor(look_at(eye, (0.0, 0.0, 0.0))), torch.tensor(intrinsics_from_fov(fov, SIDE, SIDE)), SIDE, SIDE
    )
    rays = camera.rays()
    return rays.origins, rays.directions / rays.depth_from_distance[..., None]


def _agrees(sketch: Sketch, depth: Tensor) -> None:
    """depth: analytic, inf where a ray misses. A sketch is blurred by two voxels: near the outline it says less."""
    hit = torch.isfinite(depth)
    pooled = torch.nn.functional.max_pool2d(hit[None].float(), 9, 1, 4)[0]
    inner = -torch.nn.functional.max_pool2d(-hit[None].float(), 7, 1, 3)[0] > 0
    assert inner.sum() > 60 and (pooled == 0).sum() > 300
    assert (sketch.silhouette[0][inner] > 0.99).all()
    assert (sketch.silhouette[0][pooled == 0] < 0.05).all()
    assert (sketch.depth[0] - depth)[inner].abs().median() < VOXEL
    # a ray that comes within a voxel of the object probably stops: the outline lies at most that far outside
    certain = sketch.silhouette[0] > 0.5
    assert (certain & ~hit).sum() < 0.25 * hit.sum() and (hit & ~certain).sum() < 0.02 * hit.sum()
    places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).float()
    torch.testing.assert_close(places[certain].mean(0), places[hit].mean(0), atol=0.7, rtol=0)
    assert (sketch.depth[0][pooled == 0] > OPTICS.far - 0.15).all()


@pytest.mark.parametrize("view", VIEWS)
def test_a_sphere_beside_the_middle_lies_where_rays_meet_it(view: tuple[float, float]) -> None:
    centre, radius = torch.tensor([0.2, -0.15, 0.1]), 0.5
    solid = ((_centres() - centre).norm(dim=-1) < radius).float()
    origins, directions = _rays(*view)
    towards = origins - centre
    a, b, c = (directions**2).sum(-1), (towards * directions).sum(-1), (towards**2).sum(-1) - radius**2
    root = b**2 - a * c
    depth = torch.where(root > 0, (-b - root.clamp(min=0).sqrt()) / a, math.inf)
    _agrees(project(solid[None], torch.tensor([view]), OPTICS, SIDE), depth)


@pytest.mark.parametrize("view", VIEWS)
def test_a_box_of_three_lengths_lies_where_rays_meet_it(view: tuple[float, float]) -> None:
    low, high = torch.tensor([-0.2, -0.75, -0.6]), torch.tensor([0.65, 0.3, 0.35])
    centres = _centres()
    solid = ((centres > low) & (centres < high)).all(-1).float()
    origins, directions = _rays(*view)
    box = tuple(low.tolist()), tuple(high.tolist())
    near, far = box_interval(origins.reshape(-1, 3), directions.reshape(-1, 3), box)
    depth = torch.where(near < far, near, math.inf).reshape(SIDE, SIDE)
    _agrees(project(solid[None], torch.tensor([view]), OPTICS, SIDE), depth)


def test_stopping_is_that_of_one_ray_at_a_time() -> None:
    torch.manual_seed(0)
    p, t = torch.rand(7, 9), torch.linspace(1, 3, 9)
    silhouette, depth = composite(p, t, 3.5)
    for i in range(7):
        passed, seen, mean = 1.0, 0.0, 0.0
        for probability, place in zip(p[i].tolist(), t.tolist(), strict=True):
            probability = max(probability, 1e-4)
            seen, mean = seen + passed * probability, mean + passed * probability * place
            passed *= 1 - probability
        assert float(silhouette[i]) == pytest.approx(seen, abs=1e-6)
        assert float(depth[i]) == pytest.approx(mean + 3.5 * max(1 - seen, 1e-4), abs=1e-5)


def test_the_projection_is_differentiable_in_the_voxels() -> None:
    torch.manual_seed(0)
    voxels = (0.1 + 0.4 * torch.rand(1, 4, 4, 4, dtype=torch.float64)).requires_grad_()
    view = torch.tensor([[0.4, 0.3]], dtype=torch.float64)

    def sketch(values: Tensor) -> Tensor:
        found = project(values, view, OPTICS, 5)
        return torch.stack((found.silhouette, found.depth))

    assert torch.autograd.gradcheck(sketch, (voxels,), atol=1e-6)


def test_an_object_is_found_by_descending_the_sketches_of_three_views() -> None:
    ticks = torch.linspace(-1, 1, 16)
    x, y, z = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    wanted = ((x.abs() < 0.6) & (y.abs() < 0.35) & (z.abs() < 0.5)).float()[None]
    views = torch.tensor([[0.0, 0.2], [1.4, 0.2], [0.7, 0.6]])
    target = project(wanted.expand(3, -1, -1, -1), views, OPTICS, 16)
    logits = torch.full((1, 16, 16, 16), -2.0, requires_grad=True)
    adam = torch.optim.Adam([logits], 0.3)
    losses = []
    for _ in range(25):
        made = project(torch.sigmoid(logits).expand(3, -1, -1, -1), views, OPTICS, 16)
        loss = (made.silhouette - target.silhouette).square().mean() + (made.depth - target.depth).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_a_sketch_is_cut_square_and_one_pixel_does_not_widen_the_box() -> None:
    silhouette = torch.full((2, 20, 20), 0.005)
    silhouette[0, 5:16, 8:11] = 1.0  # 11 rows, 3 columns: 4 columns more on either side
    silhouette[0, 2, 9] = 1.0
    assert crop_boxes(silhouette).tolist() == [[5, 15, 4, 14], [0, 19, 0, 19]]
    depth = torch.where(silhouette > 0.5, 1.7, 2.99)
    boxes = crop_boxes(silhouette)
    cut = cropped(Sketch(silhouette, depth), boxes, 3.0, 20)
    assert cut.silhouette[0, :, 9:11].min() > 0.99 and cut.silhouette[0, :, :6].max() == 0
    assert cut.silhouette[1].max() == 0 and cut.depth[1].min() == 3.0
    normal = normalised_depth(cut.depth)
    assert float(normal.max()) == pytest.approx(1.0) and float(normal.min()) == -1.0
