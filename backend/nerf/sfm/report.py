"""Health report of a reconstruction: figures, and advice in sentences."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

BLURRY_SHARE = 0.25  # of the median sharpness, below which an image counts as blurry
POSED_SHARE = 0.8  # of posed photographs, below which there is advice
WIDE_GAP_DEGREES = 90.0
LARGE_ERROR = 1.5  # mean reprojection error, pixels


@dataclass(frozen=True)
class ImageHealth:
    """Health of one photograph."""

    name: str
    posed: bool
    points: int  # sparse points that it sees
    sharpness: float  # variance of the Laplacian of grey values 0..255, at 512 pixels


@dataclass(frozen=True)
class HealthReport:
    """Health of a reconstruction, in figures and in sentences."""

    images: int
    posed: int
    models: int  # groups of images that did not connect; the largest is the result
    points: int
    mean_reprojection_error: float  # pixels of the images as they were used
    points_per_image: float  # median over the posed
    largest_gap_degrees: float  # between neighbouring cameras as seen from the middle, about the vertical
    elevation_degrees: tuple[float, float]  # lowest and highest camera as seen from the middle
    up_from: str  # "level cameras" | "mean camera up"
    per_image: tuple[ImageHealth, ...]
    advice: tuple[str, ...]  # sentences for the user; empty when all is well
    seconds: float
    warnings: tuple[str, ...] = ()  # those of them that say what was left out before solving

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return dataclasses.asdict(self)


def coverage(poses: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the largest gap about Z between neighbouring cameras, and the lowest and highest elevation; degrees."""
    x, y, z = poses[:, :3, 3].T
    azimuth = np.sort(np.degrees(np.arctan2(y, x)))
    gap = float(np.diff(azimuth, append=azimuth[0] + 360).max())
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return gap, (float(elevation.min()), float(elevation.max()))


def advice_for(report: HealthReport) -> list[str]:
    """Return a sentence with a remedy for each problem."""
    found = []
    lost = [image.name for image in report.per_image if not image.posed]
    if report.posed < POSED_SHARE * report.images:
        apart = f" They fall into {report.models} groups that do not connect." if report.models > 1 else ""
        found.append(
            f"Only {report.posed} of {report.images} images were placed.{apart} Take more between those that are "
            f"missing ({_first_names(lost)}), overlapping by two thirds, or leave those out."
        )
    median = float(np.median([image.sharpness for image in report.per_image]))
    blurry = [image.name for image in report.per_image if image.sharpness < BLURRY_SHARE * median]
    if blurry:
        found.append(
            f"{len(blurry)} images are much less sharp than the others ({_first_names(blurry)}): take them again with "
            "a steady hand or more light, or remove them."
        )
    if report.mean_reprojection_error > LARGE_ERROR:
        found.append(
            f"The cameras fit the images to {report.mean_reprojection_error:.1f} pixels only: keep the scene still, "
            "do not zoom between images, and refine the poses in the fit."
        )
    if report.largest_gap_degrees > WIDE_GAP_DEGREES:
        found.append(
            f"There is a gap of {report.largest_gap_degrees:.0f}° without images: what faces it will be "
            "guessed. Walk all the way round if the object is to be seen from there."
        )
    return found


def _first_names(names: list[str]) -> str:
    """Return the first three names, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
