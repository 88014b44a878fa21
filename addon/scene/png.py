"""PNG files from numpy arrays, with the standard library alone: threads must not use Blender's images."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ..wire.errors import CannotWrite, Remedy


def bytes_from_float(image: np.ndarray) -> np.ndarray:
    """Return an image 0..1 as uint8, rounded."""
    if image.dtype == np.uint8:
        return image
    return (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def encode(image: np.ndarray) -> bytes:
    """Return PNG bytes of an image [H, W, 4], sRGB with unpremultiplied alpha, uint8 or float 0..1, top row first."""
    rows = bytes_from_float(image)
    height, width, _ = rows.shape
    raw = np.empty((height, 1 + width * 4), np.uint8)
    raw[:, 0] = 2  # filter "up": each row as the difference to the one above, which compresses renders well
    flat = rows.reshape(height, -1)
    raw[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=raw[1:, 1:])

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"sRGB", b"\0"),
            chunk(b"IDAT", zlib.compress(raw.data, 3)),
            chunk(b"IEND", b""),
        )
    )


def write(path: Path, image: np.ndarray) -> None:
    """Write a PNG atomically, so that an existing file is a finished frame. Raises CannotWrite."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(encode(image))
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise CannotWrite(
            f"{path} cannot be written: {error.strerror or error}. Choose another folder or free some space",
            remedy=Remedy("choose_folder", "Choose Another Folder"),
        ) from error
