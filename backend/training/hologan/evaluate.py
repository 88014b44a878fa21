"""Evaluate a HoloGAN run: Fréchet distance to real images, accuracy of rotation, and identity over views.

`python -m backend.training.hologan.evaluate VIEWS OUT RUN` measures the run in RUN by the features in
OUT/features.safetensors (backend.training.features), and writes OUT/figures.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ...files import write_atomically
from ...generators.hologan.model import Generator
from ...generators.hologan.scene import Facing
from ..data import chair_views
from ..features import ImageFeatures, as_input, features_of, identity_ratio
from ..judging.distances import frechet_distance
from .config import HoloGANTraining, small
from .data import random_views, views_at


@torch.no_grad()
def generated(generator: Generator, config: HoloGANTraining, count: int, seed: int = 7) -> Tensor:
    """Generate images [count, 3, side, side] of random codes from random trained views."""
    random = torch.Generator().manual_seed(seed)
    z = torch.rand(count, config.generator.z_dim, generator=random) * 2 - 1
    views = random_views(config, count, random)
    return torch.cat([generator(a, b) for a, b in zip(z.split(64), views.split(64), strict=True)])


@dataclass(frozen=True)
class Turning:
    """Linear relation of requested and measured azimuths: measured = direction · requested + offset, degrees."""

    direction: float  # ±1
    offset: float
    slope: float  # measured degrees for a requested degree, in the direction
    error: float  # root mean square of the residual with slope 1
    correlation: float  # of requested and measured azimuths


@torch.no_grad()
def turning(generator: Generator, config: HoloGANTraining, network: ImageFeatures, count: int = 512) -> Turning:
    """Measure the azimuths of generated images and compare them with the requested ones."""
    random = torch.Generator().manual_seed(11)
    z = torch.rand(count, config.generator.z_dim, generator=random) * 2 - 1
    views = random_views(config, count, random)
    seen = torch.cat(
        [network.azimuths(network(generator(a, b))) for a, b in zip(z.split(64), views.split(64), strict=True)]
    )
    asked = views[:, 0]
    fits = []
    for direction in (1.0, -1.0):
        left = seen - direction * asked
        middle = torch.atan2(left.sin().mean(), left.cos().mean())
        left = torch.remainder(left - middle + math.pi, 2 * math.pi) - math.pi
        fits.append((float(left.square().mean().sqrt()), direction, float(middle)))
    error, direction, offset = min(fits)
    unwrapped = torch.remainder(seen - offset - direction * asked + math.pi, 2 * math.pi) - math.pi + direction * asked
    centred = asked - asked.mean()
    slope = float((centred * unwrapped).sum() / centred.square().sum()) * direction
    correlation = float(torch.corrcoef(torch.stack((asked, unwrapped)))[0, 1])
    return Turning(direction, math.degrees(offset), slope, math.degrees(error), correlation)


def facing_of(found: Turning, half_size: float) -> Facing:
    """Return the map from world azimuths to the network's. Both ranges are symmetric about the front, so their centers
    coincide and only the direction is unknown."""
    return Facing(0.0, found.direction, half_size)


@torch.no_grad()
def sweeps(generator: Generator, config: HoloGANTraining, objects: int = 48, views: int = 7) -> Tensor:
    """Generate images [objects, views, 3, side, side]: random codes, each rotated through the trained azimuths."""
    random = torch.Generator().manual_seed(23)
    z = torch.rand(objects, config.generator.z_dim, generator=random) * 2 - 1
    azimuth = torch.linspace(-config.azimuth, config.azimuth, views)
    at = views_at(azimuth, torch.full((views,), sum(config.elevation) / 2))
    return torch.stack([generator(one.expand(views, -1), at) for one in z])


def in_range(views: dict[str, np.ndarray], azimuth: float) -> Tensor:
    """Return the real images [N, 3, 64, 64] taken within ± azimuth (radians) of the front."""
    offset = np.abs((views["azimuths"] + math.pi) % (2 * math.pi) - math.pi)
    return as_input(views["images"][offset <= azimuth])


def measure(
    run: Path, views: Path, network: ImageFeatures, config: HoloGANTraining, count: int = 1024
) -> dict[str, Any]:
    """Return all figures of the card."""
    names = ("images", "azimuths", "elevations")
    train = chair_views.load_views(views, range(chair_views.NUM_TRAIN), names)
    held_out = chair_views.load_views(views, chair_views.HELD_OUT, names)
    images = in_range(train, config.azimuth)
    real, others = features_of(network, images[::2]), features_of(network, images[1::2][:count])
    series: dict[str, float] = {}
    generator = Generator(config.generator).eval().requires_grad_(False)
    for path in sorted((run / "snapshots").glob("step*.safetensors")):
        generator.load_state_dict(load_file(path))
        series[path.stem.removeprefix("step").lstrip("0")] = round(
            frechet_distance(features_of(network, generated(generator, config, count)), real), 3
        )
    unseen = in_range(held_out, config.azimuth)
    held = as_input(held_out["images"])
    seen_azimuth = network.azimuths(features_of(network, held))
    error = seen_azimuth - torch.from_numpy(held_out["azimuths"]).flatten()
    error = torch.remainder(error + math.pi, 2 * math.pi) - math.pi
    real_views = held.view(len(held_out["images"]) * chair_views.NUM_VARIANTS, chair_views.VIEWS_PER_VARIANT, 3, 64, 64)
    noise = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {
        "frechet": series,
        "frechet_of_other_real_pictures": round(frechet_distance(others, real), 3),
        "frechet_of_held_out_chairs": round(frechet_distance(features_of(network, unseen), real), 3),
        "frechet_of_noise": round(frechet_distance(features_of(network, noise), real), 3),
        "turning": asdict(turning(generator, config, network)),
        "azimuth_error_of_the_network_on_held_out_chairs": round(math.degrees(float(error.square().mean().sqrt())), 1),
        "identity_views_and_others": identity_ratio(sweeps(generator, config), network),
        "identity_views_and_others_real": identity_ratio(real_views, network),
    }


def main(arguments: list[str]) -> None:
    """Measure a run and write its figures, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("out", type=Path, help="folder with features.safetensors; figures.json is written there")
    parser.add_argument("run", type=Path, help="the folder of a training run")
    options = parser.parse_args(arguments)
    network = ImageFeatures().eval().requires_grad_(False)
    network.load_state_dict(load_file(options.out / "features.safetensors"))
    found = measure(options.run, options.views, network, small())
    write_atomically(options.out / "figures.json", (json.dumps(found, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
