"""A fit that refines its cameras brings them back, and a paused one goes on with them."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image as Picture

from addon.wire.messages import FitOptions
from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.nerf.cameras.poses import perturbed, pose_errors
from backend.nerf.datasets import open_dataset
from backend.nerf.hash.presets import Training
from backend.nerf.hash.trainer import HashTrainer
from backend.training.experiments.pose_refinement import Perturbation, demonstrate, with_poses

from . import striped_balls

SIZE, DISTANCE, VIEWS = 40, 2.0, 24
CPU = torch.device("cpu")
SMALL = Training(log2_size=14, num_levels=6, samples_per_step=1 << 13, grid=64, warm_up=60, cells_per_update=1 << 13)


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """A data set of an egg with a smooth pattern of colours."""
    folder = tmp_path_factory.mktemp("patches")
    (folder / "train").mkdir()
    frames = []
    for index in range(VIEWS + 2):
        z = -0.8 + 1.6 * (index + 0.5) / (VIEWS + 2)
        angle, flat = 2.4 * index, math.sqrt(1 - z * z)
        eye = (DISTANCE * flat * math.cos(angle), DISTANCE * flat * math.sin(angle), DISTANCE * z)
        pose = torch.tensor(look_at(eye, (0.0, 0.0, 0.0)))
        fine = 4 * SIZE  # jagged outlines would pull at the cameras
        camera = Camera(pose.float(), torch.tensor(intrinsics_from_fov(0.7, fine, fine)), fine, fine)
        rays = camera.rays()
        stretch = torch.tensor([1 / 0.55, 1 / 0.4, 1 / 0.3])
        o, d = rays.origins * stretch, rays.directions * stretch
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        inside = b * b - a * c
        point = o + ((-b - inside.clamp(min=0).sqrt()) / a)[..., None] * d
        rgb = 0.5 + 0.45 * torch.sin(torch.stack((5 * point[..., 0], 6 * point[..., 1] + 1, 5 * point[..., 2] - 1), -1))
        alpha = (inside > 0).float()[..., None]
        pixels = torch.nn.functional.avg_pool2d(torch.cat((rgb * alpha, alpha), -1).permute(2, 0, 1), 4).permute(
            1, 2, 0
        )
        pixels[..., :3] /= pixels[..., 3:].clamp(min=1e-6)
        Picture.fromarray((pixels * 255 + 0.5).to(torch.uint8).numpy()).save(folder / "train" / f"r_{index}.png")
        blender = pose @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=pose.dtype))
        frames.append({"file_path": f"./train/r_{index}", "transform_matrix": blender.tolist()})
    for name, part in (("train", frames[1:-1]), ("test", [frames[0], frames[-1]])):
        (folder / f"transforms_{name}.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": part}))
    return open_dataset(folder)


def true_poses(dataset):
    return torch.stack([view.camera.world_from_camera for view in dataset.split("train")])


def test_refined_cameras_explain_the_pictures_and_the_whole_does_not_drift(patches):
    wrong = perturbed(true_poses(patches), math.radians(3), 0.05 * DISTANCE, seed=1)
    found = {}
    for refine in (False, True):
        fit = HashTrainer(with_poses(patches, wrong), FitOptions(steps=120, refine_poses=refine), CPU, training=SMALL)
        while fit.step < 120:
            found[refine] = fit.advance().psnr
    assert found[True] > found[False] + 2
    assert pose_errors(fit.poses(), wrong).similarity.scale == pytest.approx(1.0, abs=0.02)


def test_a_continued_fit_goes_on_with_the_cameras_it_had(patches):
    options = FitOptions(steps=400, refine_poses=True)
    wrong = with_poses(patches, perturbed(true_poses(patches), 0.05, 0.1))
    fit = HashTrainer(wrong, options, CPU, training=SMALL)
    for _ in range(60):
        fit.advance()
    kept = {name: value.clone() for name, value in fit.tensors().items()}
    again = HashTrainer(wrong, options, CPU, training=SMALL)
    again.restore(kept)
    assert torch.equal(again.poses(), fit.poses())
    assert not torch.allclose(fit.poses(), fit.rays.poses, atol=1e-5)
    first, second = fit.advance(), again.advance()
    assert second.loss == pytest.approx(first.loss, rel=1e-4)
    assert torch.allclose(again.poses(), fit.poses(), atol=1e-6)


def test_a_camera_that_was_lost_is_found_again():
    balls = striped_balls.seen(32, 64)
    truth = true_poses(balls)
    fit = HashTrainer(balls, FitOptions(steps=300, refine_poses=True), CPU, training=replace(SMALL, num_levels=8))
    while fit.step < 174:
        fit.advance()
    fit.rays.rgba[fit.rays.starts[7] : fit.rays.starts[8], 3] = 255  # one picture among them is opaque
    with torch.no_grad():
        fit._refinement.corrections.twists[3] = torch.tensor([0.1, 0.6, 0.1, 0.2, 0.0, 0.0])
    assert pose_errors(fit.poses(), truth).rotation[3] > 0.5
    while fit.step < 186:
        fit.advance()
    assert pose_errors(fit.poses(), truth).rotation[3] < 0.03


def test_cameras_stay_as_given_where_refinement_is_not_asked_for(patches):
    fit = HashTrainer(patches, FitOptions(steps=10), CPU, training=SMALL)
    fit.advance()
    assert torch.equal(fit.poses(), true_poses(patches))


def test_the_demonstration_writes_its_figures_and_pictures(patches, tmp_path):
    options = FitOptions(steps=3, preset="draft")
    figures = demonstrate(patches, options, Perturbation(2.0, 4.0), tmp_path, num_views=1)
    assert figures["degrees_wrong_mean"] == pytest.approx(2.0, rel=0.3)
    assert figures["percent_true_mean"] == pytest.approx(0.0, abs=1e-3)
    assert figures["psnr_refined_aligned"] >= figures["psnr_refined"] - 0.1
    assert set(json.loads((tmp_path / "figures.json").read_text())) == {*figures, "steps"}
    for name in ("poses.png", "views.png"):
        with Picture.open(tmp_path / name) as page:
            assert page.width > 100


def test_cameras_that_are_3_degrees_and_5_percent_wrong_come_back():
    balls = striped_balls.seen(32, 64)
    truth = true_poses(balls)
    wrong = perturbed(truth, math.radians(3), 0.05 * striped_balls.DISTANCE, seed=1)
    training = replace(SMALL, num_levels=8, samples_per_step=1 << 14)
    fit = HashTrainer(with_poses(balls, wrong), FitOptions(steps=900, refine_poses=True), CPU, training=training)
    while fit.step < 900:
        fit.advance()
    before, after = pose_errors(wrong, truth), pose_errors(fit.poses(), truth)
    assert math.degrees(before.rotation.mean()) > 2.5 and before.position.mean() > 0.04 * striped_balls.DISTANCE
    assert math.degrees(after.rotation.mean()) < 0.3
    assert after.position.mean() < 0.005 * striped_balls.DISTANCE
