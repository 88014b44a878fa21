"""Triangle mesh that every step takes and returns.

World frame: right-handed, Z up, metres. Faces are counter-clockwise seen from outside. Vertices are shared between
faces (a closed surface is closed in its indices), so what differs between the faces round a vertex, the texture
coordinates, is kept per face corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshing.errors import InvalidMesh

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with optional attributes; arrays are converted to the types below and checked."""

    vertices: Floats  # [V, 3] metres, Z up
    faces: Ints  # [F, 3] indices into vertices, counter-clockwise from outside
    normals: Floats | None = None  # [V, 3] unit, outward
    colors: Bytes | None = None  # [V, 4] RGBA, sRGB
    uvs: Floats | None = None  # [F, 3, 2] one per face corner, in 0..1, v upwards (row 0 of the texture is at v = 1)
    texture: Bytes | None = None  # [H, W, 4] RGBA, sRGB, top row first

    def __post_init__(self) -> None:
        vertices = np.ascontiguousarray(self.vertices, np.float32)
        faces = np.ascontiguousarray(self.faces, np.int32)
        _check("vertices", vertices, (None, 3))
        _check("faces", faces, (None, 3))
        if not np.isfinite(vertices).all():
            raise InvalidMesh("The mesh has vertices that are not finite numbers.")
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise InvalidMesh(
                f"The mesh has faces that name vertices outside 0..{len(vertices) - 1}: {faces.min()}..{faces.max()}."
            )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)
        for name, dtype, shape in (
            ("normals", np.float32, (len(vertices), 3)),
            ("colors", np.uint8, (len(vertices), 4)),
            ("uvs", np.float32, (len(faces), 3, 2)),
            ("texture", np.uint8, (None, None, 4)),
        ):
            if (given := getattr(self, name)) is not None:
                array = np.ascontiguousarray(given, dtype)
                _check(name, array, shape)
                object.__setattr__(self, name, array)

    @property
    def corners(self) -> Floats:
        """Positions of the face corners [F, 3, 3]."""
        return self.vertices[self.faces]

    @property
    def volume(self) -> float:
        """Enclosed volume, cubic metres (divergence theorem): above zero when closed and facing outwards."""
        if not len(self.faces):
            return 0.0
        a, b, c = np.moveaxis(self.corners.astype(np.float64) - self.vertices.mean(0, dtype=np.float64), 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    @property
    def area(self) -> float:
        """Area, square metres."""
        return float(np.linalg.norm(self.face_normals_scaled, axis=1).sum() / 2)

    @property
    def face_normals_scaled(self) -> NDArray[np.float64]:
        """Outward normals of the faces [F, 3], as long as twice their area."""
        a, b, c = np.moveaxis(self.corners.astype(np.float64), 1, 0)
        return np.cross(b - a, c - a)

    @property
    def euler_number(self) -> int:
        """Vertices used - edges + faces: 2 for each sphere, 0 for a torus, 2 - 2 × genus for one closed surface."""
        edges = np.unique(_edge_keys(np.sort(_edges(self.faces), axis=1), len(self.vertices)))
        return len(np.unique(self.faces)) - len(edges) + len(self.faces)

    @property
    def is_closed(self) -> bool:
        """True if each edge is used equally often in both directions: no holes and a consistent winding."""
        edges = _edges(self.faces)
        forward = np.sort(_edge_keys(edges, len(self.vertices)))
        backward = np.sort(_edge_keys(edges[:, ::-1], len(self.vertices)))
        return len(self.faces) > 0 and bool(np.array_equal(forward, backward))


def _edges(faces: Ints) -> NDArray[np.int64]:
    return faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)


def _edge_keys(edges: NDArray[np.int64], num_vertices: int) -> NDArray[np.int64]:
    return edges[:, 0] * num_vertices + edges[:, 1]


def _check(name: str, array: NDArray, shape: tuple[int | None, ...]) -> None:
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise InvalidMesh(f"{name} must have the shape [{wanted}], got {list(array.shape)}.")
