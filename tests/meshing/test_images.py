"""Images are decoded by listed formats alone, from regular files."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from meshing.images import FORMATS, NotAnImage, open_image


def encoded(kind: str, size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_listed_formats_are_opened_whatever_their_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(kind))
    with open_image(path) as image:
        assert image.size == (3, 2) and image.getpixel((0, 0))[0] > 250


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n", "PostScript"),
        (encoded("GIF"), "GIF"),
        (encoded("PPM"), "none of PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "empty"),
    ],
)
def test_other_formats_never_reach_a_decoder_and_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(NotAnImage, match=said), open_image(path):
        pass
    with pytest.raises(Image.UnidentifiedImageError):  # nor through a library that asks Pillow itself
        Image.open(io.BytesIO(data))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.png")
    for path in (tmp_path / "photo.png", Path("/dev/zero"), tmp_path):
        with pytest.raises((NotAnImage, IsADirectoryError, PermissionError)), open_image(path):
            pass


def test_a_photograph_of_200_megapixels_is_opened_and_a_larger_one_named(tmp_path: Path) -> None:
    path = tmp_path / "large.bmp"
    for size, fits in (((16320, 12240), True), ((40000, 30000), False)):
        header = b"BM" + bytes(12) + (40).to_bytes(4, "little") + b"".join(s.to_bytes(4, "little") for s in size)
        path.write_bytes(header + b"\1\0\x18\0" + bytes(24))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if fits:
                with open_image(path) as image:
                    assert image.size == size
                continue
        with pytest.raises(NotAnImage, match="million"), open_image(path):
            pass
