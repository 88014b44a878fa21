"""Configurations of HoloGAN training: the paper's, and the starter model's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...generators.hologan.model import HoloGANConfig
from ..data import chair_views


@dataclass(frozen=True)
class HoloGANTraining:
    """One training run. Stored whole in its checkpoint."""

    generator: HoloGANConfig = field(default_factory=HoloGANConfig)
    discriminator_channels: int = 64
    azimuth: float = math.pi  # views are sampled from ± this, radians …
    elevation: tuple[float, float] = chair_views.ELEVATIONS  # … and from this
    steps: int = 100_000
    batch: int = 32
    generator_rate: float = 1e-4  # Adam, betas 0.5 and 0.999
    discriminator_rate: float = 1e-4
    final_rate: float = 0.1  # both fall to this fraction in the last quarter
    identity: float = 1.0  # weight of the identity loss
    mean_decay: float = 0.999  # of the running mean of the weights, per step
    seed: int = 0


def official() -> HoloGANTraining:
    """The network and the rates of the paper at 64², views from all around; for a GPU."""
    return HoloGANTraining()


def small() -> HoloGANTraining:
    """The starter model: a network of 25 million multiplications an image, an hour on one CPU core.

    Only the front third of the views, and higher rates: both give sharper images after few steps.
    """
    return HoloGANTraining(
        HoloGANConfig(
            z_dim=16, constant_channels=64, volume_channels=(32, 16), projected=64, image_channels=(32, 16), slope=0.2
        ),
        discriminator_channels=16,
        azimuth=math.radians(60.0),
        steps=1_800,
        batch=16,
        generator_rate=8e-4,
        discriminator_rate=4e-4,
        identity=4.0,
        mean_decay=0.995,
    )
