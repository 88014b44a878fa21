"""OpenEXR reader for the passes of a render, with the standard library and numpy.

A file is the only way to the passes that is the same in every Blender from 4.2 on. Reads the kind of file that Blender
writes here: one part of uncompressed scanlines.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..wire.errors import UnreadableFile

MAGIC = 20000630
UNUSUAL = 0x200 | 0x800 | 0x1000  # tiles, deep data, several parts
PIXEL_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the channels of an EXR file by their full names ("ViewLayer.Depth.Z"), each [H, W], top row first.

    Raises:
        UnreadableFile: not an EXR file, truncated, or of another kind.
    """
    data = path.read_bytes()
    try:
        return _channels(data)
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise UnreadableFile(f"{path.name} cannot be read as an OpenEXR file of plain scanlines: {error}") from error


def _channels(data: bytes) -> dict[str, np.ndarray]:
    magic, version = struct.unpack_from("<II", data)
    if magic != MAGIC:
        raise ValueError("it is not an OpenEXR file")
    if version & UNUSUAL:
        raise ValueError("tiled, deep or in several parts")
    at, header = 8, {}
    while data[at]:
        name, at = _text(data, at)
        _, at = _text(data, at)  # the type follows from the name
        (size,) = struct.unpack_from("<I", data, at)
        header[name] = data[at + 4 : at + 4 + size]
        at += 4 + size
    at += 1
    if header["compression"] != b"\0":
        raise ValueError("it is compressed")
    left, top, right, bottom = struct.unpack("<4i", header["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    channels, place = [], 0
    while header["channels"][place]:
        name, place = _text(header["channels"], place)
        kind, _, across, down = struct.unpack_from("<iIii", header["channels"], place)
        if (across, down) != (1, 1):
            raise ValueError("a channel has fewer pixels than the others")
        channels.append((name, PIXEL_TYPES[kind]))
        place += 16
    # Each row is y, its number of bytes, then the whole row of the first channel, of the second, ...
    row = np.dtype([("y", "<i4"), ("bytes", "<i4"), *((name, kind, (width,)) for name, kind in channels)])
    rows = np.frombuffer(data, row, height, at + 8 * height)  # after the table of row offsets
    order = rows["y"] - top
    if len(set(order.tolist())) != height or order.min() != 0 or order.max() != height - 1:
        raise ValueError("rows are missing")
    sorted_rows = rows[np.argsort(order)]
    return {name: np.ascontiguousarray(sorted_rows[name]) for name, _ in channels}


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return the text that ends with a zero byte, and where it ends."""
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
