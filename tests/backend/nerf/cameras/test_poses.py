"""Poses: the exponential map, alignment, and cameras that find their way back."""

import math

import pytest
import torch

from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.nerf.cameras.pose_plot import plot_poses
from backend.nerf.cameras.poses import (
    PoseCorrections,
    level_weights,
    perturbed,
    pose_errors,
    refined_pose,
    rotation_angle,
    twist_exponential,
)
from backend.nerf.cameras.similarity import similarity_between


def _ring(count: int, radius: float = 2.0) -> torch.Tensor:
    """Cameras on a sphere that look at the origin."""
    poses = []
    for i in range(count):
        z = -0.6 + 1.4 * (i + 0.5) / count
        angle, flat = 2.4 * i, math.sqrt(1 - z * z)
        eye = (radius * flat * math.cos(angle), radius * flat * math.sin(angle), radius * z)
        poses.append(torch.tensor(look_at(eye, (0.0, 0.0, 0.0))))
    return torch.stack(poses).float()


def _as_matrix(twist: torch.Tensor) -> torch.Tensor:
    x, y, z, *v = twist.tolist()
    rows = [[0, -z, y, v[0]], [z, 0, -x, v[1]], [-y, x, 0, v[2]], [0, 0, 0, 0]]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4, 0.3, 0.999, 1.001, 2.0, math.pi, 5.0])
def test_the_exponential_is_that_of_the_matrix(size):
    twist = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    twist[:3] *= size / twist[:3].norm()
    assert torch.allclose(twist_exponential(twist), torch.linalg.matrix_exp(_as_matrix(twist)), atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-8, 0.2, 0.9999999, 1.5])
def test_first_and_second_derivatives_exist_everywhere_and_are_right(size):
    twist = torch.tensor([0.6, 0.0, 0.8, 0.1, -0.2, 0.3], dtype=torch.float64)
    twist[:3] *= size
    twist.requires_grad_()
    assert torch.autograd.gradcheck(twist_exponential, twist)
    assert torch.autograd.gradgradcheck(twist_exponential, twist)


def test_single_precision_keeps_rotations_orthogonal():
    twists = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    rotation = twist_exponential(twists)[:, :3, :3]
    assert (rotation @ rotation.transpose(1, 2) - torch.eye(3)).abs().max() < 2e-6


def test_angles_are_accurate_when_tiny_and_when_half_a_turn():
    for angle in (0.0, 1e-7, 0.05, math.pi - 1e-6):
        rotation = twist_exponential(torch.tensor([0.0, angle, 0.0, 0, 0, 0], dtype=torch.float64))[:3, :3]
        assert rotation_angle(rotation).item() == pytest.approx(angle, abs=1e-9)


def test_levels_open_from_coarse_to_fine_with_half_a_cosine():
    assert torch.equal(level_weights(6, 0.0, first=2), torch.tensor([1.0, 1, 0, 0, 0, 0]))
    assert torch.equal(level_weights(6, 0.5), torch.ones(6))
    middle = level_weights(6, 0.3)  # alpha = 3
    assert torch.allclose(middle, torch.tensor([1.0, 1, 1, 0, 0, 0]), atol=1e-6)
    assert level_weights(6, 0.1 + 0.4 * 2.5 / 6)[2].item() == pytest.approx(0.5, abs=1e-5)
    assert (level_weights(6, 0.27) - level_weights(6, 0.26) >= 0).all()


def test_no_correction_changes_nothing():
    poses = _ring(5)
    corrections = PoseCorrections(poses, 2.0)
    index = torch.tensor([4, 0, 4, 2])
    origins, directions = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    moved = corrections.moved(index, origins, directions)
    assert torch.allclose(moved[0], origins, atol=1e-6) and torch.allclose(moved[1], directions, atol=1e-6)
    assert torch.allclose(corrections.poses(), poses)


