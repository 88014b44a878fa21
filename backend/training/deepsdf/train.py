"""Training DeepSDF, the loop of the lecture: an auto-decoder learns a network and one code for each shape together.

There is no encoder. Every shape i owns a code z_i, a free parameter that starts as small noise; network θ and codes
minimise the same loss by gradient descent (Eq. 9 of arxiv.org/abs/1901.05103):

    Σ_i Σ_j | clamp(f_θ(z_i, x_j), δ) - clamp(s_j, δ) |  +  λ |z_i|²

The clamp (Eq. 4) spends the network near the surface, and the prior on z keeps the codes in one cloud, so that a point
between two codes is again a shape. The prior is faded in, for a code must first become different from its neighbours.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ...generators.deepsdf.model import Decoder
from ...models.store import write_atomically
from .. import runs
from .config import DeepSDFTraining, official, small


def train(
    config: DeepSDFTraining,
    out: Path,
    samples: Tensor,  # [num_shapes, N, 4]: x, y, z, signed distance; canonical units
    *,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 300.0,
    picture: Callable[[Decoder, Tensor, Path], None] | None = None,
) -> tuple[Decoder, Tensor]:
    """Train, or go on from `out/checkpoint.safetensors`. Returns the decoder and the codes [num_shapes, latent_size].

    A killed run loses at most `checkpoint_seconds`. Every step draws its batch from a generator seeded by the number of
    the step, so the continued run computes what the uninterrupted one would have. `picture(decoder, codes, path)` draws
    what the model knows into `out/progress.png` every `picture_seconds`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration or number of shapes.
    """
    if config.mirror:
        samples = torch.cat([samples[..., :1].abs(), samples[..., 1:]], dim=-1)
    torch.manual_seed(config.seed)
    decoder = Decoder(config.decoder)
    codes = (config.code_std * torch.randn(len(samples), config.decoder.latent_size)).requires_grad_()
    groups: list[dict[str, Any]] = [{"params": list(decoder.parameters())}, {"params": [codes]}]
    optimizer = torch.optim.Adam(groups)
    path = out / "checkpoint.safetensors"
    step = _load(path, config, decoder, codes, optimizer) if path.exists() else 0
    out.mkdir(parents=True, exist_ok=True)

    started = saved = pictured = time.monotonic()
    first, mean_loss = step, math.nan
    while step < config.steps:
        decoder_rate, code_rate = _rates(config, step)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = decoder_rate, code_rate

        shapes, points, target = _batch(config, samples, step)
        z = codes[shapes]
        predicted = decoder(points, z)
        delta = config.clamp
        fit = (predicted.clamp(-delta, delta) - target.clamp(-delta, delta)).abs().mean()
        prior = z.square().sum(-1).mean()
        loss = fit + config.code_weight * min(1.0, step / config.code_weight_warmup) * prior

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1

        loss_now, prior_now = fit.item(), prior.item()
        mean_loss = loss_now if math.isnan(mean_loss) else 0.99 * mean_loss + 0.01 * loss_now
        now = time.monotonic()
        if step % 100 == 0 or step == config.steps:
            left = (now - started) / (step - first) * (config.steps - step)
            text = f"step {step}/{config.steps}  L1 {mean_loss:.5f}  |z|² {prior_now:.3f}  {left / 60:.0f} min left"
            progress(step / config.steps, text)
        if now - saved > checkpoint_seconds or step == config.steps:
            _save(path, config, decoder, codes, optimizer, step)
            saved = time.monotonic()
        if picture is not None and (now - pictured > picture_seconds or step == config.steps):
            picture(decoder, codes.detach(), out / "progress.png")
            pictured = time.monotonic()
    return decoder, codes.detach()


def train_chairs(
    config: DeepSDFTraining, out: Path, *, data: Path, progress: Callable[[float, str], None] = lambda f, text: None
) -> Path:
    """Train on the chairs of chairs.py in `data`, with progress pictures, and write a model folder `out/model`.

    The starter model is `train_chairs(small(), …)`; the last chairs.NUM_HELD_OUT are left out.
    """
    from ..data import chairs
    from .export import choose_partners, export, model_from_checkpoint, write_progress_picture

    every, metres = chairs.load_samples(data)
    count = chairs.NUM_SHAPES - chairs.NUM_HELD_OUT
    samples, metres_per_unit = torch.from_numpy(every[:count]), round(float(np.median(metres[:count])), 4)
    checkpoint = out / "checkpoint.safetensors"

    def picture(decoder: Decoder, codes: Tensor, path: Path) -> None:
        if checkpoint.exists():
            write_progress_picture(model_from_checkpoint(checkpoint, samples), path)

    train(config, out, samples, progress=progress, picture=picture)
    model = model_from_checkpoint(checkpoint, samples, metres_per_unit)
    choose_partners(model)
    export(
        model,
        out / "model",
        label="Chairs (DeepSDF)",
        description="Chairs as signed distance fields: one network, and one code for each chair",
        licence="GPL-3.0-or-later; trained on procedural chairs made with infinigen (BSD-3-Clause)",
        card="Trained by `backend/training/deepsdf.py`.",
        starter=False,
    )
    return out / "model"


def _rates(config: DeepSDFTraining, step: int) -> tuple[float, float]:
    """A linear warm-up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    factor = min(1.0, (step + 1) / config.rate_warmup) * (config.final_rate + (1 - config.final_rate) * cosine)
    return factor * config.decoder_rate, factor * config.code_rate


def _batch(config: DeepSDFTraining, samples: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes [S], points [S, P, 3], signed distances [S, P] of one step."""
    random = np.random.default_rng((config.seed, step))
    num_shapes, num_samples, _ = samples.shape
    shapes = torch.from_numpy(random.choice(num_shapes, min(config.shapes_per_step, num_shapes), replace=False))
    chosen = torch.from_numpy(random.integers(num_samples, size=(len(shapes), config.points_per_shape)))
    batch = samples[shapes[:, None], chosen]
    return shapes, batch[..., :3], batch[..., 3]


def _save(
    path: Path, config: DeepSDFTraining, decoder: Decoder, codes: Tensor, optimizer: torch.optim.Adam, step: int
) -> None:
    tensors = {f"decoder.{name}": value for name, value in decoder.state_dict().items()} | {"codes": codes.detach()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors = {name: value.clone() for name, value in tensors.items()}
    write_atomically(path, save(tensors, metadata={"config": json.dumps(asdict(config)), "step": str(step)}))


def _load(path: Path, config: DeepSDFTraining, decoder: Decoder, codes: Tensor, optimizer: torch.optim.Adam) -> int:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        stored = json.loads(metadata["config"])
        wanted = json.loads(json.dumps(asdict(config)))
        changed = [key for key in wanted if key != "steps" and stored.get(key) != wanted[key]]
        if changed or file.get_tensor("codes").shape != codes.shape:
            what = ", ".join(changed) or "the number of shapes"
            raise ValueError(f"{path} was trained with another configuration ({what}); give an empty folder")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in tensors.items() if k.startswith("decoder.")})
    codes.data.copy_(tensors["codes"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(metadata["step"])


def main(arguments: list[str]) -> None:
    """The command line: train on the distance samples that `python -m backend.training.chairs` wrote."""
    parser = runs.options(
        "deepsdf", __doc__, data="backend/training/chairs.py", out="model",
        published="the network of the paper, for an accelerator",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    sys.stdout.write(f"{train_chairs(config, options.out, data=options.data, progress=runs.say)}\n")
