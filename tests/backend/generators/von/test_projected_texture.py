"""Colours laid on a surface from several sides, where they are known everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.generators.von.projected_texture import View, colors_from_views

RADIUS = 0.5


def _paint(points: Tensor) -> Tensor:
    return 0.5 + 0.45 * torch.sin(points * torch.tensor([3.0, 2.0, 4.0]) + torch.tensor([0.0, 1.0, 2.0]))


def _camera(azimuth: float, elevation: float, size: int = 96) -> Camera:
    level = 2.5 * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), 2.5 * math.sin(elevation))
    return Camera(
        torch.tensor(look_at(eye, (0.0, 0.0, 0.0))), torch.tensor(intrinsics_from_fov(0.6, size, size)), size, size
    )


def _view(camera: Camera, spheres: Sequence[tuple[Tensor, float, Tensor | None]]) -> View:
    """A picture of spheres (centre, radius, colour; None: painted by position), followed ray by ray."""
    rays = camera.rays()
    depth = torch.full((camera.height, camera.width), math.inf)
    rgb = torch.ones(camera.height, camera.width, 3)
    for centre, radius, color in spheres:
        towards = rays.origins - centre
        b, c = (towards * rays.directions).sum(-1), (towards**2).sum(-1) - radius**2
        root = b**2 - c
        distance = -b - root.clamp(min=0).sqrt()
        nearer = (root > 0) & (distance * rays.depth_from_distance < depth)
        points = rays.origins + distance[..., None] * rays.directions
        depth = torch.where(nearer, distance * rays.depth_from_distance, depth)
        rgb = torch.where(nearer[..., None], _paint(points) if color is None else color, rgb)
    return View(camera, rgb, depth)


def _sphere_points(count: int = 2000) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)


def test_a_painted_sphere_gets_its_paint_back() -> None:
    ball = [(torch.zeros(3), RADIUS, None)]
    views = [_view(_camera(i * math.pi / 4, e), ball) for i in range(8) for e in (-0.5, 0.5)]
    normals = _sphere_points()
    found = colors_from_views(RADIUS * normals, normals, views, 0.02)
    error = (found - _paint(RADIUS * normals)).abs()
    assert float(error.mean()) < 0.01 and float(error.max()) < 0.15


def test_what_stands_in_front_paints_nothing_behind_it() -> None:
    red = torch.tensor([1.0, 0.0, 0.0])
    scene = [(torch.zeros(3), RADIUS, None), (torch.tensor([0.0, -0.9, 0.0]), 0.25, red)]
    views = [_view(_camera(a, 0.0), scene) for a in (0.0, 0.9, -0.9)]
    normals = _sphere_points()
    normals = normals[(normals[:, 1] < -0.9)]  # hidden from the front by the red ball, seen from both sides
    found = colors_from_views(RADIUS * normals, normals, views, 0.02)
    assert float((found - _paint(RADIUS * normals)).abs().mean()) < 0.03


def test_a_point_that_no_view_sees_has_a_colour_of_the_surface() -> None:
    ball = [(torch.zeros(3), RADIUS, None)]
    found = colors_from_views(
        torch.tensor([[0.0, RADIUS, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]]), [_view(_camera(0.0, 0.0), ball)], 0.02
    )
    torch.testing.assert_close(found, _paint(torch.tensor([[0.0, -RADIUS, 0.0]])), atol=0.05, rtol=0)


def test_views_are_needed() -> None:
    with pytest.raises(ValueError, match="no views"):
        colors_from_views(torch.zeros(1, 3), torch.zeros(1, 3), [], 0.1)
