"""Pictures out of focus: what they show stays in its place, and masks keep what they hide."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.nerf.rays import TrainingRays

from . import striped_balls

CPU = torch.device("cpu")


def rays_of(data, change=lambda pixels: pixels):
    views = data.split("train")
    return TrainingRays(views, [change(data.load(view)) for view in views], CPU)


@pytest.fixture(scope="module")
def balls():
    return striped_balls.seen(3, 24, test=1)


def test_a_blurred_picture_keeps_its_light_and_where_it_is(balls):
    rays = rays_of(balls)
    sharp = rays.of_view(0)
    focal = float(balls.views[0].camera.intrinsics[0, 0])
    rays.soften(1.5 / focal)
    soft = rays.of_view(0)
    assert soft.alpha.sum() == pytest.approx(float(sharp.alpha.sum()), rel=0.01)
    place = torch.arange(24.0).repeat(24)
    middles = [float((batch.alpha * place).sum() / batch.alpha.sum()) for batch in (sharp, soft)]
    assert middles[1] == pytest.approx(middles[0], abs=0.05)
    light = [(batch.rgb * batch.alpha[:, None]).sum(0) for batch in (sharp, soft)]
    assert torch.allclose(light[0], light[1], rtol=0.02)
    steepest = [batch.alpha.reshape(24, 24).diff().abs().amax() for batch in (sharp, soft)]
    assert steepest[1] < 0.5 * steepest[0]


def test_no_blur_and_one_that_shows_nowhere_leave_the_pictures_as_they_are(balls):
    rays = rays_of(balls)
    sharp = rays.of_view(1).rgb
    rays.soften(0.1)
    assert not torch.equal(rays.of_view(1).rgb, sharp)
    for spread in (1e-3, 0.0):
        rays.soften(spread)
        assert torch.equal(rays.of_view(1).rgb, sharp)


def test_what_a_mask_hides_does_not_bleed_into_what_it_leaves(balls):
    def hide(pixels, color):
        mask = np.ones(pixels.rgb.shape[:2], bool)
        mask[:, 12:] = False
        rgb = np.where(mask[..., None], pixels.rgb, np.uint8(color))
        return replace(pixels, rgb=rgb, alpha=np.full_like(pixels.alpha, 255), mask=mask)

    found = []
    for color in (0, 255):
        rays = rays_of(balls, lambda pixels, color=color: hide(pixels, color))
        rays.soften(0.1)
        batch = rays.of_view(0)
        found.append(batch.rgb.reshape(24, 24, 3)[:, :12])
        assert batch.alpha.reshape(24, 24)[:, :12].min() == 1
    assert torch.equal(*found)
