"""Train DeepSDF: an auto-decoder learns a network and one code for each shape together.

There is no encoder. Every shape i owns a code z_i, a free parameter that starts as small noise; network θ and codes
minimise the same loss by gradient descent (Eq. 9 of arxiv.org/abs/1901.05103):

    Σ_i Σ_j | clamp(f_θ(z_i, x_j), δ) - clamp(s_j, δ) |  +  λ |z_i|²

The clamp (Eq. 4) spends the network's capacity near the surface, and the prior on z keeps the codes close together, so
that a point between two codes is a shape too. The prior is faded in, because each code must first become distinct.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...generators.deepsdf.model import Decoder
from .. import runs
from ..data import chairs
from ..runs import Loop, State
from .config import DeepSDFTraining, official, small
from .export import choose_partners, export, model_from_checkpoint, write_progress_image


def train(
    config: DeepSDFTraining,
    out: Path,
    samples: Tensor,  # [num_shapes, N, 4]: x, y, z, signed distance; canonical units
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 300.0,
    draw: Callable[[Path], None] | None = None,
) -> tuple[Decoder, Tensor]:
    """Train, or resume from `out/checkpoint.safetensors`. Returns the decoder and the codes [num_shapes, latent_size].

    A killed run loses at most `checkpoint_seconds`. `draw(path)` draws `out/progress.png` every `draw_seconds`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration or number of shapes.
    """
    if config.mirror:
        samples = torch.cat([samples[..., :1].abs(), samples[..., 1:]], dim=-1)
    samples = samples.to(device)
    torch.manual_seed(config.seed)
    decoder = Decoder(config.decoder)
    codes = config.code_std * torch.randn(len(samples), config.decoder.latent_size)
    decoder, codes = decoder.to(device), codes.to(device).requires_grad_()
    groups: list[dict[str, Any]] = [{"params": list(decoder.parameters())}, {"params": [codes]}]
    optimizer = torch.optim.Adam(groups)
    state = State(config, {"decoder": decoder}, {"": optimizer}, {"codes": codes}, size="the number of shapes")
    loop = Loop(
        state, out / "checkpoint.safetensors", config.steps, progress=progress, report_steps=100,
        checkpoint_seconds=checkpoint_seconds, draw=draw, draw_seconds=draw_seconds,
    )  # fmt: skip
    mean_loss = math.nan
    for step in loop:
        decoder_rate, code_rate = _rates(config, step)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = decoder_rate, code_rate

        shapes, points, target = _batch(config, samples, step)
        z = codes[shapes]
        predicted = decoder(points, z)
        delta = config.clamp
        fit = (predicted.clamp(-delta, delta) - target.clamp(-delta, delta)).abs().mean()
        prior = z.square().sum(-1).mean()
        loss = fit + config.code_weight * min(1.0, step / config.code_weight_warmup) * prior
        runs.update(optimizer, loss)

        mean_loss = fit.item() if math.isnan(mean_loss) else 0.99 * mean_loss + 0.01 * fit.item()
        loop.report(f"L1 {mean_loss:.5f}  |z|² {prior.item():.3f}")
    return decoder, codes.detach()


def train_chairs(
    config: DeepSDFTraining,
    out: Path,
    *,
    data: Path,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> Path:
    """Train on the chairs of `data` (see data/chairs.py), and write a model folder `out/model`.

    The starter model is `train_chairs(small(), …)`; the last chairs.NUM_HELD_OUT are left out.
    """
    every, metres = chairs.load_samples(data)
    count = chairs.NUM_SHAPES - chairs.NUM_HELD_OUT
    samples, metres_per_unit = torch.from_numpy(every[:count]), round(float(np.median(metres[:count])), 4)
    checkpoint = out / "checkpoint.safetensors"

    def draw(path: Path) -> None:
        if checkpoint.exists():
            write_progress_image(model_from_checkpoint(checkpoint, samples), path)

    train(config, out, samples, device=device, progress=progress, draw=draw)
    model = model_from_checkpoint(checkpoint, samples, metres_per_unit)
    choose_partners(model)
    export(
        model,
        out / "model",
        label="Chairs (DeepSDF)",
        description="Chairs as signed distance fields: one network, and one code for each chair",
        licence=chairs.LICENCE,
        card="Trained by `backend/training/deepsdf/train.py`.",
        starter=False,
    )
    return out / "model"


def _rates(config: DeepSDFTraining, step: int) -> tuple[float, float]:
    """Return the learning rates of decoder and codes: a linear warm-up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    factor = min(1.0, (step + 1) / config.rate_warmup) * (config.final_rate + (1 - config.final_rate) * cosine)
    return factor * config.decoder_rate, factor * config.code_rate


def _batch(config: DeepSDFTraining, samples: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return shapes [S], points [S, P, 3] and signed distances [S, P] of one step, on the device of the samples."""
    random = np.random.default_rng((config.seed, step))
    num_shapes, num_samples, _ = samples.shape
    shapes = torch.from_numpy(random.choice(num_shapes, min(config.shapes_per_step, num_shapes), replace=False))
    chosen = torch.from_numpy(random.integers(num_samples, size=(len(shapes), config.points_per_shape)))
    shapes, chosen = shapes.to(samples.device), chosen.to(samples.device)
    batch = samples[shapes[:, None], chosen]
    return shapes, batch[..., :3], batch[..., 3]


def main(arguments: list[str]) -> None:
    """Train on the distance samples that `python -m backend.training.data.chairs` wrote."""
    parser = runs.recipe_options(
        "deepsdf", __doc__, data="backend.training.data.chairs", out="model",
        published="the network of the paper, for a GPU",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    folder = train_chairs(
        config, options.out, data=options.data, device=runs.device_of(options.device), progress=runs.say
    )
    sys.stdout.write(f"{folder}\n")
