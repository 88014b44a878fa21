"""Mesh smoothing that preserves volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh
from numpy.typing import ArrayLike
from trimesh.smoothing import filter_taubin

from meshing.mesh import Mesh
from meshing.progress import Progress, silent

SHRINK, GROW = 0.5, 0.53
"""λ and −μ of the paper: features larger than about eight edges stay."""

AT_ONCE = 5  # rounds in one call of the library, which cannot be interrupted


def smooth_surface(mesh: Mesh, rounds: int, bounds: ArrayLike | None = None, *, progress: Progress = silent) -> Mesh:
    """Move vertices towards the mean of their neighbours and back, so many times (Taubin 1995, A signal processing
    approach to fair surface design). Faces stay as they are; normals, which do not fit any more, are dropped.

    bounds: lowest and highest corner; no vertex is moved out of there.
    """
    if rounds <= 0 or not len(mesh.faces):
        return mesh
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    for done in range(0, rounds, AT_ONCE):
        progress(done / rounds, "Smoothing")
        filter_taubin(made, lamb=SHRINK, nu=GROW, iterations=2 * min(AT_ONCE, rounds - done))
    progress(1.0, "Smoothing")
    vertices = made.vertices if bounds is None else np.clip(made.vertices, *np.asarray(bounds, np.float64))
    return replace(mesh, vertices=vertices, normals=None)
