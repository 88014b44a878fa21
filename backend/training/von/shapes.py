"""The shape network of the Visual Object Networks starter model: chairs from a normally distributed code.

The paper takes a 3D-GAN; `backend/training/gan3d.py` trains one, and `von_export.py` takes its model where it is given.
Here is the shape network without a discriminator, minutes on one core: the codes are those of a principal component
analysis of the chairs' signed distances, each of variance 1, and the network learns to make the voxels of them. What it
makes of a random code is a blend of chairs, soft where they differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from ...generators.von.model import ShapeNetwork
from ...models.store import write_atomically
from ..data import chair_views

NOISE = 0.15
"""Added to codes in training, so that the space between chairs is learnt too."""
REACH = 0.12
"""Distances are cut at this much (canonical units) before the analysis: far from a surface they say nothing of it."""


@dataclass(frozen=True)
class ShapeTraining:
    """One training of the shape network."""

    z_dim: int = 16
    widths: tuple[int, ...] = (64, 32, 16)
    steps: int = 700
    batch: int = 16
    rate: float = 3e-3
    seed: int = 0


def principal_codes(distances: Tensor, z_dim: int) -> Tensor:
    """Return codes [n, z_dim], each of mean 0 and variance 1, of distance fields [n, ...]."""
    flat = distances.flatten(1).clamp(-REACH, REACH)
    u, _, _ = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    codes = u[:, :z_dim]
    return codes / codes.std(0, keepdim=True)


def train_shapes(config: ShapeTraining, distances: Tensor, solid: Tensor, log: bool = True) -> ShapeNetwork:
    """Return a network that makes voxels of codes, mirrored in x by the model that holds it.

    distances, solid: [n, 32, 32, 32], indexed z, y, x.
    """
    torch.manual_seed(config.seed)
    network = ShapeNetwork(config.z_dim, config.widths, logit_scale=1.0)
    codes = principal_codes(distances, config.z_dim)
    adam = torch.optim.Adam(network.parameters(), config.rate, (0.9, 0.99))
    for step in range(config.steps):
        adam.param_groups[0]["lr"] = config.rate * min(1.0, 2.05 - 2 * step / config.steps)
        chosen = torch.randint(len(codes), (config.batch,))
        logits = network.logits(codes[chosen] + NOISE * torch.randn(config.batch, config.z_dim))
        logits = (logits + logits.flip(-1)) / 2
        # a chair fills a tenth of its cube: its voxels count four times
        wanted = solid[chosen].float()
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, weight=1 + 3 * wanted)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if log and (step + 1) % 50 == 0:
            sys.stderr.write(f"shapes: step {step + 1}/{config.steps}  loss {loss.item():.4f}\n")
    return network.eval().requires_grad_(False)


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that chair_views.py filled")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    fields = chair_views.load_views(options.data, range(chair_views.NUM_TRAIN), ("distances",))["distances"]
    solid = torch.from_numpy(chair_views.occupancy(fields))
    network = train_shapes(ShapeTraining(), torch.from_numpy(fields).float(), solid)
    write_atomically(options.out, save(network.state_dict()))
    sys.stdout.write(f"{options.out}: {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
