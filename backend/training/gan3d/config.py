"""Training a 3D-GAN, the loop of the lecture (Wu et al., arxiv.org/abs/1610.07584): a generator of voxels G learns from
a discriminator D that is learning to tell its shapes from real ones (Eq. 1):

    min_G max_D  log D(x)  +  log(1 - D(G(z)))

D learns faster than G in three dimensions. The paper slows it down: its rate is a fraction of G's, and a batch that it
tells apart too well does not teach it (`accuracy_gate`). `published()` is that. With a few hundred shapes D still
learns them by heart; `small()` limits what D can be instead: weights of largest singular value 1, the hinge loss of
Miyato et al. (arxiv.org/abs/1802.05957), batches moved by a voxel or two so that no shape is seen twice, and a slowly
following average of G as the result.
"""

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
    accuracy_gate: float = 0.8  # a batch told apart better than this does not teach the discriminator
    shift: int = 0  # voxels that the discriminator's shapes are moved by at random, at most
    average: float = 0.0  # share that the averaged generator keeps of itself in a step; 0: it is the generator
    seed: int = 0


def published() -> GanTraining:
    """Sec. 3.1 of the paper: 64³, for an accelerator and thousands of shapes."""
    return GanTraining()


def small() -> GanTraining:
    """32³ and an eighth of the weights, for a processor and hundreds of shapes."""
    return GanTraining(
        z_dim=32, channels=32, discriminator_channels=16, side=32, prior="normal", mirror=True, loss="hinge",
        normalise="spectral", steps=3000, batch=16, generator_rate=1e-3, discriminator_rate=1e-3, accuracy_gate=1.0,
        shift=2, average=0.99,
    )  # fmt: skip
