"""Configurations of StyleSDF training: the paper's two stages, and the starter model's one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...generators.stylesdf.discriminator import VOLUME_WIDTHS, WIDTHS
from ...generators.stylesdf.model import StyleSDFConfig
from ..adversarial.config import AdversarialTraining
from ..data.random_cameras import Poses


@dataclass(frozen=True, kw_only=True)
class DecoderTraining(AdversarialTraining):
    """Stage two: the decoder on the images of a frozen renderer."""

    discriminator_widths: dict[int, int] = field(default_factory=lambda: dict(WIDTHS))  # by resolution
    path: float = 2.0  # weight of the path-length penalty (arxiv.org/abs/1912.04958, section 3.2) …
    path_every: int = 4  # … which is taken every so many steps and then weighs as much more …
    path_shrink: int = 2  # … on this part of the batch


@dataclass(frozen=True, kw_only=True)
class StyleSDFTraining(AdversarialTraining):
    """Stage one, the renderer, and what follows it. Weights of losses are those of the paper."""

    generator: StyleSDFConfig = field(default_factory=StyleSDFConfig)
    decoder: DecoderTraining | None = None  # None: the renderer's thumbnail is the image
    sides: tuple[tuple[float, int], ...] = ()  # (thousands of images from which on, side of thumbnails); (): one side
    discriminator_widths: dict[int, int] = field(default_factory=lambda: dict(VOLUME_WIDTHS))  # by resolution
    mirror: bool = True  # each training image is mirrored half of the time
    first_beta: float = 0.1  # steepness β of density at the start, canonical length
    sphere_steps: int = 10_000  # of the first fit to a sphere …
    sphere_batch: int = 3  # … codes a step …
    sphere_points: int = 32_768  # … points a code …
    sphere_rate: float = 2e-5  # … by Adam
    view: float = 15.0
    eikonal: float = 0.1
    eikonal_points: int = 0  # random points an image that the eikonal loss takes; 0: all samples of its rays
    minimal_surface: float = 0.05
    sharpness: float = 100.0  # of the minimal surface loss, per canonical length
    poses: Poses = "data"  # cameras of generated images

    @property
    def image_size(self) -> int:
        """Side of the training images."""
        return self.generator.image_size if self.decoder else self.generator.thumbnail_size

    def side_at(self, step: int) -> int:
        """Return the side of the thumbnails at a step."""
        reached = [side for kimg, side in self.sides if self.images_before(step) >= 1000 * kimg]
        return reached[-1] if reached else self.generator.thumbnail_size

    def gamma_at(self, step: int) -> float:
        """See AdversarialTraining.gamma_at: a quarter at half the side, which has as many pixels fewer."""
        return super().gamma_at(step) * (self.side_at(step) / self.generator.thumbnail_size) ** 2


def published() -> StyleSDFTraining:
    """The paper's FFHQ at 512²: thumbnails of 64² with 24 samples; for GPUs."""
    generator = StyleSDFConfig(image_size=512, decoder_channels=(512, 512, 256, 128))
    decoder = DecoderTraining(
        steps=300_000,
        batch=32,
        gamma=10.0,
        regularise_every=16,
        generator_rate=2e-3,
        discriminator_rate=2e-3,
        mean_kimg=10.0,
    )
    return StyleSDFTraining(
        generator=generator,
        decoder=decoder,
        steps=200_000,
        batch=24,
        gamma=10.0,
        generator_rate=2e-5,
        discriminator_rate=2e-4,
        betas=(0.0, 0.9),
        mean_kimg=10.0,
    )


def small() -> StyleSDFTraining:
    """The starter model: objects on white at 64², for a few hours of one CPU core.

    Two fifths of the published width and half the layers, samples inside the object's ball alone, 16² and 32² first.
    With its two coordinates, a convolution of the discriminator takes a multiple of 16 channels, which a CPU likes.
    """
    generator = StyleSDFConfig(
        style_dim=96,
        num_layers=4,
        num_samples=12,
        force_background=False,
        white_background=True,
        thumbnail_size=64,
        image_size=64,
        decoder_channels=(),
    )
    return StyleSDFTraining(
        generator=generator,
        sides=((0.0, 16), (30.0, 32), (90.0, 64)),
        discriminator_widths={64: 14, 32: 30, 16: 62, 8: 126, 4: 126, 2: 126},
        loss="r3gan",
        steps=40_000,
        batch=8,
        gamma=8.0,
        final_gamma=4.0,
        generator_rate=3e-4,
        discriminator_rate=4e-4,
        final_rate=0.3,
        betas=(0.0, 0.95),
        first_beta=0.02,
        sphere_steps=200,
        sphere_batch=8,
        sphere_points=250,
        sphere_rate=5e-4,
        view=4.0,
        minimal_surface=0.1,
        eikonal_points=256,
    )


def small_published() -> StyleSDFTraining:
    """The published losses at the size of `small()`, for comparison."""
    return replace(
        small(), loss="published", gamma=10.0, final_gamma=None, betas=(0.0, 0.9), view=15.0, minimal_surface=0.05
    )
