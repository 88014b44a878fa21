"""Report about a training set: counts, sizes, broken files, duplicates, and the distribution of the poses."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...files import cannot_write, replacing
from .training_images import TrainingImages

THUMBNAIL = 16
NEAR = 3.0
"""Root mean square difference of two thumbnails, in steps of 255, below which images are near-duplicates."""
BLOCK = 2048
BINS = (36, 18)
"""Of azimuth (10°) and elevation (10°)."""
CELL = 16


@dataclass(frozen=True)
class DataReport:
    """What was found in a folder and what was done with it."""

    folder: str
    format: str
    """"transforms.json", "dataset.json" or "images"."""
    named: int
    """Images that the folder names."""
    sizes: dict[tuple[int, int], int]
    """Number of images of each (width, height)."""
    side: int
    """Pixels along each side, as they are trained on."""
    grey: int
    transparent: int
    broken: tuple[tuple[str, str], ...]
    """(name, reason)."""
    exact_duplicates: tuple[tuple[int, ...], ...]
    """Groups of indices of the used images."""
    near_duplicates: int
    """Pairs that look the same at 16², without the exact ones."""
    names: tuple[str, ...]
    """Of the used images."""
    objects: int
    """0 where the folder does not say."""
    angles: NDArray[np.float64] | None
    """Azimuth and elevation [n, 2], radians."""
    warnings: tuple[str, ...]

    @property
    def used(self) -> int:
        """Number of images that are trained on."""
        return len(self.names)

    def lines(self) -> list[str]:
        """Return the report as sentences."""
        sizes = sorted(self.sizes.items(), key=lambda entry: -entry[1])
        shown = ", ".join(f"{count} of {w} × {h}" for (w, h), count in sizes[:4]) + (", …" if len(sizes) > 4 else "")
        found = [f"{self.folder}: {self.used} of {self.named} images used ({self.format}), at {self.side}² pixels"]
        found.append(f"sizes: {shown}")
        if self.objects:
            found.append(f"{self.objects} objects, {self.used / self.objects:.1f} images each")
        copies = sum(len(group) - 1 for group in self.exact_duplicates)
        found.append(f"duplicates: {copies} exact, {self.near_duplicates} pairs that look the same")
        if self.angles is None:
            found.append("no cameras: poses are drawn from a prior")
        else:
            low, high = np.degrees(self.angles[:, 1].min()), np.degrees(self.angles[:, 1].max())
            seen = np.unique(np.floor(np.degrees(self.angles[:, 0]) / 10)).size
            found.append(f"cameras: elevation {low:.0f}° … {high:.0f}°, azimuths in {seen} of 36 sectors")
        return found + [f"note: {warning}" for warning in self.warnings]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "folder": self.folder,
            "format": self.format,
            "named": self.named,
            "used": self.used,
            "sizes": {f"{w}x{h}": count for (w, h), count in self.sizes.items()},
            "side": self.side,
            "objects": self.objects,
            "grey": self.grey,
            "transparent": self.transparent,
            "broken": dict(self.broken),
            "exact_duplicates": [[self.names[index] for index in group] for group in self.exact_duplicates],
            "near_duplicates": self.near_duplicates,
            "warnings": list(self.warnings),
        }

    def write_picture(self, path: Path, images: NDArray[np.uint8] | None = None) -> None:
        """Write a PNG: a histogram of the poses (azimuth across, elevation up), and below it some of `images` [n, side,
        side, 3], evenly spaced.

        Raises:
            CannotWrite: no disk space or no permission.
        """
        pictures = [] if self.angles is None else [pose_histogram(self.angles)]
        if images is not None and len(images):
            pictures.append(contact_sheet(images))
        if not pictures:
            return
        sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
        top = 0
        for picture in pictures:
            sheet.paste(picture, (0, top))
            top += picture.height
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                sheet.save(partial, "PNG")
        except OSError as error:
            raise cannot_write("The picture", path.parent, error) from error


def report_of(images: TrainingImages) -> DataReport:
    """Return the report of images that `read_images` has read."""
    assert isinstance(images.report, DataReport)
    return images.report


def pose_histogram(angles: NDArray[np.float64]) -> Image.Image:
    """Return a picture of the number of cameras per 10° × 10°, azimuth −180° … 180° across, elevation −90° … 90° up."""
    azimuth, elevation = np.degrees(angles).T
    counts, _, _ = np.histogram2d(elevation, azimuth, BINS[::-1], ((-90, 90), (-180, 180)))
    shade = counts[::-1] / max(counts.max(), 1)
    colors = 1 - shade[..., None] * (1 - np.array([0.08, 0.30, 0.55]))
    colors[counts[::-1] == 0] = 0.97
    left, bottom = 44, 40
    cells = Image.fromarray((colors * 255 + 0.5).astype(np.uint8)).resize(
        (BINS[0] * CELL, BINS[1] * CELL), Image.Resampling.NEAREST
    )
    picture = Image.new("RGB", (cells.width + left + 24, cells.height + bottom + 12), "white")
    picture.paste(cells, (left, 12))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for degrees in range(-180, 181, 90):
        x = left + (degrees + 180) / 360 * cells.width
        draw.text((x, cells.height + 16), f"{degrees}°", "black", font, anchor="ma")
    for degrees in range(-90, 91, 30):
        y = 12 + (90 - degrees) / 180 * cells.height
        draw.text((left - 4, y), f"{degrees}°", "black", font, anchor="rm")
    label = f"azimuth, elevation of {len(angles)} cameras; darkest: {int(counts.max())}"
    draw.text((left + cells.width / 2, cells.height + 32), label, "black", font, anchor="ma")
    return picture


def contact_sheet(images: NDArray[np.uint8], columns: int = 10, rows: int = 6) -> Image.Image:
    """Return some of the images [n, side, side, 3], evenly spaced, in rows."""
    chosen = images[np.linspace(0, len(images) - 1, min(columns * rows, len(images))).astype(int)]
    side = images.shape[1]
    sheet = Image.new("RGB", (columns * side, math.ceil(len(chosen) / columns) * side), "white")
    for index, image in enumerate(chosen):
        sheet.paste(Image.fromarray(image), (index % columns * side, index // columns * side))
    return sheet


def duplicates(images: NDArray[np.uint8]) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Return the groups of equal images [n, side, side, 3], and the number of other pairs that look the same.

    Two images look the same if their thumbnails of 16² differ by less than `NEAR`: copies in another size or format.
    """
    groups: dict[bytes, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(index)
    firsts = [group[0] for group in groups.values()]
    small = thumbnails(images, firsts)
    squares = (small**2).sum(1)
    near = 0
    for start in range(0, len(small), BLOCK):
        block = small[start : start + BLOCK]
        distances = squares[start : start + BLOCK, None] + squares[None] - 2 * block @ small.T
        later = np.arange(len(small))[None] > np.arange(start, start + len(block))[:, None]
        near += int((later & (distances < NEAR**2 * small.shape[1])).sum())
    return tuple(tuple(group) for group in groups.values() if len(group) > 1), near


def thumbnails(images: NDArray[np.uint8], indices: Sequence[int]) -> NDArray[np.float32]:
    """Return chosen images [n, side, side, 3] at 16², flattened, without the mean of all. [len(indices), 768]"""
    size = (THUMBNAIL, THUMBNAIL)
    found = [
        np.asarray(Image.fromarray(images[index]).resize(size, Image.Resampling.BOX), np.float32).ravel()
        for index in indices
    ]
    small = np.stack(found)
    return np.asarray(small - small.mean(0), np.float32)
