"""Sparse marching cubes: the field is evaluated only near the surface.

Vocabulary. The *lattice* is the regular grid of sample points that a dense marching cubes would evaluate; a *cell* is
the cube between eight of them; a *block* is a cube of cells whose side is a power of two; a *slab* is a slice of the
lattice along the first axis, thin enough for the memory limit. `d` is value - level, scaled by a power of two.

Marching cubes uses only the eight corners of a cell, so a cell can be skipped exactly if its corners are on one side.
Two searches find the others:

* With a Lipschitz bound, |f(p) - f(q)| <= L |p - q|, which a signed distance has with L = 1: a block whose centre is
  further from the level than L × its half diagonal is skipped, else it is split in eight; the centres are lattice
  points, so nothing is evaluated twice. In the last blocks, of 2×2×2 cells, centre and outer corner prove the side of
  the cell's other six corners, or those are evaluated.
* Without one (a density): a coarse lattice is evaluated completely, and a block is kept if its corners are on both
  sides or if it lies within `margin` blocks of such a block; likewise at each finer level.

Neither can leave a hole: where the surface leaves the cells that were kept, the cells that it enters are added until it
closes, so that a bound that is too small, or a margin too thin, can only miss whole components that are far from any
sample of the other side. scikit-image then triangulates the kept cells (its `mask`), slab by slab. A lattice point has
one value, whichever slab uses it, and vertices on the plane between two slabs are matched by the lattice edge they lie
on, so the result has the vertices and faces of the dense run, in its order.

Lewiner, Lopes, Vieira, Tavares, Efficient implementation of Marching Cubes' cases with topological guarantees, 2003.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from meshing.errors import EmptySurface, InvalidField, InvalidGrid, LevelOutOfRange
from meshing.mesh import Mesh
from meshing.progress import Progress, silent

log = logging.getLogger(__name__)

Field = Callable[[NDArray[np.float32]], ArrayLike]
Index = NDArray[np.int32]
Values = NDArray[np.float32]

OCTANTS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.int32)  # [8, 3]
SLAB_POINTS = 1 << 24  # lattice points of the largest slab: 64 MiB of values
FIRST_BLOCKS = 16  # blocks along the longest side that are all evaluated
STEEPER = 1.25  # factor of the steepest slope found that replaces a smaller given bound
ROUNDING = 1 + 1e-4  # slack of the Lipschitz bound for float32 fields
AT_LEVEL = np.float32(-(2.0**-12))  # replaces a d of 0, on the same side, where scikit-image may leave a hole
LEAST_FRACTION = 2.0**-10  # of a cell, kept between a vertex on a slab's border plane and the nearest lattice point


@dataclass(frozen=True)
class Lattice:
    """Sample points `low + index * spacing`, index 0..cells on each axis."""

    low: NDArray[np.float64]  # [3] metres
    spacing: NDArray[np.float64]  # [3] metres
    cells: Index  # [3]

    @classmethod
    def in_bounds(cls, bounds: ArrayLike, resolution: int) -> Lattice:
        """Return the lattice with `resolution` points along the longest side of `bounds` [2, 3] (low, high), metres.

        The points fill the bounds from face to face; on shorter sides the spacing is made a little smaller to fit.

        Raises:
            InvalidGrid: a resolution that is not a whole number from 2, bounds that are inverted or not finite.
        """
        if isinstance(resolution, bool) or not isinstance(resolution, (int, np.integer)) or resolution < 2:
            raise InvalidGrid(
                f"The resolution must be a whole number of at least 2, got {resolution!r}. 128 is a good start.",
                remedy={"action": "set_resolution", "label": "Use 128", "value": 128.0},
            )
        box = np.asarray(bounds, np.float64)
        if box.shape != (2, 3):
            raise InvalidGrid(f"The bounds must be [[x, y, z] low, [x, y, z] high], got the shape {list(box.shape)}.")
        low, high = box
        if not np.isfinite(box).all():
            raise InvalidGrid(f"The bounds must be finite numbers, got {low.tolist()} to {high.tolist()}.")
        if (high <= low).any():
            raise InvalidGrid(
                f"The bounds are inside out: each low side must be below its high side, got {low.tolist()} "
                f"to {high.tolist()}. Exchange the two corners."
            )
        size = high - low
        cells = np.maximum(np.ceil(size / size.max() * (resolution - 1) - 1e-6), 1).astype(np.int32)
        return cls(low, size / cells, cells)

    def points(self, index: NDArray) -> NDArray[np.float32]:
        """World points [..., 3] of lattice indices [..., 3]."""
        return (self.low + index * self.spacing).astype(np.float32)


def extract_surface(
    field: Field,
    bounds: ArrayLike,
    resolution: int,
    iso_level: float,
    *,
    inside: Literal["negative", "positive"] = "negative",
    lipschitz: float | None = None,
    clamp: float | None = None,
    margin: int = 1,
    coarse: int = 64,
    cap: bool = False,
    relative: bool = False,
    batch_size: int = 1 << 18,
    progress: Progress = silent,
) -> Mesh:
    """Extract the surface `field == iso_level`: the mesh of dense marching cubes for far fewer evaluations.

    Args:
        field: maps world points [N, 3] (metres, float32) to N values; called with at most `batch_size` points.
        bounds: [2, 3] low and high corner, metres.
        resolution: lattice points along the longest side of the bounds (so `resolution` ** 3 in a cube).
        iso_level: the value on the surface.
        inside: which side of the level is solid: "negative" for signed distances, "positive" for densities.
        lipschitz: L in |f(p) - f(q)| <= L |p - q|, in field units per metre. None: 1 if the inside is negative (a
            signed distance), and no bound if it is positive. math.inf: no bound. A value too small costs no holes but
            may lose components; for a network, its largest gradient, or 1.5 to 2, is safe.
        clamp: the field is a signed distance truncated to ±clamp (DeepSDF: 0.1); saves evaluations that cannot help.
        margin: without a bound: blocks added round those that the surface is known to cross.
        coarse: without a bound: cells of the coarse lattice along the longest side. Parts thinner than one of them
            and apart from the rest can be missed.
        cap: close the surface where it leaves the bounds.
        relative: interpolate (value - level) / (value + level) in place of the difference, where the level is above 0.
            A density grows many times over between two points, and linear interpolation puts the vertex too near the
            lower value; with this option the surface is a fifth less rough.
        batch_size: most points in one call of the field.
        progress: called at least once for each batch; what it raises ends the extraction.

    Returns:
        Mesh with faces counter-clockwise from outside; closed, unless the surface leaves the bounds and `cap` is off.

    Raises:
        InvalidGrid: resolution or bounds make no lattice.
        InvalidField: the field did not return one finite number for each point.
        LevelOutOfRange: all values lie on one side; names the range and a level that works.
        EmptySurface: the level is inside the range, but no surface was met.
    """
    lattice = Lattice.in_bounds(bounds, resolution)
    if inside not in ("negative", "positive"):
        raise InvalidGrid(f'inside must be "negative" or "positive", got {inside!r}.')
    if not math.isfinite(iso_level):
        raise InvalidGrid(f"The level must be a finite number, got {iso_level}.")
    if lipschitz is None:
        lipschitz = 1.0 if inside == "negative" else math.inf
    if not lipschitz > 0 or (clamp is not None and not clamp > 0) or margin < 0 or coarse < 1 or batch_size < 1:
        raise InvalidGrid("lipschitz, clamp, coarse and batch_size must be above zero, and margin not below.")

    sampler = _Sampler(
        field, lattice, float(iso_level), inside == "positive", cap, relative and iso_level > 0, batch_size, progress
    )
    thickness = 32
    while thickness > 4 and (thickness + 1) * int(np.prod(lattice.cells[1:] + 1)) > SLAB_POINTS:
        thickness //= 2
    search: _BoundedSearch | _MarginSearch
    if math.isfinite(lipschitz):
        search = _BoundedSearch(sampler, lipschitz, math.inf if clamp is None else clamp - abs(iso_level), thickness)
    else:
        search = _MarginSearch(sampler, coarse, margin, thickness)
    progress(0.0, "Looking for the surface")
    pieces = _pieces(sampler, search, thickness)
    if not pieces:
        _explain_nothing(sampler)
    progress(0.97, "Joining the surface")
    mesh = _join(pieces)
    log.debug(
        "extracted %d vertices, %d faces from %d evaluations of a lattice of %s",
        *(len(mesh.vertices), len(mesh.faces), sampler.count, "×".join(str(n + 1) for n in lattice.cells)),
    )
    progress(1.0, "Surface extracted")
    return mesh


class _Sampler:
    """The field on lattice indices: batched, checked and counted."""

    def __init__(
        self,
        field: Field,
        lattice: Lattice,
        level: float,
        positive: bool,
        cap: bool,
        relative: bool,
        batch_size: int,
        progress: Progress,
    ) -> None:
        self.field, self.lattice, self.level = field, lattice, level
        self.positive, self.cap, self.relative, self.batch_size = positive, cap, relative, batch_size
        self.progress = progress
        self.fraction = 0.0
        self.count = 0
        self.scale = 1.0  # a power of two, so that it costs no digits; marching cubes wants values near one
        self.observed = (math.inf, -math.inf)

    def __call__(self, index: NDArray[np.integer]) -> Values:
        """d [N] at lattice indices [N, 3]."""
        out = np.empty(len(index), np.float32)
        for start in range(0, len(index), self.batch_size):
            self.progress(self.fraction, "Evaluating the field")
            part = index[start : start + self.batch_size]
            out[start : start + len(part)] = self._batch(part)
        out[out == 0] = AT_LEVEL
        return out

    def _batch(self, index: NDArray[np.integer]) -> NDArray[np.float64]:
        values = np.asarray(self.field(self.lattice.points(index)))
        if values.shape not in ((len(index),), (len(index), 1)) or values.dtype.kind not in "fiu":
            raise InvalidField(
                f"The field must return one number for each point: wanted the shape [{len(index)}], got "
                f"{list(values.shape)} of {values.dtype}."
            )
        values = values.reshape(-1)
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            where = self.lattice.points(index[np.flatnonzero(~np.isfinite(values))[:1]])[0]
            raise InvalidField(
                f"The field returned {bad} values that are not finite numbers in a batch of {len(index)}, the first at "
                f"({where[0]:.4g}, {where[1]:.4g}, {where[2]:.4g}). The model may have diverged: train it again.",
                remedy={"action": "choose_model", "label": "Choose another model", "value": None},
            )
        self.observed = (min(self.observed[0], low), max(self.observed[1], high))
        self.count += len(index)
        d = (values.astype(np.float64) - self.level) * self.scale
        if self.relative:
            d /= np.abs(values.astype(np.float64)) + self.level
        if self.cap:  # the bounds count as outside: the surface ends a thousandth of a cell before them
            rim = ((index == 0) | (index == self.lattice.cells)).any(1) & self.is_inside(d)
            d[rim] *= -1e-3
            d[rim & self.is_inside(d)] = 1e-7  # was 0
        return d

    def is_inside(self, d: NDArray) -> NDArray[np.bool_]:
        return d > 0 if self.positive else d <= 0


class _Slab:
    """A box of lattice points (each `stride`-th of them) with the values known so far; NaN is unknown."""

    def __init__(self, sampler: _Sampler, origin: NDArray, shape: NDArray, stride: int = 1) -> None:
        self.sampler = sampler
        self.origin = origin.astype(np.int64)  # in strides
        self.shape = tuple(int(n) for n in shape)
        self.stride = stride
        self.values: Values = np.full(self.shape, np.nan, np.float32)
        self._flat = self.values.reshape(-1)
        self._steps = np.array([self.shape[1] * self.shape[2], self.shape[2], 1], np.int64)

    def ids(self, index: NDArray) -> NDArray[np.int64]:
        """Indices into `values` of points [..., 3] given in strides from the lattice's origin."""
        return (index - self.origin) @ self._steps

    def fill(self, ids: NDArray[np.int64]) -> None:
        """Evaluate the unknown ones among these indices; an index may occur more than once."""
        missing = ids[np.isnan(self._flat[ids])]
        if len(missing) * 16 > len(self._flat):
            wanted = np.zeros(len(self._flat), bool)
            wanted[missing] = True
            missing = np.flatnonzero(wanted)
        else:  # drop repetitions without a sort: of equal places the last number written is the one that stays
            numbers = np.arange(len(missing), dtype=np.float32)
            self._flat[missing] = numbers
            missing = missing[self._flat[missing] == numbers]
        size = self.sampler.batch_size
        for start in range(0, len(missing), size):
            some = missing[start : start + size]
            index = np.stack(np.unravel_index(some, self.shape), axis=1) + self.origin
            self._flat[some] = self.sampler(np.minimum(index * self.stride, self.sampler.lattice.cells))

    def at(self, ids: NDArray[np.int64]) -> Values:
        """Values at indices, evaluated where they are unknown."""
        self.fill(ids.reshape(-1))
        return self._flat[ids]

    def get_plane(self, local: int) -> tuple[NDArray[np.int64], Values]:
        """Known values of one plane across the first axis: (global place in the plane, value)."""
        plane = self.values[local]
        j, k = np.nonzero(~np.isnan(plane))
        width = self.sampler.lattice.cells[2] + 1
        return (j + self.origin[1]) * width + (k + self.origin[2]), plane[j, k]

    def set_plane(self, local: int, known: tuple[NDArray[np.int64], Values]) -> None:
        """Copy the values that a neighbour has on the shared plane."""
        j, k = np.divmod(known[0], self.sampler.lattice.cells[2] + 1)
        j, k = j - self.origin[1], k - self.origin[2]
        here = (j >= 0) & (k >= 0) & (j < self.shape[1]) & (k < self.shape[2])
        self.values[local][j[here], k[here]] = known[1][here]


