"""Opacity of a density on a lattice, blurred: a smooth field whose level set is the surface of a rough density.

The density that a fit to images leaves rises from nothing to any height within a cell, as rough as the training. Its
opacity over a length is bounded, and a Gaussian turns the step into a slope, on which marching cubes find the place
between two points. What is thinner than the blur is kept as it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from meshing.cached_field import CachedField
from meshing.progress import Progress, silent

CELLS = 1.5
"""Standard deviation of the blur."""
LEVEL = 0.4
"""Blurred opacity of the surface at the density's own level, where a point's own opacity is a half. A fit leaves the
density some millimetres inside the true surface: of 0.3, 0.4 and 0.5, this put it nearest, at 128 to 256 cells."""
KEPT = 0.45
"""A point is at least so much of its own opacity, which is more than LEVEL where it is opaque: wires of a cell are
kept. At an even surface the blurred opacity, about a half, is more, so the surface stays smooth."""


class BlurredOpacity:
    """The blurred opacity at the points of a cached field's lattice."""

    def __init__(
        self, density: CachedField, level: float, *, batch_size: int = 1 << 18, progress: Progress = silent
    ) -> None:  # fmt: skip
        """Evaluate the density at every point of its lattice, and blur.

        level: density of the surface by default, 1/unit of length.
        """
        density.fill(batch_size, progress)
        self.density = density
        self.length = math.log(2) / level
        opacity = -np.expm1(-self.length * np.maximum(density.values, 0))
        blurred = gaussian_filter(opacity, CELLS, mode="constant", truncate=3.0)
        self._values: NDArray[np.float32] = np.maximum(blurred, KEPT * opacity).reshape(-1)

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values [N] at lattice points [N, 3]."""
        return self._values[self.density.index(points)]

    def level_of(self, density: float) -> float:
        """Return the blurred opacity of the surface that belongs to a density."""
        return -2 * LEVEL * math.expm1(-self.length * density)

    def density_of(self, level: float) -> float:
        """Return the density whose surface has this blurred opacity."""
        return -math.log1p(-min(level / (2 * LEVEL), 1 - 1e-7)) / self.length
