"""Images of any size, with and without alpha, become what the encoder was trained on."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from addon.wire.errors import UnreadableFile
from backend.generators.layers.encoder_image import FILL, encoder_image, read_image


def scene(height: int, width: int, *, background: tuple[int, ...] = (255, 255, 255, 255)) -> NDArray[np.uint8]:
    """A red box, a quarter from the left and a third from the top, before a background."""
    pixels = np.full((height, width, 4), background, np.uint8)
    pixels[height // 3 : height // 3 + 20, width // 4 : width // 4 + 40] = (200, 30, 30, 255)
    return pixels


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert("RGB") if kind == "JPEG" else image).save(buffer, kind)
    return buffer.getvalue()


def red(image: torch.Tensor) -> tuple[float, float, float, float]:
    """Top, bottom, left and right of what is red, as shares of the frame."""
    seen = torch.nonzero(image[1] < 0.5)
    size = image.shape[-1]
    low, high = seen.amin(0) / size, (seen.amax(0) + 1) / size
    return low[0].item(), high[0].item(), low[1].item(), high[1].item()


def test_an_image_of_the_right_size_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    pixels[..., 3] = 255
    made = encoder_image(pixels, 64)
    assert made.notes == ()
    expected = torch.from_numpy(pixels[..., :3].astype(np.float32) / 255).permute(2, 0, 1)
    assert torch.equal(made.pixels, expected)


@pytest.mark.parametrize("size", [(200, 300), (50, 90), (300, 128)])
@pytest.mark.parametrize("background", [(255, 255, 255, 255), (90, 120, 60, 255), (0, 0, 0, 0)])
def test_an_object_is_centred_and_as_large_as_in_training(size: tuple[int, int], background: tuple[int, ...]) -> None:
    made = encoder_image(scene(*size, background=background), 64)
    top, bottom, left, right = red(made.pixels)
    assert right - left == pytest.approx(FILL, abs=0.06) and bottom - top == pytest.approx(FILL / 2, abs=0.06)
    assert left == pytest.approx(1 - right, abs=0.05) and top == pytest.approx(1 - bottom, abs=0.05)
    assert (made.pixels[:, 0, 0] == 1).all()  # over white
    what = "alpha" if background[3] == 0 else "border"
    assert what in made.notes[0] and "64 × 64" in made.notes[1]


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[4:60, 4:60] = (0, 0, 0, 128)
    middle = encoder_image(pixels, 64).pixels[:, 32, 32]
    assert middle == pytest.approx(torch.full((3,), 1 - 128 / 255), abs=0.01)


def test_a_crowded_image_is_padded_to_a_square_with_a_note() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (60, 120, 4), np.uint8)
    pixels[..., 3] = 255
    made = encoder_image(pixels, 64)
    assert "120 × 60" in made.notes[0] and "padded" in made.notes[0]
    assert (made.pixels[:, :14] == 1).all() and (made.pixels[:, 50:] == 1).all()
    assert (made.pixels[:, 18:46] < 0.95).all()


@pytest.mark.parametrize("pixels", [np.zeros((80, 80, 4), np.uint8), np.full((1, 1, 4), 255, np.uint8)])
def test_an_image_of_nothing_is_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(UnreadableFile, match="Nothing is seen"):
        encoder_image(pixels, 64)


@pytest.mark.parametrize("size", [2, 3])
def test_the_smallest_images_do_no_harm(size: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 4), np.uint8)
    pixels[0, 0, 3] = 255
    assert encoder_image(pixels, 64).pixels.shape == (3, 64, 64)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_common_files_are_read(kind: str) -> None:
    pixels = read_image(encoded(scene(30, 80), kind))
    assert pixels.shape == (30, 80, 4) and pixels.dtype == np.uint8
    assert np.abs(pixels[15, 30, :3].astype(int) - (200, 30, 30)).max() < 40


def test_grey_of_16_bits_keeps_its_shades() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)).save(buffer, "PNG")
    grey = read_image(buffer.getvalue())[..., 0]
    assert np.unique(grey).size == 64


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(scene(40, 80))[:60]])
def test_what_is_not_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"image a\.png cannot be read.*PNG or JPEG") as refused:
        read_image(data, "image a.png")
    assert "0x" not in refused.value.message
