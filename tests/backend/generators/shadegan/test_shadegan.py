"""ShadeGAN: shading by the sliders, normals against the gradient of density, import of official files."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators.shadegan.model import ShadeGAN, ShadeGANConfig, shade
from backend.generators.shadegan.scene import ShadeGANGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.scenes.latents import ws_from_latent
from tests.shared import CHECKPOINTS

SMALL = ShadeGANConfig(z_dim=8, hidden_dim=24, mapping_dim=16, num_steps=8, image_size=16, surface=None)


def _generator(config: ShadeGANConfig = SMALL) -> ShadeGANGenerator:
    torch.manual_seed(5)
    network = ShadeGAN(config)
    with torch.no_grad():
        network.density.weight.mul_(60)
        network.density.bias.fill_(5)
    card = ModelCard("shadegan", "s", "", "none", True, dataclasses.asdict(config))
    return load("small", card, network.state_dict())


def test_shading_is_that_of_a_lambertian_surface() -> None:
    light = torch.tensor([[-1.0, 1.0, 0.0, 0.0]])  # no ambient, full light from the front
    normals = torch.tensor([[[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [0.0, 0.0, -1.0]]])
    assert torch.allclose(shade(normals, light), torch.tensor([[1.0, 0.8, 0.0]]))


@pytest.mark.parametrize("view_condition", [False, True])
@pytest.mark.parametrize("light_condition", [False, True])
def test_every_condition_renders_and_light_brightens(view_condition: bool, light_condition: bool) -> None:
    generator = _generator(dataclasses.replace(SMALL, view_condition=view_condition, light_condition=light_condition))
    ws, camera = ws_from_latent(generator, Latent()), from_wire(orbit(generator.info, 8))
    dark = generator.synthesize(ws, {"light_ambient": 0.0, "light_diffuse": 0.0}).render(camera)
    bright = generator.synthesize(ws, {"light_ambient": 1.0}).render(camera)
    assert float(dark.rgb.max()) < 1e-5 < float(bright.rgb.min())
    assert bright.normal is not None
    assert torch.allclose(bright.normal.norm(dim=-1), torch.ones(8, 8), atol=1e-4)


@pytest.mark.parametrize("size", [16, 128])
def test_the_field_of_view_is_between_the_edges_at_every_image_size(size: int) -> None:
    generator = _generator(dataclasses.replace(SMALL, image_size=size))
    (focal, _, center), _, _ = orbit(generator.info, size).intrinsics
    assert 2 * math.atan(center / focal) == pytest.approx(math.radians(SMALL.fov_degrees))


def test_normals_are_against_the_gradient_of_density() -> None:
    generator = _generator()
    ws, points = ws_from_latent(generator, Latent())[None], torch.rand(1, 6, 3, dtype=torch.float64) * 0.1
    network = generator.network.double()
    _, _, normals = network.geometry(ws.double(), points)
    step = 1e-6
    for axis in range(3):
        offset = torch.zeros(3, dtype=torch.float64)
        offset[axis] = step
        up, down = (network.geometry(ws.double(), points + s * offset)[0] for s in (1, -1))
        scaled = (up - down) / (2 * step) * network.config.box_side / 2
        assert torch.allclose(-normals[..., axis], scaled, rtol=1e-3, atol=1e-2)


def test_the_official_file_is_imported(tmp_path: Path) -> None:
    path = CHECKPOINTS / "shadegan_generator.pth"
    card = import_model(path, tmp_path / "model")
    assert card.kind == "shadegan"
    generator = load_model(tmp_path / "model")
    image = generator.synthesize(ws_from_latent(generator, Latent(truncation_psi=0.7))).render(
        from_wire(orbit(generator.info, 6))
    )
    assert image.rgb.isfinite().all() and image.rgb.std() > 0.01
