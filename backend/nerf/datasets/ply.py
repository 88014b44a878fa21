"""Point clouds in PLY files: binary little-endian out; that, big-endian and ASCII in.

trimesh's loader accepts truncated ASCII, and refuses clouds that are followed by polygons of several sizes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from addon.wire.errors import UnreadableFile
from meshing.images import open_regular

from ...files import write_atomically

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_LARGEST_HEADER = 1 << 16  # bytes


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def write_points(path: Path, points: np.ndarray, colors: np.ndarray | None = None) -> None:
    """Write points [N, 3] as float32, with colours uint8 [N, 3] if given. The file appears whole or not at all."""
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    if colors is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    rows = np.empty(len(points), dtype=fields)
    for index, name in enumerate(rows.dtype.names or ()):
        rows[name] = points[:, index] if index < 3 or colors is None else colors[:, index - 3]
    write_atomically(path, "\n".join((*header, "end_header", "")).encode() + rows.tobytes())


def read_points(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the finite points float64 [N, 3] of a PLY file whose first element is its vertices, and uint8 colours.

    Raises:
        UnreadableFile: missing, truncated, or not such a PLY file.
    """
    try:
        data = _bytes(path)
        head, found, body = data[:_LARGEST_HEADER].partition(b"end_header")
        lines = [line.split() for line in head.decode("ascii").splitlines()]
        if not found or lines[0] != ["ply"]:
            raise ValueError("it has no PLY header")
        start = len(head) + len(found) + (2 if body[:2] == b"\r\n" else 1)
        order = _ORDERS[next(line[1] for line in lines if line[0] == "format")]
        elements = [index for index, line in enumerate(lines) if line[:1] == ["element"]]
        if lines[elements[0]][1] != "vertex":
            raise ValueError("its first element is not the vertices")
        count = int(lines[elements[0]][2])
        last = elements[1] if len(elements) > 1 else len(lines)
        fields = [
            (line[2], order + _TYPES[line[1]]) for line in lines[elements[0] + 1 : last] if line[:1] == ["property"]
        ]
        dtype = np.dtype(fields)
        # The header's count is believed only as far as the file is long enough for it.
        if count < 0 or count * (dtype.itemsize if order != "=" else 2 * len(fields) - 1) > len(data) - start:
            raise ValueError(f"it is too short for {count} points")
        if order == "=":
            rows = np.loadtxt(data[start:].decode("ascii").splitlines()[:count], dtype=dtype, ndmin=1)
        else:
            rows = np.frombuffer(data, dtype, count, start)
        points = np.stack([rows[axis] for axis in "xyz"], -1).astype(np.float64)
        colored = {"red", "green", "blue"} <= set(dtype.names or ())
        colors = np.stack([rows[c] for c in ("red", "green", "blue")], -1).astype(np.uint8) if colored else None
    except FileNotFoundError:
        raise UnreadableFile(f"The point cloud {path.name} is missing.") from None
    except (OSError, ValueError, KeyError, IndexError, StopIteration, TypeError) as error:
        raise UnreadableFile(f"The point cloud {path.name} cannot be read ({error}).") from error
    keep = np.isfinite(points).all(-1)
    return points[keep], None if colors is None else colors[keep]
