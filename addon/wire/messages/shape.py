"""Tasks `complete` and `fit_shape`: shapes from scans and meshes by DeepSDF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .common import check_name, check_range, check_sha256


@dataclass(frozen=True)
class CompleteRequest:
    """Task `complete` -> LatentResult: the latent whose shape fits a partial scan (DeepSDF, Sec. 6.3)."""

    model: str
    blob: str  # sha256 of packed `ScanBlob`
    iterations: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_sha256("blob", self.blob)
        check_range("iterations", self.iterations, 1, 100_000)


@dataclass(frozen=True, eq=False)
class LatentResult:
    """A latent found by fitting. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it."""

    ws: np.ndarray
    code: str
    error: float  # mean absolute distance to the scan, metres
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ScanBlob:
    """A partial scan. points: float32 [N, 3], metres, in the model's upright frame; normals: float32 [N, 3] outward, or
    None; origins: float32 [N, 3] where each point was seen from (free space in between), or None."""

    points: np.ndarray
    normals: np.ndarray | None = None
    origins: np.ndarray | None = None


@dataclass(frozen=True)
class FitShapeRequest:
    """Task `fit_shape` -> ModelResult: a single-shape DeepSDF trained on one mesh, kept as a model of this name."""

    name: str
    blob: str  # sha256 of packed `MeshBlob`
    steps: int = 2000
    preset: Literal["small", "official"] = "small"
    seed: int = 0

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_sha256("blob", self.blob)
        check_range("steps", self.steps, 1, 1_000_000)


@dataclass(frozen=True, eq=False)
class MeshBlob:
    """A mesh to learn. vertices: float32 [V, 3], metres, Z up; faces: int32 [F, 3]."""

    vertices: np.ndarray
    faces: np.ndarray
