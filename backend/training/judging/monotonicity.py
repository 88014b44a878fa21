"""Monotonicity of the distances: do KID and Fréchet distance rise as real images are made worse?

`python -m backend.training.judging.monotonicity FOLDER [--features PACKAGE]` compares half of a folder's images with
the other half, made worse step by step: blurred, noisy, patches swapped, shown smaller, and of fewer objects.
A distance is fit to judge generators by if it rises along each of these rows (docs/training.md has the figures).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .distances import frechet_distance, kernel_distance
from .feature_networks import PACKAGE_NETWORKS, FeatureNetwork, in_unit_range, learnt_network, package_network

Worse = Callable[[Tensor, float, torch.Generator], Tensor]


def blurred(images: Tensor, sigma: float, random: torch.Generator) -> Tensor:
    """Blur by a Gaussian of standard deviation `sigma`, thousandths of the side."""
    pixels = sigma * images.shape[-1] / 1000
    reach = int(3 * pixels + 1)
    x = torch.arange(-reach, reach + 1).float()
    kernel = (-0.5 * (x / pixels).square()).softmax(0)
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        padding = (reach, reach, 0, 0) if shape[-1] == -1 else (0, 0, reach, reach)
        weight = kernel.view(shape).repeat(3, 1, 1, 1)
        images = F.conv2d(F.pad(images, padding, mode="replicate"), weight, groups=3)
    return images


def noisy(images: Tensor, sigma: float, random: torch.Generator) -> Tensor:
    """Add Gaussian noise of standard deviation `sigma`, hundredths of the range."""
    return (images + torch.randn(images.shape, generator=random) * sigma / 100).clamp(0, 1)


def swapped(images: Tensor, count: float, random: torch.Generator) -> Tensor:
    """Exchange `count` pairs of square patches within each image, an eighth of the side wide."""
    images, side = images.clone(), images.shape[-1] // 8
    for image in images:
        for _ in range(int(count)):
            a, b, c, d = (int(x) * side for x in torch.randint(8, (4,), generator=random))
            first, second = image[:, a : a + side, b : b + side].clone(), image[:, c : c + side, d : d + side].clone()
            image[:, a : a + side, b : b + side], image[:, c : c + side, d : d + side] = second, first
    return images


def smaller(images: Tensor, percent: float, random: torch.Generator) -> Tensor:
    """Show the images at fewer percent of their size, in the middle of what surrounds them."""
    side = images.shape[-1]
    inner = round(side * (1 - percent / 100))
    low = (side - inner) // 2
    small = F.interpolate(images, (inner, inner), mode="bilinear", align_corners=False, antialias=True)
    return F.pad(small, (low, side - inner - low, low, side - inner - low), mode="replicate")


WORSE: dict[str, tuple[Worse, tuple[float, ...]]] = {
    "blur, thousandths of the side": (blurred, (8, 16, 32)),
    "noise, hundredths": (noisy, (2, 5, 10, 20)),
    "pairs of patches swapped": (swapped, (1, 3, 8)),
    "smaller by percent": (smaller, (10, 20, 40)),
}
FEWER = "objects"
FEWER_OBJECTS = (16, 4, 1)


@dataclass(frozen=True)
class Series:
    """Distances as images get worse, from untouched ones (level 0) on."""

    levels: tuple[float, ...]
    kid_x1000: tuple[float, ...]
    frechet: tuple[float, ...]

    @property
    def rises(self) -> bool:
        """True where both distances rise at every step."""
        return all(a < b for values in (self.kid_x1000, self.frechet) for a, b in pairwise(values))


def measure(network: FeatureNetwork, images: Tensor, objects: Tensor | None, count: int = 256) -> Mapping[str, Series]:
    """Return the series of distances of images [n, 3, side, side] uint8. objects: which object an image shows [n]."""
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=random)
    count = min(count, len(images) // 2)
    real, other = network(images[order[:count]]), in_unit_range(images[order[count : 2 * count]])
    untouched = network(other)

    def series(levels: tuple[float, ...], worse: Callable[[float], Tensor]) -> Series:
        features = [untouched, *(worse(level) for level in levels)]
        return Series(
            (0, *levels),
            tuple(1000 * kernel_distance(x, real) for x in features),
            tuple(frechet_distance(x, real) for x in features),
        )

    found = {
        name: series(levels, lambda level, change=change: network(change(other, level, random)))  # type: ignore[misc]
        for name, (change, levels) in WORSE.items()
    }
    if objects is not None:
        shown = objects[order[count : 2 * count]]
        kinds = shown.unique()
        kinds = kinds[torch.randperm(len(kinds), generator=random)]

        def fewer(level: float) -> Tensor:
            # as many images as before, of the first objects only; images of one object at its own poses repeat
            chosen = untouched[torch.isin(shown, kinds[: int(level)])]
            return chosen.repeat(-(-count // len(chosen)), 1)[:count]

        found[FEWER] = series(tuple(n for n in FEWER_OBJECTS if n < len(kinds)), fewer)
    return found


def main(arguments: list[str]) -> None:
    """Write the table of distances, from the command line."""
    from ..data.image_folder import read_images

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="images of a data set, as `train` reads them")
    parser.add_argument("--features", type=Path, help="the npm package nsfwjs; without it a small network is trained")
    parser.add_argument("--network", choices=list(PACKAGE_NETWORKS), default="mobilenet")
    parser.add_argument("--side", type=int, default=64, help="pixels of the images' side")
    parser.add_argument("--images", type=int, default=256, help="compared on either side")
    options = parser.parse_args(arguments)
    data = read_images(options.folder, side=options.side)
    if options.features is None:
        angles = None if data.world_from_camera is None else data.angles()
        network = learnt_network(data.images, data.objects, angles)
    else:
        network = package_network(options.features, options.network)
    found = measure(network, data.images, data.objects, options.images)
    sys.stdout.write(f"{network.name}\n\n| worse by | level | KID × 1000 | Fréchet | rises |\n|---|---|---|---|---|\n")
    for name, one in found.items():
        columns = (
            ", ".join(f"{level:g}" for level in one.levels),
            ", ".join(f"{value:.3g}" for value in one.kid_x1000),
            ", ".join(f"{value:.3g}" for value in one.frechet),
            "yes" if one.rises else "no",
        )
        sys.stdout.write(f"| {name} | {' | '.join(columns)} |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
