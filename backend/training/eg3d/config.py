"""Configurations of EG3D's training: a small recipe for a processor, and the published one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...generators.eg3d.discriminator import DualDiscriminatorConfig
from ...generators.eg3d.model import (
    PAPER_PLANE_AXES,
    SUPERRESOLUTIONS,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    RenderingConfig,
    SuperresolutionConfig,
)
from ..adversarial.config import AdversarialTraining
from .discriminator import GrowingDiscriminatorConfig


@dataclass(frozen=True, kw_only=True)
class EG3DTraining(AdversarialTraining):
    """Networks, and the schedules of EG3D. A kimg is a thousand training images."""

    generator: EG3DConfig
    discriminator: DualDiscriminatorConfig
    swap_chance: float = 0.5  # that the generator sees another image's camera (if it is conditioned on one) …
    swap_kimg: float = 1000.0  # … falling from 1 until then
    pose_noise: float = 0.0  # on the cameras that the discriminator sees, in their standard deviations
    blur_sigma: float = 10.0  # of the images that the discriminator sees, pixels …
    blur_kimg: float = 200.0  # … falling to 0 until then
    density_weight: float = 0.25  # of `density_variation` …
    density_distance: float = 0.004  # … between points so far apart, canonical units …
    density_every: int = 4  # … in every so many steps, where it weighs as much more
    final_neural_resolution: int | None = None  # None: always the generator's own
    neural_resolution_kimg: float = 1000.0

    @property
    def side(self) -> int:
        """Side of the training images, pixels."""
        return self.generator.superresolution.resolutions[1]

    def swap_chance_at(self, images: int) -> float:
        """Return the chance of another camera after so many images."""
        return 1 + (self.swap_chance - 1) * min(images / (1000 * self.swap_kimg), 1)

    def blur_at(self, images: int) -> float:
        """Return σ of the blur, pixels, after so many images."""
        return self.blur_sigma * max(1 - images / (1000 * self.blur_kimg), 0)

    def neural_resolution_at(self, images: int) -> int:
        """Return the rays along each side after so many images."""
        first = self.generator.rendering.neural_resolution
        last = first if self.final_neural_resolution is None else self.final_neural_resolution
        return round(first + (last - first) * min(images / (1000 * self.neural_resolution_kimg), 1))


@dataclass(frozen=True, kw_only=True)
class SmallEG3DTraining(AdversarialTraining):
    """Networks of the small recipe, and when its images grow."""

    generator: EG3DConfig
    discriminator: GrowingDiscriminatorConfig = field(default_factory=GrowingDiscriminatorConfig)
    half_until: float  # part of the steps; before it, raw images of half the side are trained, by a quarter of the rays
    superresolve_from: float  # part of the steps; before it, the raw image alone is trained
    discriminator_target: float | None = None  # γ adapts so that the discriminator's loss stays near it …
    gamma_rate: float = 0.03  # … by so much of the difference a step, in log γ
    doubled_gamma: float = 4.0  # factor on γ, which is that of the whole raw image, when the images' side doubles
    shown_samples: int = 40  # of a ray, in the model that a training gives: those of the training are few, but jittered

    @property
    def side(self) -> int:
        """Side of the training images, pixels."""
        return self.generator.superresolution.resolutions[1]

    def doublings_at(self, step: int) -> int:
        """Return how often the side of the images has doubled beyond that of the raw image: -1, 0 or 1."""
        return int(step >= self.superresolve_from * self.steps) - int(step < self.half_until * self.steps)


def small_generator() -> EG3DConfig:
    """Tri-planes of 64² × 16 of the cube around the unit sphere, 64² rays, 2 × superresolution."""
    return EG3DConfig(
        SuperresolutionConfig(64, shrink=False, first_up=False, channels=(32, 16), conv_clamp=None, use_noise=False),
        z_dim=64,
        condition_dim=0,
        w_dim=128,
        plane_features=16,
        decoder_width=32,
        mapping=MappingConfig(num_layers=2, lr_multiplier=0.1),
        backbone=BackboneConfig(
            resolution=64, channel_base=1536, channel_max=128, convs=1, use_noise=False, conv_clamp=None
        ),
        rendering=RenderingConfig(
            ray_start=None,
            ray_end=None,
            box_warp=2.0,
            depth_resolution=16,
            depth_resolution_importance=0,
            white_back=True,
            plane_axes=PAPER_PLANE_AXES,
            ray_box=(1.0, 1.0, 1.0),
            neural_resolution=64,
        ),
    )


def small() -> SmallEG3DTraining:
    """Return a recipe for hours on one core, with R3GAN's loss."""
    return SmallEG3DTraining(
        generator=small_generator(), steps=9_700, half_until=0.55, superresolve_from=0.95, batch=16, loss="r3gan",
        gamma=3.0, discriminator_target=0.33, generator_rate=3e-3, discriminator_rate=8e-4, final_rate=0.3,
        betas=(0.0, 0.97), mean_kimg=8.0,
    )  # fmt: skip


def small_published() -> SmallEG3DTraining:
    """Return the logistic loss with R1 at the size of `small()`, for comparison."""
    return replace(small(), loss="published", discriminator_target=None, betas=(0.0, 0.99), final_rate=1.0)


def published() -> EG3DTraining:
    """Return the recipe of the official configuration for objects seen from all around, at 128², for a GPU.

    Its depth range is that of the unit sphere around cameras as far as those of the data.
    """
    return EG3DTraining(
        generator=EG3DConfig(
            SUPERRESOLUTIONS["SuperresolutionHybrid2X"],
            rendering=RenderingConfig(
                box_warp=2.0, depth_resolution=64, depth_resolution_importance=64, white_back=True, neural_resolution=64
            ),
            condition_scale=0.0,
        ),
        discriminator=DualDiscriminatorConfig(side=128),
        steps=780_000, batch=32, gamma=0.3, regularise_every=16, generator_rate=2.5e-3, discriminator_rate=2e-3,
        pose_noise=1.0, mean_kimg=10.0, mixed_precision=True,
    )  # fmt: skip
