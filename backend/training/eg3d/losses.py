"""What EG3D's training adds to the losses of a GAN: blur, raw images, swapped cameras, variation of the density."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.eg3d.model import EG3D

DENSITY_POINTS = 1000


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Images [batch, channels, n, n] convolved with 2^−(x/σ)², |x| ≤ ⌊3σ⌋ pixels; black outside."""
    reach = math.floor(3 * sigma)
    if reach == 0:
        return image
    line = torch.exp2(-((torch.arange(-reach, reach + 1).to(image) / sigma) ** 2))
    line = (line / line.sum()).expand(image.shape[1], 1, 1, -1)
    image = F.conv2d(image, line, padding=(0, reach), groups=image.shape[1])
    return F.conv2d(image, line.mT, padding=(reach, 0), groups=image.shape[1])


def swapped(camera: Tensor, other: Tensor, chance: float, u: Tensor) -> Tensor:
    """Cameras [batch, numbers] that the generator is conditioned on: with this chance another one, so that a scene does
    not give away where it is seen from (section 4.4).

    u: uniform numbers 0..1, [batch, 1], or one for all.
    """
    return torch.where(u < chance, other, camera)


def density_variation(generator: EG3D, planes: Tensor, places: Tensor, offsets: Tensor) -> Tensor:
    """Return the mean difference of the raw densities at points and beside them, which keeps seams and floaters away.

    Args:
        planes: [batch, 3, features, height, width].
        places: 0..1, [batch, points, 3], of the cube −1..1, canonical units.
        offsets: [batch, points, 3], canonical units.
    """
    points = places * 2 - 1
    density, _ = generator.density_and_features(planes, torch.cat([points, points + offsets], dim=1))
    here, beside = density.chunk(2, dim=1)
    return F.l1_loss(here, beside)
