"""The fit of NeRF as published: it learns, it goes on where it was, and its scene lies where the cameras saw it."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from addon.wire.errors import Diverged, UnusableDataset
from addon.wire.messages import FitOptions
from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.checkpoints.store import ModelCard, load_model, save_model
from backend.nerf.datasets import open_dataset
from backend.nerf.fitting import FITS
from backend.nerf.published import NetworkConfig
from backend.nerf.published_fit import PublishedFit, PublishedTraining
from backend.nerf.region import region_of
from backend.nerf.smaller import smaller

SIZE, RADIUS = 20, 0.05
MIDDLE = np.array([3.0, -1.0, 0.5])  # of a red and blue ball of 5 cm, away from the origin
TINY = PublishedTraining(
    NetworkConfig(depth=3, width=32, bottleneck=16, view_width=16, skips=(1,), position_frequencies=5),
    coarse_samples=20,
    fine_samples=12,
    rays_per_step=192,
    rate=3e-3,
    final_rate=1e-3,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """A data set of a small ball: red above, blue below."""
    folder = tmp_path_factory.mktemp("ball")
    (folder / "train").mkdir()
    frames = []
    for index in range(10):
        z = -0.7 + 1.5 * index / 9
        angle, flat = 2.4 * index, math.sqrt(1 - z * z)
        eye = MIDDLE + 0.2 * np.array([flat * math.cos(angle), flat * math.sin(angle), z])
        pose = torch.tensor(look_at(tuple(eye), tuple(MIDDLE)))
        camera = Camera(pose.float(), torch.tensor(intrinsics_from_fov(0.7, SIZE, SIZE)), SIZE, SIZE)
        rays = camera.rays()
        from_middle = rays.origins - torch.tensor(MIDDLE).float()
        along = -(from_middle * rays.directions).sum(-1)
        nearest = from_middle + along[..., None] * rays.directions
        inside = RADIUS**2 - nearest.square().sum(-1)
        hit = nearest - inside.clamp(min=0).sqrt()[..., None] * rays.directions
        up = (hit[..., 2:] > 0).float()
        rgb = up * torch.tensor([0.9, 0.1, 0.1]) + (1 - up) * torch.tensor([0.1, 0.2, 0.9])
        pixels = torch.cat((rgb, (inside > 0).float()[..., None]), -1)
        Picture.fromarray((pixels * 255).to(torch.uint8).numpy()).save(folder / "train" / f"r_{index}.png")
        blender = pose @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=pose.dtype))
        frames.append({"file_path": f"./train/r_{index}", "transform_matrix": blender.tolist()})
    for name, part in (("train", frames), ("test", frames[:1])):
        text = json.dumps({"camera_angle_x": 0.7, "frames": part})
        (folder / f"transforms_{name}.json").write_text(text)
    return open_dataset(folder)


def fit_of(dataset, steps=60, **options):
    return PublishedFit(dataset, FitOptions(method="nerf", steps=steps, **options), CPU, training=TINY)


def test_near_far_and_middle_are_found_from_the_cameras(ball):
    region = region_of(ball, ball.split("train"))
    assert np.allclose(region.middle, MIDDLE, atol=1e-3)
    # the paper's synthetic scenes in the same proportions: cameras at 4, near 2, far 6
    assert region.near / 0.2 == pytest.approx(0.5, abs=0.03)
    assert region.far / 0.2 == pytest.approx(1.5, abs=0.03)
    low, high = region.bounds
    assert np.all(np.array(low) < MIDDLE - RADIUS) and np.all(np.array(high) > MIDDLE + RADIUS)


def test_cameras_that_look_away_from_each_other_are_named(ball):
    from dataclasses import replace

    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    views = tuple(
        replace(view, camera=replace(view.camera, world_from_camera=view.camera.world_from_camera @ turn))
        for view in ball.split("train")
    )
    with pytest.raises(UnusableDataset, match="flipped"):
        region_of(ball, views)


@pytest.fixture(scope="module")
def fitted(ball):
    fit = fit_of(ball, steps=180)
    reports = [fit.advance() for _ in range(180)]
    return fit, reports


def test_it_learns_and_the_scene_lies_where_it_was_seen(fitted, ball):
    fit, reports = fitted
    assert reports[-1].psnr > reports[0].psnr + 6
    assert reports[-1].step == 180 and fit.seconds > 0
    scene = fit.scene()
    middle = torch.tensor(MIDDLE).float()
    density = scene.field(torch.stack((middle, middle + torch.tensor([0.09, 0.0, 0.0])))).value
    assert density[0] > 5 * density[1]
    view = ball.split("train")[6]  # from the side
    image = scene.render(view.camera)
    assert image.alpha[SIZE // 2, SIZE // 2] > 0.8 and image.alpha[0, 0] < 0.3
    assert image.depth[SIZE // 2, SIZE // 2].item() == pytest.approx(0.2 - RADIUS, abs=0.03)
    upper = image.rgb[SIZE // 2 - 3, SIZE // 2]
    assert upper[0] > upper[2]


def test_the_scene_is_kept_and_loaded_as_a_model(fitted, ball, tmp_path):
    scene = fitted[0].scene()
    kind, constructor, tensors = scene.tensors()
    save_model(tmp_path / "ball", ModelCard(kind, "Ball", "", "", False, json.loads(json.dumps(constructor))), tensors)
    loaded = load_model(tmp_path / "ball")
    assert loaded.info.pose_prior.radius == pytest.approx(0.2, rel=0.05)
    again = loaded.synthesize(torch.zeros(0, 0))
    camera = ball.split("train")[0].camera
    assert torch.equal(again.render(camera).rgb, scene.render(camera).rgb)


def test_a_restored_fit_goes_on_as_if_it_had_not_stopped(ball):
    whole = fit_of(ball)
    for _ in range(4):
        whole.advance()
    kept = {name: value.clone() for name, value in whole.tensors().items()}
    last = [whole.advance().loss for _ in range(3)]
    other = fit_of(ball)
    other.restore(kept)
    assert other.step == 4 and other.seconds > 0
    assert [other.advance().loss for _ in range(3)] == last


def test_what_is_no_number_stops_the_fit_before_it_is_learnt(ball):
    fit = fit_of(ball)
    before = {name: value.clone() for name, value in fit.nerf.state_dict().items()}
    fit._rays.rgba = fit._rays.rgba.float()
    fit._rays.rgba[:] = torch.nan
    with pytest.raises(Diverged, match="step 0"):
        fit.advance()
    assert all(torch.equal(value, before[name]) for name, value in fit.nerf.state_dict().items())


@pytest.mark.parametrize("background", ["white", "black", "random", "transparent"])
def test_every_background_can_be_fitted_over(ball, background):
    fit = fit_of(ball, background=background)
    assert math.isfinite(fit.advance().loss)
    assert fit.scene().nerf.config.white_background == (background == "white")


def test_the_rate_decays_to_a_tenth_over_the_length_that_was_asked_for(ball):
    fit = PublishedFit(
        ball, FitOptions(method="nerf", steps=2), CPU, training=PublishedTraining(TINY.network, 4, 4, 16)
    )
    rates = []
    for _ in range(3):
        fit.advance()
        rates.append(fit.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(5e-4) and rates[2] == pytest.approx(5e-5)
    assert rates[1] == pytest.approx(math.sqrt(5e-4 * 5e-5))


def test_a_fit_is_found_by_its_method(ball):
    options = FitOptions(method="nerf", preset="draft", steps=1)
    fit = FITS["nerf"](ball, options, CPU)
    assert fit.advance().step == 1
    assert fit.poses().shape == (10, 4, 4)


def test_a_smaller_data_set_shows_the_same_with_fewer_pixels(ball):
    view = ball.split("train")[0]
    small = smaller(ball, 5)
    pixels, full = small.load(small.split("train")[0]), ball.load(view)
    assert pixels.rgb.shape == (5, 5, 3) and full.alpha is not None and pixels.alpha is not None
    assert pixels.alpha.mean() == pytest.approx(full.alpha.mean(), abs=1)
    assert small.split("train")[0].camera.intrinsics[0, 0] == pytest.approx(float(view.camera.intrinsics[0, 0]) / 4)
    # colours do not bleed from what is transparent
    solid = pixels.alpha > 0
    assert (pixels.rgb[solid].max(-1) > 100).all()


def test_near_keeps_the_cameras_free(ball):
    usual, far = (PublishedFit(ball, FitOptions(method="nerf", near=near), CPU, training=TINY) for near in (0.0, 0.17))
    unit = usual._placement.metres_per_unit
    assert usual.nerf.config.near * unit < 0.16
    assert far.nerf.config.near * unit == pytest.approx(0.17)
