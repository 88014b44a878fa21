"""ShadeGAN: shading by the sliders, normals against the gradient of density, import of official files."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators.pigan.model import official_rays
from backend.generators.shadegan.fast import FoldedField, ShadedField
from backend.generators.shadegan.model import ShadeGAN, ShadeGANConfig, SurfaceConfig, shade
from backend.generators.shadegan.scene import ShadeGANGenerator, ShadeGANScene, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.rendering.marching import March
from backend.scenes.latents import ws_from_latent
from backend.scenes.protocol import Image
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


@pytest.mark.parametrize("change", [{}, {"view_condition": True, "light_condition": False}, {"last_back": True}])
@pytest.mark.parametrize("shading", [True, False])
def test_the_fast_path_renders_what_the_network_does(change: dict[str, bool], shading: bool) -> None:
    generator = _generator(dataclasses.replace(SMALL, shading=shading, **change))
    scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=3)), {"light_x": 0.8})
    camera = from_wire(orbit(generator.info, 16, azimuth=0.3))
    ours, theirs = (scene.render(camera, reference=reference) for reference in (False, True))
    assert float(theirs.rgb.std()) > 0.02
    assert psnr(ours, theirs) > scene.info.trace_psnr
    assert torch.allclose(ours.alpha, theirs.alpha, atol=5e-3)
    if shading:
        assert ours.normal is not None and theirs.normal is not None
        solid = theirs.alpha > 0.5
        assert float((ours.normal * theirs.normal).sum(-1)[solid].mean()) > 0.999


def psnr(got: Image, expected: Image) -> float:
    """Peak signal-to-noise ratio, dB."""
    return -10 * math.log10(float((got.rgb - expected.rgb).square().mean()) + 1e-20)


def test_normals_by_hand_are_the_gradient_of_density() -> None:
    generator = _generator()
    ws, points = ws_from_latent(generator, Latent()), torch.rand(700, 3) * 0.2 - 0.1
    expected = generator.network.geometry(ws[None], points[None])[2][0]
    field = FoldedField(generator.network, ws, torch.zeros(4))
    features = torch.empty(700, field.num_features)
    field.density(points, features)
    found = field.values(features, points, points)[:, 3:]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _solid(monkeypatch: pytest.MonkeyPatch, off: float = 0.0) -> tuple[ShadeGANScene, list[int]]:
    """A ball of radius 0.08, its surface network (right but for `off` along the ray), and the samples along a ray."""
    generator = _generator(dataclasses.replace(SMALL, surface=SurfaceConfig((8, 4)), num_steps=12, fov_degrees=8.0))
    network = generator.network

    def predicted(ws: Tensor, pose: Tensor) -> Tensor:
        pitch, yaw = pose[0]
        origin = torch.stack((pitch.sin() * yaw.cos(), pitch.cos(), pitch.sin() * yaw.sin()))
        size = 64
        rays = official_rays(pose[:, 1], pose[:, 0], size, 8.0, torch.ones(1, size * size, 1))
        along = -(rays.directions[0] @ origin)
        inside = (0.08**2 - 1 + along**2).clamp(min=0)
        return (along - inside.sqrt() + off).view(1, size, size)

    def density(self: FoldedField, points: Tensor, features: Tensor) -> Tensor:
        PLAIN(self, points, features)
        return (0.08 - points.norm(dim=-1)) * 40000

    def values(self: FoldedField, features: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        return torch.cat((VALUES(self, features, points, directions)[:, :3], F.normalize(points, dim=-1)), -1)

    def geometry(ws: Tensor, points: Tensor, *, normals: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        _, features, found = ShadeGAN.geometry(network, ws, points, normals=normals)
        return (0.08 - points.norm(dim=-1)) * 40000, features, F.normalize(points, dim=-1) if normals else found

    monkeypatch.setattr(network, "predicted_t", predicted)
    monkeypatch.setattr(network, "geometry", geometry)
    monkeypatch.setattr(FoldedField, "density", density)
    monkeypatch.setattr(FoldedField, "values", values)
    counts: list[int] = []
    march = ShadedField.march

    def counted(self: ShadedField, origins: Tensor, directions: Tensor, t: Tensor, u: Tensor | None) -> March:
        counts.append(t.shape[-1])
        return march(self, origins, directions, t, u)

    monkeypatch.setattr(ShadedField, "march", counted)
    return generator.synthesize(ws_from_latent(generator, Latent())), counts


PLAIN, VALUES = FoldedField.density, FoldedField.values


def test_few_samples_around_the_tracked_surface_show_what_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, counts = _solid(monkeypatch)
    camera = from_wire(orbit(_generator().info, 16, azimuth=0.3, elevation=0.1))
    camera = dataclasses.replace(camera, intrinsics=camera.intrinsics * torch.tensor([[1.6], [1.6], [1.0]]))
    camera.intrinsics[:2, 2] = 8
    ours, theirs = (scene.render(camera, reference=reference) for reference in (False, True))
    assert set(counts) == {6}
    assert float((theirs.alpha > 0.5).float().mean()) > 0.1 and float(theirs.rgb.std()) > 0.01
    assert psnr(ours, theirs) > scene.info.trace_psnr


def test_a_wrong_surface_and_views_from_elsewhere_are_not_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = from_wire(orbit(_generator().info, 16))
    for off, seen in ((0.09, 1.0), (0.0, 0.5)):
        scene, counts = _solid(monkeypatch, off)
        scaled = torch.tensor([[seen], [seen], [1.0]]) if seen != 1 else torch.tensor([[1.6], [1.6], [1.0]])
        intrinsics = camera.intrinsics * scaled
        intrinsics[:2, 2] = 8
        scene.render(dataclasses.replace(camera, intrinsics=intrinsics))
        assert counts[-1] == 12
        monkeypatch.undo()


def test_the_official_file_is_imported(tmp_path: Path) -> None:
    path = CHECKPOINTS / "shadegan_generator.pth"
    card = import_model(path, tmp_path / "model")
    assert card.kind == "shadegan"
    generator = load_model(tmp_path / "model")
    image = generator.synthesize(ws_from_latent(generator, Latent(truncation_psi=0.7))).render(
        from_wire(orbit(generator.info, 6))
    )
    assert image.rgb.isfinite().all() and image.rgb.std() > 0.01
