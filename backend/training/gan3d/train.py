"""Train a 3D-GAN (Wu et al., arxiv.org/abs/1610.07584): a generator of voxels G against a discriminator D (Eq. 1):

    min_G max_D  log D(x)  +  log(1 - D(G(z)))

In three dimensions D learns faster than G. The paper slows it down: its rate is a fraction of G's, and a batch that it
classifies too well does not train it (`accuracy_gate`). `published()` is that. With a few hundred shapes D still
memorises them; `small()` limits D's capacity instead: spectral normalisation, the hinge loss of Miyato et al.
(arxiv.org/abs/1802.05957), batches shifted by a voxel or two so that no shape is repeated exactly, and a running mean
of G as the result.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...generators.gan3d.model import Generator, draw_latents
from .. import runs
from ..data import chair_views
from ..runs import Loop, State, follow, update
from .adversarial import build_discriminator, generate, loss_of_discriminator, loss_of_generator, shifted
from .config import GanTraining, published, small
from .data import load_voxels
from .export import built, export, write_progress_image


@dataclass(frozen=True)
class Report:
    """Losses of one step."""

    discriminator_loss: float
    generator_loss: float
    accuracy: float  # of the discriminator on this step's batch


def train(
    config: GanTraining,
    out: Path,
    voxels: Tensor,  # [num_shapes, side, side, side] 0..1
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str, Report], None] = lambda fraction, text, report: None,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 240.0,
    draw: Callable[[Generator, Path], None] | None = None,
) -> Generator:
    """Train, or resume from `out/checkpoint.safetensors`. Returns the averaged generator, in evaluation mode.

    A killed run loses at most `checkpoint_seconds`. `draw(generator, path)` draws `out/progress.png`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration, or voxels have another side.
    """
    if voxels.shape[1:] != (config.side,) * 3:
        raise ValueError(f"voxels must be [num_shapes, {config.side}, …], got {list(voxels.shape)}")
    voxels = voxels.to(device)
    torch.manual_seed(config.seed)
    generator = Generator(config.z_dim, config.channels, config.side).to(device)
    discriminator = build_discriminator(config).to(device)
    averaged = copy.deepcopy(generator).eval().requires_grad_(False)
    betas = (config.beta, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, betas)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), config.discriminator_rate, betas)
    state = State(
        config,
        {"generator": generator, "averaged": averaged, "discriminator": discriminator},
        {"generator": generator_adam, "discriminator": discriminator_adam},
    )
    loop = Loop(
        state, out / "checkpoint.safetensors", config.steps, progress=progress,
        checkpoint_seconds=checkpoint_seconds, draw_seconds=draw_seconds,
        draw=None if draw is None else lambda path: draw(averaged, path),
    )  # fmt: skip
    for step in loop:
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        real = voxels[torch.randint(len(voxels), (config.batch,), generator=random).to(device)]

        z = draw_latents(config.prior, (config.batch, config.z_dim), random).to(device)
        with torch.no_grad():
            fake = generate(generator, z, config.mirror)
        real_score = discriminator.score(shifted(real, config.shift, random))
        fake_score = discriminator.score(shifted(fake, config.shift, random))
        discriminator_loss = loss_of_discriminator(config.loss, real_score, fake_score)
        accuracy = float(((real_score > 0).float().mean() + (fake_score < 0).float().mean()) / 2)
        if accuracy <= config.accuracy_gate:
            update(discriminator_adam, discriminator_loss)

        z = draw_latents(config.prior, (config.batch, config.z_dim), random).to(device)
        discriminator.requires_grad_(False)  # it only scores
        fake_score = discriminator.score(shifted(generate(generator, z, config.mirror), config.shift, random))
        generator_loss = loss_of_generator(config.loss, fake_score)
        update(generator_adam, generator_loss)
        discriminator.requires_grad_(True)
        follow(averaged, generator, config.average)

        report = Report(discriminator_loss.item(), generator_loss.item(), accuracy)
        loop.report(
            f"D {report.discriminator_loss:.3f}  G {report.generator_loss:.3f}  accuracy {accuracy:.2f}", report
        )
    return averaged


def main(arguments: list[str]) -> None:
    """Train on the voxels that `python -m backend.training.data.chair_views` wrote."""
    parser = runs.recipe_options(
        "gan3d", __doc__, data="backend.training.data.chair_views", out="model",
        published="the rates and the losses of the paper, at 32³",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = replace(published(), side=32, mirror=True) if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    voxels = load_voxels(options.data, range(chair_views.NUM_TRAIN))

    def draw(generator: Generator, path: Path) -> None:
        write_progress_image(built(config, generator), path)

    generator = train(config, options.out, voxels, device=runs.device_of(options.device), progress=runs.say, draw=draw)
    export(
        built(config, generator), options.out / "model", label="Chairs (3D-GAN)",
        description="Chairs as voxels, 32³", card="Trained by `backend/training/gan3d/train.py`.",
    )  # fmt: skip
    sys.stdout.write(f"{options.out / 'model'}\n")
