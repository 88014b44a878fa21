"""Train the shape network of the Visual Object Networks starter model: chairs from normally distributed codes.

The paper uses a 3D-GAN; `training/gan3d` trains one, and `export.py` uses its model if it is given. This is a shape
network without a discriminator, minutes on one core: the codes are the principal components of the chairs' signed
distances, each of variance 1, and the network learns to decode them to voxels. The shape of a random code is a blend of
chairs, soft where they differ.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from ...files import write_atomically
from ...generators.von.model import ShapeNetwork
from .. import runs
from ..data import chair_views

NOISE = 0.15
"""Standard deviation of the noise added to codes in training, so that the space between chairs is learnt too."""
REACH = 0.12
"""Distance, canonical units, at which distances are truncated before the analysis: only those near a surface count."""


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
    """Return codes [n, z_dim] of distance fields [n, ...]: principal components, each of mean 0 and variance 1."""
    flat = distances.flatten(1).clamp(-REACH, REACH)
    u, _, _ = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    codes = u[:, :z_dim]
    return codes / codes.std(0, keepdim=True)


def train_shapes(
    config: ShapeTraining,
    distances: Tensor,
    solid: Tensor,
    *,
    device: torch.device | str = "cpu",
    log: bool = True,
) -> ShapeNetwork:
    """Return a network from codes to voxels, which the model that holds it mirrors in x.

    distances, solid: [n, 32, 32, 32], indexed z, y, x.
    """
    torch.manual_seed(config.seed)
    network = ShapeNetwork(config.z_dim, config.widths, logit_scale=1.0).to(device)
    codes, solid = principal_codes(distances, config.z_dim).to(device), solid.to(device)
    adam = torch.optim.Adam(network.parameters(), config.rate, (0.9, 0.99))
    for step in range(config.steps):
        adam.param_groups[0]["lr"] = config.rate * min(1.0, 2.05 - 2 * step / config.steps)
        chosen = torch.randint(len(codes), (config.batch,)).to(device)
        noise = torch.randn(config.batch, config.z_dim).to(device)
        logits = network.logits(codes[chosen] + NOISE * noise)
        logits = (logits + logits.flip(-1)) / 2
        # a chair fills a tenth of its cube: solid voxels have four times the weight
        wanted = solid[chosen].float()
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, weight=1 + 3 * wanted)
        runs.update(adam, loss)
        if log and (step + 1) % 50 == 0:
            sys.stderr.write(f"shapes: step {step + 1}/{config.steps}  loss {loss.item():.4f}\n")
    return network.eval().requires_grad_(False)


def main(arguments: list[str]) -> None:
    """Train on the distances that `python -m backend.training.data.chair_views` wrote."""
    parser = runs.options("von-shapes", __doc__)
    parser.add_argument("data", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    fields = chair_views.load_views(options.data, range(chair_views.NUM_TRAIN), ("distances",))["distances"]
    solid = torch.from_numpy(chair_views.occupancy(fields))
    device = runs.device_of(options.device)
    network = train_shapes(ShapeTraining(), torch.from_numpy(fields).float(), solid, device=device)
    write_atomically(options.out, save(network.cpu().state_dict()))
    sys.stdout.write(f"{options.out}: {time.perf_counter() - started:.0f} s\n")
