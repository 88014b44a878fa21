"""Photometric loss: appearances, backgrounds and depths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from addon.wire.messages import FitOptions
from backend.kernels.compositing import CompositedRays
from backend.lens import camera_directions
from backend.nerf.datasets import Lens, open_dataset
from backend.nerf.fit.photometric_loss import Appearance, PhotometricLoss
from backend.nerf.fit.rays import RayBatch, TrainingRays
from tests.backend.fixtures import photographed

CPU = torch.device("cpu")
RANDOM = torch.Generator().manual_seed(0)


def rand(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=RANDOM)


@pytest.fixture(scope="module")
def rays(tmp_path_factory: pytest.TempPathFactory) -> TrainingRays:
    dataset = open_dataset(photographed.write(tmp_path_factory.mktemp("pictures"), size=8, train=5, test=0))
    views = dataset.split("train")
    return TrainingRays(views, [dataset.load(view) for view in views], CPU)


@pytest.mark.parametrize("kind", ["exposure", "color"])
def test_appearances_do_nothing_in_the_mean_and_nothing_at_first(kind: str) -> None:
    made = Appearance(kind, 6, CPU)  # type: ignore[arg-type]
    rgb, alpha = rand(1, 3).expand(6, 3), torch.full((6,), 0.4)
    assert torch.equal(made.transform(rgb, alpha, torch.arange(6)), rgb)
    made.learnt.data += 0.3 * torch.randn(made.learnt.shape, generator=RANDOM)
    seen = made.transform(rgb, alpha, torch.arange(6))
    assert not torch.allclose(seen[0], rgb[0], atol=1e-2)
    mean = seen.log().mean(0).exp() if kind == "exposure" else seen.mean(0)
    torch.testing.assert_close(mean, rgb[0])


def test_a_color_transform_is_that_of_straight_colors() -> None:
    made = Appearance("color", 2, CPU)
    made.learnt.data[0] = 0.2 * torch.randn(3, 4, generator=RANDOM)
    straight, alpha = rand(7, 3), rand(7)
    own = made.learnt.data[0] / 2  # less the mean of it and nothing
    expected = straight @ (torch.eye(3) + own[:, :3]).T + own[:, 3]
    seen = made.transform(straight * alpha[:, None], alpha, torch.zeros(7, dtype=torch.long))
    torch.testing.assert_close(seen, expected * alpha[:, None])


@pytest.mark.parametrize("space", ["srgb", "linear"])
@pytest.mark.parametrize("background", ["white", "black", "random", "transparent"])
def test_what_shows_the_picture_itself_has_no_loss(rays: TrainingRays, space: str, background: str) -> None:
    from backend.rendering.color import linear_from_srgb

    options = FitOptions(color_space=space)  # type: ignore[arg-type]
    made = PhotometricLoss(options, rays, background, mse_loss, alpha=True)
    batch = rays.draw(50, RANDOM)
    behind = made.background_colors(50, RANDOM)
    shown = batch.rgb if space == "srgb" else linear_from_srgb(batch.rgb)
    nothing = torch.zeros(50)
    loss, error = made.loss(
        batch, CompositedRays(shown * batch.alpha[:, None], batch.alpha, nothing, nothing, nothing), behind, 1.0
    )
    assert float(loss) < 1e-10 and float(error) < 1e-10
    empty = CompositedRays(0 * shown, nothing, nothing, nothing, nothing)
    assert float(made.loss(batch, empty, behind, 1.0)[0]) > 0.01


def test_depths_are_along_z_for_every_lens_and_count_where_they_are_known(rays: TrainingRays) -> None:
    intrinsics = torch.tensor([[20.0, 0.0, 16.0], [0.0, 20.0, 16.0], [0.0, 0.0, 1.0]])
    pixels = torch.tensor([[16.0, 16.0], [2.0, 30.0], [30.0, 9.0]])
    unit = camera_directions(intrinsics, Lens("fisheye"), pixels)
    depth = torch.tensor([2.0, 2.0, torch.nan])
    for local in (unit, unit / unit[:, 2:]):
        batch = RayBatch(torch.zeros(3, dtype=torch.long), local, rand(3, 3), torch.ones(3), depth)
        away = batch.distance()
        torch.testing.assert_close(away[:2] * unit[:2, 2], depth[:2])
        made = PhotometricLoss(FitOptions(depth_weight=3.0), rays, "black", mse_loss, alpha=False)
        nothing = torch.zeros(3)

        def loss(t: Tensor, batch: RayBatch = batch, made: PhotometricLoss = made, nothing: Tensor = nothing) -> float:
            shown = CompositedRays(batch.rgb, batch.alpha, t, nothing, nothing)
            return float(made.loss(batch, shown, torch.zeros(3, 3), 4.0)[0])

        assert loss(away / 4.0) == 0.0
        assert loss(away / 4.0 + 0.1) == pytest.approx(3.0 * 0.095, rel=1e-4)
        unknown = replace(batch, depth=torch.full((3,), torch.nan))
        assert loss(away / 4.0, unknown) == 0.0
