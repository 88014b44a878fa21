"""Task `mesh`: the surface of a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InvalidRequest
from .common import MAX_RESOLUTION, check_range
from .scene import SceneRef


@dataclass(frozen=True)
class MeshRequest:
    """Task `mesh` -> MeshResult: the scene's surface as a mesh in the scene's own frame (world_from_scene is the
    object's transform and is not applied to the vertices)."""

    scene: SceneRef
    resolution: int = 128  # cells along the longest side of the bounds
    iso_level: float | None = None  # None = the model's own
    target_faces: int = 0  # 0 = keep all
    minimum_component: float = 0.01  # drop pieces below this fraction of the largest piece's area; 0 keeps all
    fill_holes: bool = True
    smooth_normals: bool = True
    color: Literal["none", "vertex", "texture"] = "vertex"
    texture_size: int = 1024
    smoothing: int = 10  # rounds, for the surface of a density: a signed distance has no such noise

    def __post_init__(self) -> None:
        check_range("resolution", self.resolution, 8, MAX_RESOLUTION)
        if self.iso_level is not None and not math.isfinite(self.iso_level):
            raise InvalidRequest("iso_level is not finite")
        check_range("target_faces", self.target_faces, 0, 50_000_000)
        check_range("minimum_component", self.minimum_component, 0.0, 1.0)
        check_range("texture_size", self.texture_size, 16, 8192)
        check_range("smoothing", self.smoothing, 0, 1000)


@dataclass(frozen=True, eq=False)
class MeshResult:
    """A triangle mesh in the scene's frame. vertices: float32 [V, 3], metres. faces: int32 [F, 3], counter-clockwise
    seen from outside. normals: float32 [V, 3] or None. colors: uint8 [V, 4] sRGB or None. uvs: float32 [F, 3, 2], one
    per face corner, v upward, or None. texture: uint8 [H, W, 4] sRGB, top row first, or None."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    uvs: np.ndarray | None = None
    texture: np.ndarray | None = None
    iso_level: float = 0.0
    name: str = ""
    seconds: float = 0.0
