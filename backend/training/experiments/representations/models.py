"""The four representations of a signed distance field, and their memory.

- `DenseGrid`: N³ numbers and trilinear interpolation. Not trained; values are computed near the surface only.
- `HashGrid`: the multiresolution hash encoding of arxiv.org/abs/2201.05989 and a network with one hidden layer.
- `TriPlane`: three planes of features, summed, and the same network (arxiv.org/abs/2112.07945, Sec. 4.1).
- `DistanceNetwork`: eight layers with a skip, as in DeepSDF, on the encoded position (Eq. 4 of
  arxiv.org/abs/2003.08934).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ....generators.deepsdf.mesh_distance import MeshDistance
from ....kernels.hash_encoding import HashSpec, hash_encode
from ....nerf.mlp.encodings import positional_encoding

Array = NDArray[np.float32]

HALF = 0.52
"""Half the side of the cube, in longest sides of the mesh."""
BOUNDS = ((-HALF,) * 3, (HALF,) * 3)
CLAMP = 0.05
"""Distance at which distances are truncated, in longest sides of the mesh."""
SLOPE = 1.5
"""Lipschitz bound of trained representations, for marching cubes."""


class DenseGrid(nn.Module):
    """Signed distances on a lattice, interpolated trilinearly. values [N, N, N], indexed [x, y, z]."""

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, points: Tensor) -> Tensor:
        """Return signed distances [N] at points [N, 3] of the cube."""
        places = points.flip(-1)[None, None, None] / HALF  # grid_sample's x runs along the last axis
        found = functional.grid_sample(self.values[None, None], places, padding_mode="border", align_corners=True)
        return found.reshape(-1)


def _head(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class HashGrid(nn.Module):
    """A hash encoding and a small network."""

    def __init__(self, spec: HashSpec, hidden: int = 64) -> None:
        super().__init__()
        self.spec = spec
        self.table = nn.Parameter(torch.empty(spec.num_entries, spec.num_features).uniform_(-1e-4, 1e-4))
        self.head = _head(spec.width, hidden)

    def forward(self, points: Tensor) -> Tensor:
        """Return signed distances [N] at points [N, 3] of the cube."""
        found: Tensor = CLAMP * self.head(hash_encode((points / HALF + 1) / 2, self.table, self.spec))
        return found[..., 0]


class TriPlane(nn.Module):
    """Features on the planes XY, XZ and YZ, summed, and a small network."""

    AXES = ((0, 1), (0, 2), (1, 2))

    def __init__(self, size: int, num_features: int, hidden: int = 64) -> None:
        super().__init__()
        self.planes = nn.Parameter(0.01 * torch.randn(3, num_features, size, size))
        self.head = _head(num_features, hidden)

    def forward(self, points: Tensor) -> Tensor:
        """Return signed distances [N] at points [N, 3] of the cube."""
        places = torch.stack([points[:, axes] for axes in self.AXES])[:, None] / HALF  # [3, 1, N, 2]
        features = functional.grid_sample(self.planes, places, padding_mode="border", align_corners=True)
        found: Tensor = CLAMP * self.head(features.sum(0)[:, 0].T)
        return found[..., 0]


class DistanceNetwork(nn.Module):
    """Layers of one width on the encoded position, with the encoding concatenated once more halfway."""

    def __init__(self, width: int, frequencies: int, depth: int = 8) -> None:
        super().__init__()
        self.frequencies, encoded = frequencies, 3 + 6 * frequencies
        self.before = self._layers(encoded, width, depth // 2)
        self.after = self._layers(width + encoded, width, depth - depth // 2)
        self.last = nn.Linear(width, 1)

    @staticmethod
    def _layers(inputs: int, width: int, count: int) -> nn.Sequential:
        widths = [inputs, *[width] * count]
        return nn.Sequential(*(x for a, b in itertools.pairwise(widths) for x in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, points: Tensor) -> Tensor:
        """Return signed distances [N] at points [N, 3] of the cube."""
        encoded = positional_encoding(points / HALF, self.frequencies)
        found: Tensor = CLAMP * self.last(self.after(torch.cat((self.before(encoded), encoded), -1)))
        return found[..., 0]


def num_bytes(module: nn.Module) -> int:
    """Return the bytes of all parameters and buffers of a representation."""
    return sum(x.numel() * x.element_size() for x in (*module.parameters(), *module.buffers()))


def grid_bytes(resolution: int) -> int:
    """Return the bytes of a dense grid: N³ numbers of four bytes."""
    return 4 * resolution**3


def filled(distance: MeshDistance, resolution: int, cells: float = 3.0, first: int = 16, last: int = 4) -> DenseGrid:
    """Return a dense grid: exact within `cells` cells of the surface, truncated at that distance elsewhere.

    The lattice is divided into blocks, from `first` down to `last` points wide; a block whose center is further from
    the surface than its half diagonal plus the truncation has one sign and is not subdivided.
    """
    step = 2 * HALF / (resolution - 1)
    cut = cells * step
    count = -(-resolution // first)
    values = np.full((count * first,) * 3, cut, np.float32)
    blocks = np.indices((count,) * 3, np.int32).reshape(3, -1).T * first
    size = first
    while len(blocks):
        centres = (blocks + (size - 1) / 2) * step - HALF
        found = distance.signed_distance(centres.astype(np.float32))
        far = np.abs(found) > (size - 1) / 2 * step * math.sqrt(3) + cut
        offsets = np.indices((size,) * 3, np.int32).reshape(3, -1).T
        inside = blocks[far & (found < 0)]
        if len(inside):
            values[tuple(np.moveaxis(inside[:, None] + offsets, -1, 0))] = -cut
        blocks = blocks[~far]
        if size == last:
            break
        size //= 2
        halves = np.indices((2, 2, 2), np.int32).reshape(3, -1).T * size
        blocks = (blocks[:, None] + halves).reshape(-1, 3)
    for part in np.array_split(blocks, -(-len(blocks) // 4096) or 1):
        index = part[:, None] + offsets
        found = distance.signed_distance((index * step - HALF).astype(np.float32))
        values[tuple(np.moveaxis(index, -1, 0))] = found.clip(-cut, cut)
    return DenseGrid(torch.from_numpy(values[:resolution, :resolution, :resolution].copy()))
