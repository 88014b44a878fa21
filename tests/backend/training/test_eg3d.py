"""EG3D's training: what is rendered is what the model renders, gradients reach the geometry, both loops train."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from backend.cameras import Camera, from_wire, orbit
from backend.generators.eg3d.discriminator import DualDiscriminatorConfig
from backend.generators.eg3d.model import EG3D, BackboneConfig, EG3DConfig, rays
from backend.generators.eg3d.scene import load
from backend.generators.layers.stylegan2_discriminator import minibatch_deviation
from backend.models.library import load_model
from backend.scenes.generator import Generator
from backend.training.adversarial.losses import generator_loss
from backend.training.adversarial.processes import Processes, joined
from backend.training.adversarial.run import RunOptions
from backend.training.eg3d.common import canonical_cameras, card, network_config
from backend.training.eg3d.config import EG3DTraining, SmallEG3DTraining, published, small
from backend.training.eg3d.discriminator import GrowingDiscriminator, GrowingDiscriminatorConfig, pose_numbers
from backend.training.eg3d.losses import blurred, density_variation, swapped
from backend.training.eg3d.rendering import render_features
from backend.training.eg3d.small import adapt
from backend.training.eg3d.train import optimizers, train

from .coloured_balls import coloured_balls

CPU = torch.device("cpu")
DATA = coloured_balls(side=32)
OPACITY = coloured_balls(side=32, opacity=True)
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=1e9)


def _generator(base: EG3DConfig) -> EG3DConfig:
    backbone = replace(base.backbone, resolution=16, channel_base=128, channel_max=16)
    rendering = replace(base.rendering, neural_resolution=16, depth_resolution=6)
    upper = replace(base.superresolution, input_resolution=16, channels=(4, 4))
    mapping = replace(base.mapping, num_layers=2)
    return replace(
        base, backbone=backbone, rendering=rendering, superresolution=upper, mapping=mapping, z_dim=6, w_dim=8,
        plane_features=4, decoder_width=8,
    )  # fmt: skip


TINY: SmallEG3DTraining = replace(
    small(), generator=_generator(small().generator), steps=30, half_until=1 / 3, superresolve_from=2 / 3,
    batch=4, shown_samples=9, discriminator=GrowingDiscriminatorConfig(channels=(4, 8), pose_features=4),
)  # fmt: skip
SHORT = replace(
    TINY, steps=5, half_until=0.2, superresolve_from=0.6, batch=8
)  # groups of the spread are whole in each process
TINY_PUBLISHED: EG3DTraining = replace(
    published(), generator=replace(_generator(published().generator), condition_scale=1.0),
    discriminator=DualDiscriminatorConfig(side=32, channel_base=128, channel_max=8), steps=4, batch=4,
    regularise_every=2, density_every=3, blur_kimg=0.012, blur_sigma=2.0, final_neural_resolution=20,
    neural_resolution_kimg=0.016,
)  # fmt: skip
TINY_PUBLISHED = replace(
    TINY_PUBLISHED,
    generator=replace(
        TINY_PUBLISHED.generator,
        rendering=replace(TINY_PUBLISHED.generator.rendering, depth_resolution_importance=4, ray_start=1.0),
    ),
)


def model(config: SmallEG3DTraining | EG3DTraining, network: EG3D) -> Generator:
    return load("g", card(config, DATA, network.config), network.state_dict())


@pytest.mark.parametrize("config", [TINY, TINY_PUBLISHED])
def test_training_renders_what_the_network_does_and_the_camera_is_that_of_the_image(config) -> None:
    torch.manual_seed(0)
    network = EG3D(network_config(config, DATA)).requires_grad_(False)
    planes = network.backbone(torch.randn(2, network.backbone.num_ws, 8))
    poses, lenses = (x[:2] for x in canonical_cameras(DATA, CPU))
    origins, directions = rays(poses, lenses, 16)
    expected = network.render(planes, origins, directions, *network.ray_limits(origins, directions)).features
    found = render_features(network, planes, poses, lenses, 16).features
    assert torch.allclose(found, expected, atol=1e-5)
    part = render_features(network, planes, poses, lenses, 16, features=3).features
    assert torch.allclose(part, expected[:, :3], atol=1e-5)
    # the same rays in the world, from the scene's side
    assert DATA.world_from_camera is not None
    assert DATA.intrinsics is not None
    camera = Camera(DATA.world_from_camera[0], DATA.intrinsics[0] * torch.tensor([[16.0], [16], [1]]), 16, 16)
    scene = load("g", card(config, DATA, network_config(config, DATA)), network.state_dict()).synthesize(
        torch.zeros(network.backbone.num_ws, 8)
    )
    own = scene._camera_rays(camera, 16)[0]
    assert torch.allclose(own.origins[0], origins[0], atol=1e-5)
    assert torch.allclose(own.directions[0], directions[0], atol=1e-5)


def test_rays_outside_the_known_box_are_background_and_the_fast_path_agrees() -> None:
    torch.manual_seed(0)
    config = network_config(TINY, DATA)
    config = replace(config, rendering=replace(config.rendering, ray_box=(0.3, 0.5, 0.4)))
    generator = load(
        "g",
        replace(card(TINY, DATA, network_config(TINY, DATA)), constructor=_plain(config)),
        EG3D(config).state_dict(),
    )
    assert generator.info.bounds[1] == pytest.approx((0.3, 0.4, 0.5))  # canonical y is the world's Z
    camera = from_wire(orbit(generator.info, 16))
    ws = torch.randn(generator.info.num_ws, 8)
    fast, reference = (generator.synthesize(ws, reference=r).render(camera) for r in (False, True))
    assert torch.allclose(fast.rgb, reference.rgb, atol=1e-4)
    assert float(reference.alpha[0].max()) == 0 and float(reference.alpha[8, 8]) > 0
    network = generator.network
    raw = render_features(
        network, network.backbone(ws[None]), *(x[:1] for x in canonical_cameras(DATA, CPU)), 16
    ).features
    assert torch.equal(raw[0, :, 0, 0], torch.ones(4))


def _plain(config: EG3DConfig) -> dict:
    return card(TINY, DATA, config).constructor | {"rendering": vars(config.rendering)}


def test_one_convolution_a_level_needs_as_many_styles() -> None:
    base = replace(TINY.generator, backbone=BackboneConfig(resolution=16, channel_base=64, channel_max=8, convs=1))
    one, two = EG3D(base), EG3D(replace(base, backbone=replace(base.backbone, convs=2)))
    assert (one.backbone.num_ws, two.backbone.num_ws) == (4, 6)
    ws = torch.randn(1, 4, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(one.backbone(ws).square().sum(), ws)
    assert torch.all(gradient.abs().sum(dim=2) > 0)  # each is used
    with pytest.raises(ValueError, match="convs"):
        EG3D(replace(base, backbone=replace(base.backbone, architecture="resnet")))


@pytest.mark.parametrize("opacity", [False, True])
def test_the_discriminator_goes_on_from_where_it_was_when_images_grow(opacity: bool) -> None:
    torch.manual_seed(0)
    discriminator = GrowingDiscriminator(TINY.discriminator, 16, opacity)
    pose, raw, image = torch.randn(4, 12), torch.rand(4, 3 + opacity, 16, 16), torch.rand(4, 3, 32, 32)
    raw, image = raw.requires_grad_(), image.requires_grad_()
    half = F.avg_pool2d(raw, 2)
    assert torch.equal(discriminator(pose, half), discriminator(pose, raw))
    assert torch.equal(discriminator(pose, raw), discriminator(pose, raw, image))
    nn.init.normal_(discriminator.blocks[0].main.weight)  # type: ignore[union-attr]
    (gradient,) = torch.autograd.grad(discriminator(pose, raw).sum(), raw)
    assert torch.all(gradient.abs().sum(dim=(0, 2, 3)) > 0)
    assert float((discriminator(pose, half) - discriminator(pose, raw)).detach().abs().max()) > 0
    nn.init.normal_(discriminator.upscaled.weight)
    (gradient,) = torch.autograd.grad(discriminator(pose, raw, image).sum(), image)
    assert torch.all(gradient.abs().sum(dim=(1, 2, 3)) > 0)
    assert not torch.allclose(discriminator(pose, raw), discriminator(pose + 1, raw))


def test_the_spread_is_that_of_images_far_apart_and_zero_where_they_are_alike() -> None:
    x = torch.rand(8, 3, 2, 2)
    found = minibatch_deviation(x, 4)[:, 3]
    groups = [x[[i, i + 2, i + 4, i + 6]].std(dim=0, unbiased=False).mean() for i in (0, 1)]
    assert found[:, 0, 0].tolist() == pytest.approx([g.item() for g in groups] * 4, abs=1e-4)
    alike = minibatch_deviation(x[:1].repeat(4, 1, 1, 1), 4)[:, 3]
    assert float(alike.max()) == pytest.approx(1e-4, rel=1e-2)
    assert torch.equal(minibatch_deviation(x[:6], 4), minibatch_deviation(x[:6], 3))


def test_a_step_against_the_gradient_of_the_geometry_lowers_the_loss() -> None:
    torch.manual_seed(2)
    generator = EG3D(network_config(TINY, DATA))
    discriminator = GrowingDiscriminator(TINY.discriminator, 16)
    poses, lenses = (x[:4] for x in canonical_cameras(DATA, CPU))
    z, jitter = torch.randn(4, 6), torch.rand(4, 256, 1, 1)

    def loss() -> torch.Tensor:
        planes = generator.backbone(generator.mapping(z, None))
        fake = render_features(generator, planes, poses, lenses, 16, jitter=jitter, features=3).features
        return generator_loss("published", discriminator(pose_numbers(poses), fake))

    geometry = [*generator.backbone.parameters(), *generator.decoder.parameters()]
    before = loss()
    gradients = torch.autograd.grad(before, geometry, allow_unused=True)
    pairs = [(p, g) for p, g in zip(geometry, gradients, strict=True) if g is not None]
    length = sum(float(g.square().sum()) for _, g in pairs)
    assert length > 0
    with torch.no_grad():
        for parameter, gradient in pairs:
            parameter -= 1e-3 * before.item() / length * gradient
        assert loss().item() == pytest.approx(before.item() * (1 - 1e-3), rel=3e-4)


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_thirty_steps_train_geometry_then_superresolution_and_leave_a_model(tmp_path: Path, loss: str) -> None:
    config = replace(TINY, loss=loss)  # type: ignore[arg-type]
    first = train(
        replace(config, steps=20, half_until=0.5, superresolve_from=1.0), DATA, None, QUIET
    ).generator.state_dict()
    run = train(config, OPACITY if loss == "r3gan" else DATA, tmp_path, QUIET)
    moved = {name: float((value - first[name]).abs().max()) for name, value in run.generator.state_dict().items()}
    assert moved["decoder.out.weight"] > 1e-3 and moved["backbone.blocks.b16.conv0.weight"] > 1e-3
    upper = "superresolution.blocks.1.to_image.weight"
    assert float(first[upper].abs().max()) == 0 < moved[upper]  # untouched for 20 steps
    assert moved["mapping_network.w_mean"] > 0
    model = load_model(tmp_path / "model")
    assert (model.info.image_size, model.info.pose_prior.radius) == (32, pytest.approx(4.0))
    assert model.network.config.rendering.depth_resolution == 9  # type: ignore[attr-defined]
    render = model.synthesize(model.mapping(model.sample_z(0))[0]).render(from_wire(orbit(model.info, 32)))
    assert render.rgb.isfinite().all()


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_the_published_loop_trains_all_of_both_networks(loss: str) -> None:
    config = replace(TINY_PUBLISHED, loss=loss)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    first = EG3D(network_config(config, DATA)).state_dict()
    run = train(config, DATA, None, QUIET)
    still = [
        name
        for name, value in run.generator.named_parameters()
        if torch.equal(value, first[name]) and not name.endswith("noise_strength")
    ]
    assert not still
    steps = {int(s["step"]) for s in run.optimizers["generator"].state.values()}
    assert 6 in steps  # four steps and two of the density's, at 0 and 3


def test_schedules_and_lazy_rates_are_the_published_ones() -> None:
    config = replace(published(), final_neural_resolution=128)
    assert [config.swap_chance_at(n) for n in (0, 500_000, 2_000_000)] == [1.0, 0.75, 0.5]
    assert [config.blur_at(n) for n in (0, 100_000, 300_000)] == [10.0, 5.0, 0.0]
    assert [config.neural_resolution_at(n) for n in (0, 500_000, 2_000_000)] == [64, 96, 128]
    network = EG3D(network_config(TINY_PUBLISHED, DATA))
    made = optimizers(published(), network, network)  # type: ignore[arg-type]
    groups = {name: optimizer.param_groups[0] for name, optimizer in made.items()}
    assert groups["generator"]["lr"] == pytest.approx(2.5e-3 * 4 / 5)
    assert groups["discriminator"]["betas"] == (0, pytest.approx(0.99 ** (16 / 17)))


def test_gamma_follows_the_loss_of_the_discriminator() -> None:
    gamma, config, alone = torch.tensor(3.0), replace(TINY, discriminator_target=0.3, gamma_rate=0.1), Processes()
    adapt(gamma, config, torch.tensor(0.3), alone)
    assert gamma == 3
    adapt(gamma, config, torch.tensor(0.6), alone)  # it is fooled
    assert float(gamma) == pytest.approx(3 * math.exp(-0.03))
    adapt(gamma, config, torch.tensor(0.1), alone)
    assert float(gamma) == pytest.approx(3 * math.exp(-0.01))
    adapt(gamma, replace(config, discriminator_target=None), torch.tensor(0.0), alone)
    assert float(gamma) == pytest.approx(3 * math.exp(-0.01))
    assert [TINY.doublings_at(step) for step in (0, 9, 10, 19, 20, 29)] == [-1, -1, 0, 0, 1, 1]


def test_blur_keeps_a_constant_inside_and_cameras_are_swapped_with_their_chance() -> None:
    image = torch.ones(1, 3, 16, 16)
    assert torch.allclose(blurred(image, 1.5)[..., 4:12, 4:12], image[..., 4:12, 4:12], atol=1e-6)
    assert float(blurred(image, 1.5)[0, 0, 0, 0]) < 0.5 and blurred(image, 0.2) is image
    condition = torch.arange(4.0)[:, None].expand(4, 25)
    u = torch.tensor([[0.1], [0.9], [0.1], [0.9]])
    assert swapped(condition, condition.roll(1, 0), 0.5, u)[:, 0].tolist() == [3, 1, 1, 3]


def test_the_density_variation_is_zero_for_constant_planes_only() -> None:
    torch.manual_seed(0)
    generator = EG3D(TINY.generator)
    places, offsets = torch.rand(1, 50, 3) * 0.5 + 0.25, torch.randn(1, 50, 3) * 0.01
    flat = torch.ones(1, 3, 4, 16, 16, requires_grad=True)
    assert density_variation(generator, flat, places, offsets).item() == pytest.approx(0, abs=1e-6)
    planes = torch.randn(1, 3, 4, 16, 16, requires_grad=True)
    variation = density_variation(generator, planes, places, offsets)
    assert variation.item() > 1e-4
    assert float(torch.autograd.grad(variation, planes)[0].abs().max()) > 0


def test_the_field_of_view_of_the_model_is_that_of_the_images() -> None:
    info = load(
        "g",
        replace(card(TINY, DATA, network_config(TINY, DATA)), pose_prior={}),
        EG3D(network_config(TINY, DATA)).state_dict(),
    ).info
    assert info.pose_prior.fov == pytest.approx(math.radians(30), abs=1e-4)
    assert info.pose_prior.radius == pytest.approx(4.0)


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", __name__, str(tmp_path / "two")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    train(SHORT, DATA, tmp_path / "one", QUIET)
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert set(one) == set(two)
    for name, value in one.items():
        if name.startswith(("generator.", "mean.", "discriminator.")):
            assert torch.allclose(value, two[name], atol=1e-5), name


if __name__ == "__main__":
    with joined(CPU) as own:
        train(SHORT, DATA, Path(sys.argv[1]), replace(QUIET, processes=own))
