"""How much memory a picture takes, so that a size that cannot fit is refused before the start.

A kind's figures were measured on a CPU as the peak of a process over what it held before the picture
(`python -m tests.backend.tasks.picture_memory FOLDER SIZE`), rounded up. At two sizes for what a pixel takes: π-GAN 617
bytes, GRAF 820, ShadeGAN 187 (512² and 1024²), EG3D 59 (1024² and 2048²). With a network of the published size for what
is taken whatever the size: π-GAN and GRAF 50 MB, ShadeGAN 360 MB, StyleSDF 1.37 GB. StyleNeRF and StyleSDF cut and
resize their pictures as EG3D does. VON, HoloGAN and 3D-GAN take 79, 108 and 101 bytes a pixel, which is the picture
itself, and 26, 15 and 8 MB whatever the size (starter models, 512² and
1024²; not measured with published networks). NeRF's figures, and what EG3D's and StyleNeRF's networks take, are
counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .workspace import Workspace

KEPT_BYTES_PER_PIXEL = 128
"""rgb, alpha, depth, normal in float32, and the packed copies."""

PACKED_BYTES_PER_PIXEL = 8
"""Of an image of a sheet: eight bits a channel, and once more in the sheet."""

ROUND = 8  # pixels: sizes that are offered are multiples of this


@dataclass(frozen=True)
class ImageMemory:
    """What rendering takes, besides the picture itself and the model."""

    fixed: int = 0  # bytes: the network at work on one chunk of rays, or on its own full resolution
    per_pixel: int = 0  # bytes for each ray
    per_sample: int = 0  # bytes for each sample of each ray
    samples: int = 0  # of a ray, where none are asked for: as published

    def bytes_of(self, pixels: float, samples_per_ray: int = 0) -> float:
        """Return the bytes of a picture of so many pixels. samples_per_ray 0: the published number."""
        worked = self.per_pixel + self.per_sample * (samples_per_ray or self.samples)
        return self.fixed + pixels * (KEPT_BYTES_PER_PIXEL + worked)


MEBI = 1 << 20
IMAGE_MEMORY: dict[str, ImageMemory] = {
    "pigan": ImageMemory(192 * MEBI, 48, 7, 96),
    "graf": ImageMemory(192 * MEBI, 48, 13, 64),
    "shadegan": ImageMemory(512 * MEBI, 48, 7, 24),
    "eg3d": ImageMemory(768 * MEBI, 64),
    "stylenerf": ImageMemory(512 * MEBI, 64),
    "stylesdf": ImageMemory(1536 * MEBI, 64),
    "von": ImageMemory(64 * MEBI),
    "hologan": ImageMemory(64 * MEBI),
    "gan3d": ImageMemory(32 * MEBI),
    "nerf": ImageMemory(512 * MEBI, 160),
}
"""By kind. The others take little beside the picture itself."""


def check_image_memory(
    workspace: Workspace,
    kind: str,
    width: int,
    height: int,
    *,
    samples_per_ray: int = 0,
    draft: bool = False,
    images: int = 1,
) -> None:
    """Refuse a picture that cannot fit; the longer side of one that would is the remedy.

    draft: a quarter of the rays. images: how many are kept, rendered one after the other. Raises OutOfMemory.
    """
    memory = IMAGE_MEMORY.get(kind, ImageMemory())
    side, pixels = max(width, height), width * height

    def needed(share: float) -> int:
        rays = pixels * share * (0.25 if draft else 1.0)
        kept = (pixels * share - rays) * KEPT_BYTES_PER_PIXEL + pixels * share * (images - 1) * PACKED_BYTES_PER_PIXEL
        return int(memory.bytes_of(rays, samples_per_ray) + kept)

    room, each = workspace.free_memory() - memory.fixed, needed(1.0) - memory.fixed
    fitting = int(side * math.sqrt(min(max(room, 0) / each, 1.0))) // ROUND * ROUND
    sizes = [(side, needed(1.0))]
    if 0 < fitting < side:
        sizes.append((fitting, needed((fitting / side) ** 2)))
    workspace.check_memory("An image side of", side, sizes)
