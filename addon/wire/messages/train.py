"""Tasks `train` and `discard_training`: a generator learned from images by adversarial training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..checks import MAX_SEED, check_files, check_name
from ..errors import InvalidRequest
from ..options import Choice, check_options, option


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training. What is left at 0 or `preset` is as the preset of the model has it."""

    hours: float = field(
        default=2.0,
        metadata=option(
            "Hours",
            "Duration of the training in hours, over all sessions; 0 trains until the steps are done",
            minimum=0.0,
            maximum=10_000.0,
            soft_maximum=48.0,
        ),
    )
    steps: int = field(
        default=0,
        metadata=option(
            "Steps",
            "Number of training steps, over all sessions, along which the learning rate falls; 0 uses the preset's",
            minimum=0,
            maximum=100_000_000,
        ),
    )
    loss: Literal["preset", "published", "r3gan"] = field(
        default="preset",
        metadata=option(
            "Loss",
            "Adversarial loss",
            choices=(
                Choice("preset", "As the Preset", "The loss of the preset"),
                Choice("published", "Published", "The loss of the model's own paper"),
                Choice("r3gan", "R3GAN", "Relativistic loss with gradient penalties on real and generated images"),
            ),
        ),
    )
    batch: int = field(
        default=0,
        metadata=option(
            "Batch",
            "Images of a training step; 0 uses the preset's. Fewer need less memory",
            minimum=0,
            maximum=4096,
            soft_maximum=64,
        ),
    )
    seed: int = field(
        default=0,
        metadata=option("Seed", "Seed of the first weights and of all random draws", minimum=0, maximum=MAX_SEED),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class TrainRequest:
    """Task `train` -> TrainResult: a generator of the images in `files`, kept as a model of this name.

    Cancelling pauses: the state is saved first, and `resume` continues from it, also after the backend was killed.
    """

    name: str
    model: str = ""  # which, by a name of ModelList.trainings
    preset: str = ""  # one of that model's; empty is its first
    files: dict[str, str] = field(default_factory=dict)  # path within the data set -> sha256 of the uploaded bytes
    options: TrainOptions = TrainOptions()
    resume: bool = False  # continue the training of this name with its own model, files and options; hours and steps
    # count if they are > 0

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_files(self.files)
        if self.resume:
            return
        if not self.files:
            raise InvalidRequest("a training needs images: choose a folder of them")
        check_name("model", self.model)
        if self.preset:
            check_name("preset", self.preset)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained generator, stored as a model of this name."""

    name: str
    steps: int = 0
    seconds: float = 0.0  # of training, over all sessions
    report: tuple[str, ...] = ()  # about the images, for the user


@dataclass(frozen=True)
class DiscardTrainingRequest:
    """Task `discard_training` -> ModelResult: delete the saved state and images of a training. Its model stays."""

    name: str

    def __post_init__(self) -> None:
        check_name("name", self.name)


@dataclass(frozen=True)
class Trainable:
    """A model that can be trained; its name is that of `TrainRequest.model`."""

    name: str
    label: str
    description: str
    presets: tuple[str, ...]  # the first is the default
    needs_poses: bool = False  # the images need cameras


@dataclass(frozen=True)
class StoredTraining:
    """A saved training that `TrainRequest(name, resume=True)` continues."""

    name: str
    model: str
    steps: int  # done
    total_steps: int
    seconds: float  # of training so far
    finished: bool  # it reached its hours or its steps; more hours continue it, if steps are left
