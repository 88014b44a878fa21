"""Lens distortion and its inverse."""

from __future__ import annotations

import math

import pytest
import torch

from backend.cameras import Camera
from backend.lens import (
    Lens,
    camera_directions,
    distort,
    largest_radius,
    pixels_of,
    undistort,
    valid_pixels,
)

K = torch.tensor([[310.0, 0.0, 322.5], [0.0, 295.0, 236.25], [0.0, 0.0, 1.0]], dtype=torch.float64)

OPENCV = [
    Lens("opencv", (0.0, 0.0, 0.0, 0.0)),
    Lens("opencv", (-0.28, 0.09, -0.01, 0.0), (0.0012, -0.0007)),  # a wide phone: barrel
    Lens("opencv", (0.35, 0.1, 0.02, 0.003), (-0.002, 0.004)),  # pincushion
    Lens("opencv", (-0.1, 0.0, 0.0, 0.0)),
    Lens("opencv", (0.4, -0.1, 0.02, 0.0), (0.001, -0.002), (0.6, 0.05, -0.01)),  # rational
]
FISHEYE = [
    Lens("fisheye"),
    Lens("fisheye", (0.05, -0.006, 0.0008, -0.0001)),
    Lens("fisheye", (-0.02, 0.001, 0.0, 0.0)),
]


def grid(extent: float, steps: int = 41) -> torch.Tensor:
    line = torch.linspace(-extent, extent, steps, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


@pytest.mark.parametrize("lens", OPENCV)
def test_undistort_inverts_distort_to_rounding(lens: Lens) -> None:
    reach = min(0.95 * largest_radius(lens), 1.2)
    direct = grid(reach / math.sqrt(2))
    assert (undistort(lens, distort(lens, direct)) - direct).abs().max() < 1e-10


def test_distort_is_opencvs_formula() -> None:
    """Against the formula of OpenCV's documentation, written out for one point by hand."""
    lens = Lens("opencv", (0.1, -0.02, 0.003, 0.0005), (0.01, -0.02), (0.3, -0.04, 0.05))
    x, y = 0.3, -0.4
    r2 = 0.25
    radial = 1 + 0.1 * r2 - 0.02 * r2**2 + 0.003 * r2**3 + 0.0005 * r2**4
    radial /= 1 + 0.3 * r2 - 0.04 * r2**2 + 0.05 * r2**3
    expected = (
        x * radial + 2 * 0.01 * x * y - 0.02 * (r2 + 2 * x * x),
        y * radial + 0.01 * (r2 + 2 * y * y) + 2 * -0.02 * x * y,
    )
    got = distort(lens, torch.tensor([x, y], dtype=torch.float64))
    assert got.tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("lens", OPENCV)
def test_directions_of_pixels_land_on_those_pixels(lens: Lens) -> None:
    camera = Camera(torch.eye(4), K, 640, 480, lens=lens)
    pixels = torch.rand(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [640, 480]
    )
    valid = valid_pixels(camera)
    if valid is not None:
        pixels = pixels[valid[pixels[:, 1].long(), pixels[:, 0].long()]]
        assert len(pixels) > 1000
    directions = camera_directions(K, lens, pixels)
    assert (directions[:, 2] == 1).all()
    error = (pixels_of(K, lens, directions) - pixels).norm(dim=-1)
    assert error.nanquantile(0.99) < 1e-9
    assert not error.isnan().any() or valid is not None


@pytest.mark.parametrize("lens", FISHEYE)
def test_a_fisheye_sees_behind_itself_and_comes_back_exactly(lens: Lens) -> None:
    limit = min(largest_radius(lens), math.radians(130)) * 0.999
    theta = torch.linspace(0, limit, 400, dtype=torch.float64)
    phi = torch.linspace(0, 40, 400, dtype=torch.float64)
    truth = torch.stack((theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()), -1)
    assert truth[-1, 2] < -0.2  # well beyond 90°
    found = camera_directions(K, lens, pixels_of(K, lens, truth))
    assert (found - truth).abs().max() < 1e-9


def test_a_fisheye_without_coefficients_is_equidistant() -> None:
    sideways = torch.tensor([[322.5 + 310.0 * math.pi / 2, 236.25]], dtype=torch.float64)
    directions = camera_directions(K, Lens("fisheye"), sideways)
    assert directions[0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-12)


def test_a_pinhole_agrees_with_the_camera_s_own_rays() -> None:
    camera = Camera(torch.eye(4), K.float(), 64, 48)
    pixels = torch.rand(50, 2) * 60
    ours = torch.nn.functional.normalize(camera_directions(camera.intrinsics, Lens(), pixels), dim=-1)
    assert (ours - camera.rays(pixels).directions).abs().max() < 1e-6


def test_pixels_beyond_the_turning_point_have_no_ray() -> None:
    """k1 = −1 turns back at tan θ = 1/√3, where the distorted radius is 2/(3√3)."""
    lens = Lens("opencv", (-1.0, 0.0, 0.0, 0.0))
    assert largest_radius(lens) == pytest.approx(1 / math.sqrt(3))
    intrinsics = torch.tensor([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])
    valid = valid_pixels(Camera(torch.eye(4), intrinsics, 100, 100, lens=lens))
    assert valid is not None
    y, x = torch.meshgrid(torch.arange(100) + 0.5 - 50, torch.arange(100) + 0.5 - 50, indexing="ij")
    inside = (x * x + y * y).sqrt() < 100 * 2 / (3 * math.sqrt(3))
    assert (valid == inside).float().mean() > 0.998
    assert camera_directions(intrinsics, lens, torch.tensor([[0.5, 0.5]])).isfinite().all()  # no NaN reaches a fit


def test_a_lens_that_bends_little_needs_no_mask() -> None:
    for lens in (Lens(), OPENCV[2]):
        assert valid_pixels(Camera(torch.eye(4), K, 640, 480, lens=lens)) is None


@pytest.mark.parametrize("lens", [OPENCV[1], FISHEYE[1]])
def test_projection_carries_a_gradient(lens: Lens) -> None:
    points = torch.tensor(
        [[0.3, -0.2, 1.0], [0.0, 0.0, 2.0], [-0.5, 0.6, 1.4]], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda p: pixels_of(K, lens, p), (points[::2],))
    pixels_of(K, lens, points).sum().backward()
    assert points.grad is not None and points.grad.isfinite().all()


def test_odd_shapes_and_none_at_all() -> None:
    for shape in ((0, 2), (2,), (3, 1, 5, 2)):
        for lens in (Lens(), OPENCV[1], FISHEYE[1]):
            found = camera_directions(K, lens, torch.full(shape, 100.0))
            assert found.shape == (*shape[:-1], 3) and found.dtype == torch.float32
