"""PSNR and SSIM, and that a picture and its render are compared pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.cameras import Camera
from backend.lens import PINHOLE, pixels_of
from backend.nerf.datasets import Lens, Pixels, View
from backend.nerf.evaluate import (
    MAX_PSNR,
    color_corrected,
    composited,
    mean,
    photograph,
    psnr,
    score,
    ssim,
    stride_for,
    strided,
    strided_view,
)
from backend.scenes.protocol import Image

RANDOM = np.random.default_rng(0)


def view(width: int = 31, height: int = 22, lens: Lens = PINHOLE) -> View:
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    intrinsics = torch.tensor([[40.0, 0.5, 15.0], [0.0, 42.0, 12.0], [0.0, 0.0, 1.0]])
    return View("a.png", Camera(pose, intrinsics, width, height, lens=lens), Path("a.png"))


def test_equal_pictures_have_the_largest_figures_and_a_known_error_its_decibels() -> None:
    picture = RANDOM.random((20, 30, 3), np.float32)
    assert psnr(picture, picture) == MAX_PSNR and ssim(picture, picture) == pytest.approx(1.0)
    assert psnr(picture, picture + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert psnr(picture, picture + 0.01) == pytest.approx(40.0, abs=1e-3)


def test_structural_similarity_falls_with_noise_and_is_defined_for_tiny_pictures() -> None:
    y, x = np.mgrid[0:40, 0:40] / 40
    picture = np.stack((x, y, x * y), -1).astype(np.float32)
    found = [
        ssim(picture, (picture + s * RANDOM.standard_normal(picture.shape)).astype(np.float32)) for s in (0.02, 0.2)
    ]
    assert 1 > found[0] > found[1] > 0
    for side in (1, 2, 3, 4, 10, 11):
        small = picture[:side, :side]
        assert ssim(small, small) == pytest.approx(1.0)


def test_only_the_pixels_of_a_mask_count() -> None:
    truth = RANDOM.random((16, 16, 3), np.float32)
    wrong = truth.copy()
    wrong[:, :8] = 0
    mask = np.zeros((16, 16), bool)
    mask[:, 8:] = True
    found = score("a", wrong, truth, mask)
    assert found.psnr == MAX_PSNR and found.ssim == pytest.approx(1.0)
    assert score("a", wrong, truth).psnr < 20


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_a_photograph_with_alpha_and_a_render_of_the_same_are_equal_over_any_background(background: float) -> None:
    pixels = Pixels(RANDOM.integers(0, 256, (5, 7, 3), np.uint8), RANDOM.integers(0, 256, (5, 7), np.uint8))
    assert pixels.alpha is not None
    image = Image(torch.from_numpy(pixels.rgb) / 255, torch.from_numpy(pixels.alpha) / 255, torch.zeros(5, 7))
    truth = photograph(pixels, background)
    np.testing.assert_allclose(composited(image, background), truth, atol=1e-6)
    empty = pixels.alpha == 0
    np.testing.assert_allclose(truth[empty], background)


@pytest.mark.parametrize("stride", [1, 3, 5])
@pytest.mark.parametrize("lens", [Lens(), Lens("opencv", (0.1, 0.01, 0.0, 0.0), (0.01, 0.0)), Lens("fisheye")])
def test_a_strided_camera_looks_through_the_centres_of_the_pixels_that_a_strided_picture_has(
    stride: int, lens: Lens
) -> None:
    whole = view(lens=lens)
    small = strided_view(whole, stride).camera
    index = np.stack(np.meshgrid(np.arange(31), np.arange(22), indexing="xy"), -1).astype(np.uint8)
    picked = strided(Pixels(np.concatenate((index, index[..., :1]), -1)), stride).rgb[..., :2]
    assert picked.shape[:2] == (small.height, small.width)
    rays = small.rays()
    local = rays.directions @ whole.camera.world_from_camera[:3, :3]
    pixels = pixels_of(whole.camera.intrinsics.double(), lens, local.double()).numpy()
    np.testing.assert_allclose(pixels, picked + 0.5, atol=1e-3)
    np.testing.assert_allclose(rays.directions.norm(dim=-1).numpy(), 1, atol=1e-6)
    np.testing.assert_allclose(rays.depth_from_distance.numpy(), local[..., 2].numpy(), atol=1e-6)


def test_a_lens_camera_without_distortion_sees_what_a_camera_sees_and_survives_moving() -> None:
    camera = view().camera
    bent = replace(camera, lens=Lens("opencv", d=(1e-12, 0.0, 0.0)))
    move = torch.eye(4)
    move[:3, 3] = 1.0
    for change in (lambda c: c, lambda c: c.resized(11, 9), lambda c: c.transformed(move), lambda c: c.to("cpu")):
        one, other = change(camera).rays(), change(bent).rays()
        torch.testing.assert_close(one.directions, other.directions)
        torch.testing.assert_close(one.origins, other.origins)
        torch.testing.assert_close(one.depth_from_distance, other.depth_from_distance)
        assert not change(bent).lens.is_pinhole


def test_a_stride_is_odd_and_no_larger_than_it_must_be() -> None:
    for width in (1, 31, 100, 101, 800, 4000):
        stride = stride_for(view(width, 20), 100)
        assert stride % 2 == 1 and math.ceil(width / stride) <= 100
        assert stride == 1 or math.ceil(width / (stride - 2)) > 100


def test_means_are_those_of_the_views_and_none_of_none() -> None:
    black, white = np.zeros((12, 12, 3), np.float32), np.ones((12, 12, 3), np.float32)
    scores = [score("a", black, black), score("b", black, white)]
    found = mean(scores)
    assert found.psnr == pytest.approx(50.0) and found.views == tuple(scores)
    assert mean([]).psnr is None


def test_a_render_is_developed_as_its_picture_was() -> None:
    image = Image(
        torch.from_numpy(RANDOM.random((12, 10, 3), np.float32)),
        torch.from_numpy(RANDOM.random((12, 10), np.float32)),
        torch.ones(12, 10),
    )
    gains = np.array([0.9, 0.5, 0.7], np.float32)
    matrix = np.array([[0.6, 0.1, 0.0], [0.1, 0.5, 0.1], [0.0, 0.1, 0.7]], np.float32)
    mask = np.ones((12, 10), bool)
    mask[:5] = False
    for kind, own in (("exposure", image.rgb.numpy() * gains), ("color", image.rgb.numpy() @ matrix.T + 0.1)):
        for behind in (0.0, 1.0):
            truth = composited(Image(torch.from_numpy(own), image.alpha, image.depth), behind)
            truth[:5] = 0.3  # what the mask leaves out says nothing
            found = composited(color_corrected(image, truth, behind, kind, mask), behind)  # type: ignore[arg-type]
            np.testing.assert_allclose(found[5:], truth[5:], atol=1e-5)
            if kind == "color":
                assert (
                    psnr(composited(color_corrected(image, truth, behind, "exposure", mask), behind), truth, mask) < 40
                )
            assert color_corrected(image, truth, behind, "none", mask) is image


def test_what_a_picture_does_not_show_is_not_developed() -> None:
    nothing = Image(torch.rand(4, 4, 3), torch.zeros(4, 4), torch.full((4, 4), torch.inf))
    truth = np.ones((4, 4, 3), np.float32)
    for kind in ("exposure", "color"):
        found = color_corrected(nothing, truth, 0.0, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(found.rgb, nothing.rgb)
    grey = Image(torch.rand(4, 4, 1).expand(-1, -1, 3), torch.ones(4, 4), torch.ones(4, 4))
    own = color_corrected(grey, composited(grey, 0.0) * 0.5, 0.0, "color").rgb
    torch.testing.assert_close(own, 0.5 * grey.rgb)


@pytest.mark.parametrize("kind", ["exposure", "color"])
def test_a_render_that_is_no_number_is_left_for_the_fit_to_say(kind: str) -> None:
    image = Image(torch.full((4, 4, 3), torch.nan), torch.ones(4, 4), torch.ones(4, 4))
    assert color_corrected(image, np.ones((4, 4, 3), np.float32), 0.0, kind) is image  # type: ignore[arg-type]
