"""Recipes of 3D-GAN and 3D-VAE-GAN, on boxes of two proportions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.generators.gan3d.model import draw_latents
from backend.generators.gan3d.scene import GAN3D
from backend.models.library import load_model
from backend.training.data import chair_views
from backend.training.gan3d import adversarial, data, image_to_shape
from backend.training.gan3d import config as presets
from backend.training.gan3d import evaluate as gan3d_figures
from backend.training.gan3d import train as gan3d
from backend.training.gan3d.export import built, choose_partners, export, is_whole, write_progress_image

SMALL = replace(presets.small(), z_dim=4, channels=4, discriminator_channels=4, side=16, steps=50, batch=8, average=0.9)
PUBLISHED = replace(
    presets.published(),
    side=16,
    z_dim=4,
    channels=4,
    discriminator_channels=4,
    steps=50,
    batch=8,
    discriminator_rate=1e-3,
)


def boxes(count: int = 12, side: int = 16) -> Tensor:
    """Upright and lying boxes of several sizes. [count, side, side, side]"""
    voxels = torch.zeros(count, side, side, side)
    for i in range(count):
        tall, wide = (6, 3 + i % 3) if i % 2 else (3, 5 + i % 3)
        middle = side // 2
        voxels[i, middle - tall : middle + tall, middle - 2 : middle + 2, middle - wide : middle + wide] = 1
    return voxels


def images_of(voxels: Tensor, size: int = 64) -> Tensor:
    """Two images of each shape from the front, in two colours. [count, 2, size, size, 3] uint8"""
    front = voxels.amax(2).flip(1)  # seen along y, z up
    front = torch.nn.functional.interpolate(front[:, None], size)[:, 0, ..., None]
    colors = torch.tensor([[200, 60, 40], [40, 90, 180]])
    return torch.stack([(255 - front * (255 - color)).to(torch.uint8) for color in colors], 1)


@pytest.mark.parametrize("config", [SMALL, PUBLISHED])
def test_in_50_steps_a_gan_learns_how_much_of_the_cube_is_solid(config: presets.GanTraining, tmp_path: Path) -> None:
    voxels, reports = boxes(), []
    generator = gan3d.train(config, tmp_path, voxels, progress=lambda fraction, text, report: reports.append(report))
    assert len(reports) == 50
    # the discriminator learns to tell them apart …
    assert np.mean([r.discriminator_loss for r in reports[5:15]]) < np.mean([r.discriminator_loss for r in reports[:3]])
    # … and the generator's shapes come to be like them: solid in the middle, empty in the corners
    with torch.no_grad():
        made = adversarial.generate(generator, draw_latents(config.prior, (16, 4), torch.Generator()), config.mirror)
    mean = made.mean(0)
    assert mean[7:9, 7:9, 7:9].mean() > mean[:2, :2, :2].mean() + 0.1


def test_in_50_steps_the_encoder_recognises_the_shape_in_an_image(tmp_path: Path) -> None:
    voxels, reports = boxes(), []
    seen = images_of(voxels)
    config = replace(image_to_shape.starter(), gan=SMALL, encoder_channels=4, steps=50, batch=8, rate=1e-2,
                     encoder_rate=5e-3, adversarial_weight=2.0)  # fmt: skip
    generator, encoder = image_to_shape.train(
        config, tmp_path, seen, voxels, progress=lambda fraction, text, report: reports.append(report)
    )
    reconstruction = [r.reconstruction for r in reports]
    assert np.mean(reconstruction[25:30]) < 0.5 * np.mean(reconstruction[:3])
    assert np.mean([r.divergence for r in reports[20:30]]) < np.mean([r.divergence for r in reports[:3]])
    assert all(r.discriminator_loss == 0 for r in reports[:15]) and reports[-1].discriminator_loss > 0
    model = built(SMALL, generator, encoder)
    with torch.no_grad():
        made = model.voxels(model.encode(seen[:, 0].permute(0, 3, 1, 2).float() / 255))
    error = (made[:, None] - voxels[None]).abs().flatten(2).mean(-1)  # [made, truth]
    kind = torch.arange(12) % 2
    assert (kind[error.argmin(1)] == kind).float().mean() > 0.8  # upright or lying


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def die(fraction: float, text: str, report: gan3d.Report) -> None:
        if fraction >= 0.5:
            raise KilledError

    config, voxels = replace(SMALL, steps=12), boxes()
    whole = gan3d.train(config, tmp_path / "whole", voxels)
    with pytest.raises(KilledError):
        gan3d.train(config, tmp_path / "killed", voxels, progress=die, checkpoint_seconds=0.0)
    again = gan3d.train(config, tmp_path / "killed", voxels)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    gan3d.train(replace(SMALL, steps=1), tmp_path, boxes())
    with pytest.raises(ValueError, match="z_dim"):
        gan3d.train(replace(SMALL, steps=2, z_dim=5), tmp_path, boxes())
    with pytest.raises(ValueError, match="voxels must be"):
        gan3d.train(SMALL, tmp_path, boxes(side=32))


def test_soft_occupancy_is_one_half_a_third_of_a_voxel_outside_the_surface() -> None:
    voxel = 2 / 32
    distance = torch.tensor([-3.0, data.GROWTH, 3.0]) * voxel
    values = data.soft_occupancy(distance.expand(32, 32, 3)[..., :1].expand(32, 32, 32), 1.0)
    assert (values == 1).all()
    cube = torch.full((32, 32, 32), float(distance[1]))
    assert data.soft_occupancy(cube, 1.0)[0, 0, 0] == pytest.approx(0.5, abs=1e-6)
    assert (data.soft_occupancy(torch.full((32, 32, 32), float(distance[2])), 1.0) == 0).all()


def test_shapes_are_shifted_whole() -> None:
    voxels = boxes(4)
    moved = adversarial.shifted(voxels, 1, torch.Generator().manual_seed(0))
    assert moved.shape == voxels.shape
    assert torch.equal(moved.sum((1, 2, 3)), voxels.sum((1, 2, 3)))
    assert not torch.equal(moved, voxels)


def test_principal_codes_have_the_variance_of_the_prior() -> None:
    codes = image_to_shape.principal_codes(boxes(), 4)
    assert codes.shape == (12, 4)
    torch.testing.assert_close(codes.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(codes.std(0), torch.ones(4), atol=1e-3, rtol=0)
    assert image_to_shape.principal_codes(boxes(3), 8)[:, 3:].abs().max() == 0


def test_an_augmented_image_keeps_its_white() -> None:
    seen = images_of(boxes())[:, 0]
    varied = image_to_shape.varied(seen, 3, torch.Generator().manual_seed(1))
    assert varied.shape == (12, 3, 64, 64) and varied.min() >= 0 and varied.max() <= 1
    assert (varied[:, :, 0, 0] == 1).all()


def test_a_trained_model_is_exported_and_rendered(tmp_path: Path) -> None:
    voxels = torch.nn.functional.interpolate(boxes()[:, None], 32)[:, 0]
    config = replace(image_to_shape.starter(), gan=replace(SMALL, side=32), encoder_channels=4, steps=6, batch=8)
    seen = images_of(voxels)
    generator, encoder = image_to_shape.train(config, tmp_path / "run", seen, voxels)
    model = built(config.gan, generator, encoder)
    write_progress_image(model, tmp_path / "progress.png", (seen[:8, 0], voxels[:8]), size=16)
    export(model, tmp_path / "model", label="Boxes", description="", card="")
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, GAN3D)
    half = chair_views.CUBE_HALF * 0.6111
    assert loaded.info.bounds[1] == pytest.approx((half,) * 3)
    ws = loaded.mapping(loaded.sample_z(0))
    torch.testing.assert_close(loaded.voxels(ws), model.voxels(ws), atol=0.02, rtol=0)


def test_codes_of_unconnected_shapes_are_not_sampled() -> None:
    class Halves(GAN3D):
        """A connected shape if the code's first number is negative, two pieces if not."""

        def voxels(self, ws: Tensor) -> Tensor:
            made = torch.zeros(len(ws), 16, 16, 16)
            made[:, 4:12, 4:12, 2:6] = 1
            made[:, 4:12, 4:12, 10:14] = 1
            made[:, 4:12, 4:12, 6:10] = (ws[:, 0, 0] < 0).float()[:, None, None, None]
            return made

    model = Halves(z_dim=2, channels=2, side=16, prior="normal", num_codes=5)
    model.codes.copy_(torch.tensor([[-2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 9.0], [-1.5, 0.1]]))
    choose_partners(model)
    assert model.partners[2] == -1
    assert model.partners.tolist()[0] == 4 and model.partners.tolist()[1] == 4
    assert not is_whole(np.zeros((4, 4, 4), np.float32))


def test_figures_find_copies_and_missing_shapes() -> None:
    voxels = torch.nn.functional.pad(boxes(6), (8,) * 6)
    random = np.random.default_rng(0)
    points = [gan3d_figures.surface_points(v.numpy(), random) for v in voxels]
    table = gan3d_figures.chamfer_table(points[:3], points)
    distance, coverage = gan3d_figures.matching(table)
    assert (table.diagonal() < 0.5).all() and coverage == 0.5 and distance > table.diagonal().mean()
    assert gan3d_figures.overlap(voxels[0], voxels[0]) == 1 and gan3d_figures.overlap(voxels[0], voxels[1]) < 1
    with pytest.raises(ValueError, match="no voxel"):
        gan3d_figures.surface_points(np.zeros((4, 4, 4), np.float32), random)
