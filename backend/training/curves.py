"""Loss curves of a run: `losses.jsonl` as a picture, and as event files for TensorBoard."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name → steps and values, each [n] float64, steps increasing."""

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 24  # margins of a plot, pixels


def read_losses(path: Path) -> Curves:
    """Return the curves of a `losses.jsonl`. Where a killed run was resumed at an earlier step, its lines from there on
    count; lines that were cut short are left out."""
    rows: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            while rows and rows[-1]["step"] >= row["step"]:
                rows.pop()
            rows.append(row)
        except (ValueError, KeyError, TypeError):
            continue
    names = dict.fromkeys(name for row in rows for name in row if name != "step")
    found: Curves = {}
    for name in names:
        points = np.array([(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))])
        if len(points):
            found[name] = points[:, 0], points[:, 1]
    return found


def draw_curves(curves: Curves, size: tuple[int, int] = (900, 600)) -> Image.Image:
    """Return a picture of `size` (width, height), 400 × 400 or more: the losses in one plot with a legend, each other
    quantity in one."""
    losses = {name: curve for name, curve in curves.items() if name.startswith("loss")}
    plots = [losses] if losses else []
    plots += [{name: curve} for name, curve in curves.items() if name not in losses]
    picture = Image.new("RGB", size, "white")
    if not plots:
        ImageDraw.Draw(picture).text((size[0] / 2, size[1] / 2), "no losses yet", "#555", _font(), anchor="mm")
        return picture
    columns = 1 if len(plots) == 1 else 2
    rows = -(-len(plots) // columns)
    width, height = size[0] // columns, size[1] // rows
    for index, plot in enumerate(plots):
        picture.paste(_plot(plot, (width, height)), (index % columns * width, index // columns * height))
    return picture


def _plot(curves: Curves, size: tuple[int, int]) -> Image.Image:
    """Return curves in common axes: steps to the right; values from the 1st to the 99th percentile."""
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), _font()
    left, right, top, bottom = LEFT, size[0] - RIGHT, TOP, size[1] - BOTTOM
    values = np.concatenate([curve[1] for curve in curves.values()])
    low, high = (float(x) for x in np.percentile(values, (1, 99)))
    pad = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = low - pad, high + pad
    last = max(float(curve[0][-1]) for curve in curves.values())

    for value in _ticks(low, high, max((bottom - top) // 30, 2)):
        y = bottom - (value - low) / (high - low) * (bottom - top)
        draw.line((left, y, right, y), "#dddddd")
        draw.text((left - 5, y), f"{value:g}", "#555555", font, anchor="rm")
    for step in _ticks(0, last, max((right - left) // 70, 2)):
        x = left + step / last * (right - left)
        draw.line((x, top, x, bottom), "#eeeeee")
        draw.text((x, bottom + 4), f"{step / 1000:g}k" if step >= 1000 else f"{step:g}", "#555555", font, anchor="mt")
    draw.text((right, size[1] - 1), "step", "#555555", font, anchor="rs")
    draw.rectangle((left, top, right, bottom), outline="#888888")
    at = float(left)
    for color, (name, (steps, found)) in zip(COLORS * len(curves), curves.items()):
        at_step, mean = _thinned(steps, found, right - left)
        xs, ys = left + at_step / last * (right - left), bottom - (mean - low) / (high - low) * (bottom - top)
        points = np.stack((xs, ys), 1)
        points[:, 1] = points[:, 1].clip(top, bottom)
        draw.line([tuple(point) for point in points], color, 2)
        if len(points) == 1:
            draw.ellipse((points[0, 0] - 3, points[0, 1] - 3, points[0, 0] + 3, points[0, 1] + 3), color)
        draw.line((at, TOP / 2, at + 16, TOP / 2), color, 3)
        text = f"{name} {found[-1]:.3g}"
        draw.text((at + 22, TOP / 2), text, "black", font, anchor="lm")
        at += 22 + draw.textlength(text, font) + 18
    return picture


def _thinned(steps: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `count` points: means of neighbours."""
    groups = -(-len(steps) // count)
    starts = np.arange(0, len(steps), groups)
    number = np.diff(starts, append=len(steps))
    return np.add.reduceat(steps, starts) / number, np.add.reduceat(values, starts) / number


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values within a range, at most about `most`."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= rough)
    return [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


# --------------------------------------------------------------------------------------------------------- TensorBoard


class EventFile:
    """Scalars for TensorBoard: an event file, which `tensorboard --logdir` reads while it grows.

    The format is that of tensorflow/core/util/events_writer: TFRecords (length and content, each with a masked CRC-32C)
    of `Event` messages (tensorflow/core/util/event.proto). No package is needed to write them.
    """

    def __init__(self, folder: Path) -> None:
        """The file in `folder` is made with the first values, which replace those of its step and later ones in earlier
        files: a killed run repeats some steps."""
        self.path = folder / f"events.out.tfevents.{time.time_ns() // 1_000_000:d}.latent_lathe"

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step. Raises OSError."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))
            self._append(_double(1, time.time()) + b"\x10" + _varint(step) + _bytes(7, b"\x08\x01"))  # session: START
        self._append(scalars(time.time(), step, values))

    def _append(self, event: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(record(event))


def scalars(seconds: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return an `Event` message: the values of a step at a time, seconds since 1970."""
    summary = b"".join(
        _bytes(1, _bytes(1, name.encode()) + b"\x15" + struct.pack("<f", value)) for name, value in values.items()
    )
    return _double(1, seconds) + b"\x10" + _varint(step) + _bytes(5, summary)


def record(content: bytes) -> bytes:
    """Return content as a TFRecord."""
    length = struct.pack("<Q", len(content))
    return length + _masked_crc(length) + content + _masked_crc(content)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _crc_table() -> Sequence[int]:
    """Return the table of CRC-32C: the reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4)."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _crc_table()


def _masked_crc(content: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
