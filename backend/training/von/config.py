"""Configurations of Visual Object Networks' training: the paper's, and one for a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from ..adversarial.config import AdversarialTraining


@dataclass(frozen=True, kw_only=True)
class VONTraining(AdversarialTraining):
    """One training run. The rates are those of the texture networks and their discriminators."""

    side: int = 128  # of the images, pixels
    z_dim: int = 8
    width: int = 64  # of G
    encoder_width: int = 64
    sketch_width: int = 64
    discriminator_width: int = 64  # of the published patch discriminators …
    discriminator_widths: tuple[int, ...] = ()  # … or, for r3gan, widths of a FoldedDiscriminator of image and sketch
    blocks: int = 3  # residual blocks on either side of the code
    guided: bool = False  # G sees the places of the surface too, so that patterns keep to it
    image_cycle: float = 10.0
    sketch_cycle: float = 10.0
    code: float = 1.0
    prior: float = 1e-2
    paired: float = 0.0  # weight of a conditional VAE-GAN's term that the paper does not have
    shape_dim: int = 16
    shape_widths: tuple[int, ...] = (64, 32, 16)  # voxels of 4·2^3
    shape_rate: float = 3e-3

    def __post_init__(self) -> None:
        if (self.loss == "r3gan") != bool(self.discriminator_widths):
            raise ValueError("r3gan needs discriminator_widths, and the published loss is of patch discriminators")


def published() -> VONTraining:
    """Widths and loss weights of the paper, for a GPU."""
    return VONTraining(
        steps=200_000, batch=8, gamma=0.0, generator_rate=2e-4, discriminator_rate=2e-4, final_rate=0.1,
        betas=(0.5, 0.999), mean_kimg=5.0, mixed_precision=True,
    )  # fmt: skip


def small_published() -> VONTraining:
    """The published loss with small networks, for a CPU."""
    return VONTraining(
        steps=1200, batch=4, gamma=0.0, generator_rate=8e-4, discriminator_rate=8e-4, final_rate=0.1,
        betas=(0.5, 0.999), mean_kimg=0.3, mean_ramp=0.2, side=64, width=8, encoder_width=8, sketch_width=8,
        discriminator_width=16, blocks=2,
    )  # fmt: skip


def small() -> VONTraining:
    """For a CPU: a discriminator of image and sketch together, no cycles, and a painter that knows the surface."""
    return VONTraining(
        steps=2500, batch=8, loss="r3gan", gamma=4.0, final_gamma=1.0, generator_rate=1e-3, discriminator_rate=1e-3,
        final_rate=0.1, betas=(0.0, 0.97), mean_kimg=1.0, mean_ramp=0.1, side=64, width=12, encoder_width=12,
        discriminator_widths=(32, 64, 128, 128), blocks=2, guided=True, image_cycle=0.0, sketch_cycle=0.0, code=1.0,
        paired=2.0,
    )  # fmt: skip
