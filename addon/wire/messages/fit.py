"""Tasks `fit` and `discard_fit`: radiance fields from images with cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..checks import MAX_SEED, check_files, check_name
from ..errors import InvalidRequest
from ..options import Choice, check_options, option
from .scene import Camera


@dataclass(frozen=True)
class FitOptions:
    """Options of fitting a radiance field to images."""

    method: Literal["hash", "nerf"] = field(
        default="hash",
        metadata=option(
            "Method",
            "Representation of the field",
            choices=(
                Choice("hash", "Hash Grid", "Multiresolution hash encoding with small networks: fast"),
                Choice("nerf", "NeRF", "The network of the 2020 paper: slow, for comparison"),
            ),
        ),
    )
    preset: Literal["draft", "standard", "fine"] = field(
        default="standard",
        metadata=option(
            "Quality",
            "Size of the field, and duration of the fit unless seconds or steps are given",
            choices=(
                Choice("draft", "Draft", "A first look"),
                Choice("standard", "Standard", "Good for most scenes"),
                Choice("fine", "Fine", "Larger, and fitted longer"),
            ),
        ),
    )
    seconds: float = field(
        default=0.0,
        metadata=option(
            "Seconds",
            "Duration of the fit in seconds, over all sessions; 0 uses the duration of the quality",
            unit="seconds",
            minimum=0.0,
            maximum=7 * 24 * 3600.0,
            soft_maximum=3600.0,
        ),
    )
    steps: int = field(
        default=0,
        metadata=option(
            "Steps",
            "Number of training steps, over all sessions; 0 stops by time",
            minimum=0,
            maximum=10_000_000,
        ),
    )
    background: Literal["auto", "white", "black", "random", "transparent"] = field(
        default="auto",
        metadata=option(
            "Background",
            "Colour behind images with alpha. White and black also say that images without alpha have that background",
            choices=(
                Choice("auto", "Automatic", "As the data set suggests"),
                Choice("white", "White", "White"),
                Choice("black", "Black", "Black"),
                Choice("random", "Random", "A new colour in each step, so that empty space stays empty"),
                Choice("transparent", "Transparent", "The alpha itself is fitted"),
            ),
        ),
    )
    color_space: Literal["srgb", "linear"] = field(
        default="srgb",
        metadata=option(
            "Composite In",
            "Colour space in which samples are composited along a ray",
            choices=(
                Choice("srgb", "sRGB", "As in most radiance fields"),
                Choice("linear", "Linear", "Linear light, as in a physical renderer"),
            ),
        ),
    )
    unbounded: Literal["auto", "yes", "no"] = field(
        default="auto",
        metadata=option(
            "Surroundings",
            "Whether the scene extends beyond its bounds",
            choices=(
                Choice("auto", "Automatic", "Yes for images without alpha that have no plain background"),
                Choice("yes", "Fit Them Too", "The far distance is contracted into the field, with a sky behind it"),
                Choice("no", "Object Alone", "Nothing outside the scene bounds"),
            ),
        ),
    )
    appearance: Literal["none", "exposure", "color"] = field(
        default="none",
        metadata=option(
            "Learn per Image",
            "Appearance learned per image, so that camera settings do not end up in the field",
            choices=(
                Choice("none", "Nothing", "All images show the same colours"),
                Choice("exposure", "Exposure", "Exposure and white balance: for cameras with automatic exposure"),
                Choice(
                    "color", "Colors", "Contrast and tint too: for images from several cameras or developed differently"
                ),
            ),
        ),
    )
    distortion_weight: float = field(
        default=0.0,
        metadata=option(
            "Distortion Loss",
            "Weight of the distortion loss (mip-NeRF 360, Eq. 15), which concentrates density along each ray and "
            "removes fog. 0.01 is a strong weight",
            minimum=0.0,
            maximum=100.0,
            soft_maximum=0.1,
        ),
    )
    opacity_weight: float = field(
        default=0.0,
        metadata=option(
            "Opacity Loss",
            "Weight of the opacity loss, which makes rays either fully transparent or fully opaque",
            minimum=0.0,
            maximum=100.0,
            soft_maximum=0.1,
        ),
    )
    near: float = field(
        default=0.0,
        metadata=option(
            "Clear Near Cameras",
            "Density closer than this to a training camera is removed, in metres; 0 removes none",
            unit="metres",
            minimum=0.0,
            maximum=1e6,
            soft_maximum=1.0,
        ),
    )
    use_masks: bool = field(
        default=True, metadata=option("Use Masks", "Ignore the pixels that the masks of the data set exclude")
    )
    flip_axes: bool = field(
        default=False,
        metadata=option(
            "Flip Camera Axes",
            "Negate the y and z axes of all cameras, for data sets whose axes differ from those of their format",
        ),
    )
    depth_weight: float = field(
        default=0.0,
        metadata=option(
            "Depth Loss",
            "Weight of the loss on the depth images of the data set; 0 ignores them",
            minimum=0.0,
            maximum=1000.0,
            soft_maximum=1.0,
        ),
    )
    refine_poses: bool = field(
        default=False, metadata=option("Refine Cameras", "Optimise the camera poses together with the field")
    )
    seed: int = field(default=0, metadata=option("Seed", "Random seed of the fit", minimum=0, maximum=MAX_SEED))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class FitRequest:
    """Task `fit` -> FitResult: a radiance field of a data set, kept as a model of this name.

    Cancelling pauses: the state is saved first, and `resume` continues from it, also after the backend was killed.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)  # path within the data set -> sha256 of the uploaded bytes
    options: FitOptions = FitOptions()
    resume: bool = False  # continue the fit of this name with its own files and options; seconds and steps count if > 0
    preview: Camera | None = None  # camera of the preview images; None = held-out views

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_files(self.files)
        if not (self.files or self.resume):
            raise InvalidRequest("a fit needs the files of a data set: images and their cameras")


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted radiance field, stored as a model of this name. psnr (dB) and ssim: means over the held-out images, None
    if there are none. world_from_camera: float32 [N, 4, 4] of the training views named by view_names, refined with
    `FitOptions.refine_poses`."""

    name: str
    steps: int
    world_from_camera: np.ndarray
    view_names: tuple[str, ...] = ()
    psnr: float | None = None
    ssim: float | None = None
    seconds: float = 0.0  # duration of the fit, over all sessions
    warnings: tuple[str, ...] = ()  # about the data set, for the user


@dataclass(frozen=True)
class DiscardFitRequest:
    """Task `discard_fit` -> ModelResult: delete the saved state of a fit. The model made from it stays."""

    name: str

    def __post_init__(self) -> None:
        check_name("name", self.name)
