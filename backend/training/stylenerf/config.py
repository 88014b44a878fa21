"""Configurations of StyleNeRF's training: the paper's, and one for a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from ..adversarial.config import AdversarialTraining
from ..data.random_cameras import Poses


@dataclass(frozen=True, kw_only=True)
class StyleNeRFTraining(AdversarialTraining):
    """Sizes of the networks, growth of the resolution, and weights of the regularisers."""

    side: int = 256  # of the final images, pixels
    rays: int = 32  # along each side of the volume-rendered image; the upsampler doubles from here
    start: int = 32  # side of the first images, pixels
    growth: tuple[float, float] = (500.0, 5000.0)  # kimg between which all resolutions are added, evenly
    fade: bool = False  # the discriminator fades new resolutions in; officially it switches (see its module)
    poses: Poses = "data"
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    field_hidden: int = 256
    field_layers: int = 8
    features: int = 256  # channels that the field hands to the upsampler
    frequencies: int = 10  # of the positional encoding
    background: bool = True  # a second field, for what is around the object
    num_samples: int = 14
    num_background_samples: int = 4
    upsampler_channels: tuple[int, ...] = (256, 128, 64)
    discriminator_channels: tuple[int, ...] = (128, 256, 512, 512, 512, 512, 512)
    path_weight: float = 2.0  # of the NeRF-path regulariser (Eq. 5) …
    path_grid: int = 16  # … on so many pixels along each side
    density_noise: float = 1.0  # standard deviation
    length_weight: float = 2.0  # of StyleGAN2's path length regulariser (arxiv.org/abs/1912.04958, Eq. 4) …
    length_every: int = 4  # … in every so many steps; 0: never
    w_decay: float = 0.998  # of the running mean of w, for truncation

    def __post_init__(self) -> None:
        sizes = {self.rays << i for i in range(1, len(self.upsampler_channels) + 1)}
        if self.side != self.rays << len(self.upsampler_channels):
            raise ValueError(
                f"from {self.rays} rays a side the upsampler makes images of {sorted(sizes)}, not {self.side}"
            )
        if self.side != 4 << (len(self.discriminator_channels) - 1):
            raise ValueError(f"the discriminator takes images of {4 << (len(self.discriminator_channels) - 1)} pixels")


def published() -> StyleNeRFTraining:
    """The paper's recipe at 256², for GPUs."""
    return StyleNeRFTraining(
        steps=400_000, batch=64, gamma=0.5, regularise_every=16, generator_rate=2.5e-3, discriminator_rate=2.5e-3,
        betas=(0.0, 0.99), mean_kimg=10.0, mixed_precision=True, poses="gaussian",
    )  # fmt: skip


def small() -> StyleNeRFTraining:
    """For one CPU core and hours: 16 rays a side, images of 16, 32, then 64 pixels."""
    return StyleNeRFTraining(
        steps=30_000, batch=8, loss="r3gan", gamma=2.0, final_gamma=0.5, generator_rate=2e-3,
        discriminator_rate=1e-3, final_rate=0.2, mean_kimg=2.0, side=64, rays=16, start=16, growth=(20.0, 100.0),
        fade=True, z_dim=64, w_dim=64, mapping_layers=2, field_hidden=64, field_layers=4, features=64,
        frequencies=6, background=False, num_samples=8, upsampler_channels=(48, 32),
        discriminator_channels=(32, 64, 96, 128, 128),
        path_grid=8, length_every=0, density_noise=0.5,
    )  # fmt: skip
