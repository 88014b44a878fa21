"""GRAF: world cameras see the official image, the fast path agrees with the reference, official files are imported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from addon.wire.messages import Latent
from backend.cameras import Camera, from_wire, orbit
from backend.checkpoints.convert import import_model, read_tree
from backend.generators.graf.checkpoint import _radius
from backend.generators.graf.model import GRAF, GRAFConfig, official_rays
from backend.generators.graf.scene import WORLD_FROM_CANONICAL, GRAFGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.scenes.latents import ws_from_latent
from tests.shared import CHECKPOINTS

SMALL = GRAFConfig(z_dim=10, appearance_dim=4, hidden_dim=24, num_samples=12, image_size=16)


def _generator(config: GRAFConfig = SMALL) -> GRAFGenerator:
    torch.manual_seed(4)
    network = GRAF(config)
    with torch.no_grad():
        network.density.weight.mul_(20)
        network.color.weight.mul_(8)
    return load("small", ModelCard("graf", "g", "", "MIT", False, dataclasses.asdict(config)), network.state_dict())


def test_a_world_camera_sees_the_official_image() -> None:
    generator, size, focal = _generator(), 16, 30.0
    ws = ws_from_latent(generator, Latent(seed_a=1))
    camera = from_wire(orbit(generator.info, size, azimuth=0.4, elevation=0.3))
    # official pixels are seen at their corners: half a pixel further left and up
    intrinsics = torch.tensor([[focal, 0, size / 2 + 0.5], [0, focal, size / 2 + 0.5], [0, 0, 1]])
    camera = Camera(camera.world_from_camera, intrinsics, size, size)
    pose = camera.world_from_camera[:3].clone()
    pose[:, 1:3] *= -1  # their cameras look along −z, y up
    pose = WORLD_FROM_CANONICAL.T @ pose
    origins, directions = official_rays(pose[None], size, size, focal)
    with torch.no_grad():
        official = generator.network.render(ws[None], origins, directions)
    scene = generator.synthesize(ws)
    for reference in (True, False):
        image = scene.render(camera, reference=reference)
        on_white = image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]
        assert float((on_white.reshape(-1, 3) - official.rgb[0]).abs().max()) < 5e-3
        assert float((image.alpha.flatten() - official.alpha[0]).abs().max()) < 5e-3


def test_appearance_changes_colour_alone() -> None:
    generator = _generator()
    a, b = (ws_from_latent(generator, Latent(seed_a=1, seed_b=2, mix_appearance=mix)) for mix in (0.0, 1.0))
    points = torch.rand(50, 3) * 4 - 2
    first, second = generator.synthesize(a).field(points), generator.synthesize(b).field(points)
    assert torch.equal(first.value, second.value)
    assert not torch.equal(first.rgb, second.rgb)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["graf_model.pt", "graf_model_legacy.pt"])
def test_the_official_file_is_imported_with_the_weights_that_are_evaluated(name: str, tmp_path: Path) -> None:
    card = import_model(CHECKPOINTS / name, tmp_path / "model")
    assert card.kind == "graf"
    generator = load_model(tmp_path / "model")
    tree = read_tree(CHECKPOINTS / name)
    tested = (
        tree["generator_test"]["alpha_linear.weight"]
        if "alpha_linear.weight" in tree["generator_test"]
        else next(  # type: ignore[index]
            value
            for key, value in tree["generator_test"].items()
            if key.endswith("alpha_linear.weight")  # type: ignore[index]
        )
    )
    assert torch.equal(generator.network.density.weight, tested)  # type: ignore[attr-defined]
    assert not generator.info.non_commercial


def test_radius_may_be_a_number_a_pair_or_a_text() -> None:
    assert _radius(10) == (10.0, 10.0)
    assert _radius("9.5,10.5") == _radius([9.5, 10.5]) == (9.5, 10.5)
