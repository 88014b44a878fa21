"""xatlas in a child process, as it cannot be interrupted and may crash: `xatlas_worker.py IN.npz OUT.npy`.

Needs numpy and xatlas only. IN holds vertices [V, 3], faces [F, 3], labels [F] of the part each face is in, resolution
and padding in texels; OUT the texture coordinates [F, 3, 2] of the face corners, in 0..1.
"""

from __future__ import annotations

import sys

import numpy as np
import xatlas


def unwrap(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, resolution: int, padding: int
) -> np.ndarray:  # [F, 3, 2]
    """Unwrap each part by itself and pack all charts into one square."""
    atlas = xatlas.Atlas()
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    for part in parts:
        used, corners = np.unique(faces[part], return_inverse=True)
        atlas.add_mesh(vertices[used], corners.reshape(-1, 3).astype(np.uint32))
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    packing.resolution = resolution
    packing.padding = padding
    atlas.generate(charts, packing)
    uvs = np.zeros((len(faces), 3, 2), np.float32)
    for number, part in enumerate(parts):
        _, corners, coordinates = atlas[number]
        uvs[part] = coordinates[corners]
    return uvs * (np.array([atlas.width, atlas.height]) / max(atlas.width, atlas.height, 1)).astype(np.float32)


if __name__ == "__main__":
    given = np.load(sys.argv[1])
    np.save(
        sys.argv[2],
        unwrap(given["vertices"], given["faces"], given["labels"], int(given["resolution"]), int(given["padding"])),
    )
