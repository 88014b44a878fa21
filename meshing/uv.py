"""Texture coordinates by xatlas.

xatlas takes time with the square of the faces in a part (100,000 faces: minutes), so the mesh is first cut into parts
of some hundred faces that look the same way: seconds, for more seams, which the bake hides. It runs in a child process
so that a user can cancel it and a crash in it is an error here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshing.errors import InvalidMesh
from meshing.mesh import Mesh
from meshing.progress import Progress, silent

PART_FACES = 500
MOST_PARTS = 400


def unwrap_uvs(mesh: Mesh, *, resolution: int = 1024, padding: int = 4, progress: Progress = silent) -> Mesh:
    """Set texture coordinates per face corner; vertices and faces stay as they are.

    Args:
        mesh: closed or not; decimate it first (hundreds of thousands of faces take a minute).
        resolution: texels along a side of the texture that will be baked; with `padding` it sets the gap of the charts.
        padding: texels between charts.
        progress: called several times a second; what it raises ends the child process.

    Raises:
        InvalidMesh: no faces, or xatlas failed on them.
    """
    if not len(mesh.faces):
        raise InvalidMesh("An empty mesh has no texture coordinates. Extract a surface first.")
    progress(0.0, "Cutting the surface into parts")
    with tempfile.TemporaryDirectory(prefix="lathe-uv-", ignore_cleanup_errors=True) as folder:
        given, result, errors = (Path(folder) / name for name in ("given.npz", "uvs.npy", "errors.txt"))
        np.savez(
            given,
            vertices=mesh.vertices,
            faces=mesh.faces,
            labels=_parts(mesh),
            resolution=resolution,
            padding=padding,
        )
        with errors.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("xatlas_worker.py")), str(given), str(result)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            expected = 1.0 + len(mesh.faces) / 30_000  # seconds, for the progress bar
            start = time.monotonic()
            while child.poll() is None:
                progress(1 - 0.98 * expected / (expected + time.monotonic() - start), "Making texture coordinates")
                try:
                    child.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        if child.returncode != 0 or not result.exists():
            lines = errors.read_text(errors="replace").strip().splitlines()
            raise InvalidMesh(
                f"Texture coordinates could not be made (xatlas ended with {child.returncode}"
                f"{': ' + lines[-1] if lines else ''}). Clean the mesh up, or reduce its faces, and try again.",
                remedy={"action": "lower_target_faces", "label": "Reduce faces", "value": float(len(mesh.faces) // 2)},
            )
        uvs = np.load(result)
    progress(1.0, "Texture coordinates made")
    return replace(mesh, uvs=uvs)


def _parts(mesh: Mesh) -> NDArray[np.int64]:
    """Label each face [F] by the axis direction that it faces, of six, and the cube of space that it lies in."""
    normals = mesh.face_normals_scaled
    axis = np.abs(normals).argmax(1)
    side = axis * 2 + (normals[np.arange(len(axis)), axis] < 0)
    wanted = max(PART_FACES, len(mesh.faces) // MOST_PARTS)
    centers = mesh.corners.mean(1, dtype=np.float64)
    low = centers.min(0)
    edge = max(
        np.sqrt(mesh.area * min(wanted / len(mesh.faces), 1)), float(np.ptp(centers, axis=0).max()) / 1000, 1e-30
    )
    cube = ((centers - low) / edge).astype(np.int64)
    key = ((cube[:, 0] * 1024 + cube[:, 1]) * 1024 + cube[:, 2]) * 6 + side
    return np.unique(key, return_inverse=True)[1].reshape(-1)
