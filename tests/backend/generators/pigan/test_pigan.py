"""π-GAN: world cameras see the official image, the fast path agrees with the reference, official files are imported."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from addon.wire.errors import UnknownCheckpoint
from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model, read_tree, state_dict
from backend.generators.pigan.checkpoint import renamed, with_averaged
from backend.generators.pigan.model import PiGAN, PiGANConfig, official_fov, official_rays
from backend.generators.pigan.scene import PiGANGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.scenes.latents import ws_from_latent
from tests.shared import CHECKPOINTS

SMALL = PiGANConfig(z_dim=8, hidden_dim=24, mapping_dim=16, num_steps=12, image_size=16)


def _generator(config: PiGANConfig = SMALL, metres_per_unit: float = 1.0) -> PiGANGenerator:
    torch.manual_seed(3)
    network = PiGAN(config)
    with torch.no_grad():
        network.density.weight.mul_(400)
        network.density.bias.fill_(5)
        network.color.weight.mul_(30)
    card = ModelCard("pigan", "π", "", "none", True, dataclasses.asdict(config), metres_per_unit=metres_per_unit)
    return load("small", card, network.state_dict())


@pytest.mark.parametrize("changes", [{}, {"box_side": None, "white_back": True, "last_back": False}])
@pytest.mark.parametrize("metres", [1.0, 2.5])
def test_a_world_camera_sees_the_official_image(changes: dict[str, object], metres: float) -> None:
    config = dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]
    generator = _generator(config, metres)
    ws = ws_from_latent(generator, Latent(seed_a=1))
    size, azimuth, elevation = config.image_size, 0.3, 0.1
    t = torch.linspace(config.ray_start, config.ray_end, config.num_steps).expand(1, size * size, config.num_steps)
    yaw, pitch = torch.tensor([math.pi / 2 - azimuth]), torch.tensor([math.pi / 2 - elevation])
    rays = official_rays(yaw, pitch, size, config.fov_degrees, t)
    with torch.no_grad():
        official = generator.network.render(ws[None], rays.origins, rays.directions, t)
    fov = official_fov(config.fov_degrees, size)
    camera = from_wire(orbit(generator.info, size, azimuth=azimuth, elevation=elevation, fov=fov))
    for reference in (True, False):
        image = generator.synthesize(ws).render(camera, reference=reference)
        ours = image.rgb * image.alpha[..., None] + (1 - image.alpha[..., None]) * config.white_back
        # rounding can move fine samples of a sharp field: the mean difference is compared
        assert float((ours.reshape(-1, 3) - official.rgb[0]).abs().mean()) < 2e-3
        assert image.depth.isfinite().any()


@pytest.mark.parametrize("size", [16, 64, 128])
def test_the_field_of_view_is_between_the_edges_at_every_image_size(size: int) -> None:
    generator = _generator(dataclasses.replace(SMALL, image_size=size))
    assert generator.info.pose_prior.fov == pytest.approx(math.radians(SMALL.fov_degrees))
    camera = from_wire(orbit(generator.info, size))
    axis = camera.world_from_camera[:3, 2]
    rays = camera.rays(torch.tensor([[0.0, size / 2], [size, size / 2]]))
    assert torch.allclose(rays.directions @ axis, torch.tensor(math.cos(math.radians(SMALL.fov_degrees) / 2)).expand(2))


def test_training_mode_folds_frequencies_into_weights_with_the_same_result() -> None:
    torch.manual_seed(4)
    network = PiGAN(SMALL).double()
    ws = network.mapping_network(torch.randn(2, 8, dtype=torch.float64))
    points, directions = torch.rand(2, 2, 7, 3, dtype=torch.float64) * 0.2 - 0.1
    layers = list(network.layers.parameters())

    def found(training: bool) -> tuple[torch.Tensor, ...]:
        values = network.train(training).radiance(ws, points, directions)
        return values, *torch.autograd.grad(values.square().sum(), layers, retain_graph=True)

    for folded, plain in zip(found(True), found(False), strict=True):
        assert torch.allclose(folded, plain, rtol=1e-9, atol=1e-9)


def test_field_is_in_metres_and_locking_the_view_ignores_directions() -> None:
    near, far = _generator(metres_per_unit=1.0), _generator(metres_per_unit=4.0)
    ws = ws_from_latent(near, Latent(seed_a=2))
    points = torch.rand(5, 7, 3) * 0.2 - 0.1
    a, b = near.synthesize(ws).field(points), far.synthesize(ws).field(points * 4)
    assert a.value.shape == (5, 7) and a.rgb is not None and a.rgb.shape == (5, 7, 3)
    assert torch.allclose(a.value, b.value * 4, rtol=1e-3, atol=1e-3)
    along = torch.nn.functional.normalize(torch.randn(5, 7, 3), dim=-1)
    locked = near.synthesize(ws, {"lock_view": 1.0})
    assert torch.equal(locked.field(points, along).rgb, locked.field(points).rgb)  # type: ignore[arg-type]
    assert not torch.equal(near.synthesize(ws).field(points, along).rgb, a.rgb)  # type: ignore[arg-type]


def test_truncation_moves_towards_the_mean_and_seeds_are_the_official_ones() -> None:
    generator = _generator()
    torch.manual_seed(7)
    z = torch.randn(1, 8)
    assert torch.equal(generator.sample_z(7), z)
    whole, none = generator.mapping(z), generator.mapping(z, truncation_psi=0.0)
    half = generator.mapping(z, truncation_psi=0.5)
    assert torch.allclose(half, (whole + none) / 2, atol=1e-6)
    assert torch.equal(none, generator.mapping(generator.sample_z(8), truncation_psi=0.0))


def test_a_draft_has_the_size_that_was_asked_for_and_jitter_changes_pixels() -> None:
    generator = _generator()
    scene = generator.synthesize(ws_from_latent(generator, Latent()))
    camera = from_wire(orbit(generator.info, 15))
    assert scene.render(camera, quality="draft").rgb.shape == (15, 15, 3)
    assert torch.equal(scene.render(camera).rgb, scene.render(camera).rgb)
    assert not torch.equal(scene.render(camera, jitter=torch.Generator().manual_seed(0)).rgb, scene.render(camera).rgb)


def test_the_official_folder_is_imported_with_its_averaged_parameters(tmp_path: Path) -> None:
    folder = CHECKPOINTS / "pigan"
    card = import_model(folder, tmp_path / "model")
    assert card.kind == "pigan"
    assert card.non_commercial
    network = load_model(tmp_path / "model").network  # type: ignore[attr-defined]
    expected = {renamed(k): v for k, v in load_file(folder / "expected_after_ema.safetensors").items()}
    state = network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def test_averaged_parameters_of_another_training_are_refused() -> None:
    weights = state_dict(read_tree(CHECKPOINTS / "pigan" / "generator.pth"))
    with pytest.raises(UnknownCheckpoint, match="not of one training"):
        with_averaged(weights, {"shadow_params": list(weights.values())[:-1]})
    swapped = list(weights.values())
    swapped[0], swapped[1] = swapped[1], swapped[0]
    with pytest.raises(UnknownCheckpoint, match="not of one training"):
        with_averaged(weights, {"shadow_params": swapped})
