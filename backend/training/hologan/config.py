"""Training HoloGAN, the loop of the lecture: a generator that has only ever seen pictures, and none of their poses.

Each step draws a code z and a view at random, renders, and lets a discriminator compare with real pictures
(arxiv.org/abs/1904.01326, Sec. 3). Nothing says where a real picture was taken: that turning the volume must turn the
object is found because it is the only use that rigid motion has. Three losses:

    discriminator   softplus(-D(x)) + softplus(D(G(z, view)))           is it real (the non-saturating GAN loss)
    generator       softplus(-D(G(z, view)))
    identity, both  |F(G(z, view)) - z|²                                the code can be read off every view (Sec. 3.4)

The network that is kept is the running mean of the generator's weights.
"""

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
    azimuth: float = math.pi  # views are drawn from ± this, radians …
    elevation: tuple[float, float] = chair_views.ELEVATIONS  # … and from this
    steps: int = 100_000
    batch: int = 32
    generator_rate: float = 1e-4  # Adam, betas 0.5 and 0.999
    discriminator_rate: float = 1e-4
    final_rate: float = 0.1  # both fall to this fraction in the last quarter
    identity: float = 1.0  # weight of the identity loss
    mean_decay: float = 0.999  # of the running mean of the weights, in a step
    seed: int = 0


def official() -> HoloGANTraining:
    """The network and the rates of the paper at side 64, all round the object; for an accelerator."""
    return HoloGANTraining()


def small() -> HoloGANTraining:
    """The starter model: a network of 25 million multiplications an image, an hour on one CPU core.

    The front third of the views only, and higher rates: both buy sharper pictures for few steps.
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
