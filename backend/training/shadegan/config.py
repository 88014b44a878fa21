"""Configuration of ShadeGAN's training: π-GAN's, with a prior of lights and the schedule of surface tracking."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ...generators.shadegan.model import SurfaceConfig
from ..pigan.config import PiGANTraining, Stage


@dataclass(frozen=True)
class LightPrior:
    """Gaussian of the light (ambient, diffuse, x, y), numbers as in shadegan/model.py: intensities are −1..1 for 0..1,
    the light comes from (x, y, 1) in the frame of a camera in front of the subject. Ambient and diffuse are clamped.

    The published Gaussian was estimated from photographs by another network and is not published; this one is around
    light from above and in front of the subject.
    """

    mean: tuple[float, float, float, float] = (-0.2, 0.2, 0.0, 0.3)
    deviation: tuple[float, float, float, float] = (0.2, 0.2, 0.6, 0.3)


@dataclass(frozen=True, kw_only=True)
class ShadeGANTraining(PiGANTraining):
    """Lights, and surface tracking: where a small network knows the depth, few samples around it are enough."""

    light: LightPrior = LightPrior()
    view_condition: bool = False  # albedo depends on the viewing direction
    light_condition: bool = True  # albedo depends on the light
    surface: SurfaceConfig | None = field(default_factory=SurfaceConfig)  # None: no surface tracking
    surface_rate: float = 1e-4
    track_from: int = 5000  # step from which on samples are taken around the predicted surface …
    narrowing: float = 3e-5  # … within a part of the ray that falls by this rate …
    narrowest: float = 0.25  # … down to this
    fewest_steps: int = 6  # coarse samples there; they fall with the part

    def tracked_part(self, step: int) -> float:
        """Return the part of the ray that is sampled, 0 … 1, Δ_i of section 3.3. 1: tracking has not begun."""
        if self.surface is None or step < self.track_from:
            return 1.0
        return max(math.exp(-self.narrowing * (step - self.track_from)), self.narrowest)

    def steps_at(self, step: int) -> int:
        """Return the number of coarse samples of a ray."""
        return max(round(self.num_steps * self.tracked_part(step)), min(self.fewest_steps, self.num_steps))


def published() -> ShadeGANTraining:
    """Return the recipe for faces (CelebA). Stages of images, batches and rates are π-GAN's; they are not recorded."""
    return ShadeGANTraining(
        steps=200_000, batch=56, gamma=1.0, clip=0.3, betas=(0.0, 0.9), mean_kimg=20.0, mean_ramp=1.0, poses="gaussian",
        stages=(Stage(0, 64, 56, 6e-5, 2e-4), Stage(60_000, 128, 24, 2e-5, 1e-4)), blocks="progressive",
        pose_weight=15.0, top_k_smallest=0.6, num_steps=12,
    )  # fmt: skip


def small() -> ShadeGANTraining:
    """Return a recipe for one CPU core and hours, with R3GAN's loss: images of 16, then 32 pixels."""
    return replace(
        small_published(), loss="r3gan", gamma=2.0, final_gamma=0.5, betas=(0.0, 0.95), top_k_smallest=1.0,
        stages=(Stage(0, 16, 16, 4e-4, 4e-4), Stage(4000, 32, 8, 2e-4, 2e-4)),
    )  # fmt: skip


def small_published() -> ShadeGANTraining:
    """Return the published losses at the size of `small()`, for comparison."""
    return ShadeGANTraining(
        steps=40_000, batch=16, gamma=1.0, betas=(0.0, 0.9), mean_kimg=2.0, final_rate=0.25,
        stages=(Stage(0, 16, 16, 2e-4, 4e-4), Stage(4000, 32, 8, 1e-4, 2e-4)), fade_steps=1000, noise_steps=2000,
        z_dim=64, hidden_dim=48, num_layers=3, mapping_dim=64, num_steps=6, blocks="strided", encoder=False,
        channels=(96, 96, 96, 64, 32),
        surface=SurfaceConfig((64, 32, 16)), surface_rate=5e-4, track_from=6000, narrowing=2e-4, fewest_steps=3,
    )  # fmt: skip
