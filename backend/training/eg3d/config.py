"""Configurations of EG3D training: a small recipe for a processor, and the published one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...generators.eg3d.model import (
    PAPER_PLANE_AXES,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    RenderingConfig,
    SuperresolutionConfig,
)
from ..adversarial.config import AdversarialTraining
from .discriminator import FoldedDiscriminatorConfig


def small_generator(radius: float = 3.8, fov_degrees: float = 30.0, box: tuple[float, float, float] = (0.8, 0.9, 0.72)) -> EG3DConfig:
    """Tri-planes of 64² × 16 in the known box of objects in the unit sphere, 64² rays, 2 × superresolution."""
    return EG3DConfig(
        SuperresolutionConfig(64, shrink=False, first_up=False, channels=(32, 16), conv_clamp=None, use_noise=False),
        z_dim=64,
        condition_dim=0,
        w_dim=128,
        plane_features=16,
        decoder_width=32,
        mapping=MappingConfig(num_layers=2, lr_multiplier=0.1),
        backbone=BackboneConfig(
            resolution=64, channel_base=1024, channel_max=128, convs=1, use_noise=False, conv_clamp=None
        ),
        rendering=RenderingConfig(
            ray_start=None,
            ray_end=None,
            box_warp=1.8,
            depth_resolution=16,
            depth_resolution_importance=0,
            white_back=True,
            plane_axes=PAPER_PLANE_AXES,
            ray_box=box,
            neural_resolution=64,
            camera_radius=radius,
            fov_degrees=fov_degrees,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class EG3DTraining(AdversarialTraining):
    """One training run."""

    generator: EG3DConfig = field(default_factory=small_generator)
    discriminator: FoldedDiscriminatorConfig = field(default_factory=FoldedDiscriminatorConfig)


def small() -> EG3DTraining:
    """Hours on one core."""
    return EG3DTraining(
        steps=16_000,
        batch=16,
        loss="r3gan",
        gamma=6.0,
        final_gamma=2.0,
        generator_rate=3e-3,
        discriminator_rate=5e-4,
        final_rate=0.3,
        betas=(0.0, 0.97),
        mean_kimg=5.0,
    )
