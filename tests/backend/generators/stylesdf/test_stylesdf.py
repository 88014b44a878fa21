"""StyleSDF: world cameras see the official image, fields are in metres, official files are imported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators.stylesdf import fast
from backend.generators.stylesdf.fast import FoldedRenderer
from backend.generators.stylesdf.model import StyleSDF, StyleSDFConfig, official_rays
from backend.generators.stylesdf.scene import WORLD_FROM_CANONICAL, StyleSDFGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.scenes.latents import ws_from_latent
from tests.shared import CHECKPOINTS

SMALL = StyleSDFConfig(
    style_dim=16,
    num_layers=3,
    num_samples=8,
    thumbnail_size=8,
    image_size=32,
    decoder_channels=(8, 6, 4),
    decoder_style_dim=12,
)


def _generator(config: StyleSDFConfig = SMALL) -> StyleSDFGenerator:
    torch.manual_seed(6)
    network = StyleSDF(config)
    card = ModelCard("stylesdf", "s", "", "research", True, dataclasses.asdict(config))
    return load("small", card, network.state_dict())


@pytest.mark.parametrize("static", [True, False])
def test_the_prior_camera_sees_the_official_image(static: bool) -> None:
    config = dataclasses.replace(SMALL, static_directions=static)
    generator, size = _generator(config), config.image_size
    ws = ws_from_latent(generator, Latent(seed_a=1, truncation_psi=0.7))
    camera = from_wire(orbit(generator.info, size, azimuth=0.3, elevation=-0.1))
    pose = camera.world_from_camera[:3].clone()
    pose[:, 1:3] *= -1  # their cameras look along −z, y up
    pose = (WORLD_FROM_CANONICAL.T @ pose)[None]
    n = config.thumbnail_size
    focal = (camera.intrinsics[0, 0] * n / size).reshape(1, 1, 1)
    rays = official_rays(pose, n, focal)
    along = F.normalize(rays.in_camera if static else rays.directions, dim=-1)
    near, far = torch.full((1, 1, 1), 0.88), torch.full((1, 1, 1), 1.12)
    with torch.no_grad():
        thumbnail = generator.network.renderer.render(ws[None], rays.origins, rays.directions, along, near, far)
        features = thumbnail.features.transpose(1, 2).unflatten(2, (n, n))
        official = generator.network.upsample(ws[None], features)[0].permute(1, 2, 0) / 2 + 0.5
    image = generator.synthesize(ws).render(camera)
    assert float((image.rgb - official.clamp(0, 1)).abs().max()) < 2e-3
    assert image.rgb.shape == (size, size, 3)


def test_the_field_is_a_distance_in_metres_and_an_oblong_image_is_the_centre_of_the_square() -> None:
    generator = _generator()
    scene = generator.synthesize(ws_from_latent(generator, Latent()))
    assert scene.info.quantity == "sdf" and scene.info.iso_level == 0
    assert scene.field(torch.zeros(4, 5, 3)).value.shape == (4, 5)
    camera = from_wire(orbit(generator.info, 32))
    intrinsics = camera.intrinsics.clone()
    intrinsics[1, 2] = 8
    oblong = dataclasses.replace(camera, height=16, intrinsics=intrinsics)
    assert torch.allclose(scene.render(oblong).rgb, scene.render(camera).rgb[8:24], atol=1e-5)
    assert scene.render(camera, quality="draft").rgb.shape == (32, 32, 3)


@pytest.mark.parametrize("change", [{}, {"thumbnail_size": 6, "image_size": 24}, {"image_size": 0}, {"beta": 0.003}])
def test_the_fast_path_renders_what_the_networks_do(change: dict[str, Any]) -> None:
    beta = change.pop("beta", None)
    generator = _generator(dataclasses.replace(SMALL, **change))
    renderer = generator.network.renderer
    if beta is not None:  # a sharp surface: rays end at it
        renderer.beta.fill_(beta)
        renderer.distance.bias.fill_(-0.05)
    for parameter in (p for name, p in generator.network.named_parameters() if name.endswith("noise_strength")):
        parameter.fill_(0.3)
    scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=2)))
    camera = from_wire(orbit(generator.info, 32, azimuth=0.3))
    for quality in ("full", "draft"):
        ours, theirs = (scene.render(camera, quality=quality, reference=r) for r in (False, True))  # type: ignore
        assert float(theirs.rgb.std()) > 0.01
        assert torch.allclose(ours.rgb, theirs.rgb, atol=2e-5)
        assert torch.allclose(ours.alpha, theirs.alpha, atol=1e-5) and torch.allclose(
            ours.depth, theirs.depth, atol=1e-5
        )


def test_rays_are_not_evaluated_behind_the_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = _generator()
    generator.network.renderer.beta.fill_(0.001)
    generator.network.renderer.distance.bias.fill_(-1.0)  # inside all over
    counts = []
    evaluate = FoldedRenderer._evaluate
    monkeypatch.setattr(FoldedRenderer, "_evaluate", lambda *a: counts.append(len(a[1])) or evaluate(*a))
    generator.synthesize(ws_from_latent(generator, Latent())).render(from_wire(orbit(generator.info, 32)))
    assert sum(counts) == SMALL.thumbnail_size**2 * fast.SLAB < SMALL.thumbnail_size**2 * SMALL.num_samples


def test_the_official_file_is_imported(tmp_path: Path) -> None:
    path = CHECKPOINTS / "stylesdf_full_model.pt"
    card = import_model(path, tmp_path / "model")
    assert card.kind == "stylesdf"
    assert card.non_commercial
    generator = load_model(tmp_path / "model")
    image = generator.synthesize(ws_from_latent(generator, Latent(truncation_psi=0.7))).render(
        from_wire(orbit(generator.info, generator.info.image_size))
    )
    assert image.rgb.isfinite().all() and image.rgb.std() > 0.01