def _children(blocks: Index, half: int, cells: Index) -> Index:
    """The up to eight halves [M, 3] of blocks [N, 3] that begin within the lattice."""
    children = (blocks[:, None] + OCTANTS * half).reshape(-1, 3)
    return children[(children < cells).all(1)]


def _rows(blocks: Index, thickness: int) -> dict[int, Index]:
    """Blocks by slab."""
    slab = blocks[:, 0] // thickness
    order = np.argsort(slab, kind="stable")
    numbers, starts = np.unique(slab[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(blocks[order], starts[1:])))


class _BoundedSearch:
    """Selection of cells that may have corners on both sides, by a Lipschitz bound."""

    def __init__(self, sampler: _Sampler, lipschitz: float, reach: float, thickness: int) -> None:
        lattice = sampler.lattice
        self.sampler, self.cells = sampler, lattice.cells
        size = thickness
        while size * FIRST_BLOCKS < lattice.cells.max():
            size *= 2
        first = -(-lattice.cells // size)
        blocks = np.indices(tuple(first)).reshape(3, -1).T.astype(np.int32) * np.int32(size)
        extent = np.minimum(size, lattice.cells - blocks)
        d = sampler(blocks + extent // 2).astype(np.float64)
        seen = self._seen_slope(d.reshape(first), blocks + extent // 2)
        if seen > lipschitz * ROUNDING:
            log.warning("the field is steeper than its bound of %.4g: %.4g is used", lipschitz, seen * STEEPER)
            lipschitz = seen * STEEPER
        sampler.scale = 2.0 ** -round(math.log2(lipschitz * lattice.spacing.max()))
        self.slope = lipschitz * sampler.scale * ROUNDING  # of d, per metre
        self.reach = reach * sampler.scale  # |d| is never larger
        if self._can_drop(size):
            inside = sampler.is_inside(d).reshape(first)
            mixed = ndimage.maximum_filter(inside, 3) & ~ndimage.minimum_filter(inside, 3)
            blocks = blocks[mixed.reshape(-1) | self._maybe_crossed(d * sampler.scale, blocks, extent)]
        while size > thickness:
            size //= 2
            blocks = self._near(_children(blocks, size, self.cells), size, lambda index: self.sampler(index))
        self.size = size
        self.blocks = _rows(blocks, thickness)

    def _can_drop(self, size: int) -> bool:
        return self.slope * float(np.linalg.norm(self.sampler.lattice.spacing)) * size / 2 < self.reach

    def _near(self, blocks: Index, size: int, values: Callable[[Index], Values]) -> Index:
        """Blocks that the value at their centre does not exclude."""
        if not len(blocks) or not self._can_drop(size):
            return blocks
        extent = np.minimum(size, self.cells - blocks)
        return blocks[self._maybe_crossed(values(blocks + extent // 2), blocks, extent)]

    def _maybe_crossed(self, d: NDArray, blocks: Index, extent: Index) -> NDArray[np.bool_]:
        bound = self.slope * np.linalg.norm((extent - extent // 2) * self.sampler.lattice.spacing, axis=1)
        keep = np.abs(d) <= bound
        if self.sampler.cap:
            keep |= self.sampler.is_inside(d) & ((blocks == 0) | (blocks + extent == self.cells)).any(1)
        return keep

    def _seen_slope(self, d: NDArray[np.float64], centres: Index) -> float:
        """The steepest slope between neighbouring samples, a lower limit of any Lipschitz bound of the field."""
        points = (centres * self.sampler.lattice.spacing).reshape(*d.shape, 3)
        seen = 0.0
        for axis in range(3):
            if d.shape[axis] > 1:
                steps = np.linalg.norm(np.diff(points, axis=axis), axis=-1)
                seen = max(seen, float((np.abs(np.diff(d, axis=axis)) / steps).max()))
        return seen

    def boxes(self, slab: int) -> tuple[Index, int]:
        return self.blocks.get(slab, np.zeros((0, 3), np.int32)), self.size

    def cells_of(self, slab: _Slab, blocks: Index) -> Index:
        """Cells [N, 3] of the slab to triangulate."""
        size = self.size
        while size > 2:
            size //= 2
            blocks = self._near(_children(blocks, size, self.cells), size, lambda index: slab.at(slab.ids(index)))
        if not len(blocks):
            return blocks
        whole = (blocks + 2 <= self.cells).all(1)
        if self.sampler.cap:
            whole &= ((blocks > 0) & (blocks + 2 < self.cells)).all(1)
        cells = [_children(blocks[~whole], 1, self.cells)]
        blocks = blocks[whole]
        centre = slab.at(slab.ids(blocks + 1))
        corners = slab.at(slab.ids(blocks[:, None] + 2 * OCTANTS))
        step = self.slope * self.sampler.lattice.spacing
        across = np.sqrt((step**2).sum() - step**2)
        near = np.abs(centre)
        for octant, corner in zip(OCTANTS, corners.T):
            far = np.abs(corner)
            proven = (centre > 0) == (corner > 0)
            for a in range(3):  # the cell's corner one step from the centre, and the one a step from the outer corner
                proven &= (near > step[a]) | (far > across[a])
                proven &= (far > step[a]) | (near > across[a])
            cells.append(blocks[~proven] + octant)
        return np.concatenate(cells)


class _MarginSearch:
    """Selection of cells that may have corners on both sides, by samples and a margin round those that have."""

    def __init__(self, sampler: _Sampler, coarse: int, margin: int, thickness: int) -> None:
        self.sampler, self.cells, self.margin = sampler, sampler.lattice.cells, margin
        size = 2 ** max(1, round(math.log2(max(1.0, self.cells.max() / coarse))))
        counts = -(-self.cells // size)
        index = np.minimum(np.indices(counts + 1).reshape(3, -1).T * size, self.cells)
        d = self.sampler(index).reshape(counts + 1)
        typical = float(np.median(np.abs(d)))
        if typical > 0:
            sampler.scale = 2.0 ** -round(math.log2(typical))
        inside = self.sampler.is_inside(d)
        corners = [inside[tuple(slice(o, o + n) for o, n in zip(octant, counts))] for octant in OCTANTS]
        crossed = np.logical_or.reduce(corners) & ~np.logical_and.reduce(corners)
        if margin and crossed.any():
            crossed = ndimage.binary_dilation(crossed, np.ones((3, 3, 3)), margin)
        blocks = np.argwhere(crossed).astype(np.int32) * size
        while size > 2:
            size //= 2
            blocks = self._crossed(_children(blocks, size, self.cells), size)
        self.blocks = _rows(blocks, thickness)

    def _crossed(self, blocks: Index, size: int) -> Index:
        """Those blocks with corners on both sides, and `margin` blocks round them."""
        points = -(-self.cells // size) + 1
        thickness = size * max(1, SLAB_POINTS // int(points[1] * points[2]) - 1)
        kept = []
        for row in _rows(blocks, thickness).values():
            index = row // size
            low = index.min(0)
            slab = _Slab(self.sampler, low, index.max(0) + 2 - low, size)
            inside = self.sampler.is_inside(slab.at(slab.ids(index[:, None] + OCTANTS)))
            kept.append(index[inside.any(1) & ~inside.all(1)])
        index = np.concatenate(kept) if kept else np.zeros((0, 3), np.int32)
        counts = -(-self.cells // size)
        padded = counts.astype(np.int64) + 2 * self.margin  # so that a step over a face does not wrap round
        ids = np.ravel_multi_index(tuple((index + self.margin).T), tuple(padded))
        for _ in range(self.margin):
            for step in (padded[1] * padded[2], padded[2], 1):
                ids = np.unique(np.concatenate([ids - step, ids, ids + step]))
        index = np.stack(np.unravel_index(ids, tuple(padded)), 1).astype(np.int32) - self.margin
        return index[((index >= 0) & (index < counts)).all(1)] * np.int32(size)

    def boxes(self, slab: int) -> tuple[Index, int]:
        return self.blocks.get(slab, np.zeros((0, 3), np.int32)), 2

    def cells_of(self, slab: _Slab, blocks: Index) -> Index:
        """Cells [N, 3] of the slab to triangulate."""
        return _children(blocks, 1, self.cells)


@dataclass(frozen=True)
class _Piece:
    """The triangles of one slab, and its vertices on the planes before and behind it."""

    vertices: NDArray[np.float32]  # [V, 3] metres
    faces: Index  # [F, 3]
    before: tuple[NDArray[np.int64], NDArray[np.int64]]  # lattice edges, sorted, and their vertices
    behind: tuple[NDArray[np.int64], NDArray[np.int64]]


def _pieces(sampler: _Sampler, search: _BoundedSearch | _MarginSearch, thickness: int) -> list[_Piece | None]:
    """Triangulate slab after slab; go back to one when the surface of a neighbour runs on into cells it left out."""
    cells = sampler.lattice.cells
    num_slabs = -(-int(cells[0]) // thickness)
    pieces: list[_Piece | None] = [None] * num_slabs
    extra: dict[int, list[Index]] = defaultdict(list)
    planes: dict[int, tuple[NDArray[np.int64], Values]] = {}  # known values between slab n - 1 and n
    layers: dict[tuple[int, int], NDArray[np.int64]] = {}  # (slab, 0 first or 1 last) -> cells used in that layer
    todo = list(range(num_slabs))
    while todo:
        number = heapq.heappop(todo)
        sampler.fraction = 0.05 + 0.9 * number / num_slabs
        sampler.progress(sampler.fraction, "Extracting the surface")
        blocks, size = search.boxes(number)
        added = np.concatenate(extra[number]) if extra[number] else np.zeros((0, 3), np.int32)
        start = number * thickness
        end = min(start + thickness, int(cells[0]))
        while len(blocks) or len(added):
            corners = np.concatenate([blocks, np.minimum(blocks + size, cells), added, added + 1])
            low, high = corners.min(0), corners.max(0)
            low[0], high[0] = start, end
            slab = _Slab(sampler, low, high - low + 1)
            for local, plane in ((0, number), (end - start, number + 1)):
                if plane in planes:
                    slab.set_plane(local, planes[plane])
            wanted = np.concatenate([search.cells_of(slab, blocks), added]) if len(blocks) else added
            slab.fill((slab.ids(wanted)[:, None] + slab.ids(OCTANTS + slab.origin)).reshape(-1))
            # scikit-image reads the mask at a cell's last corner; one more layer behind makes room for the next slab
            used = np.zeros(np.array(slab.shape) + 1, bool)
            used[tuple((wanted - slab.origin + 1).T)] = True
            for local, plane in ((0, number), (end - start, number + 1)):
                planes[plane] = slab.get_plane(local)
            piece, outside = _triangulate(slab, used)
            pieces[number] = piece
            width = int(cells[2]) + 1
            for which, layer in ((0, 1), (1, end - start)):
                j, k = np.nonzero(used[layer])
                layers[number, which] = (j - 1 + low[1]) * width + (k - 1 + low[2])
            own = outside[(outside[:, 0] >= start) & (outside[:, 0] < end)]
            for neighbour, which, x in ((number - 1, 1, start - 1), (number + 1, 0, end)):
                there = outside[outside[:, 0] == x]
                known = layers.get((neighbour, which), np.zeros(0, np.int64))
                there = there[~np.isin(there[:, 1].astype(np.int64) * width + there[:, 2], known)]
                if len(there):
                    extra[neighbour].append(there)
                    if neighbour not in todo:
                        heapq.heappush(todo, neighbour)
            if not len(own):
                break
            log.debug("the surface left the cells that were kept in slab %d: %d added", number, len(own))
            extra[number].append(own)
            added = np.unique(np.concatenate(extra[number]), axis=0)
    return pieces if any(piece is not None for piece in pieces) else []


def _triangulate(slab: _Slab, used: NDArray[np.bool_]) -> tuple[_Piece | None, Index]:
    """Marching cubes on the used cells; also the cells [N, 3] beside the surface that are not among them."""
    lattice = slab.sampler.lattice
    values = slab.values
    if not used.any() or not (values > 0).any() or not (values <= 0).any():  # scikit-image raises when it finds nothing
        return None, np.zeros((0, 3), np.int32)
    ends = [(x, values[x].copy()) for x in (0, -1)]
    for x, _ in ends:
        _keep_from_corners(values[x])
    local, faces, _, _ = marching_cubes(
        values,
        0.0,
        gradient_direction="ascent" if slab.sampler.positive else "descent",
        mask=used[:-1, :-1, :-1],
    )
    base = np.floor(local).astype(np.int64)
    between = local > base  # a vertex on an edge lies between lattice points on one axis only
    on_edge = np.flatnonzero(between.sum(1) == 1)
    axis = between[on_edge].argmax(1)
    stride = np.array([values.shape[1] * values.shape[2], values.shape[2], 1], np.int64)
    place = base[on_edge] @ stride
    flat = values.reshape(-1)
    crossed = (flat[place] > 0) != (flat[place + stride[axis]] > 0)  # else it is the middle vertex of a cell
    on_edge, axis, place = on_edge[crossed], axis[crossed], place[crossed]
    edge = base[on_edge]

    # place them by the values as they are, in double precision
    for x, plane in ends:
        values[x] = plane
    near, far = (
        np.where(d == AT_LEVEL, 0, np.abs(d)).astype(np.float64) for d in (flat[place], flat[place + stride[axis]])
    )
    position = local.astype(np.float64)
    position[on_edge, axis] = edge[np.arange(len(edge)), axis] + near / (near + far)

    # the four cells round each crossed edge must all be there
    steps = np.array([used.shape[1] * used.shape[2], used.shape[2], 1], np.int64)
    kept = used.reshape(-1)
    place = (edge + 1) @ steps
    outside = [np.zeros((0, 3), np.int64)]
    across = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    for first in (0, 1):
        for second in (0, 1):
            gone = np.flatnonzero(~kept[place - first * steps[across[:, 0]] - second * steps[across[:, 1]]])
            cell = edge[gone] + slab.origin
            cell[np.arange(len(gone)), across[gone, 0]] -= first
            cell[np.arange(len(gone)), across[gone, 1]] -= second
            outside.append(cell[((cell >= 0) & (cell < lattice.cells)).all(1)])
    beyond = np.unique(np.concatenate(outside), axis=0)

    width = int(lattice.cells[2]) + 1
    borders = []
    for x in (0, slab.shape[0] - 1):
        here = np.flatnonzero((edge[:, 0] == x) & (axis > 0))
        keys = ((edge[here, 1] + slab.origin[1]) * width + edge[here, 2] + slab.origin[2]) * 2 + axis[here] - 1
        order = np.argsort(keys)
        borders.append((keys[order], on_edge[here][order]))
    vertices = lattice.points(position + slab.origin)
    return _Piece(vertices, np.ascontiguousarray(faces), borders[0], borders[1]), beyond.astype(np.int32)


def _keep_from_corners(plane: Values) -> None:
    """Keep the crossings within a plane a little off the lattice points, so that each shows the edge it lies on.

    Vertices on the plane between two slabs are matched by their edge. A value so near the level that its vertex would
    round to the lattice point is moved away from it while scikit-image looks. Both slabs know both ends of each crossed
    edge, so both move it alike.
    """
    flat = plane.reshape(-1)
    width = plane.shape[1]
    above, below = plane > 0, plane <= 0
    pairs = []
    for step, a, b in ((width, np.s_[:-1, :], np.s_[1:, :]), (1, np.s_[:, :-1], np.s_[:, 1:])):
        j, k = np.nonzero((above[a] & below[b]) | (below[a] & above[b]))
        p = j * width + k
        pairs += [(p, p + step), (p + step, p)]
    p, q = (np.concatenate(ends) for ends in zip(*pairs))
    for _ in range(4):
        least = np.abs(flat[q]) * np.float32(LEAST_FRACTION)
        near = np.flatnonzero(np.abs(flat[p]) < least)
        if not len(near):
            return
        moved = np.zeros_like(flat)
        np.maximum.at(moved, p[near], least[near])
        places = np.unique(p[near])
        flat[places] = np.where(flat[places] > 0, moved[places], -moved[places])


def _join(pieces: list[_Piece | None]) -> Mesh:
    """One mesh; vertices on the plane between two slabs are those of the slab before."""
    vertices: list[NDArray[np.float32]] = []
    faces: list[Index] = []
    count = 0
    nothing = np.zeros(0, np.int64)
    last: tuple[NDArray[np.int64], NDArray[np.int64]] = (nothing, nothing)
    for piece in pieces:
        if piece is None:
            last = (nothing, nothing)
            continue
        keys, members = piece.before
        place = np.searchsorted(last[0], keys)
        shared = np.flatnonzero(place < len(last[0]))
        shared = shared[last[0][place[shared]] == keys[shared]]
        new = np.ones(len(piece.vertices), bool)
        new[members[shared]] = False
        numbers = np.empty(len(piece.vertices), np.int32)
        numbers[new] = np.arange(count, count + int(new.sum()), dtype=np.int32)
        numbers[members[shared]] = last[1][place[shared]]
        count += int(new.sum())
        vertices.append(piece.vertices[new])
        faces.append(numbers[piece.faces])
        last = (piece.behind[0], numbers[piece.behind[1]].astype(np.int64))
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def _explain_nothing(sampler: _Sampler) -> None:
    """Raise the error that explains why there is no surface, after sampling the whole box."""
    cells = sampler.lattice.cells
    axes = [np.unique(np.linspace(0, n, 17).round().astype(np.int32)) for n in cells]
    sampler(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3))
    low, high = sampler.observed
    if not low <= sampler.level <= high or low == high:
        raise LevelOutOfRange(sampler.level, (low, high))
    raise EmptySurface(
        f"There is no surface at level {sampler.level:.6g}, although the field goes from {low:.6g} to {high:.6g}: "
        "what there is may be thinner than the sampling. Raise the resolution or change the level.",
        remedy={"action": "raise_resolution", "label": "Double the resolution", "value": 2.0 * (int(cells.max()) + 1)},
    )
