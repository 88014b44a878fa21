"""Models: description of a model for the panel, and the list of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .common import Bounds
from .service import ErrorInfo


@dataclass(frozen=True)
class Control:
    """A slider that a model has beside its latents; the panel draws it from this alone."""

    name: str
    label: str
    description: str
    default: float
    minimum: float
    maximum: float
    unit: Literal["", "radians", "metres", "switch", "integer"] = ""  # a switch is 0 or 1


@dataclass(frozen=True)
class PosePrior:
    """Where the model's training cameras stood, looking at the centre of its bounds. The panel's default view."""

    radius: float  # metres, from the centre
    fov: float  # vertical, radians
    azimuth: tuple[float, float] = (-math.pi, math.pi)  # radians about +Z, 0 = looking along +Y at the model's front
    elevation: tuple[float, float] = (-math.pi / 2, math.pi / 2)  # radians above the XY plane
    default_azimuth: float = 0.0
    default_elevation: float = 0.0


@dataclass(frozen=True)
class ModelInfo:
    """Everything the add-on knows of a model."""

    name: str  # folder name, the key in requests
    label: str
    kind: str  # architecture: "deepsdf", "pigan", ...
    description: str
    licence: str
    non_commercial: bool
    card: str  # Markdown: data, recipe, figures
    z_dim: int
    num_ws: int
    w_dim: int
    num_geometry_ws: int  # ws[:n] shape geometry, ws[n:] appearance
    num_parameters: int
    has_truncation: bool
    has_surface: bool
    no_surface_reason: str  # shown in place of the mesh button
    has_color: bool
    quantity: Literal["density", "sdf"]
    iso_level: float  # 1/metre for density, metres for sdf
    iso_range: tuple[float, float]
    bounds: Bounds  # metres, the model upright at the origin
    pose_prior: PosePrior
    image_size: int  # native image side, pixels
    pose_conditioned: bool = False  # the mapping is told a camera (EG3D): Latent.condition
    controls: tuple[Control, ...] = ()
    capabilities: tuple[str, ...] = ()  # "complete", "image_to_shape", "transfer_texture": tasks beyond render
    source: Literal["starter", "imported", "trained"] = "trained"
    code_names: tuple[str, ...] = ()  # of a model of two codes, ("Shape", "Texture") say: seed_a picks the first with


@dataclass(frozen=True)
class BrokenModel:
    """A model folder that cannot be used, and why."""

    name: str
    error: ErrorInfo


@dataclass(frozen=True)
class StoredFit:
    """A fit that can go on: FitRequest(name, resume=True)."""

    name: str
    method: str
    steps: int
    seconds: float  # of fitting so far
    finished: bool  # it came to the end that was asked for; more seconds or steps take it further
    psnr: float | None = None  # of images held back, dB


@dataclass(frozen=True)
class ModelList:
    """Answer to MODELS."""

    models: tuple[ModelInfo, ...]
    broken: tuple[BrokenModel, ...] = ()
    fits: tuple[StoredFit, ...] = ()
    kinds: tuple[str, ...] = ()  # of official checkpoints that can be imported


@dataclass(frozen=True, eq=False)
class ModelResult:
    """A model was stored under this name."""

    name: str
    seconds: float = 0.0
