"""Tasks `complete` and `fit_shape`: shapes from scans and meshes by DeepSDF."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_SEED, check_name, check_sha256
from ..options import Choice, check_options, option
from .common import Row3


@dataclass(frozen=True)
class CompleteRequest:
    """Task `complete` -> LatentResult: the latent whose shape fits a partial scan (DeepSDF, Sec. 6.3)."""

    model: str
    blob: str  # sha256 of packed `ScanBlob`
    iterations: int = field(
        default=800,
        metadata=option(
            "Iterations", "Optimisation steps. More are slower and closer to the scan", minimum=1, maximum=100_000
        ),
    )
    seed: int = field(
        default=0, metadata=option("Seed", "Random seed of the initial latent", minimum=0, maximum=MAX_SEED)
    )

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_sha256("blob", self.blob)
        check_options(self)


@dataclass(frozen=True, eq=False)
class LatentResult:
    """A latent found by optimisation. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it."""

    ws: np.ndarray
    code: str
    error: float  # mean absolute distance to the scan, metres
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # sentences for the user, on what was left out of the scan


@dataclass(frozen=True, eq=False)
class ScanBlob:
    """A partial scan. points: float32 [N, 3], metres, in the model's upright frame; normals: float32 [N, 3] outward, or
    None; origins: float32 [N, 3], the sensor position of each point (space in between is empty), or None."""

    points: np.ndarray
    normals: np.ndarray | None = None
    origins: np.ndarray | None = None


@dataclass(frozen=True)
class FitShapeRequest:
    """Task `fit_shape` -> ModelResult: a single-shape DeepSDF trained on one mesh, kept as a model of this name."""

    name: str
    blob: str  # sha256 of packed `MeshBlob`
    steps: int = field(default=2000, metadata=option("Steps", "Training steps", minimum=1, maximum=1_000_000))
    preset: Literal["small", "official"] = field(
        default="small",
        metadata=option(
            "Network",
            "Size of the network",
            choices=(
                Choice("small", "Small", "Quick to train and to mesh"),
                Choice("official", "Official", "8 layers of 512 units, as in the paper"),
            ),
        ),
    )
    seed: int = field(default=0, metadata=option("Seed", "Random seed of the training", minimum=0, maximum=MAX_SEED))

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_sha256("blob", self.blob)
        check_options(self)


@dataclass(frozen=True, eq=False)
class MeshBlob:
    """A mesh to train a network on. vertices: float32 [V, 3], metres, Z up; faces: int32 [F, 3]. offset: what was taken
    off the coordinates of its file, which lie far from the origin; kept with the model."""

    vertices: np.ndarray
    faces: np.ndarray
    offset: Row3 = (0.0, 0.0, 0.0)
