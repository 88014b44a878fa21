"""Task `invert`: the latent, camera and weights of a generator that make a photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..checks import MAX_SEED, check_name, check_range, check_sha256
from ..options import check_options, option


@dataclass(frozen=True)
class InversionOptions:
    """Options of an inversion."""

    steps: int = field(
        default=1000,
        metadata=option(
            "Steps",
            "Optimisation steps of the latent. More are slower and closer to the photograph",
            minimum=2,
            maximum=20_000,
            soft_maximum=4000,
        ),
    )
    tuning_steps: int = field(
        default=0,
        metadata=option(
            "Tuning Steps",
            "Steps that adapt the model's weights to the photograph and store them as a model of their own; 0 keeps "
            "the model as it is",
            minimum=0,
            maximum=5000,
            soft_maximum=500,
        ),
    )
    tuning_rate: float = field(
        default=3e-4,
        metadata=option(
            "Tuning Rate", "Learning rate of the weights. Higher is faster and less local", minimum=1e-6, maximum=0.1
        ),
    )
    locality: bool = field(
        default=True,
        metadata=option("Locality", "Hold the images of other latents while the weights are tuned"),
    )
    solve_camera: bool = field(
        default=True,
        metadata=option("Solve Camera", "Find the photograph's camera, starting from the given view"),
    )
    candidates: int = field(
        default=64,
        metadata=option(
            "Candidates", "Seeds whose images are compared with the photograph to start from", minimum=1, maximum=512
        ),
    )
    seed: int = field(
        default=0, metadata=option("Seed", "Random seed of the noise on the latent", minimum=0, maximum=MAX_SEED)
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class InvertRequest:
    """Task `invert` -> InvertResult: the latent that makes a photograph, and the camera that sees it so.

    With `options.tuning_steps` the tuned weights are stored as a model named `name`.
    """

    model: str
    picture: str  # sha256 of an uploaded image file of any size; its alpha channel, if any, is the mask
    mask: str = ""  # sha256 of an uploaded image file of the same size, white on the object; replaces the alpha
    crop: tuple[int, int, int, int] | None = None  # left, top, width, height of the part that is used, pixels
    view: tuple[float, float] | None = None  # azimuth and elevation to start from, radians; None: the model's default
    name: str = ""  # of the tuned model
    options: InversionOptions = InversionOptions()

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_sha256("picture", self.picture)
        if self.mask:
            check_sha256("mask", self.mask)
        if self.name or self.options.tuning_steps:
            check_name("name", self.name)
        for value in self.crop or ():
            check_range("crop", value, 0, 1 << 20)
        for angle in self.view or ():
            check_range("view", angle, -2 * math.pi, 2 * math.pi)


@dataclass(frozen=True, eq=False)
class InvertResult:
    """A photograph as a latent. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it."""

    ws: np.ndarray
    code: str
    model: str  # that makes the image: the tuned one, or the one that was given
    view: tuple[float, ...]  # azimuth and elevation, radians
    seen: np.ndarray  # uint8 [H, W, 3] sRGB, the photograph as it was compared
    made: np.ndarray  # uint8 [H, W, 3] sRGB, the image of the latent
    psnr: float  # dB, of made to seen
    projected_psnr: float  # dB, before weights were tuned
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
