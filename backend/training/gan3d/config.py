"""Configurations of 3D-GAN training: the paper's, and the starter model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GanTraining:
    """One training run. Stored whole in its checkpoint."""

    z_dim: int = 200
    channels: int = 64
    discriminator_channels: int = 64
    side: int = 64
    prior: Literal["uniform", "normal"] = "uniform"  # of z: U[0, 1], or N(0, 1)
    mirror: bool = False  # every shape is symmetric in x: a generated one is averaged with its mirror image
    loss: Literal["cross_entropy", "hinge"] = "cross_entropy"
    normalise: Literal["batch", "spectral"] = "batch"  # in the discriminator
    steps: int = 20_000
    batch: int = 100
    generator_rate: float = 2.5e-3  # Adam
    discriminator_rate: float = 1e-5
    beta: float = 0.5
    accuracy_gate: float = 0.8  # a batch classified better than this does not train the discriminator
    shift: int = 0  # voxels, at most, that the discriminator's shapes are shifted by at random
    average: float = 0.0  # decay of the running mean of the generator, per step; 0: no averaging
    seed: int = 0


def published() -> GanTraining:
    """Sec. 3.1 of the paper: 64³, for a GPU and thousands of shapes."""
    return GanTraining()


def small() -> GanTraining:
    """32³ and an eighth of the weights, for a CPU and hundreds of shapes."""
    return GanTraining(
        z_dim=32, channels=32, discriminator_channels=16, side=32, prior="normal", mirror=True, loss="hinge",
        normalise="spectral", steps=3000, batch=16, generator_rate=1e-3, discriminator_rate=1e-3, accuracy_gate=1.0,
        shift=2, average=0.99,
    )  # fmt: skip
