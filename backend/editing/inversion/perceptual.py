"""Perceptual distance by a network that the user gives, whose name goes into the card of what it helped to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from ...training.judging.feature_networks import package_network, resized


@dataclass(frozen=True)
class PerceptualNetwork:
    """Distance of images as a network sees them: one minus the cosine of their features.

    name: of the network, with its origin. features: [n, d] of images [n, 3, side, side] in 0..1.
    """

    name: str
    side: int
    features: Callable[[Tensor], Tensor]
    weight: float = 0.1  # of the distance, against the mean squared error

    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        """Return the distance of images [1, 3, height, width], −1..1."""
        made, wanted = (self.features(resized(x.clamp(-1, 1) / 2 + 0.5, self.side)) for x in (image, target))
        return (1 - F.cosine_similarity(made, wanted)).mean()


def read_perceptual_network(package: Path) -> PerceptualNetwork:
    """Return MobileNetV2 of the npm package nsfwjs (MIT, trained on photographs), given as its archive or unpacked.

    Raises UnreadableFile: the file is not the package, or is damaged.
    """
    network = package_network(package)
    return PerceptualNetwork(f"{network.name}, MIT", network.side, network.compute)
