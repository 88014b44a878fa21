"""Task `training_set`: renders of a procedural family, to train a generator on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..checks import MAX_SEED
from ..errors import InvalidRequest
from ..options import Choice, check_options, option


@dataclass(frozen=True)
class TrainingSetRequest:
    """Task `training_set` -> TrainingSetResult: images of the objects of a family from random viewpoints, written to a
    folder of this machine. Images that are there already are kept, so that the same request resumes."""

    folder: str  # absolute
    family: Literal["animals", "chairs"] = field(
        default="chairs",
        metadata=option(
            "Family",
            "Class of the objects, each different from all others",
            choices=(
                Choice("animals", "Animals", "Toy animals with four legs"),
                Choice("chairs", "Chairs", "Chairs, stools and armchairs"),
            ),
        ),
    )
    objects: int = field(
        default=900, metadata=option("Objects", "Number of different objects", minimum=1, maximum=100_000)
    )
    views: int = field(default=8, metadata=option("Views", "Images of each object", minimum=1, maximum=1000))
    size: int = field(
        default=128,
        metadata=option("Size", "Pixels along each side of the images", unit="pixels", minimum=16, maximum=512),
    )
    first: int = field(
        default=0,
        metadata=option("First", "Seed of the first object; the others follow", minimum=0, maximum=MAX_SEED - 100_000),
    )
    lowest: float = field(
        default=-10.0,
        metadata=option("Lowest", "Lowest elevation of the viewpoints in degrees", minimum=-85.0, maximum=85.0),
    )
    highest: float = field(
        default=45.0,
        metadata=option("Highest", "Highest elevation of the viewpoints in degrees", minimum=-85.0, maximum=85.0),
    )
    turn: float = field(
        default=180.0,
        metadata=option(
            "Turn", "Largest azimuth of the viewpoints to either side, in degrees", minimum=0.0, maximum=180.0
        ),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not self.folder:
            raise InvalidRequest("Choose a folder for the training set")


@dataclass(frozen=True)
class TrainingSetResult:
    """Number of images in the set, and of those that this request rendered."""

    images: int
    rendered: int
    seconds: float = 0.0
