"""A hash field whose picture and density are cut to a box, and its density without its colours."""

from __future__ import annotations

import math

import pytest
import torch

from backend.cameras import Camera
from backend.kernels.hash_encoding import HashSpec
from backend.nerf.hash.field import HashField, HashFieldConfig
from backend.nerf.hash.scene import HashScene
from backend.scenes.cropped import cropped

BOX = ((-0.5, -1.0, -1.0), (0.25, 1.0, 1.0))


def scene(unbounded: bool = False) -> HashScene:
    """A cloud of noise over the cube ±1, and beyond it."""
    config = HashFieldConfig((-1.0, -1.0, -1.0), 2.0, HashSpec(4, 2, 10, 4, 32), 16, 1 / 64, unbounded)
    random = torch.Generator().manual_seed(0)
    table = torch.randn(config.table.num_entries, config.table.num_features, generator=random)
    return HashScene(
        HashField(config, table, config.networks.initial(random), torch.ones(16, 16, 16, dtype=torch.bool))
    )


def above(x: float) -> Camera:
    """A narrow view straight down at (x, 0), from a height of 5 m."""
    pose = torch.tensor([[1.0, 0, 0, x], [0, -1, 0, 0], [0, 0, -1, 5], [0, 0, 0, 1]])
    return Camera(pose, torch.tensor([[500.0, 0, 2], [0, 500, 2], [0, 0, 1]]), 4, 4)


@pytest.mark.parametrize("unbounded", [False, True])
def test_the_density_alone_is_that_of_the_field(unbounded: bool) -> None:
    made = scene(unbounded)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) * 3 - 1.5
    torch.testing.assert_close(made.value(points), made.field(points).value)
    assert made.value(points.reshape(3, 100, 3)).shape == (3, 100)


@pytest.mark.parametrize("unbounded", [False, True])
def test_rays_beside_the_box_are_empty_and_rays_through_it_see_no_more_than_it_holds(unbounded: bool) -> None:
    made = scene(unbounded)
    assert made.render(above(0.6)).alpha.min() > 0.1
    cut = cropped(made, BOX)
    assert cut.render(above(0.6)).alpha.max() == 0 and cut.render(above(0.6), quality="draft").alpha.max() == 0
    inside = above(0.0)
    if not unbounded:
        whole = cropped(made, ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))).render(inside)
        torch.testing.assert_close(whole.rgb, made.render(inside).rgb, atol=1e-4, rtol=0)
    thin = cropped(made, ((-1.0, -1.0, 0.4), (1.0, 1.0, 0.6))).render(inside)
    seen = thin.alpha > 0.5
    assert (thin.depth[seen] > 4.39).all() and (thin.depth[seen] < 4.61).all()
    assert thin.alpha.mean() < made.render(inside).alpha.mean()


def test_the_usual_level_is_where_a_step_is_half_opaque_and_follows_the_scale() -> None:
    made = scene()
    assert made.info.iso_level == pytest.approx(math.log(2) / (2.0 / 64))
