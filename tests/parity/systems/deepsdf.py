"""DeepSDF: decoder, gradient, the sampling grid of create_mesh, and 30 steps of auto-decoding."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from backend.checkpoints.convert import unwrapped
from backend.generators.deepsdf.checkpoint import decoder_spec, decoder_tensors
from backend.generators.deepsdf.reconstruct import reconstruct
from backend.generators.deepsdf.scene import DeepSDF
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> DeepSDF:
    """The network of the set's own weights."""
    constructor = set.meta["constructor"]
    model = DeepSDF(decoder_spec(constructor, constructor["latent_size"]), num_codes=0, rank=0)
    model.decoder.load_state_dict(decoder_tensors(unwrapped(dict(set.weights)), model))
    return model.to(set.inputs["points"].dtype)


def outputs(set: OracleSet, model: DeepSDF | None = None) -> dict[str, Tensor]:
    """Every output of the set, grids and scenes as its names say, from its weights or those of an imported model."""
    model = model or network(set)
    dtype = set.inputs["points"].dtype
    codes, points = set.inputs["latent_codes"], set.inputs["points"]

    out = {"sdf": model.sdf(points.expand(len(codes), -1, -1), codes)[..., None]}
    for name in set.expected:
        if match := re.fullmatch(r"grad_scene(\d+)", name):
            moved = points.clone().requires_grad_()
            (out[name],) = torch.autograd.grad(model.sdf(moved, codes[int(match[1])]).sum(), moved)
        elif match := re.fullmatch(r"create_mesh_points_N(\d+)_under_torch2", name):
            out[name] = official_grid(int(match[1]), true_division=True)
        elif match := re.fullmatch(r"grid_points_N(\d+)_intended", name):
            out[name] = official_grid(int(match[1]))
        elif match := re.fullmatch(r"grid_sdf_N(\d+)_intended_scene(\d+)", name):
            n = int(match[1])
            grid = official_grid(n).to(dtype)
            out[name] = model.sdf(grid, codes[int(match[2])]).reshape(n, n, n)

    if "recon_samples" not in set.inputs:
        return out
    start, samples = set.inputs["recon_init_latent"], set.inputs["recon_samples"]
    settings = dict(re.findall(r"(\w+)=([0-9.e-]+)", set.meta["recon"]))
    code, loss = reconstruct(
        model.sdf,
        samples,
        start[0],
        iterations=int(settings["num_iterations"]),
        rate=float(settings["lr"]),
        clamp=float(settings["clamp_dist"]),
    )
    return out | {"recon_latent": code[None], "recon_loss": torch.tensor([loss])}


def official_grid(num: int, *, true_division: bool = False) -> Tensor:
    """The points create_mesh asks for, z fastest, on [-1, 1]³. [num³, 3]

    true_division: the released line `index / N` under torch ≥ 1.5, which leaves fractions of a cell in x and y: its
    points are skewed. Older torch divided whole numbers; that grid was meant.
    """
    index = torch.arange(num**3)
    if true_division:
        y = index / num % num
        x = index / num / num % num
    else:
        y, x = index // num % num, index // num**2 % num
    return torch.stack([x, y, index % num], dim=-1).float() * (2 / (num - 1)) - 1
