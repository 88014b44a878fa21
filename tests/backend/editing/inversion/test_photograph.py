"""Photographs are prepared, or refused with a sentence that says why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from addon.wire.errors import InvalidRequest, UnreadableFile
from backend.editing.inversion.photograph import prepare


def photograph(height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    """A red block in the middle of a transparent image."""
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = (200, 30, 20, 255)
    return pixels


def test_alpha_is_the_mask_and_the_image_of_the_models_size_is_unchanged() -> None:
    pixels = photograph()
    found = prepare(pixels, 64)
    assert found.alpha is not None
    assert not found.reframed
    np.testing.assert_allclose(found.alpha.numpy(), pixels[..., 3] / 255)
    np.testing.assert_allclose(found.rgb.numpy(), pixels[..., :3] / 255, atol=1e-6)


def test_a_mask_replaces_the_alpha() -> None:
    pixels = photograph()
    pixels[..., 3] = 255
    mask = np.zeros((64, 64), np.uint8)
    mask[32:40, 32:40] = 255
    found = prepare(pixels, 64, mask=mask)
    assert found.alpha is not None
    assert float(found.alpha.sum()) == 64
    assert float(found.rgb[:32].abs().max()) == 0


def test_a_border_of_one_colour_is_the_background() -> None:
    pixels = photograph()
    pixels[..., :3] += 255 - pixels[..., 3:]
    pixels[..., 3] = 255
    found = prepare(pixels, 64)
    assert found.alpha is not None
    assert float(found.alpha[0].max()) == 0
    assert float(found.alpha[32, 32]) == 1
    assert "one colour" in found.notes[0]


def test_an_oblong_photograph_is_cut_out_around_its_object() -> None:
    found = prepare(photograph(40, 200), 50)
    assert found.alpha is not None
    assert found.reframed
    rows = (found.alpha > 0.5).any(1).nonzero().flatten()
    columns = (found.alpha > 0.5).any(0).nonzero().flatten()
    assert abs(int(columns.min()) + int(columns.max()) - 49) <= 1
    assert abs(int(rows.min()) + int(rows.max()) - 49) <= 1
    assert abs(len(columns) - 0.8 * 50) <= 2


def test_a_crop_is_used_and_a_huge_photograph_becomes_the_models_size() -> None:
    large = np.repeat(np.repeat(photograph(), 40, 0), 40, 1)
    found = prepare(large, 64, crop=(0, 0, 2560, 2560))
    np.testing.assert_allclose(found.rgb.numpy(), prepare(photograph(), 64).rgb.numpy(), atol=1e-6)
    part = prepare(large, 64, crop=(480, 480, 1600, 1600))
    assert part.alpha is not None
    assert float(part.alpha.mean()) == pytest.approx((1280 / 1600) ** 2, abs=0.01)


@pytest.mark.parametrize(
    ("pixels", "options", "kind", "says"),
    [
        (photograph(12, 300), {}, UnreadableFile, "only 300 × 12 pixels"),
        (np.zeros((64, 64, 4), np.uint8), {}, UnreadableFile, "Nothing is seen"),
        (np.full((64, 64, 4), 255, np.uint8), {}, UnreadableFile, "one colour all over"),
        (photograph(), {"mask": np.zeros((64, 64), np.uint8)}, UnreadableFile, "masked"),
        (photograph(), {"mask": np.zeros((64, 60), np.uint8)}, InvalidRequest, "60 × 64"),
        (photograph(), {"crop": (60, 0, 20, 20)}, InvalidRequest, "leaves the photograph"),
    ],
    ids=["tiny", "transparent", "white", "masked out", "size of the mask", "crop"],
)
def test_bad_photographs_are_refused_with_the_reason(
    pixels: NDArray[np.uint8], options: dict[str, object], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        prepare(pixels, 64, **options)  # type: ignore[arg-type]


def test_a_small_photograph_says_that_its_detail_is_the_models() -> None:
    assert "shows 20 pixels where the model makes 64" in prepare(photograph(20, 20), 64).notes[-1]
