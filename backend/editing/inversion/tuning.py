"""Pivotal tuning: the weights of a generator adapted to one image at a fixed latent (arxiv.org/abs/2106.05744)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEARNING_RATE = 3e-4
LOCALITY_WEIGHT = 0.1
LOCALITY_DISTANCE = 30.0

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distance of two images [1, 3, height, width] as a network sees them."""


class ImageLoss(NamedTuple):
    """How far an image is from another."""

    l2: Tensor
    perceptual: Tensor

    @property
    def total(self) -> Tensor:
        """Both terms, equally weighted."""
        return self.l2 + self.perceptual


def image_loss(image: Tensor, target: Tensor, perceptual: Perceptual | None) -> ImageLoss:
    """Compare images [1, 3, height, width]: mean squared error, and the perceptual distance or 0 (Eq. 2)."""
    l2 = F.mse_loss(image, target)
    return ImageLoss(l2, torch.zeros_like(l2) if perceptual is None else perceptual(image, target))


@dataclass(frozen=True)
class Locality:
    """Regularisation that keeps the images of other latents as they were (section 3.3)."""

    before: Callable[[Tensor, int], Tensor]  # image [1, channels, height, width] of a latent by the untuned weights, at
    # the number of a step
    after: Callable[[Tensor, int], Tensor]  # by those that are tuned
    pivot: Tensor  # [..., num_ws, w_dim]
    draw: Callable[[int], Tensor]  # a latent, shaped as the pivot, of the number of a step
    distance: float = LOCALITY_DISTANCE
    weight: float = LOCALITY_WEIGHT

    def at(self, number: int) -> Tensor:
        """Return the latent that is held in a step: at a fixed distance from the pivot, towards a drawn one (Eq. 4)."""
        way = self.draw(number) - self.pivot
        return self.pivot + self.distance * way / way.norm()

    def loss(self, number: int, perceptual: Perceptual | None) -> Tensor:
        """Return the weighted change of the image of that latent (Eq. 5)."""
        latent = self.at(number)
        with torch.no_grad():
            wanted = self.before(latent, number)
        return self.weight * image_loss(self.after(latent, number), wanted, perceptual).total


class TuningStep(NamedTuple):
    """Losses of a step."""

    total: float
    l2: float
    perceptual: float


def tune(
    weights: Sequence[Tensor],
    loss: Callable[[], ImageLoss],
    *,
    perceptual: Perceptual | None = None,
    locality: Locality | None = None,
    steps: int = 350,
    learning_rate: float = LEARNING_RATE,
    enough: Callable[[ImageLoss], bool] = lambda _: False,
) -> Iterator[TuningStep]:
    """Adapt weights in place, yielding the losses of each step after its update (Adam).

    Args:
        loss: of the pivot's image.
        perceptual: of the regularisation.
        enough: ends the tuning, before the update of the step whose loss it accepts.
    """
    adam = torch.optim.Adam(weights, learning_rate)
    for number in range(steps):
        found = loss()
        if enough(found):
            return
        total = found.total
        if locality is not None:
            total = total + locality.loss(number, perceptual)
        adam.zero_grad(set_to_none=True)
        total.backward()
        adam.step()
        yield TuningStep(total.item(), found.l2.item(), found.perceptual.item())
