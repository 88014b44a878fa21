"""Models: description of a model for the panel, and the list of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .common import Bounds
from .service import ErrorInfo
from .train import StoredTraining, Trainable


@dataclass(frozen=True)
class Control:
    """A slider of a model besides its latents; the panel draws it from this description alone."""

    name: str
    label: str
    description: str
    default: float
    minimum: float
    maximum: float
    unit: Literal["", "radians", "metres", "switch", "integer"] = ""  # a switch is 0 or 1


@dataclass(frozen=True)
class PosePrior:
    """Distribution of a model's training cameras, which look at the centre of its bounds; default view of the panel."""

    radius: float  # metres, from the centre
    fov: float  # vertical, radians
    azimuth: tuple[float, float] = (-math.pi, math.pi)  # radians about +Z, 0 = looking along +Y at the model's front
    elevation: tuple[float, float] = (-math.pi / 2, math.pi / 2)  # radians above the XY plane
    default_azimuth: float = 0.0
    default_elevation: float = 0.0


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model: everything the add-on knows about it."""

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
    pose_conditioned: bool = False  # the mapping takes a camera (EG3D): Latent.condition
    controls: tuple[Control, ...] = ()
    capabilities: tuple[str, ...] = ()  # "complete", "image_to_shape", "transfer_texture": tasks beyond render
    source: Literal["starter", "imported", "trained"] = "trained"
    code_names: tuple[str, ...] = ()  # of a model of two codes, such as ("Shape", "Texture"): with mix_geometry 0 and
    # mix_appearance 1, seed_a picks the first alone and seed_b the second alone


@dataclass(frozen=True)
class BrokenModel:
    """A model folder that cannot be used, with the error."""

    name: str
    error: ErrorInfo


@dataclass(frozen=True)
class StoredFit:
    """A saved fit that `FitRequest(name, resume=True)` continues."""

    name: str
    method: str
    steps: int
    seconds: float  # duration of the fit so far
    finished: bool  # it reached the requested duration; more seconds or steps continue it
    psnr: float | None = None  # dB, over held-out images


@dataclass(frozen=True)
class ModelList:
    """Answer to MODELS."""

    models: tuple[ModelInfo, ...]
    broken: tuple[BrokenModel, ...] = ()
    fits: tuple[StoredFit, ...] = ()
    kinds: tuple[str, ...] = ()  # architectures of official checkpoints that can be imported
    trainings: tuple[Trainable, ...] = ()  # models that can be trained
    stored_trainings: tuple[StoredTraining, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelResult:
    """Name of a model that was stored. notes: sentences for the user, on what was done to the input."""

    name: str
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
