"""Projection: a latent optimised until its image is the wanted one, with noise that keeps it off narrow minima."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .schedules import Rate

NOISE_WEIGHT = 1e5
"""Of `autocorrelation` in the loss (StyleGAN2)."""

SMALLEST_NOISE = 8  # pixels: the last level of the pyramid of a noise image


def project(
    latent: Tensor,
    distance: Callable[[Tensor], Tensor],
    schedule: Sequence[Rate],
    noise: Callable[[int], Tensor],
    *,
    noise_images: Sequence[Tensor] = (),
    weight_decay: float = 0.0,
) -> Iterator[float]:
    """Optimise a latent in place, yielding the loss of each step after its update (Adam).

    The gradients of the step are in the tensors' `grad` until the next one.

    Args:
        latent: of any shape, a leaf that requires a gradient.
        distance: of the image of a latent to the wanted one.
        noise: added to the latent before its image is made, of the schedule's standard deviation times what this
            returns for the number of the step.
        noise_images: of the generator [height, width], leaves that are optimised with the latent and are kept of mean
            0, variance 1 and without correlation between neighbours.
        weight_decay: pulls the latent towards 0.
    """
    adam = torch.optim.Adam([latent, *noise_images], betas=(0.9, 0.999), weight_decay=weight_decay)
    for number, rate in enumerate(schedule):
        for group in adam.param_groups:
            group["lr"] = rate.learning_rate
        loss = distance(latent + rate.noise * noise(number))
        if noise_images:
            loss = loss + NOISE_WEIGHT * autocorrelation(noise_images)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        with torch.no_grad():
            for image in noise_images:
                image -= image.mean()
                image *= image.square().mean().rsqrt()
        yield loss.item()


def autocorrelation(noise_images: Sequence[Tensor]) -> Tensor:
    """Return the squared correlation between neighbours, summed over axes and a pyramid down to 8 pixels (supplement D
    of arxiv.org/abs/1912.04958)."""
    total = torch.zeros(())
    for image in noise_images:
        level = image[None, None]
        while True:
            for axis in (2, 3):
                total = total + (level * level.roll(1, axis)).mean().square()
            if level.shape[-1] <= SMALLEST_NOISE:
                break
            level = F.avg_pool2d(level, 2)
    return total
