"""Configuration of π-GAN's training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from ...generators.pigan.discriminator import Blocks
from ..adversarial.config import AdversarialTraining
from ..data.random_cameras import Poses


@dataclass(frozen=True)
class Stage:
    """A part of the training with images of one size."""

    first_step: int
    side: int  # of the images, pixels
    batch: int  # images a step, in proportion to those of the other stages
    generator_rate: float
    discriminator_rate: float


@dataclass(frozen=True, kw_only=True)
class PiGANTraining(AdversarialTraining):
    """Stages, sizes of the networks, poses, and the schedules of π-GAN.

    `batch` is that of the stage with most images a step; those of the others are in proportion to their own.
    """

    stages: tuple[Stage, ...]
    fade_steps: int = 10_000  # a new size of images fades in over so many steps
    poses: Poses = "data"
    pose_weight: float = 0.0  # of the squared error of the pose that the discriminator reads from generated images
    top_k_interval: int = 2000  # steps in which the part of the batch that trains the generator falls by 1 % …
    top_k_smallest: float = 1.0  # … down to this; 1 is off (arxiv.org/abs/2002.06224)
    clip: float = 1.0  # largest norm of a gradient
    noise_steps: int = 5000  # the noise on densities falls from a standard deviation of 1 to 0 over so many steps
    z_dim: int = 256
    hidden_dim: int = 256
    num_layers: int = 8
    mapping_dim: int = 256
    num_steps: int = 24  # coarse samples of a ray, and as many fine ones
    hierarchical: bool = True
    blocks: Blocks = "progressive"
    encoder: bool = True  # the discriminator also guesses z and the pose
    channels: tuple[int, ...] = ()  # of the discriminator at sides 2, 4, 8 … of the image; () as published

    def __post_init__(self) -> None:
        firsts = [stage.first_step for stage in self.stages]
        if not firsts or firsts[0] != 0 or any(b <= a for a, b in pairwise(firsts)):
            raise ValueError(f"the stages must begin at step 0 and follow each other, got first steps {firsts}")

    @property
    def side(self) -> int:
        """Size of the last stage's images, pixels."""
        return self.stages[-1].side

    def stage_at(self, step: int) -> Stage:
        """Return the stage of a step."""
        return [stage for stage in self.stages if stage.first_step <= step][-1]

    def fade_at(self, step: int) -> float:
        """Return how far the stage's size has faded in, 0 … 1. The first stage begins at 1."""
        first = self.stage_at(step).first_step
        return 1.0 if first == 0 or not self.fade_steps else min((step - first) / self.fade_steps, 1.0)

    def batch_at(self, step: int) -> int:
        """See AdversarialTraining.batch_at."""
        return self._batch(self.stage_at(step))

    def _batch(self, stage: Stage) -> int:
        return max(round(stage.batch * self.batch / max(other.batch for other in self.stages)), 1)

    def images_before(self, step: int) -> int:
        """See AdversarialTraining.images_before."""
        ends = [stage.first_step for stage in self.stages[1:]] + [max(step, self.stages[-1].first_step)]
        steps = [max(min(step, end) - stage.first_step, 0) for stage, end in zip(self.stages, ends, strict=True)]
        return sum(self._batch(stage) * count for stage, count in zip(self.stages, steps, strict=True))

    def noise_at(self, step: int) -> float:
        """Return the standard deviation of the noise on densities."""
        return max(1 - step / self.noise_steps, 0.0) if self.noise_steps else 0.0

    def top_k_at(self, step: int) -> int:
        """Return how many of the batch's generated images train the generator: those that look most real."""
        fraction = max(0.99 ** (step / self.top_k_interval), self.top_k_smallest)
        return max(round(fraction * self.batch_at(step)), 1)


def published(data: Literal["carla", "celeba", "cats"] = "carla") -> PiGANTraining:
    """Return the recipe of an official curriculum."""
    if data == "carla":
        return PiGANTraining(
            steps=200_000, batch=30, gamma=10.0, clip=1.0, betas=(0.0, 0.9), mean_kimg=20.0, mean_ramp=1.0,
            mixed_precision=True, poses="spherical", num_steps=48,
            stages=(
                Stage(0, 32, 30, 4e-5, 4e-4), Stage(10_000, 64, 14, 2e-5, 2e-4), Stage(55_000, 128, 10, 1e-5, 1e-4),
            ),
        )  # fmt: skip
    celeba = data == "celeba"
    batch, num_steps = (56, 12) if celeba else (28, 24)
    return PiGANTraining(
        steps=200_000, batch=batch, gamma=0.2, clip=10.0, betas=(0.0, 0.9), mean_kimg=20.0, mean_ramp=1.0,
        mixed_precision=True, poses="gaussian" if celeba else "uniform", num_steps=num_steps, top_k_smallest=0.6,
        stages=(Stage(0, 64, batch, 6e-5, 2e-4),), blocks="coordinates" if celeba else "strided", encoder=celeba,
        pose_weight=15.0 if celeba else 0.0,
    )  # fmt: skip


def small() -> PiGANTraining:
    """Return a recipe for a CPU and some hours, with R3GAN's loss.

    64 thousand images of 16² pixels, 23 ms each on one core, then 288 thousand of 32², 64 ms each.
    """
    return replace(
        small_published(), loss="r3gan", gamma=2.0, final_gamma=0.5, betas=(0.0, 0.95), top_k_smallest=1.0,
        stages=(Stage(0, 16, 16, 4e-4, 4e-4), Stage(4000, 32, 8, 2e-4, 2e-4)),
    )  # fmt: skip


def small_published() -> PiGANTraining:
    """Return the published losses at the size of `small()`, for comparison."""
    return PiGANTraining(
        steps=40_000, batch=16, gamma=10.0, betas=(0.0, 0.9), mean_kimg=2.0, final_rate=0.25,
        stages=(Stage(0, 16, 16, 2e-4, 4e-4), Stage(4000, 32, 8, 1e-4, 2e-4)), fade_steps=1000, noise_steps=2000,
        z_dim=64, hidden_dim=64, num_layers=3, mapping_dim=64, num_steps=6, blocks="strided", encoder=False,
        channels=(96, 96, 96, 64, 32),
    )  # fmt: skip
