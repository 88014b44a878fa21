"""Evaluate a texture run of Visual Object Networks: Fréchet distance, identity over views, and texture transfer.

`python -m backend.training.von.evaluate VIEWS OUT RUN FEATURES` measures the run in RUN by the features that
backend.training.features trained, and writes OUT/figures.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ...files import write_atomically
from ...generators.von.model import TextureNetwork, over_white
from ..data import chair_views
from ..features import ImageFeatures, features_of, identity_ratio
from ..judging.distances import frechet_distance
from .config import VONTraining
from .data import Data, chair_data, sketches
from .train import Run

NUM_PAINTED = 384
"""Painted sketches that the Fréchet distance is measured on."""


def read_run(folder: Path) -> Run:
    """Load the networks of a run in the configuration of its checkpoint, in evaluation mode."""
    with safe_open(folder / "checkpoint.safetensors", "pt") as file:
        config = VONTraining(**json.loads(file.metadata()["config"]))
    run = Run(config)
    run.load(folder / "checkpoint.safetensors")
    for module in run.networks.values():
        module.eval().requires_grad_(False)
    return run


@torch.no_grad()
def random_sketches(data: Data, count: int, seed: int = 5) -> Tensor:
    """Return sketches [count, 2, side, side] of random shapes and views of the data."""
    index = torch.randint(len(data.images), (count,), generator=torch.Generator().manual_seed(seed))
    side = data.images.shape[-1]
    return torch.cat([sketches(data.voxels[data.shapes[i]], data.views[i], side) for i in index.split(32)])


@torch.no_grad()
def painted(texture: TextureNetwork, sketch: Tensor, seed: int = 6) -> Tensor:
    """Paint sketches [N, 2, side, side] in random textures: images [N, 3, side, side] in -1..1."""
    z = torch.randn(len(sketch), texture.z_dim, generator=torch.Generator().manual_seed(seed))
    parts = zip(sketch.split(32), z.split(32), strict=True)
    return torch.cat([over_white(texture(s[:, :1], code), (s[:, 1:] + 1) / 2) for s, code in parts])


@torch.no_grad()
def swept(texture: TextureNetwork, data: Data, objects: int = 24, views: int = 6) -> Tensor:
    """Return images [objects, views, 3, side, side]: shapes in random textures, each rotated once round."""
    random = torch.Generator().manual_seed(3)
    azimuth = torch.arange(views) / views * 2 * math.pi
    at = torch.stack((azimuth, torch.full((views,), 0.3)), -1)
    found = []
    for index in torch.linspace(0, len(data.voxels) - 1, objects).long():
        sketch = sketches(data.voxels[index].expand(views, -1, -1, -1), at, data.images.shape[-1])
        z = torch.randn(1, texture.z_dim, generator=random).expand(views, -1)
        found.append(over_white(texture(sketch[:, :1], z), (sketch[:, 1:] + 1) / 2))
    return torch.stack(found)


@torch.no_grad()
def transfer_errors(run: Run, data: Data) -> dict[str, float]:
    """Return the mean colour error (0..1, mean over the object) of shapes repainted at their images' own poses with
    the texture code of the image, and with random codes."""
    random = torch.Generator().manual_seed(4)
    errors: dict[str, list[float]] = {"own": [], "random": []}
    for index in torch.arange(len(data.images)).split(32):
        real = data.images[index] / 127.5 - 1
        sketch = sketches(data.voxels[data.shapes[index]], data.views[index], real.shape[-1])
        mask = (sketch[:, 1:] > 0.8).float() * (real.amin(1, keepdim=True) < 0.98)
        codes = {
            "own": run.encoder(real)[0],
            "random": torch.randn(len(index), run.config.z_dim, generator=random),
        }
        for name, z in codes.items():
            made = run.mean(sketch[:, :1], z)
            # mean colour of the whole object: the code does not say where colours are
            of_made, of_real = ((x * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1) for x in (made, real))
            errors[name] += (0.5 * (of_made - of_real).abs().mean(1)).tolist()
    return {name: round(float(np.mean(values)), 4) for name, values in errors.items()}


def measure(run_folder: Path, views: Path, features: Path) -> dict[str, Any]:
    """Return all figures of the card."""
    network = ImageFeatures().eval().requires_grad_(False)
    network.load_state_dict(load_file(features))
    run, data = read_run(run_folder), chair_data(views)
    real = data.images[::5] / 127.5 - 1
    others = data.images[2::23] / 127.5 - 1
    real_features = features_of(network, real)

    def distance(images: Tensor) -> float:
        return round(frechet_distance(features_of(network, images), real_features), 2)

    texture = TextureNetwork(run.config.z_dim, run.config.width, blocks=run.config.blocks).eval().requires_grad_(False)
    series = {}
    shown = random_sketches(data, NUM_PAINTED)
    untrained = Run(run.config).mean.eval().requires_grad_(False)
    series["0"] = distance(painted(untrained, shown))
    for path in sorted((run_folder / "snapshots").glob("step*.safetensors")):
        texture.load_state_dict(load_file(path))
        series[str(int(path.stem.removeprefix("step")))] = distance(painted(texture, shown))
    held_out = chair_data(views, chair_views.HELD_OUT)
    real_views = held_out.images.view(-1, chair_views.VIEWS_PER_VARIANT, 3, 64, 64) / 127.5 - 1
    return {
        "steps": max(int(step) for step in series),
        "frechet": series,
        "frechet_of_other_real_pictures": distance(others),
        "frechet_of_held_out_chairs": distance(held_out.images / 127.5 - 1),
        "identity_views_and_others": identity_ratio(swept(run.mean, data), network),
        "identity_views_and_others_real": identity_ratio(real_views, network),
        "colour_error_own_code_and_random": transfer_errors(run, held_out),
    }


def main(arguments: list[str]) -> None:
    """Measure a run and write its figures, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("out", type=Path, help="folder for figures.json")
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("features", type=Path, help="the features.safetensors of backend.training.features")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found = measure(options.run, options.views, options.features)
    write_atomically(options.out / "figures.json", (json.dumps(found, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
