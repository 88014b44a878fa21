"""Check that a render fits into memory before it starts; models state what they take in `IMAGE_MEMORY`."""

from __future__ import annotations

import math

from ..generators import image_memory
from ..models.image_memory import KEPT_BYTES_PER_PIXEL, ImageMemory
from .workspace import Workspace

PACKED_BYTES_PER_PIXEL = 8
"""Of an image in a grid of images: eight bits a channel, and once more in the grid."""

ROUND = 8  # pixels: sizes that are offered are multiples of this


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
    """Refuse a render that cannot fit; the longer side of one that would is the remedy.

    kind: key of MODELS, "" for a fit in progress. draft: a quarter of the rays. images: how many are kept, rendered one
    after the other. Raises OutOfMemory.
    """
    memory = image_memory(kind) if kind else ImageMemory()
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
