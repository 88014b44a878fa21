"""ShadeGAN: shading by the sliders, normals against the gradient of density, import of official files."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators.pigan.model import official_fov, official_rays
from backend.generators.shadegan.fast import FoldedField
from backend.generators.shadegan.model import ShadeGAN, ShadeGANConfig, SurfaceConfig, averaged_cells, shade, tracked_t
from backend.generators.shadegan.scene import TRACE_PSNR, ShadeGANGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
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


TRACKING = dataclasses.replace(SMALL, surface=SurfaceConfig((8, 4), num_steps=5, delta=0.05))


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The coarse samples of each ray that the network renders from now on."""
    counts: list[int] = []
    render = ShadeGAN.render

    def counted(self: ShadeGAN, ws: Tensor, light: Tensor, origins: Tensor, directions: Tensor, t: Tensor, **more: Any):
        counts.append(t.shape[-1])
        return render(self, ws, light, origins, directions, t, **more)

    monkeypatch.setattr(ShadeGAN, "render", counted)
    return counts


@pytest.mark.parametrize("size", [9, 10, 64, 100])
def test_a_pixel_takes_the_mean_of_the_cells_of_the_prediction_that_it_touches(size: int) -> None:
    n = 64
    predicted = torch.rand(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    edges = torch.arange(size + 1, dtype=torch.float64) * (n / size)
    row, column = (place.flatten() for place in torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    low, high = (torch.stack((edges[column + k], edges[row + k]), -1) for k in (0, 1))
    found = averaged_cells(predicted, low, high)
    for pixel in range(0, size * size, 7):
        # in whole numbers: floor(i n / size) up to ceil((i + 1) n / size)
        y0, x0 = (int(place[pixel]) * n // size for place in (row, column))
        y1, x1 = (-(-(int(place[pixel]) + 1) * n // size) for place in (row, column))
        cells = [float(predicted[y, x]) for y in range(y0, y1) for x in range(x0, x1)]
        assert float(found[pixel]) == pytest.approx(sum(cells) / len(cells), abs=1e-12)
    official = tracked_t(predicted[None], size, 1, 0.0)[0, :, 0]
    assert torch.allclose(found, official, atol=1e-12)


@pytest.mark.parametrize("size", [9, 16, 40])
def test_render_and_trace_take_the_samples_of_the_official_call_at_every_size(size: int) -> None:
    generator = _generator(TRACKING)
    network, ws = generator.network, ws_from_latent(generator, Latent(seed_a=2))
    yaw, pitch = torch.tensor([1.8]), torch.tensor([1.45])
    config = network.config
    with torch.no_grad():
        predicted = network.predicted_t(ws[None], torch.stack((pitch, yaw), -1))
        t = tracked_t(predicted, size, 5, 0.05)
        rays = official_rays(yaw, pitch, size, config.fov_degrees, t)
        scene = generator.synthesize(ws)
        official = network.render(ws[None], scene.light[None], rays.origins, rays.directions, t)
    assert float(predicted.std()) > 0.01
    camera = from_wire(
        orbit(
            generator.info, size, azimuth=math.pi / 2 - 1.8, elevation=math.pi / 2 - 1.45,
            fov=official_fov(config.fov_degrees, size),
        )
    )  # fmt: skip
    tracked = scene.tracked(scene.placement.canonical_rays(camera), size)
    assert tracked is not None and torch.allclose(tracked, t[0], atol=1e-6)
    expected = official.rgb[0].view(size, size, 3)
    image, traced = scene.render(camera, reference=True), scene.trace(camera.rays())
    # where density is close to zero behind all others, rounding decides about a pixel
    for rgb in (image.rgb * image.alpha[..., None], traced.rgb):
        assert float((rgb - expected).abs().mean()) < 1e-4
    found = scene.render(camera)
    assert -10 * math.log10(float((found.rgb * found.alpha[..., None] - expected).square().mean())) > TRACE_PSNR


def test_views_that_were_not_trained_are_not_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, counts = _generator(TRACKING), _counted(monkeypatch)
    scene = generator.synthesize(ws_from_latent(generator, Latent()))
    camera = from_wire(orbit(generator.info, 6))
    wide = from_wire(orbit(generator.info, 6, fov=0.4))
    near = dataclasses.replace(camera, world_from_camera=camera.world_from_camera.clone())
    near.world_from_camera[:3, 3] *= 0.9
    from_behind = from_wire(orbit(generator.info, 6, azimuth=3.0))
    for view, steps in ((camera, 5), (wide, 8), (near, 8), (from_behind, 8)):
        scene.render(view, reference=True)
        assert counts[-1] == steps
    scene.render(camera, samples_per_ray=12, reference=True)
    assert counts[-1] == 6
    off = generator.synthesize(ws_from_latent(generator, Latent()), {"surface_tracking": 0.0})
    off.render(camera, reference=True)
    assert counts[-1] == 8
    rays = camera.rays()
    with torch.no_grad():
        scene.trace(dataclasses.replace(rays, origins=rays.origins + 0.01 * rays.directions))
    assert counts[-1] == 8


def test_the_official_file_is_imported(tmp_path: Path) -> None:
    path = CHECKPOINTS / "shadegan_generator.pth"
    card = import_model(path, tmp_path / "model")
    assert card.kind == "shadegan"
    generator = load_model(tmp_path / "model")
    image = generator.synthesize(ws_from_latent(generator, Latent(truncation_psi=0.7))).render(
        from_wire(orbit(generator.info, 6))
    )
    assert image.rgb.isfinite().all() and image.rgb.std() > 0.01
