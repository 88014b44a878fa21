"""Memory estimate of a model's renders; each model's scene.py states its own as `IMAGE_MEMORY`.

A model's figures were measured on a CPU as the peak of a process over what it held before the render
(`python -m tests.backend.tasks.image_memory FOLDER SIZE`), rounded up. Per pixel, from two sizes: π-GAN 617 bytes,
GRAF 820, ShadeGAN 187 (512² and 1024²), EG3D 59 (1024² and 2048²). Fixed, with a network of the published size: π-GAN
and GRAF 50 MB, ShadeGAN 360 MB, StyleSDF 1.37 GB. StyleNeRF and StyleSDF cut and resize their images as EG3D does. VON,
HoloGAN and 3D-GAN take 79, 108 and 101 bytes a pixel, which is the image itself, and 26, 15 and 8 MB fixed (starter
models, 512² and 1024²; not measured with published networks). The figures of NeRF and of the networks of EG3D and
StyleNeRF are computed, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT_BYTES_PER_PIXEL = 128
"""rgb, alpha, depth and normal in float32, and the packed copies."""

MEBI = 1 << 20


@dataclass(frozen=True)
class ImageMemory:
    """Memory that rendering takes, besides the image itself and the model."""

    fixed: int = 0  # bytes: the network at work on one chunk of rays, or on its own full resolution
    per_pixel: int = 0  # bytes for each ray
    per_sample: int = 0  # bytes for each sample of each ray
    samples: int = 0  # of a ray, where none are asked for: as published

    def bytes_of(self, pixels: float, samples_per_ray: int = 0) -> float:
        """Return the bytes of a render of so many pixels. samples_per_ray 0: the published number."""
        worked = self.per_pixel + self.per_sample * (samples_per_ray or self.samples)
        return self.fixed + pixels * (KEPT_BYTES_PER_PIXEL + worked)
