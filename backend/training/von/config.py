"""Configurations of the texture networks of Visual Object Networks: the paper's, and the starter model's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VONTraining:
    """One training run of the texture networks. Stored whole in its checkpoint."""

    z_dim: int = 8
    width: int = 64  # of G
    encoder_width: int = 64
    sketch_width: int = 64
    discriminator_width: int = 64
    blocks: int = 3  # residual blocks on either side of the code
    steps: int = 200_000
    batch: int = 8
    rate: float = 2e-4  # Adam, betas 0.5 and 0.999
    final_rate: float = 0.1  # it falls to this fraction in the last third
    image_cycle: float = 10.0
    sketch_cycle: float = 10.0
    code: float = 1.0
    prior: float = 1e-2
    paired: float = 0.0  # weight of a conditional VAE-GAN's term that the paper does not have
    mean_decay: float = 0.999
    seed: int = 0


def published() -> VONTraining:
    """Widths and loss weights of the paper, for a GPU."""
    return VONTraining()


def small() -> VONTraining:
    """The starter model: under an hour on one shared CPU core."""
    return VONTraining(
        width=8, encoder_width=8, sketch_width=8, discriminator_width=16, blocks=2, steps=1160, batch=4, rate=8e-4,
        mean_decay=0.99,
    )  # fmt: skip
