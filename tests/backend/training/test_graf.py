"""GRAF's training: patches cover their scales, rays are those of the world's cameras, gradients reach the geometry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.cameras import Camera, from_wire, orbit
from backend.generators.graf.discriminator import PatchDiscriminator
from backend.generators.graf.model import GRAF
from backend.generators.graf.scene import load
from backend.models.library import load_model
from backend.training.adversarial.command import recipe
from backend.training.adversarial.losses import generator_loss, penalty
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import cameras_at, random_cameras
from backend.training.graf.config import GRAFTraining, published, small_published
from backend.training.graf.patches import PatchScales, patch_places, patches_at
from backend.training.graf.train import card, network_config, random_places, render, train

from .coloured_balls import coloured_balls

DATA = coloured_balls()
TINY = replace(
    small_published(), steps=30, batch=4, side=16, patch=16, z_dim=6, appearance_dim=3, num_layers=2, hidden_dim=16,
    point_frequencies=2, num_samples=6, discriminator_channels=2, mixed_on_cpu=False, noise_steps=20,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=0.0)


def _step(number: int = 0, config: GRAFTraining = TINY) -> Step:
    return Step(number, config, QUIET)


def test_patches_cover_their_scales_and_the_image_and_stay_inside() -> None:
    config = replace(TINY, batch=256, scales=PatchScales(smallest=0.25, anneal=0.0025))
    early, late = (random_places(config, _step(number, config)) for number in (0, 200_000))
    for places, smallest in ((early, 0.9), (late, 0.25)):
        scale = (places[:, 0, -1, 0] - places[:, 0, 0, 0]) / 2
        assert smallest <= float(scale.min()) < smallest + 0.03 and 0.97 < float(scale.max()) <= 1
        assert float(places.abs().max()) <= 1 + 1e-6
        assert torch.allclose(places[:, -1, 0, 1] - places[:, 0, 0, 1], 2 * scale, atol=1e-5)
    middles = late.mean((1, 2))
    assert float(middles.min()) < -0.6 and float(middles.max()) > 0.6  # left, right, top and bottom are seen
    assert [published().scales.smallest_at(s) for s in (0, 100_000, 400_000)] == [
        0.9,
        pytest.approx(0.4724, abs=1e-3),
        0.25,
    ]


def test_the_patch_of_scale_one_is_the_image_and_a_small_one_a_part_of_it() -> None:
    images = DATA.images[:2].float()
    whole = patch_places(16, torch.ones(2), torch.rand(2, 2))
    assert torch.allclose(patches_at(images, whole), images, atol=1e-3)
    corner = patch_places(8, torch.full((2,), 7 / 15), torch.tensor([[1.0, -1.0]]).expand(2, 2))  # right, top
    assert torch.allclose(patches_at(images, corner), images[:, :, :8, 8:], atol=1e-3)


def test_training_renders_what_the_scene_of_the_model_folder_renders() -> None:
    torch.manual_seed(1)
    config = replace(TINY, num_samples=48, hidden_dim=32)
    network = GRAF(network_config(config, DATA))
    with torch.no_grad():
        network.density.bias.fill_(1.0)
        network.color.weight.mul_(20)
    generator = load("g", card(config, DATA), network.state_dict())
    z = torch.randn(1, config.z_dim)
    ws = network.ws_from_z(z)
    camera = from_wire(orbit(generator.info, 16, azimuth=0.7, elevation=0.4))
    seen = generator.synthesize(ws[0]).render(camera)
    expected = seen.rgb * seen.alpha[..., None] + 1 - seen.alpha[..., None]
    places = patch_places(16, torch.ones(1), torch.zeros(1, 2))
    one = replace(config, batch=1)

    def rendered(azimuth: float) -> torch.Tensor:
        cameras = cameras_at(torch.tensor([[azimuth, 0.4]]), DATA.prior)
        with torch.no_grad():
            return render(network, ws, cameras, places, _step(0, one), 0.0)[0].permute(1, 2, 0) / 2 + 0.5

    own, mirrored = ((rendered(azimuth) - expected).abs().mean() for azimuth in (0.7, -0.7))
    assert float(own) < 0.02 and float(own) * 5 < float(mirrored)


def test_world_rays_are_those_of_a_camera_and_prior_poses_stay_in_their_ranges() -> None:
    cameras = random_cameras(_step(), DATA, "data")
    pixels = torch.rand(1, 9, 2)
    origins, directions = cameras.rays(pixels)
    for i in range(4):
        other = Camera(cameras.world_from_camera[i], cameras.intrinsics[i], 1, 1).rays(pixels[0])
        assert torch.allclose(origins[i], other.origins, atol=1e-5)
        assert torch.allclose(directions[i] * other.depth_from_distance[:, None], other.directions, atol=1e-5)
    many = Step(0, replace(TINY, batch=2000), QUIET)
    drawn = random_cameras(many, coloured_balls(posed=False), "spherical")
    azimuth, elevation = drawn.angles().T
    low, high = DATA.prior.elevation
    assert low - 1e-4 <= float(elevation.min()) < low + 0.02 and high - 0.02 < float(elevation.max()) <= high + 1e-4
    # even on the sphere: half the cameras are above the middle height
    assert abs(float((elevation.sin() > (torch.tensor([low, high]).sin().mean())).float().mean()) - 0.5) < 0.05
    assert float(azimuth.min()) < -3 and float(azimuth.max()) > 3


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_the_penalty_is_that_of_autograd_by_hand(loss: str) -> None:
    torch.manual_seed(0)
    config = replace(TINY, loss=loss, gamma=3.0, regularise_every=2)  # type: ignore[arg-type]
    discriminator = PatchDiscriminator(16, 2, normalise=loss == "published").eval()
    images = [torch.rand(4, 3, 16, 16, requires_grad=True) for _ in range(2)]
    real, fake = ((discriminator(x), x) for x in images)
    found = penalty(config, 4, real, fake)
    by_hand = 0.0
    for patches in images[: 1 if loss == "published" else 2]:
        for i in range(4):  # one image at a time
            patch = patches[i : i + 1].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(discriminator(patch).squeeze(), patch)
            by_hand += float(gradient.square().sum()) / 4
    assert found.item() == pytest.approx(3.0 / 2 * 2 * by_hand, rel=1e-4)
    assert penalty(config, 5, real, fake).item() == 0
    assert found.requires_grad


def test_a_step_against_the_gradient_of_the_geometry_lowers_the_loss() -> None:
    torch.manual_seed(2)
    generator, discriminator = GRAF(network_config(TINY, DATA)), PatchDiscriminator(16, 2, normalise=False)
    with torch.no_grad():
        generator.density.bias.fill_(0.3)

    def loss() -> torch.Tensor:  # the same draws each time
        step = _step()
        ws, cameras = generator.ws_from_z(step.normal(6)), random_cameras(step, DATA, "data")
        fake = render(generator, ws, cameras, random_places(TINY, step), step, 0.0)
        return generator_loss("published", discriminator(fake))

    geometry = [*generator.layers.parameters(), *generator.density.parameters()]
    before = loss()
    gradients = torch.autograd.grad(before, geometry)
    length = sum(float(g.square().sum()) for g in gradients)
    assert length > 0
    with torch.no_grad():
        rate = 1e-3 * before.item() / length
        for parameter, gradient in zip(geometry, gradients, strict=True):
            parameter -= rate * gradient
        assert loss().item() == pytest.approx(before.item() * (1 - 1e-3), rel=3e-4)


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_change_the_geometry_and_leave_a_model_that_renders(tmp_path: Path, loss: str) -> None:
    config = replace(TINY, loss=loss)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    first = GRAF(network_config(config, DATA))
    run = train(config, DATA, tmp_path, QUIET)
    for name in ("layers.0.weight", "density.weight", "color.weight"):
        moved = (run.generator.state_dict()[name] - first.state_dict()[name]).abs()
        assert float(moved.max()) > 1e-3, name
    model = load_model(tmp_path / "model")
    assert model.info.pose_prior.radius == pytest.approx(4.0)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    assert scene.render(from_wire(orbit(model.info, 8))).rgb.isfinite().all()
    assert "30" in (tmp_path / "losses.jsonl").read_text().splitlines()[-1]
    assert config.noise_at(0) == 1 and config.noise_at(10) == 0.5 and config.noise_at(10_000) == pytest.approx(1 / 20)


def test_the_published_rates_are_halved_three_times() -> None:
    config = published()
    assert [config.rate_at(s) for s in (0, 49_999, 50_000, 100_000, 250_000)] == [1, 1, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("name", ["graf", "pigan"])
def test_every_preset_of_the_command_line_takes_steps_batch_and_either_loss(name: str) -> None:
    found = recipe(name)
    assert found.configuration().loss == "r3gan" and found.configuration("published").loss == "published"
    for preset in found.presets:
        config = found.configuration(preset, batch=2, steps=7, loss="published")
        assert (config.steps, config.batch_at(0), config.loss) == (7, 2, "published")
        assert found.side(config) == config.side
