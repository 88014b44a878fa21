"""The reader of plain OpenEXR files, on files put together here byte by byte after the published layout."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from addon.scene import exr
from addon.wire.errors import UnreadableFile

WIDTH, HEIGHT = 5, 3
HALF = np.arange(15, dtype=np.float16).reshape(HEIGHT, WIDTH) / 4
FLOAT = np.linspace(-1, 1e10, 15, dtype=np.float32).reshape(HEIGHT, WIDTH)


def made(version: int = 2, compression: int = 0, order: tuple[int, ...] = (0, 1, 2), step: int = 1) -> bytes:
    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value

    channels = b"".join(
        name + b"\0" + struct.pack("<iIii", kind, 0, step, step) for name, kind in ((b"A.half", 1), (b"B.float", 2))
    )
    window = struct.pack("<4i", -2, 10, -2 + WIDTH - 1, 10 + HEIGHT - 1)
    header = (
        attribute("channels", "chlist", channels + b"\0")
        + attribute("compression", "compression", bytes([compression]))
        + attribute("dataWindow", "box2i", window)
        + b"\0"
    )
    rows = [
        struct.pack("<ii", 10 + y, WIDTH * 6) + HALF[y].astype("<f2").tobytes() + FLOAT[y].astype("<f4").tobytes()
        for y in order
    ]
    return struct.pack("<II", exr.MAGIC, version) + header + bytes(8 * HEIGHT) + b"".join(rows)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_channels_come_back_top_row_first_whatever_the_order_in_the_file(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(made(order=order))
    found = exr.read(path)
    assert list(found) == ["A.half", "B.float"]
    assert (found["A.half"] == HALF).all() and (found["B.float"] == FLOAT).all()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "unpack"),
        (b"\x89PNG\r\n\x1a\nabcdef", "not an OpenEXR"),
        (made(version=2 | 0x1000), "several parts"),
        (made(compression=3), "compressed"),
        (made(step=2), "fewer pixels"),
        (made(order=(0, 1, 1)), "rows are missing"),
        (made()[:-9], ""),
        (made()[:40], ""),
    ],
    ids=["empty", "png", "parts", "compressed", "subsampled", "a row twice", "cut off", "no header"],
)
def test_what_is_no_plain_file_is_refused_with_a_sentence(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"a\.exr cannot be read") as caught:
        exr.read(path)
    assert why in str(caught.value)
