"""Configuration of GRAF's training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ..adversarial.config import AdversarialTraining
from ..data.random_cameras import Poses
from .patches import PatchScales


@dataclass(frozen=True, kw_only=True)
class GRAFTraining(AdversarialTraining):
    """Sizes of the networks, patches, poses, and the schedules of GRAF."""

    side: int = 64  # of the training images, pixels
    patch: int = 32  # side of a patch, pixels
    scales: PatchScales = field(default_factory=PatchScales)
    poses: Poses = "data"
    noise_steps: int = 5000  # the noise on densities falls from one to nothing over so many steps …
    noise: float = 1.0  # … from this standard deviation
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    halved_at: tuple[int, ...] = ()  # steps at which both learning rates are halved
    z_dim: int = 256
    appearance_dim: int = 128
    num_layers: int = 8
    hidden_dim: int = 256
    point_frequencies: int = 10
    num_samples: int = 64
    discriminator_channels: int = 64

    def rate_at(self, step: int) -> float:
        """See AdversarialTraining.rate_at. The cosine is halved at each of `halved_at`."""
        return super().rate_at(step) * 0.5 ** sum(step >= at for at in self.halved_at)

    def noise_at(self, step: int) -> float:
        """Return the standard deviation of the noise on densities; the last value is kept, as published."""
        return self.noise * max(1 - step / self.noise_steps, 1 / self.noise_steps) if self.noise_steps else 0.0


def published() -> GRAFTraining:
    """Return the recipe of the official configuration for cars at 64 × 64 pixels.

    Its penalty, 10 |∇D|² averaged over the pixels of patches of 32², is γ/2 |∇D|² with γ = 20 / 32².
    """
    return GRAFTraining(
        steps=300_000, batch=8, gamma=20 / 32**2, generator_rate=5e-4, discriminator_rate=1e-4,
        halved_at=(50_000, 100_000, 200_000), mean_kimg=5.5, mean_ramp=1.0,
    )  # fmt: skip


def small() -> GRAFTraining:
    """Return a recipe for a CPU and some hours, with R3GAN's loss: 128 thousand images, 0.13 s each on one core."""
    return replace(
        small_published(), loss="r3gan", gamma=1.0, final_gamma=0.25, optimizer="adam", betas=(0.0, 0.95),
        generator_rate=4e-4, discriminator_rate=4e-4,
    )  # fmt: skip


def small_published() -> GRAFTraining:
    """Return the published losses at the size of `small()`, for comparison."""
    return GRAFTraining(
        steps=16_000, batch=8, gamma=20 / 32**2, generator_rate=5e-4, discriminator_rate=2e-4, final_rate=0.1,
        mean_kimg=2.0, mixed_on_cpu=True, scales=PatchScales(smallest=0.5, anneal=0.01, interval=250),
        noise_steps=2000, z_dim=64, appearance_dim=32, num_layers=4, hidden_dim=128, point_frequencies=6,
        num_samples=16, discriminator_channels=32,
    )  # fmt: skip
