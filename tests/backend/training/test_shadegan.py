"""ShadeGAN's training: lights of the prior, shading that shapes the density, and surface tracking."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.cameras import from_wire, orbit
from backend.generators.shadegan.model import ShadeGAN, SurfaceConfig
from backend.generators.shadegan.scene import load
from backend.models.library import load_model
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import cameras_at, random_cameras
from backend.training.pigan.config import Stage
from backend.training.pigan.train import pitch_and_yaw
from backend.training.shadegan.config import LightPrior, ShadeGANTraining, published, small_published
from backend.training.shadegan.train import (
    card,
    network_config,
    optimizers,
    random_lights,
    render,
    surface_loss,
    train,
)

from .coloured_balls import coloured_balls

DATA = coloured_balls()
TINY = replace(
    small_published(), steps=30, batch=4, fade_steps=5,
    stages=(Stage(0, 8, 4, 1e-3, 1e-3), Stage(15, 16, 2, 5e-4, 1e-3)),
    z_dim=6, hidden_dim=16, num_layers=2, mapping_dim=16, num_steps=4, channels=(8, 8, 6, 4), noise_steps=8,
    surface=SurfaceConfig((16, 8)), track_from=20, narrowing=0.1, fewest_steps=3,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=0.0)


def one_size(side: int, batch: int) -> ShadeGANTraining:
    """TINY with images of one size."""
    return replace(TINY, batch=batch, stages=(Stage(0, side, batch, 1e-3, 1e-3),))


def _ball() -> tuple[ShadeGAN, torch.Tensor]:
    """A network with density inside a rough ball, and ws [2, …]."""
    torch.manual_seed(1)
    network = ShadeGAN(network_config(replace(TINY, hidden_dim=32), DATA))
    with torch.no_grad():
        network.density.weight.mul_(150)
        network.density.bias.fill_(5)
        network.color.weight.mul_(10)
    return network, network.mapping_network(torch.randn(2, TINY.z_dim)).detach()


def test_lights_have_the_distribution_of_the_prior() -> None:
    prior = LightPrior((-0.5, 0.9, 0.0, 0.3), (0.1, 0.4, 0.6, 0.2))
    lights = random_lights(Step(0, one_size(8, 20_000), QUIET), prior)
    assert torch.allclose(lights.mean(0)[[0, 2, 3]], torch.tensor([-0.5, 0.0, 0.3]), atol=0.02)
    assert torch.allclose(lights.std(0)[[0, 2, 3]], torch.tensor([0.1, 0.6, 0.2]), atol=0.02)
    assert float((lights[:, 1] == 1).float().mean()) == pytest.approx(0.40, abs=0.02)  # beyond a quarter deviation
    again = random_lights(Step(0, one_size(8, 20_000), QUIET), prior)
    assert torch.equal(lights, again)


def test_the_published_schedule_narrows_from_twelve_to_six_samples() -> None:
    config = published()
    assert [config.tracked_part(step) for step in (0, 4999, 5000)] == [1, 1, 1]
    assert config.tracked_part(5000 + 10_000) == pytest.approx(math.exp(-0.3))
    assert config.tracked_part(100_000) == 0.25
    assert [config.steps_at(step) for step in (0, 15_000, 100_000)] == [12, 9, 6]


def test_a_model_takes_the_samples_of_the_step_at_which_it_was_written() -> None:
    config = replace(published(), stages=published().stages[:1])
    for step, steps, part in ((0, 12, 1.0), (15_000, 9, math.exp(-0.3)), (100_000, 6, 0.25)):
        surface = network_config(config, DATA, step).surface
        assert surface is not None and surface.num_steps == steps
        assert surface.delta == pytest.approx(part * 2 / DATA.prior.radius)
        assert network_config(config, DATA, step).tracks == (step > 5000)


def test_training_renders_what_the_scene_of_the_model_folder_renders_under_its_light() -> None:
    network, ws = _ball()
    config = replace(TINY, num_steps=32, track_from=100)
    generator = load("s", card(replace(config, hidden_dim=32), DATA), network.state_dict())
    camera = from_wire(orbit(generator.info, 16, azimuth=0.7, elevation=0.4))
    controls = {"light_ambient": 0.3, "light_diffuse": 0.7, "light_x": 1.0, "light_y": 0.5}
    seen = generator.synthesize(ws[0], controls).render(camera, samples_per_ray=64)
    expected = seen.rgb * seen.alpha[..., None] + 1 - seen.alpha[..., None]
    step = Step(29, one_size(16, 1), QUIET)
    cameras = cameras_at(torch.tensor([[0.7, 0.4]]), DATA.prior)

    def rendered(light: list[float]) -> torch.Tensor:
        with torch.no_grad():
            image = render(network, config, ws[:1], torch.tensor([light]), cameras, 16, step)
        return image.rgb[0].unflatten(0, (16, 16))

    own = (rendered([-0.4, 0.4, 1.0, 0.5]) - expected).abs().mean()
    other = (rendered([-0.4, 0.4, -1.0, -0.5]) - expected).abs().mean()
    assert float(own) < 0.04 and float(own) * 2 < float(other)


def test_light_from_one_side_reaches_the_density_through_its_normals() -> None:
    network, ws = _ball()
    network.color.weight.data.zero_()  # grey albedo everywhere: what is left are the shading and the silhouette
    network.color_layer.weight.data.zero_()
    points = (torch.rand(2, 64, 3) - 0.5) * 0.2
    density, _, normals = network.geometry(ws, points)
    gradients = torch.autograd.grad(normals.square().sum(), [layer.weight for layer in network.layers])
    assert density.requires_grad and all(float(g.abs().max()) > 0 for g in gradients)
    by = 1e-3
    for axis in range(3):
        moved = torch.eye(3)[axis] * by
        ahead, behind = (network.geometry(ws, points + sign * moved, normals=False)[0] for sign in (1, -1))
        slope = (ahead - behind) / (2 * by) * (network.config.box_side / 2)
        assert torch.allclose(-normals[..., axis], slope, atol=0.02 * float(slope.detach().abs().max()))
    step = Step(9, one_size(8, 2), QUIET)  # after the noise on densities
    light = torch.tensor([[-1.0, 1.0, 1.0, 0.0]]).expand(2, -1)
    image = render(network, TINY, ws, light, random_cameras(step, DATA, "data"), 8, step)
    (gradient,) = torch.autograd.grad(image.rgb.mean(), network.density.weight)
    assert float(gradient.abs().max()) > 0


def test_the_surface_network_learns_the_rendered_depths() -> None:
    network, ws = _ball()
    step = Step(0, one_size(16, 2), QUIET)
    cameras = random_cameras(step, DATA, "data")
    light = torch.zeros(2, 4)
    with torch.no_grad():
        rendering = render(network, TINY, ws, light, cameras, 16, step)
    adam = optimizers(network, replace(TINY, surface_rate=3e-3))["surface"]
    errors = []
    for _ in range(60):
        loss = surface_loss(network, ws, pitch_and_yaw(cameras), rendering)
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append(loss.item())
    assert errors[-1] < 0.4 * errors[0]
    assert all(p.grad is None for name, p in network.named_parameters() if not name.startswith("surface."))


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_change_geometry_and_surface_network_and_leave_a_model_that_can_be_lit(
    tmp_path: Path, loss: str
) -> None:
    config = replace(TINY, loss=loss)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    first = ShadeGAN(network_config(config, DATA))
    run = train(config, DATA, tmp_path, QUIET)
    for name in ("layers.0.weight", "density.weight", "mapping_network.layers.0.weight", "surface.linear.weight"):
        moved = (run.generator.state_dict()[name] - first.state_dict()[name]).abs()
        assert float(moved.max()) > 1e-3, name
    assert config.tracked_part(29) < 0.5 and config.steps_at(29) == 3
    model = load_model(tmp_path / "model")
    ws = model.mapping(model.sample_z(0))[0]
    camera = from_wire(orbit(model.info, 16))
    dark, bright = (
        model.synthesize(ws, {"light_ambient": value, "light_diffuse": 0.0}).render(camera) for value in (0.2, 0.9)
    )
    assert dark.rgb.isfinite().all() and float((bright.rgb - dark.rgb).max()) > 0.1


def test_a_resumed_training_is_that_without_interruption_with_its_three_optimisers(tmp_path: Path) -> None:
    config = replace(TINY, steps=6, track_from=2)
    whole = train(config, DATA, None, QUIET)

    class Stopped(Exception):
        pass

    def stop(done: int, _: object) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train(config, DATA, tmp_path, replace(QUIET, each_step=stop))
    resumed = train(config, DATA, tmp_path, QUIET)
    for name in ("generator", "mean", "discriminator"):
        for key, value in getattr(whole, name).state_dict().items():
            assert torch.equal(getattr(resumed, name).state_dict()[key], value), (name, key)
