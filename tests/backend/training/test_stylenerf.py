"""StyleNeRF's training: growth, regularisers, discriminator, gradients that reach the geometry, processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.cameras import from_wire, orbit
from backend.generators.layers.stylegan2_discriminator import minibatch_deviation
from backend.generators.stylenerf.discriminator import Discriminator, DiscriminatorConfig
from backend.generators.stylenerf.model import StyleNeRF
from backend.generators.stylenerf.scene import load
from backend.models.library import load_model
from backend.training.adversarial.processes import joined
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import cameras_at, random_cameras
from backend.training.stylenerf.config import published, small
from backend.training.stylenerf.losses import grid_places, growth, path_consistency, path_lengths
from backend.training.stylenerf.train import card, network_config, render, train

from .coloured_balls import coloured_balls

ROOT = Path(__file__).resolve().parents[3]
DATA = coloured_balls(side=32)
TINY = replace(
    small(), steps=30, batch=8, side=32, rays=8, start=8, growth=(0.04, 0.2), z_dim=8, w_dim=8, field_hidden=12,
    field_layers=2, features=8, frequencies=3, background=True, num_samples=3, num_background_samples=2,
    upsampler_channels=(8, 8), discriminator_channels=(4, 6, 8, 8), path_grid=4, length_every=4, regularise_every=2,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=10, checkpoint_seconds=1e9)


def test_resolutions_grow_as_the_images_seen_do() -> None:
    network = StyleNeRF(network_config(TINY, DATA))
    alphas = [growth(images, 40, 200) for images in (0, 40, 41, 119, 121, 200, 1e9)]
    assert [network.stage(alpha)[1] for alpha in alphas] == [8, 8, 16, 16, 32, 32, 32]
    assert network.stage(growth(80, 40, 200))[2] == pytest.approx(0.5)  # half faded in
    assert published().side == 256 and small().side == 64
    with pytest.raises(ValueError, match="makes images of"):
        replace(TINY, side=64)


def test_the_path_regulariser_is_zero_where_image_and_rays_agree() -> None:
    image = torch.rand(2, 3, 8, 8)
    places = grid_places(torch.tensor([[0.0, 0.99], [0.5, 0.0]]), 8, 4)
    assert places[0, 0].tolist() == [1, 0] and places[1, 0].tolist() == [0, 1]  # row, column
    assert places[0, 1].tolist() == [1, 2] and places[0, 4].tolist() == [3, 0]
    colors = torch.stack([torch.stack([image[b, :, r, c] for r, c in places[b].tolist()], -1) for b in (0, 1)])
    assert path_consistency(image, colors, places).abs().max() == 0
    assert path_consistency(image, colors + 0.1, places).tolist() == [[pytest.approx(0.03)], [pytest.approx(0.03)]]


def test_path_length_is_the_norm_of_the_jacobian_of_a_linear_map() -> None:
    ws = torch.rand(2, 1, 4, requires_grad=True)
    matrix, noise = torch.randn(12, 4), torch.randn(2, 3, 2, 2)
    image = (ws[:, 0] @ matrix.T).unflatten(1, (3, 2, 2))
    expected = (noise.flatten(1) @ matrix / 2).norm(dim=1)
    torch.testing.assert_close(path_lengths(image, ws, noise), expected)


def test_a_faded_discriminator_begins_as_the_one_of_half_the_size_and_ends_as_itself() -> None:
    torch.manual_seed(0)
    model = Discriminator(DiscriminatorConfig(16, (4, 6, 8), group_size=2))
    image = torch.randn(4, 3, 16, 16)
    halved = torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(model(image, 0.0), model(halved))
    assert (model(image) - model(image, 0.5)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="pixels a side"):
        DiscriminatorConfig(32, (4, 6, 8))


def test_groups_of_the_minibatch_deviation_are_strided() -> None:
    x = torch.randn(8, 2, 2, 2)
    whole = minibatch_deviation(x, 2)[:, 2, 0, 0]
    parts = torch.stack([minibatch_deviation(x[rank::2], 2)[:, 2, 0, 0] for rank in (0, 1)], 1).flatten()
    torch.testing.assert_close(whole, parts)


def test_training_renders_what_the_scene_of_the_model_folder_renders() -> None:
    torch.manual_seed(1)
    config = replace(TINY, num_samples=48, background=False, density_noise=0.0, batch=1)
    network = StyleNeRF(network_config(config, DATA))
    with torch.no_grad():
        network.foreground.density.weight.mul_(20)
    generator = load("s", card(config, DATA), network.state_dict())
    z = torch.randn(1, config.z_dim)
    ws = network.mapping(z).detach()
    camera = from_wire(orbit(generator.info, 32, azimuth=0.7, elevation=0.4))
    expected = generator.synthesize(ws[0]).render(camera).rgb

    def rendered(azimuth: float) -> torch.Tensor:
        cameras = cameras_at(torch.tensor([[azimuth, 0.4]]), DATA.prior)
        with torch.no_grad():
            image, _ = render(config, network.eval(), ws, None, cameras, Step(0, config, QUIET), 1.0)
        return (image[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)

    own, mirrored = (float((rendered(azimuth) - expected).abs().mean()) for azimuth in (0.7, -0.7))
    assert own < 0.01 and own * 4 < mirrored


def test_the_loss_falls_against_the_gradient_of_the_geometry() -> None:
    torch.manual_seed(2)
    network = StyleNeRF(network_config(TINY, DATA)).eval()
    field = network.foreground
    geometry = [*field.first.parameters(), *field.layers.parameters(), *field.density.parameters()]

    def brightness() -> torch.Tensor:  # the same draws each time
        step = Step(0, TINY, QUIET)
        ws, code = network.mapping(step.normal(8)), step.normal(2)
        image, path = render(TINY, network, ws, code, random_cameras(step, DATA, "data"), step, 1.0)
        return image.mean() + path

    gradients = torch.autograd.grad(brightness(), geometry)
    length = sum(float(g.square().sum()) for g in gradients)
    assert float(gradients[-2].norm()) > 0  # of the density's weights
    before, by = brightness().item(), 1e-4
    with torch.no_grad():
        for parameter, gradient in zip(geometry, gradients, strict=True):
            parameter -= by / length * gradient
        assert before - brightness().item() == pytest.approx(by, rel=0.3)


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_pass_all_resolutions_and_leave_a_model(tmp_path: Path, loss: str) -> None:
    config = replace(TINY, loss=loss)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    first = StyleNeRF(network_config(config, DATA)).state_dict()
    run = train(config, DATA, tmp_path, QUIET)
    for name in (
        "foreground.first.weight",
        "foreground.density.weight",
        "background.first.weight",
        "blocks.1.conv0.weight",
    ):
        assert float((run.generator.state_dict()[name] - first[name]).abs().max()) > 1e-3, name
    state = run.state.optimizers["discriminator"].state_dict()["state"]
    names = [name for name, _ in run.discriminator.named_parameters()]
    updates = {name: float(state[i]["step"]) for i, name in enumerate(names) if i in state}
    assert updates["blocks.8.conv0.weight"] == 30  # takes part from the first step on …
    assert 0 < updates["blocks.32.conv0.weight"] < updates["blocks.16.conv0.weight"] < 30  # … and larger ones later
    assert float(run.state.tensors["path_length"]) > 0
    assert float(run.mean.get_buffer("mapping_network.w_mean").abs().max()) > 0
    model = load_model(tmp_path / "model")
    assert model.info.image_size == 32 and model.info.pose_prior.fov == pytest.approx(DATA.prior.fov)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    assert scene.render(from_wire(orbit(model.info, 32))).rgb.isfinite().all()


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = train(SHORT, DATA, None, QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    found = subprocess.run(
        [*command, "tests.backend.training.test_stylenerf", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for name in ("generator", "mean", "discriminator"):
        for key, value in getattr(one, name).state_dict().items():
            torch.testing.assert_close(stored[f"{name}.{key}"], value, rtol=0, atol=1e-5)


SHORT = replace(TINY, steps=5, growth=(-0.002, -0.001), generator_rate=2e-4, discriminator_rate=2e-4)
"""Five steps with all resolutions from the first one on."""

if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        train(SHORT, DATA, Path(sys.argv[1]), replace(QUIET, processes=processes))