def test_moved_rays_are_those_of_the_corrected_cameras():
    poses = _ring(5)
    corrections = PoseCorrections(poses, 2.0)
    corrections.twists.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    k = torch.tensor(intrinsics_from_fov(0.7, 4, 4))
    for view in range(5):
        given = Camera(poses[view], k, 4, 4).rays()
        expected = Camera(corrections.poses()[view].detach(), k, 4, 4).rays()
        index = torch.full((16,), view)
        origins, directions = corrections.moved(index, given.origins.reshape(-1, 3), given.directions.reshape(-1, 3))
        assert torch.allclose(origins, expected.origins.reshape(-1, 3), atol=1e-5)
        assert torch.allclose(directions, expected.directions.reshape(-1, 3), atol=1e-5)


def test_similarity_is_found_exactly_and_undone_by_its_inverse():
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = twist_exponential(torch.tensor([0.4, -1.0, 0.7, 0, 0, 0], dtype=torch.float64))[:3, :3]
    target = 2.5 * points @ rotation.T + torch.tensor([1.0, 2.0, 3.0])
    found = similarity_between(points, target)
    assert found.scale == pytest.approx(2.5)
    assert torch.allclose(found.rotation, rotation)
    assert torch.allclose(found.points(points), target)
    assert torch.allclose(found.inverse().points(target), points)


def test_points_in_a_plane_are_not_mirrored():
    points = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 0.0])
    found = similarity_between(points, points * torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.linalg.det(found.rotation).item() == pytest.approx(1.0)


def test_a_similarity_needs_three_points():
    with pytest.raises(ValueError, match="fewer than 3"):
        similarity_between(torch.zeros(2, 3), torch.zeros(2, 3))


def test_errors_do_not_see_a_similarity_of_the_whole_world():
    truth = _ring(12).double()
    similarity = similarity_between(torch.randn(9, 3, generator=torch.Generator().manual_seed(3)), torch.randn(9, 3))
    errors = pose_errors(similarity.poses(truth), truth)
    assert errors.rotation.max() < 1e-6 and errors.position.max() < 1e-6


def test_perturbation_is_as_large_as_it_says():
    truth = _ring(30)
    found = perturbed(truth, math.radians(3), 0.1)
    turned = found[:, :3, :3].transpose(1, 2) @ truth[:, :3, :3]
    assert torch.allclose(rotation_angle(turned), torch.full((30,), math.radians(3)), atol=1e-4)
    assert torch.allclose((found - truth)[:, :3, 3].norm(dim=-1), torch.full((30,), 0.1), atol=1e-6)


BLOBS = torch.randn(14, 3, generator=torch.Generator().manual_seed(5)) * 0.35
COLORS = torch.rand(14, 3, generator=torch.Generator().manual_seed(6))


def _blob_colors(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """A glowing scene with a closed form: each blob gives by how near the ray passes it."""
    to = BLOBS - origins[:, None]
    along = (to * directions[:, None]).sum(-1, keepdim=True)
    near = (to - along * directions[:, None]).square().sum(-1)
    return (torch.exp(-near / (2 * 0.15**2))[..., None] * COLORS).sum(1)


def test_a_camera_finds_its_pose_from_its_picture():
    truth = _ring(3)[1]
    k = torch.tensor(intrinsics_from_fov(0.9, 24, 24))

    def seen(pose):
        rays = Camera(pose.float(), k, 24, 24).rays()
        return _blob_colors(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3))

    start = perturbed(truth[None], math.radians(3), 0.1, seed=2)[0]
    found = refined_pose(start, seen, seen(truth), length=2.0, shift=0.02).float()
    assert rotation_angle(found[:3, :3].T @ truth[:3, :3]) < math.radians(0.01)
    assert (found[:3, 3] - truth[:3, 3]).norm() < 0.0005 * 2


def test_a_picture_that_says_nothing_leaves_its_camera_where_it_is():
    pose = _ring(3)[1]
    found = refined_pose(pose, lambda _: torch.full((9, 3), 0.5), torch.zeros(9, 3), length=2.0, shift=0.02)
    assert torch.equal(found.float(), pose)


def test_the_picture_shows_both_kinds_in_four_panels():
    truth = _ring(10)
    page = plot_poses(truth, perturbed(truth, 0.05, 0.1), truth, size=100)
    assert page.size == (200, 244)
    colors = {color for _, color in page.getcolors(1 << 20)}
    assert any(r > 150 and b < 90 for r, g, b in colors) and any(b > 150 and r < 90 for r, g, b in colors)
