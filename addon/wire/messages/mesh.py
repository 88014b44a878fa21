"""Task `mesh`: the surface of a scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_IMAGE_SIDE, MAX_RESOLUTION
from ..options import Choice, check_options, option
from .scene import SceneRef


@dataclass(frozen=True)
class MeshRequest:
    """Task `mesh` -> MeshResult: the scene's surface as a mesh in the scene's own frame (world_from_scene is the
    transform of the object and is not applied to the vertices)."""

    scene: SceneRef
    resolution: int = field(
        default=128,
        metadata=option(
            "Resolution",
            "Grid cells along the longest side of the bounds. Doubling it gives four times the faces",
            minimum=8,
            maximum=MAX_RESOLUTION,
            soft_maximum=512,
        ),
    )
    iso_level: float | None = field(
        default=None,
        metadata=option(
            "Level",
            "Value of the field at the surface: metres for a signed distance (higher is thicker), 1/metre for a "
            "density (higher is thinner); the model's own unless given",
        ),
    )
    target_faces: int = field(
        default=0,
        metadata=option(
            "Target Faces", "Simplify to about this many triangles; 0 keeps all", minimum=0, maximum=50_000_000
        ),
    )
    minimum_component: float = field(
        default=0.01,
        metadata=option(
            "Drop Small Pieces",
            "Remove loose pieces whose area is below this fraction of the largest piece; 0 keeps all",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    fill_holes: bool = field(default=True, metadata=option("Fill Holes", "Close small holes"))
    smooth_normals: bool = field(
        default=True,
        metadata=option(
            "Smooth Normals",
            "Shade smoothly instead of flat: with the gradient of a signed distance, else with normals of the mesh",
        ),
    )
    color: Literal["none", "vertex", "texture"] = field(
        default="vertex",
        metadata=option(
            "Color",
            "How the mesh stores the colours of the model",
            choices=(
                Choice("none", "None", "Geometry alone"),
                Choice("vertex", "Vertex Colors", "A color attribute, one color per vertex"),
                Choice("texture", "Texture", "UV coordinates and an image baked from the field"),
            ),
        ),
    )
    texture_size: int = field(
        default=1024,
        metadata=option(
            "Texture Size",
            "Pixels along each side of the baked image",
            unit="pixels",
            minimum=16,
            maximum=MAX_IMAGE_SIDE,
        ),
    )
    smoothing: int = field(
        default=10,
        metadata=option(
            "Smoothing",
            "Iterations of volume-preserving smoothing, which removes noise from the surface of a density",
            minimum=0,
            maximum=1000,
            soft_maximum=50,
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)


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
