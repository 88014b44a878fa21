"""Options of structure from motion."""

from __future__ import annotations

from dataclasses import dataclass

MIN_IMAGES = 3
"""Fewer photographs cannot give a shape."""


@dataclass(frozen=True)
class SfmOptions:
    """Trade-offs of time for completeness. The defaults suit a phone's photographs on two CPU cores."""

    max_size: int = 1600  # pixels, of the longer side: larger images are scaled down
    max_images: int = 200  # taken evenly from more photographs; frames taken from a video
    max_features: int = 3000  # for each image
    threads: int = 2
