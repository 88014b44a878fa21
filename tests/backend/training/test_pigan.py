"""π-GAN's training: stages of image sizes, top-k over processes, poses, and gradients that reach the geometry."""

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
from backend.generators.pigan.model import PiGAN
from backend.generators.pigan.scene import load
from backend.models.library import load_model
from backend.training.adversarial.processes import Processes, joined
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import cameras_at, random_cameras
from backend.training.pigan.config import PiGANTraining, Stage, published, small, small_published
from backend.training.pigan.train import among_best, card, network_config, pitch_and_yaw, render, train

from .coloured_balls import coloured_balls

ROOT = Path(__file__).resolve().parents[3]
DATA = coloured_balls()
TINY = replace(
    small_published(), steps=30, batch=8, fade_steps=10,
    stages=(Stage(0, 8, 8, 1e-3, 1e-3), Stage(15, 16, 4, 5e-4, 1e-3)),
    z_dim=6, hidden_dim=16, num_layers=2, mapping_dim=16, num_steps=4, channels=(8, 8, 6, 4), encoder=True,
    pose_weight=1.0, top_k_interval=1, top_k_smallest=0.6, noise_steps=20,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=0.0)


def test_stages_switch_size_batch_and_rates_and_fade_in() -> None:
    config = published("carla")
    assert [config.stage_at(s).side for s in (0, 9_999, 10_000, 54_999, 55_000, 199_999)] == [32, 32, 64, 64, 128, 128]
    assert [config.batch_at(s) for s in (0, 10_000, 55_000)] == [30, 14, 10]
    assert [config.fade_at(s) for s in (0, 10_000, 15_000, 20_000, 54_999, 55_000)] == [1, 0, 0.5, 1, 1, 0]
    assert config.images_before(60_000) == 30 * 10_000 + 14 * 45_000 + 10 * 5_000
    assert config.images_before(10) == 300
    assert [replace(small(), batch=4).batch_at(s) for s in (0, 4000)] == [4, 2]  # another batch keeps the proportions
    with pytest.raises(ValueError, match="begin at step 0"):
        replace(config, stages=config.stages[1:])
    # the part of the batch that trains the generator, as recorded of the official curriculum for faces
    celeba = replace(published("celeba"), batch=1000, stages=(Stage(0, 64, 1000, 1e-4, 1e-4),))
    assert [celeba.top_k_at(s) for s in (0, 2000, 20_000, 100_000, 199_000)] == [1000, 990, 904, 605, 600]


def test_the_best_are_those_of_all_processes() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.2, 0.8])
    whole = torch.tensor([False, True, False, True, False, True])
    assert torch.equal(among_best(scores, 3, Processes()), whole)

    class Both(Processes):
        def average(self, tensors) -> None:  # type: ignore[no-untyped-def]
            tensors[0].copy_(scores)

    for rank in (0, 1):
        assert torch.equal(among_best(scores[rank::2], 3, Both(rank, 2)), whole[rank::2])


def test_training_renders_what_the_scene_of_the_model_folder_renders() -> None:
    torch.manual_seed(1)
    config = replace(TINY, batch=1, num_steps=32, hidden_dim=32, stages=(Stage(0, 16, 1, 1e-4, 1e-4),))
    network = PiGAN(network_config(config, DATA))
    with torch.no_grad():
        network.density.weight.mul_(200)
        network.density.bias.fill_(-3)
        network.color.weight.mul_(30)
    generator = load("p", card(config, DATA), network.state_dict())
    ws = network.mapping_network(torch.randn(1, config.z_dim)).detach()
    camera = from_wire(orbit(generator.info, 16, azimuth=0.7, elevation=0.4))
    seen = generator.synthesize(ws[0]).render(camera, reference=True)
    expected = seen.rgb * seen.alpha[..., None] + 1 - seen.alpha[..., None]
    step = Step(0, config, QUIET)

    def rendered(azimuth: float) -> torch.Tensor:
        cameras = cameras_at(torch.tensor([[azimuth, 0.4]]), DATA.prior)
        with torch.no_grad():
            return render(network, ws, cameras, 16, step, 0.0)[0].permute(1, 2, 0) / 2 + 0.5

    own, mirrored = ((rendered(azimuth) - expected).abs().mean() for azimuth in (0.7, -0.7))
    assert float(own) < 0.03 and float(own) * 4 < float(mirrored)


def test_the_guessed_pose_has_the_angles_of_the_model_itself() -> None:
    cameras = cameras_at(torch.tensor([[0.0, 0.0], [0.3, 0.1]]), DATA.prior)
    half = math.pi / 2
    assert torch.allclose(pitch_and_yaw(cameras), torch.tensor([[half, half], [half - 0.1, half - 0.3]]), atol=1e-6)


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_change_the_geometry_pass_both_stages_and_leave_a_model(tmp_path: Path, loss: str) -> None:
    config = replace(TINY, loss=loss)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    first = PiGAN(network_config(config, DATA))
    run = train(config, DATA, tmp_path, QUIET)
    for name in ("layers.0.weight", "density.weight", "mapping_network.layers.0.weight", "color.weight"):
        moved = (run.generator.state_dict()[name] - first.state_dict()[name]).abs()
        assert float(moved.max()) > 1e-3, name
    state = run.state.optimizers["discriminator"].state_dict()["state"]
    names = [name for name, _ in run.discriminator.named_parameters()]
    updates = {name: float(state[i]["step"]) for i, name in enumerate(names) if i in state}
    assert updates["blocks.8.first.weight"] == 30 and updates["blocks.16.first.weight"] == 15  # of both sizes
    assert updates["from_rgb.8.weight"] == 15 + 10  # while the second stage fades in
    assert run.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(5e-4 * config.rate_at(29))
    model = load_model(tmp_path / "model")
    assert model.info.pose_prior.fov == pytest.approx(DATA.prior.fov)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    assert scene.render(from_wire(orbit(model.info, 8))).rgb.isfinite().all()


def test_the_loss_falls_against_the_gradient_of_the_geometry() -> None:
    torch.manual_seed(2)
    network = PiGAN(network_config(TINY, DATA))
    with torch.no_grad():
        network.density.weight.mul_(50)

    def brightness() -> torch.Tensor:  # the same draws each time
        step = Step(0, TINY, QUIET)
        ws = network.mapping_network(step.normal(6))
        return render(network, ws, random_cameras(step, DATA, "data"), 8, step, 0.0).mean()

    geometry = [*network.layers.parameters(), *network.density.parameters()]
    gradients = torch.autograd.grad(brightness(), geometry)
    length = sum(float(g.square().sum()) for g in gradients)
    before, by = brightness().item(), 1e-4
    with torch.no_grad():
        for parameter, gradient in zip(geometry, gradients, strict=True):
            parameter -= by / length * gradient
        assert before - brightness().item() == pytest.approx(by, rel=0.3)


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = train(replace(TINY, steps=FEW), DATA, None, QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", __name__]
    command[-1] = "tests.backend.training.test_pigan"
    found = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for name in ("generator", "mean", "discriminator"):
        for key, value in getattr(one, name).state_dict().items():
            torch.testing.assert_close(stored[f"{name}.{key}"], value, rtol=0, atol=1e-5)


FEW = 5

if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        options = replace(QUIET, processes=processes)
        config: PiGANTraining = replace(TINY, steps=FEW)
        train(config, DATA, Path(sys.argv[1]), options)
