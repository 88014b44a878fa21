"""Configurations of HoloGAN training: the paper's, and the starter model's."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...generators.hologan.model import HoloGANConfig
from ..adversarial.config import AdversarialTraining
from ..data.random_cameras import Poses


@dataclass(frozen=True, kw_only=True)
class HoloGANTraining(AdversarialTraining):
    """One training run."""

    generator: HoloGANConfig = field(default_factory=HoloGANConfig)
    discriminator_channels: int = 64  # of the published discriminator's first layer …
    discriminator_widths: tuple[int, ...] = ()  # … or widths of a FoldedDiscriminator, without normalisation
    poses: Poses = "data"
    told_view: bool = False  # the folded discriminator is told the view, where the images have poses
    identity: float = 1.0  # weight of the identity loss (Sec. 3.4)


def published() -> HoloGANTraining:
    """The network, the loss and the rates of the paper at 64²; for a GPU."""
    return HoloGANTraining(
        steps=100_000, batch=32, generator_rate=1e-4, discriminator_rate=1e-4, betas=(0.5, 0.999), gamma=0.0,
        mean_kimg=20.0, mixed_precision=True, poses="uniform",
    )  # fmt: skip


def small() -> HoloGANTraining:
    """The starter model: views from all around in about 40 minutes on one CPU core.

    It differs from the paper in what makes it fit: no transposed convolutions, R3GAN's loss and penalties with a small
    discriminator without normalisation, which is told the view.
    """
    network = HoloGANConfig(
        z_dim=32, constant_channels=64, volume_channels=(24, 12), projected=64, image_channels=(32, 16), slope=0.2,
        doubling="resized",
    )  # fmt: skip
    return HoloGANTraining(
        generator=network, discriminator_widths=(32, 64, 128, 128), told_view=True, identity=0.5,
        steps=2500, batch=16, loss="r3gan", gamma=4.0, final_gamma=1.0, generator_rate=1.5e-3,
        discriminator_rate=1e-3, final_rate=0.1, betas=(0.0, 0.97), mean_kimg=1.5, mean_ramp=0.1,
    )  # fmt: skip
