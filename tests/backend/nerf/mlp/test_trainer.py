"""Training of vanilla NeRF: it learns, continues where it was, and its scene lies where the cameras saw it."""

import json
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from addon.wire.errors import Diverged, UnusableDataset
from addon.wire.messages import FitOptions
from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import save_model
from backend.nerf.cameras.poses import perturbed, pose_errors
from backend.nerf.datasets import Dataset, open_dataset
from backend.nerf.datasets.smaller import smaller
from backend.nerf.evaluate import composited, photograph, psnr
from backend.nerf.fit.scene_bounds import scene_bounds_of
from backend.nerf.methods import FITS
from backend.nerf.mlp.network import NetworkConfig
from backend.nerf.mlp.trainer import NeRFTrainer, NeRFTraining
from backend.rendering.color import srgb_from_linear
from backend.training.experiments.pose_refinement import with_poses
from tests.backend.fixtures import photographed

SIZE, RADIUS = 20, 0.05
MIDDLE = np.array([3.0, -1.0, 0.5])  # of a red and blue ball of 5 cm, away from the origin
TINY = NeRFTraining(
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
    return NeRFTrainer(dataset, FitOptions(method="nerf", steps=steps, **options), CPU, training=TINY)


def test_near_far_and_middle_are_found_from_the_cameras(ball):
    bounds = scene_bounds_of(ball, ball.split("train"))
    assert np.allclose(bounds.center, MIDDLE, atol=1e-3)
    # the paper's synthetic scenes in the same proportions: cameras at 4, near 2, far 6
    assert bounds.near / 0.2 == pytest.approx(0.5, abs=0.03)
    assert bounds.far / 0.2 == pytest.approx(1.5, abs=0.03)
    low, high = bounds.bounds
    assert np.all(np.array(low) < MIDDLE - RADIUS) and np.all(np.array(high) > MIDDLE + RADIUS)


def test_cameras_that_look_away_from_each_other_are_named(ball):
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    views = tuple(
        replace(view, camera=replace(view.camera, world_from_camera=view.camera.world_from_camera @ turn))
        for view in ball.split("train")
    )
    with pytest.raises(UnusableDataset, match="flipped"):
        scene_bounds_of(ball, views)


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


def test_nan_stops_the_fit_before_it_is_learnt(ball):
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
    fit = NeRFTrainer(ball, FitOptions(method="nerf", steps=2), CPU, training=NeRFTraining(TINY.network, 4, 4, 16))
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


@dataclass(frozen=True)
class Photographed(Dataset):
    """A data set whose images are changed when they are read, by change(view, pixels)."""

    change: Any = None

    def load(self, view):
        return self.change(view, super().load(view))


def changed(dataset, change):
    return Photographed(**{item.name: getattr(dataset, item.name) for item in fields(Dataset)}, change=change)


def advanced(fit, steps):
    for _ in range(steps):
        report = fit.advance()
    return fit, report


def test_linear_light_is_fitted_and_shown_as_srgb(ball, tmp_path):
    view = ball.split("train")[6]
    fit = advanced(fit_of(ball, steps=120, color_space="linear", background="black"), 120)[0]
    scene = fit.scene()
    shown, truth = composited(scene.render(view.camera), 0.0), photograph(ball.load(view), 0.0)
    assert psnr(shown, truth) > 13
    point = torch.tensor(MIDDLE).float() + torch.tensor([0.0, 0.0, 0.9 * RADIUS])
    raw = torch.sigmoid(fit.nerf.fine((point - torch.tensor(MIDDLE).float()) / fit._placement.metres_per_unit,
                                      torch.tensor([0.0, 0.0, -1.0]))[:3])  # fmt: skip
    torch.testing.assert_close(scene.field(point).rgb, srgb_from_linear(raw))
    kind, constructor, tensors = scene.tensors()
    save_model(tmp_path / "ball", ModelCard(kind, "Ball", "", "", False, json.loads(json.dumps(constructor))), tensors)
    again = load_model(tmp_path / "ball").synthesize(torch.zeros(0, 0))
    assert torch.equal(again.render(view.camera).rgb, scene.render(view.camera).rgb)


def test_exposures_are_found(ball):
    names = [view.name for view in ball.split("train")]
    logs = np.random.default_rng(0).uniform(-0.6, 0.0, len(names))

    def exposed(view, pixels):
        gain = math.exp(logs[names.index(view.name)])
        return replace(pixels, rgb=(pixels.rgb * gain).astype(np.uint8))

    fit = advanced(fit_of(changed(ball, exposed), steps=150, appearance="exposure"), 150)[0]
    found = fit.tensors()["exposure"][:, [0, 2]].mean(1).numpy()  # of red and blue: there is hardly any green
    assert np.corrcoef(logs, found)[0, 1] > 0.8


def test_depth_pictures_put_the_surface_where_it_is(fitted, ball):
    def measured(view, pixels):
        """The ball 2 cm behind where colours see it: only depths can say so."""
        rays = view.camera.rays()
        from_middle = rays.origins - torch.tensor(MIDDLE).float()
        along = -(from_middle * rays.directions).sum(-1)
        inside = RADIUS**2 - (from_middle.square().sum(-1) - along.square())
        distance = along - inside.clamp(min=0).sqrt() + 0.02
        depth = torch.where(inside > 0, distance * rays.depth_from_distance, torch.nan)
        return replace(pixels, depth=depth.numpy())

    known = changed(ball, measured)
    view = ball.split("train")[6]
    told = advanced(fit_of(known, steps=120, depth_weight=3.0), 120)[0]
    seen, moved = (fit.scene().render(view.camera).depth[SIZE // 2, SIZE // 2].item() for fit in (fitted[0], told))
    assert moved == pytest.approx(0.17, abs=0.008)
    assert moved > seen + 0.006


def test_regularisers_do_what_they_say(ball):
    def measured(**options):
        fit = advanced(fit_of(ball, **options), 60)[0]
        batch = fit._rays.draw(400, torch.Generator().manual_seed(0))
        origins, directions = batch.in_world(fit.poses())
        own = (origins - torch.tensor(MIDDLE).float()) / fit._placement.metres_per_unit
        with torch.no_grad():
            unit = torch.nn.functional.normalize(directions, dim=-1)
            passes = fit.nerf.render_rays(own, directions, unit)
            pixels = fit._pixels(passes.fine, passes.t_fine, directions)
        return float((pixels.alpha * (1 - pixels.alpha)).mean()), float(pixels.distortion.mean())

    plain = measured()
    assert measured(opacity_weight=1.0)[0] < 0.8 * plain[0]
    assert measured(distortion_weight=1.0)[1] < 0.8 * plain[1]


def test_a_transparent_background_fits_alpha_itself(ball):
    fits = {kind: fit_of(ball, background=kind) for kind in ("random", "transparent")}
    losses = {kind: fit.advance().loss for kind, fit in fits.items()}
    assert losses["transparent"] > losses["random"] + 0.01


def perturbed_photographs(folder):
    dataset = open_dataset(photographed.write(folder, size=28, train=12, test=1))
    truth = torch.stack([view.camera.world_from_camera for view in dataset.split("train")]).float()
    return with_poses(dataset, perturbed(truth, math.radians(3), 0.15, seed=1)), truth


def test_refined_cameras_explain_the_pictures_and_come_nearer_to_the_truth(tmp_path):
    dataset, truth = perturbed_photographs(tmp_path)
    training = replace(TINY, rays_per_step=256)
    found = {}
    for refine in (False, True):
        options = FitOptions(method="nerf", steps=160, refine_poses=refine)
        fit, report = advanced(NeRFTrainer(dataset, options, CPU, training=training), 160)
        found[refine] = report.psnr, float(pose_errors(fit.poses(), truth).position.mean())
    assert found[True][0] > found[False][0] + 1.5
    assert found[True][1] < 0.9 * found[False][1]


def test_a_fit_that_refines_and_learns_colors_goes_on_as_if_it_had_not_stopped(tmp_path):
    dataset, _ = perturbed_photographs(tmp_path)

    def made():
        options = FitOptions(method="nerf", steps=200, refine_poses=True, appearance="color")
        return NeRFTrainer(dataset, options, CPU, training=TINY)

    whole = advanced(made(), 50)[0]
    kept = {name: value.clone() for name, value in whole.tensors().items()}
    last = [whole.advance().loss for _ in range(3)]
    other = made()
    other.restore(kept)
    assert [other.advance().loss for _ in range(3)] == last
    assert torch.equal(other.poses(), whole.poses())
    assert not torch.equal(whole.poses(), whole._rays.poses)


def test_while_it_goes_coarse_to_fine_the_scene_is_what_is_open(ball):
    fit = advanced(fit_of(ball, steps=10, refine_poses=True), 2)[0]
    weights = fit._encoding_weights()
    assert weights is not None and 0 < float(weights.position.mean()) < 1
    points, directions = torch.rand(5, 3), torch.nn.functional.normalize(torch.rand(5, 3), dim=-1)
    folded = fit.scene().nerf
    for network, same in ((fit.nerf.coarse, folded.coarse), (fit.nerf.fine, folded.fine)):
        torch.testing.assert_close(same(points, directions), network(points, directions, weights))
        assert not torch.allclose(same(points, directions), network(points, directions), atol=1e-4)
    advanced(fit, 6)
    assert fit._encoding_weights() is None and fit.scene().nerf is fit.nerf


def test_near_keeps_the_cameras_free(ball):
    usual, far = (NeRFTrainer(ball, FitOptions(method="nerf", near=near), CPU, training=TINY) for near in (0.0, 0.17))
    unit = usual._placement.metres_per_unit
    assert usual.nerf.config.near * unit < 0.16
    assert far.nerf.config.near * unit == pytest.approx(0.17)
