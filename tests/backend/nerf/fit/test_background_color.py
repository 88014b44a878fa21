"""Detection of a plain background in images without alpha."""

from __future__ import annotations

import numpy as np
import pytest

from backend.nerf.datasets import Pixels
from backend.nerf.fit.background_color import color_of, find_background_color


def images(background: np.ndarray, size: int = 24, object_size: int = 12) -> list[Pixels]:
    """Three images of a noisy square before `background` [size, size, 3]."""
    random = np.random.default_rng(0)
    found = []
    for number in range(3):
        rgb = background.astype(np.uint8).copy()
        at = slice(2 + number, 2 + number + object_size)
        rgb[at, at] = random.integers(0, 255, (object_size, object_size, 3))
        found.append(Pixels(rgb))
    return found


def plain(*color: int, size: int = 24) -> np.ndarray:
    return np.broadcast_to(np.array(color), (size, size, 3))


@pytest.mark.parametrize(
    ("color", "name"), [((255, 255, 255), "white"), ((0, 0, 0), "black"), ((200, 16, 9), "#c81009")], ids=str
)
def test_one_colour_behind_an_object_is_found(color: tuple[int, int, int], name: str) -> None:
    assert find_background_color(images(plain(*color))) == name
    assert color_of(name) == pytest.approx(np.array(color) / 255)


def test_what_compression_does_to_it_is_overlooked() -> None:
    noise = np.random.default_rng(1).integers(-3, 4, (24, 24, 3))
    found = find_background_color(images(plain(120, 130, 140) + noise))
    assert found is not None and np.abs(np.array(color_of(found)) * 255 - (120, 130, 140)).max() <= 1


def test_an_object_may_be_cut_by_the_frame() -> None:
    cut = images(plain(255, 255, 255))
    cut[0].rgb[:6, :6] = 40
    assert find_background_color(cut) == "white"


def test_surroundings_are_no_backdrop() -> None:
    gradient = np.broadcast_to(np.linspace(0, 255, 24)[:, None, None], (24, 24, 3))
    assert find_background_color(images(gradient)) is None
    halves = np.where(np.arange(24)[None, :, None] < 12, plain(255, 255, 255), plain(90, 120, 60))
    assert find_background_color(images(halves)) is None


def test_the_rim_of_an_undistorted_photograph_is_none() -> None:
    rim = np.zeros((48, 48, 3))
    rim[1:-1, 1:-1] = np.random.default_rng(2).integers(60, 255, (46, 46, 3))
    assert find_background_color(images(rim, object_size=8)) is None


def test_behind_masks_nothing_is_known() -> None:
    masked = images(plain(0, 0, 0))
    mask = np.zeros((24, 24), bool)
    mask[4:20, 4:20] = True
    assert find_background_color([Pixels(pixels.rgb, mask=mask) for pixels in masked]) is None


@pytest.mark.parametrize("name", ["", "grey", "#fff", "random"])
def test_other_words_are_no_colour(name: str) -> None:
    with pytest.raises(ValueError, match="#rrggbb"):
        color_of(name)
