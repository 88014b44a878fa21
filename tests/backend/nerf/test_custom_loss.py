"""Fits that are trained by a loss of their own, and on images that were replaced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, smooth_l1_loss

from addon.wire.errors import Diverged
from addon.wire.messages import FitOptions
from backend.cameras import Rays
from backend.nerf.datasets import Dataset, open_dataset
from backend.nerf.fit.fitting import Fit
from backend.nerf.hash.presets import Training
from backend.nerf.hash.trainer import HashTrainer
from backend.nerf.mlp.network import NetworkConfig
from backend.nerf.mlp.trainer import NeRFTrainer, NeRFTraining
from tests.backend.fixtures import photographed

CPU = torch.device("cpu")
HASH = Training(
    network_rate=1e-2, log2_size=11, num_levels=4, finest=32, samples_per_step=1 << 12, grid=16, warm_up=20,
    cells_per_update=1 << 12,
)  # fmt: skip
NERF = NeRFTraining(
    NetworkConfig(depth=3, width=32, bottleneck=16, view_width=16, skips=(1,), position_frequencies=4),
    coarse_samples=16, fine_samples=12, rays_per_step=192, rate=5e-3, final_rate=2e-3,
)  # fmt: skip
METHODS = ["hash", "nerf"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(photographed.write(tmp_path_factory.mktemp("photographed"), size=24, train=8, test=1))


def started(method: str, dataset: Dataset, steps: int = 60, **options: object) -> Fit:
    values = FitOptions(method=method, steps=steps, background="black", **options)  # type: ignore[arg-type]
    if method == "hash":
        return HashTrainer(dataset, values, CPU, training=HASH)
    return NeRFTrainer(dataset, values, CPU, training=NERF)


def small_image(dataset: Dataset, name: str) -> Tensor:
    """A training image over black, downsampled to 12 × 12."""
    pixels = dataset.load(next(view for view in dataset.views if view.name == name))
    assert pixels.alpha is not None
    rgb = torch.from_numpy(pixels.rgb * (pixels.alpha[..., None] / 255)).float() / 255
    return adaptive_avg_pool2d(rgb.permute(2, 0, 1), 12).permute(1, 2, 0)


@pytest.mark.parametrize("method", METHODS)
def test_any_loss_of_an_image_trains_the_field(method: str, dataset: Dataset) -> None:
    """L1 on downsampled views: of the images only through that loss."""
    fit = started(method, dataset)
    targets = [small_image(dataset, view.name) for view in fit.views]
    losses = []
    for step in range(60):
        index = step % len(targets)
        rendered = fit.render(fit.views[index].camera.resized(12, 12).rays())
        assert rendered.rgb.shape == (12, 12, 3)
        loss = (rendered.over(0.0) - targets[index]).abs().mean()
        fit.apply(loss)
        losses.append(float(loss.detach()))
    assert fit.step == 60 and fit.seconds > 0
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])


@pytest.mark.parametrize("method", METHODS)
def test_a_replaced_image_changes_what_is_learnt(method: str, dataset: Dataset) -> None:
    fits = [started(method, dataset) for _ in range(2)]
    for index, view in enumerate(fits[1].views):
        green = torch.zeros(view.camera.height, view.camera.width, 3)
        green[..., 1] = 1.0
        fits[1].replace_image(index, green)  # within the alpha that it had
    for fit in fits:
        for _ in range(60):
            fit.advance()
    usual, edited = (fit.scene().render(fit.views[0].camera) for fit in fits)
    solid = (usual.alpha > 0.8) & (edited.alpha > 0.8)
    assert solid.any()
    red, green, blue = edited.rgb[solid].mean(0)
    assert green > 0.8 and red < 0.2 and blue < 0.2
    assert usual.rgb[solid].mean(0)[1] < 0.6


def test_images_of_another_shape_do_not_replace(dataset: Dataset) -> None:
    fit = started("hash", dataset)
    with pytest.raises(ValueError, match="24, 24"):
        fit.replace_image(0, torch.zeros(12, 12, 3))
    fit.replace_image(0, np.zeros((24, 24, 4), np.float32))
    assert isinstance(fit, HashTrainer)
    assert fit.rays.image(0).alpha is not None and not fit.rays.image(0).alpha.any()  # type: ignore[union-attr]


def test_the_built_in_step_is_render_loss_and_apply(dataset: Dataset) -> None:
    """With the same rays and the same loss, both move every parameter alike."""
    whole, parts = (started("hash", dataset, appearance="none") for _ in range(2))
    assert isinstance(whole, HashTrainer) and isinstance(parts, HashTrainer)
    for _ in range(40):  # beyond two updates of the occupancy
        whole.advance()
        parts._prepare()  # which render would do, after the rays were drawn
        batch = parts.rays.draw(whole_rays := parts._rays_per_step, parts._generator)
        origins, directions = batch.in_world(parts.poses())
        length = directions.norm(dim=-1)
        pixels = parts.render(Rays(origins, directions / length[:, None], 1 / length))
        loss = smooth_l1_loss(pixels.over(0.0), batch.rgb * batch.alpha[:, None], beta=0.1)
        loss = loss + smooth_l1_loss(pixels.alpha, batch.alpha, beta=0.1)
        parts.apply(loss)
        parts._rays_per_step = whole._rays_per_step
        assert whole_rays >= 256
    for name in ("table", "networks", "peak"):
        torch.testing.assert_close(parts.tensors()[name], whole.tensors()[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_rays_get_gradients_and_a_loss_that_is_not_finite_changes_nothing(method: str, dataset: Dataset) -> None:
    fit = started(method, dataset)
    for _ in range(10):
        fit.advance()
    rays = fit.views[0].camera.resized(6, 6).rays()
    rays = dataclasses.replace(rays, origins=rays.origins.clone().requires_grad_())
    fit.apply(fit.render(rays).rgb.mean())
    assert rays.origins.grad is not None and rays.origins.grad.isfinite().all() and rays.origins.grad.any()
    before = {name: tensor.clone() for name, tensor in fit.tensors().items()}
    with pytest.raises(Diverged, match="NaN or infinite"):
        fit.apply(fit.render(rays).rgb.mean() * torch.inf)
    for name in before.keys() - {"progress", "random"}:
        assert torch.equal(fit.tensors()[name], before[name])
    with torch.no_grad():
        assert not fit.render(rays).rgb.requires_grad


def test_a_fit_by_another_loss_goes_on_where_it_was_restored(tmp_path: Path, dataset: Dataset) -> None:
    first, second = (started("hash", dataset) for _ in range(2))

    def step(fit: Fit) -> float:
        loss = (fit.render(fit.views[1].camera.resized(12, 12).rays()).over(0.0) - 0.5).square().mean()
        fit.apply(loss)
        return float(loss.detach())

    for _ in range(20):
        step(first)
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    assert [step(first) for _ in range(15)] == [step(second) for _ in range(15)]
