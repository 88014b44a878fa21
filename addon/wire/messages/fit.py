"""Tasks `fit` and `discard_fit`: radiance fields from images with cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import InvalidRequest
from .common import MAX_SEED, check_files, check_name, check_range
from .scene import Camera


@dataclass(frozen=True)
class FitOptions:
    """How a radiance field is fitted to images."""

    method: Literal["hash", "nerf"] = "hash"  # the fast engine, or the network as published
    preset: Literal["draft", "standard", "fine"] = "standard"  # size of the field and duration
    seconds: float = 0.0  # of fitting in all, over all sessions; 0 = the preset's, unless steps are given
    steps: int = 0  # in all; 0 = as the seconds say
    background: Literal["auto", "white", "black", "random", "transparent"] = (
        "auto"  # what lies behind images with alpha; behind others, white and black say that it is that colour
    )
    color_space: Literal["srgb", "linear"] = "srgb"  # in which colours are composited
    unbounded: Literal["auto", "yes", "no"] = "auto"  # whether the scene goes on beyond the cameras
    appearance: Literal["none", "exposure", "color"] = (
        "none"  # learn of each image its exposure and white balance, or a colour transform
    )
    distortion_weight: float = 0.0  # presses the density of a ray together
    opacity_weight: float = 0.0  # prefers rays that are clear or blocked
    near: float = 0.0  # metres: density nearer to a training camera than this is removed
    use_masks: bool = True  # where the data set has masks
    flip_axes: bool = False  # the cameras have other axes than the data set's format says: negate y and z
    depth_weight: float = 0.0  # of depth images, where the data set has them
    refine_poses: bool = False  # fit the cameras too
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("seconds", self.seconds, 0.0, 7 * 24 * 3600.0)
        check_range("steps", self.steps, 0, 10_000_000)
        check_range("distortion_weight", self.distortion_weight, 0.0, 100.0)
        check_range("opacity_weight", self.opacity_weight, 0.0, 100.0)
        check_range("near", self.near, 0.0, 1e6)
        check_range("depth_weight", self.depth_weight, 0.0, 1000.0)
        check_range("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class FitRequest:
    """Task `fit` -> FitResult: a radiance field of a data set, kept as a model of this name.

    Cancelling is pausing: what was fitted is saved first, and `resume` goes on from there, also after the backend was
    killed.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)  # path within the data set -> sha256 of the uploaded bytes
    options: FitOptions = FitOptions()
    resume: bool = False  # go on with the fit of this name: its own files and options, save for seconds and steps not 0
    preview: Camera | None = None  # what the progress' pictures show; None = images held back

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_files(self.files)
        if not (self.files or self.resume):
            raise InvalidRequest("a fit needs the files of a data set: images and their cameras")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A radiance field was fitted and stored as a model of this name. psnr (dB) and ssim: means over the images held
    back, None where there are none. world_from_camera: float32 [N, 4, 4] of the training views named by view_names,
    refined if that was asked for."""

    name: str
    steps: int
    world_from_camera: np.ndarray
    view_names: tuple[str, ...] = ()
    psnr: float | None = None
    ssim: float | None = None
    seconds: float = 0.0  # of fitting, over all sessions
    warnings: tuple[str, ...] = ()  # about the data set, for the user


@dataclass(frozen=True)
class DiscardFitRequest:
    """Task `discard_fit` -> ModelResult: throw away what is needed to go on with a fit. The model made of it stays."""

    name: str

    def __post_init__(self) -> None:
        check_name("name", self.name)
