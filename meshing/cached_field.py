"""Cache of a field's values on the lattice of an extraction: the surface at another level then needs no evaluation.

A density has a surface at any level, and the user chooses one by eye. `extract_surface` evaluates its field at lattice
points only, so values can be cached by lattice index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meshing.grid import Field, Lattice
from meshing.progress import Progress, silent


class CachedField:
    """A field that is evaluated once for each point of the lattice that `extract_surface` makes of these bounds."""

    def __init__(self, field: Field, bounds: ArrayLike, resolution: int) -> None:
        """Allocate 4 bytes for each lattice point. Arguments as those of `extract_surface`."""
        self.field = field
        self.lattice = Lattice.in_bounds(bounds, resolution)
        self.shape = tuple(int(n) + 1 for n in self.lattice.cells)
        self._values = np.full(self.shape, np.nan, np.float32).reshape(-1)

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values [N] at lattice points [N, 3], evaluating the field for those that are not cached yet."""
        ids = self.index(points)
        missing = np.flatnonzero(np.isnan(self._values[ids]))
        if len(missing):
            self._values[ids[missing]] = np.asarray(self.field(points[missing]), np.float32).reshape(-1)
        return self._values[ids]

    def index(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return where in `values`, flattened, lattice points [N, 3] are."""
        index = np.rint((points - self.lattice.low) / self.lattice.spacing).astype(np.int64)
        return np.ravel_multi_index(tuple(index.T), self.shape)

    @property
    def values(self) -> NDArray[np.float32]:
        """The cached values [nx, ny, nz], NaN where they are not known."""
        return self._values.reshape(self.shape)

    @property
    def known(self) -> bool:
        """True if every lattice point is cached."""
        return not np.isnan(self._values).any()

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest of the cached values."""
        return float(np.nanmin(self._values)), float(np.nanmax(self._values))

    def fill(self, batch_size: int = 1 << 18, progress: Progress = silent) -> None:
        """Evaluate the field at every lattice point that is not cached yet."""
        missing = np.flatnonzero(np.isnan(self._values))
        for start in range(0, len(missing), batch_size):
            progress(start / len(missing), "Evaluating the field")
            some = missing[start : start + batch_size]
            index = np.stack(np.unravel_index(some, self.shape), 1)
            self._values[some] = np.asarray(self.field(self.lattice.points(index)), np.float32).reshape(-1)
