"""StyleSDF's training: its losses by hand, the first sphere, both stages, and what a model folder holds of them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.cameras import from_wire, orbit
from backend.generators.stylesdf.model import StyleSDF, StyleSDFConfig
from backend.generators.stylesdf.scene import load
from backend.models.library import load_model
from backend.training.adversarial.processes import joined
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import cameras_at, random_cameras
from backend.training.stylesdf import losses
from backend.training.stylesdf.config import DecoderTraining, StyleSDFTraining, published, small
from backend.training.stylesdf.export import card
from backend.training.stylesdf.train import (
    distance_gradients,
    render,
    seen_by,
    start_as_sphere,
    thumbnail,
    train,
    view_labels,
)

from .coloured_balls import coloured_balls

ROOT = Path(__file__).resolve().parents[3]
DATA = coloured_balls()
FIELD = StyleSDFConfig(
    style_dim=16, num_layers=2, num_samples=6, thumbnail_size=16, image_size=16, decoder_channels=(),
    force_background=False, white_background=True,
)  # fmt: skip
TINY = replace(
    small(), generator=FIELD, steps=30, batch=4, sides=((0.0, 8), (0.06, 16)), sphere_steps=120, sphere_rate=1e-3,
    generator_rate=1e-4, discriminator_widths={16: 6, 8: 6, 4: 8, 2: 8}, eikonal_points=32,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=0.0)


def _field(seed: int = 0) -> tuple[StyleSDF, torch.Tensor]:
    torch.manual_seed(seed)
    network = StyleSDF(seen_by(FIELD, DATA))
    return network, network.mapping(torch.randn(2, FIELD.style_dim)).detach()


def test_the_eikonal_loss_is_zero_for_a_distance_and_its_gradient_that_of_differences() -> None:
    points = torch.randn(50, 3, requires_grad=True)
    for factor, expected in ((1.0, 0.0), (3.0, 4.0)):
        distances = factor * losses.sphere_distance(points, 0.3)
        assert losses.eikonal(losses.distance_gradient(distances, points)).item() == pytest.approx(expected, abs=1e-6)
    network, ws = _field()
    network, ws = network.double(), ws.double()
    drawn = torch.rand(2, 20, 3, dtype=torch.float64)
    found = distance_gradients(network, ws, None, drawn)  # type: ignore[arg-type]
    at, by = (2 * drawn - 1) * network.config.half_depth, 1e-6
    for axis, moved in enumerate(torch.eye(3, dtype=torch.float64) * by):
        ahead, behind = (network.renderer.signed_distance(ws, at + sign * moved) for sign in (1, -1))
        assert torch.allclose(found[..., axis], (ahead - behind) / (2 * by), atol=1e-6, rtol=1e-5)
    before = [p.grad for p in network.renderer.layers.parameters()]
    losses.eikonal(found).backward()
    after = [p.grad for p in network.renderer.layers[0].parameters()]
    assert before[0] is None and all(g is not None and float(g.abs().max()) > 0 for g in after)


def test_the_minimal_surface_loss_counts_points_near_the_surface() -> None:
    distances = torch.tensor([0.0, 0.0, 1.0, -1.0])
    assert losses.minimal_surface(distances).item() == pytest.approx(0.5)
    assert losses.minimal_surface(distances, 100.0, torch.tensor([True, False, True, True])).item() == pytest.approx(
        0.25
    )


def test_view_labels_do_not_jump_behind_the_object() -> None:
    behind = torch.tensor([[math.pi - 1e-3, 0.2], [-math.pi + 1e-3, 0.2]])
    assert losses.view_loss(*view_labels(behind, around=True)) < 1e-5 < losses.view_loss(*view_labels(behind, False))


def test_training_starts_from_a_sphere_and_the_field_is_its_distance_in_metres() -> None:
    torch.manual_seed(0)
    config = replace(TINY, generator=seen_by(FIELD, DATA), sphere_steps=200, sphere_rate=2e-3)
    network = StyleSDF(config.generator)
    start_as_sphere(network, config)
    data = replace(DATA, metres_per_unit=0.5)
    generator = load("s", card(config.generator, data, config), network.state_dict())
    radius = 0.5 / 2  # half of the unit sphere of the data
    points = torch.nn.functional.normalize(torch.randn(400, 3), dim=-1) * 0.5 * torch.rand(400, 1)
    for seed in (1, 2):
        scene = generator.synthesize(generator.mapping(generator.sample_z(seed))[0])
        error = (scene.field(points).value - (points.norm(dim=-1) - radius)).abs()
        assert float(error.mean()) < 0.35 * radius  # it cannot follow the tip at the centre
    assert float(scene.field(torch.tensor([[0.0, 0.0, 0.9]])).value) >= 0.4 - 1e-5  # outside the ball of the object


def test_training_renders_what_the_scene_of_the_model_folder_renders() -> None:
    network, ws = _field(3)
    network.renderer.beta.data.fill_(0.01)
    network.renderer.color.weight.data.mul_(30)
    network.renderer.distance.weight.data.mul_(2)
    generator = load("s", card(network.config, DATA, TINY), network.state_dict())
    camera = from_wire(orbit(generator.info, 16, azimuth=0.7, elevation=0.4))
    seen = generator.synthesize(ws[0]).render(camera, samples_per_ray=48)
    expected = seen.rgb * seen.alpha[..., None] + 1 - seen.alpha[..., None]
    network.config.__dict__["num_samples"] = 48

    def rendered(azimuth: float) -> torch.Tensor:
        cameras = cameras_at(torch.tensor([[azimuth, 0.4]]), DATA.prior)
        with torch.no_grad():
            image = render(network, ws[:1], cameras, 16, DATA.prior.radius, torch.zeros(1, 256, 1))
        return thumbnail(network.config, image)[0].permute(1, 2, 0) / 2 + 0.5

    assert float((rendered(0.7) - expected).abs().max()) < 1e-3
    assert float((rendered(-0.7) - expected).abs().mean()) > 0.01


def test_an_image_s_gradient_reaches_the_distance() -> None:
    network, ws = _field(1)
    network.renderer.beta.data.fill_(0.05)

    def brightness() -> torch.Tensor:  # the same draws each time
        step = Step(0, replace(TINY, batch=2), QUIET)
        cameras = random_cameras(step, DATA, "data")
        image = render(network, ws, cameras, 8, DATA.prior.radius, step.uniform(64, 1))
        return thumbnail(network.config, image).mean()

    geometry = [*network.renderer.layers.parameters(), *network.renderer.distance.parameters()]
    gradients = torch.autograd.grad(brightness(), geometry)
    length = sum(float(g.square().sum()) for g in gradients)
    before, by = brightness().item(), 1e-4
    with torch.no_grad():
        for parameter, gradient in zip(geometry, gradients, strict=True):
            parameter -= by / length * gradient
        assert before - brightness().item() == pytest.approx(by, rel=0.3)


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_pass_both_sides_keep_a_distance_and_leave_a_model_with_a_surface(
    tmp_path: Path, loss: str
) -> None:
    config: StyleSDFTraining = replace(TINY, loss=loss)  # type: ignore[arg-type]
    run = train(config, DATA, tmp_path, QUIET)
    first = train(replace(config, steps=1), DATA, None, QUIET)
    for name in ("renderer.layers.0.weight", "renderer.distance.weight", "mapping_network.0.weight", "renderer.beta"):
        assert not torch.equal(run.generator.state_dict()[name], first.generator.state_dict()[name]), name
    state = run.optimizers["discriminator"].state_dict()["state"]
    updates = {n: int(state[i]["step"]) for i, (n, _) in enumerate(run.discriminator.named_parameters())}
    assert updates["first.1.weight"] == 15 and updates["first.0.weight"] == 15  # 8², then 16²
    assert updates["last.weight"] == 30
    model = load_model(tmp_path / "model")
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    image = scene.render(from_wire(orbit(model.info, 16)))
    assert image.rgb.isfinite().all() and 0.05 < float((image.alpha > 0.5).float().mean()) < 0.9
    assert (tmp_path / "progress.png").exists()


def test_a_resumed_training_is_that_without_interruption(tmp_path: Path) -> None:
    config = replace(TINY, steps=6, sphere_steps=3)
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


def test_the_second_stage_trains_the_decoder_alone(tmp_path: Path) -> None:
    generator = replace(
        FIELD, thumbnail_size=8, image_size=16, decoder_channels=(8, 6), decoder_style_dim=12, decoder_mapping_layers=2
    )
    decoder = DecoderTraining(
        steps=6, batch=4, gamma=10.0, regularise_every=3, path_every=2, discriminator_widths={16: 4, 8: 6, 4: 8}
    )
    config = replace(TINY, generator=generator, decoder=decoder, steps=3, sides=(), sphere_steps=2)
    run = train(config, DATA, tmp_path, QUIET)
    renderer = load_file(tmp_path / "renderer" / "checkpoint.safetensors")
    found, start = run.mean.state_dict(), StyleSDF(seen_by(generator, DATA)).state_dict()
    for name, value in renderer.items():
        if name.startswith("mean."):
            assert torch.equal(found[name.removeprefix("mean.")], value), name
    assert not torch.equal(run.generator.state_dict()["decoder.convs.0.weight"], start["decoder.convs.0.weight"])
    assert float(run.state.tensors["mean_length"]) > 0
    rates = {name: optimizer.param_groups[0] for name, optimizer in run.optimizers.items()}
    assert rates["generator"]["lr"] == pytest.approx(decoder.generator_rate * 2 / 3)
    assert rates["discriminator"]["betas"][1] == pytest.approx(decoder.betas[1] ** (3 / 4))
    model = load_model(tmp_path / "model")
    image = model.synthesize(model.mapping(model.sample_z(0))[0]).render(from_wire(orbit(model.info, 16)))
    assert image.rgb.shape == (16, 16, 3) and image.rgb.isfinite().all()


def test_the_published_preset_is_the_paper_s() -> None:
    config = published()
    assert (config.view, config.eikonal, config.minimal_surface, config.sharpness) == (15.0, 0.1, 0.05, 100.0)
    assert (config.generator_rate, config.discriminator_rate, config.betas) == (2e-5, 2e-4, (0.0, 0.9))
    assert config.side_at(0) == 64 and config.gamma_at(0) == 10.0 and config.image_size == 512
    assert small().side_at(0) == 16 and small().gamma_at(0) == small().gamma / 16


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = train(replace(TINY, steps=FEW), DATA, None, QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    found = subprocess.run(
        [*command, "tests.backend.training.test_stylesdf", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for name in ("generator", "mean", "discriminator"):
        for key, value in getattr(one, name).state_dict().items():
            torch.testing.assert_close(stored[f"{name}.{key}"], value, rtol=0, atol=1e-5)


FEW = 5

if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        config: StyleSDFTraining = replace(TINY, steps=FEW)
        train(config, DATA, Path(sys.argv[1]), replace(QUIET, processes=processes))
