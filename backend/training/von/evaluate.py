"""From trained networks to the Visual Object Networks starter model: its figures, its card, its pictures.

    figures   python -m backend.training.von_export figures VIEWS OUT RUN FEATURES
    export    python -m backend.training.von_export export VIEWS OUT RUN SHAPES   OUT/model, OUT/sweep.png, …

RUN is the folder of `von.py`, FEATURES what `hologan_figures features` trained, SHAPES the file of `von_shapes.py` or
the folder of a 3D-GAN of this project whose voxels are 32³.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ...generators.von.model import TextureNetwork, over_white
from ..data import chair_views
from ..features import PictureFeatures, features_of, frechet_distance, identity_ratio
from .config import VONTraining
from .data import Data, chair_data, sketches
from .train import Run

PICTURES = 384


def read_run(folder: Path) -> Run:
    """Return the networks of a run, in the configuration that its checkpoint names."""
    from safetensors import safe_open

    with safe_open(folder / "checkpoint.safetensors", "pt") as file:
        config = VONTraining(**json.loads(file.metadata()["config"]))
    run = Run(config)
    run.load(folder / "checkpoint.safetensors")
    for module in run.networks.values():
        module.eval().requires_grad_(False)
    return run


@torch.no_grad()
def random_sketches(data: Data, count: int, seed: int = 5) -> Tensor:
    """Return sketches [count, 2, side, side] of shapes of the data at random views."""
    index = torch.randint(len(data.images), (count,), generator=torch.Generator().manual_seed(seed))
    side = data.images.shape[-1]
    return torch.cat([sketches(data.voxels[data.shapes[i]], data.views[i], side) for i in index.split(32)])


@torch.no_grad()
def painted(texture: TextureNetwork, sketch: Tensor, seed: int = 6) -> Tensor:
    """Return pictures [N, 3, side, side] in -1..1 of sketches [N, 2, side, side] in random textures."""
    z = torch.randn(len(sketch), texture.z_dim, generator=torch.Generator().manual_seed(seed))
    parts = zip(sketch.split(32), z.split(32), strict=True)
    return torch.cat([over_white(texture(s[:, :1], code), (s[:, 1:] + 1) / 2) for s, code in parts])


@torch.no_grad()
def swept(texture: TextureNetwork, data: Data, objects: int = 24, views: int = 6) -> Tensor:
    """Return pictures [objects, views, 3, side, side]: a shape in a texture, turned once round."""
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
    """Return the mean colour error (0..1, mean over the object) of shapes repainted at their pictures' own poses with
    the texture code of the picture, and with random codes."""
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
            # colours of the whole object: the code is no map of where they are
            of_made, of_real = ((x * mask).sum((2, 3)) / mask.sum((2, 3)).clamp(min=1) for x in (made, real))
            errors[name] += (0.5 * (of_made - of_real).abs().mean(1)).tolist()
    return {name: round(float(np.mean(values)), 4) for name, values in errors.items()}


def measure(run_folder: Path, views: Path, features: Path) -> dict[str, Any]:
    """Return every figure of the card."""
    network = PictureFeatures().eval().requires_grad_(False)
    network.load_state_dict(load_file(features))
    run, data = read_run(run_folder), chair_data(views)
    real = data.images[::5] / 127.5 - 1
    others = data.images[2::23] / 127.5 - 1
    real_features = features_of(network, real)

    def distance(pictures: Tensor) -> float:
        return round(frechet_distance(features_of(network, pictures), real_features), 2)

    texture = TextureNetwork(run.config.z_dim, run.config.width, blocks=run.config.blocks).eval().requires_grad_(False)
    series = {}
    shown = random_sketches(data, PICTURES)
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
