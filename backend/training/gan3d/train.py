"""Training a 3D-GAN, the loop of the lecture (Wu et al., arxiv.org/abs/1610.07584): a generator of voxels G learns from
a discriminator D that is learning to tell its shapes from real ones (Eq. 1):

    min_G max_D  log D(x)  +  log(1 - D(G(z)))

D learns faster than G in three dimensions. The paper slows it down: its rate is a fraction of G's, and a batch that it
tells apart too well does not teach it (`accuracy_gate`). `published()` is that. With a few hundred shapes D still
learns them by heart; `small()` limits what D can be instead: weights of largest singular value 1, the hinge loss of
Miyato et al. (arxiv.org/abs/1802.05957), batches moved by a voxel or two so that no shape is seen twice, and a slowly
following average of G as the result.
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
from ..runs import Clock, State, follow
from .adversarial import build_discriminator, generate, loss_of_discriminator, loss_of_generator, shifted, update
from .config import GanTraining, published, small
from .data import load_voxels


@dataclass(frozen=True)
class Report:
    """What a step found."""

    discriminator_loss: float
    generator_loss: float
    accuracy: float  # of the discriminator on this step's batch


def train(
    config: GanTraining,
    out: Path,
    voxels: Tensor,  # [num_shapes, side, side, side] 0..1
    *,
    progress: Callable[[float, str, Report], None] = lambda fraction, text, report: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 240.0,
    picture: Callable[[Generator, Path], None] | None = None,
) -> Generator:
    """Train, or go on from `out/checkpoint.safetensors`. Returns the averaged generator, in evaluation mode.

    A killed run loses at most `checkpoint_seconds`. `picture(generator, path)` draws `out/progress.png`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration, or voxels have another side.
    """
    if voxels.shape[1:] != (config.side,) * 3:
        raise ValueError(f"voxels must be [num_shapes, {config.side}, …], got {list(voxels.shape)}")
    torch.manual_seed(config.seed)
    generator, discriminator = Generator(config.z_dim, config.channels, config.side), build_discriminator(config)
    averaged = copy.deepcopy(generator).eval().requires_grad_(False)
    betas = (config.beta, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, betas)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), config.discriminator_rate, betas)
    state = State(
        config,
        {"generator": generator, "averaged": averaged, "discriminator": discriminator},
        {"generator": generator_adam, "discriminator": discriminator_adam},
    )
    step = state.load(out / "checkpoint.safetensors")
    clock = Clock(out, state, step, checkpoint_seconds=checkpoint_seconds, picture_seconds=picture_seconds)
    while step < config.steps:
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        real = voxels[torch.randint(len(voxels), (config.batch,), generator=random)]

        z = draw_latents(config.prior, (config.batch, config.z_dim), random)
        with torch.no_grad():
            fake = generate(generator, z, config.mirror)
        real_score = discriminator.score(shifted(real, config.shift, random))
        fake_score = discriminator.score(shifted(fake, config.shift, random))
        discriminator_loss = loss_of_discriminator(config.loss, real_score, fake_score)
        accuracy = float(((real_score > 0).float().mean() + (fake_score < 0).float().mean()) / 2)
        if accuracy <= config.accuracy_gate:
            update(discriminator_adam, discriminator_loss)

        z = draw_latents(config.prior, (config.batch, config.z_dim), random)
        discriminator.requires_grad_(False)  # it only judges
        fake_score = discriminator.score(shifted(generate(generator, z, config.mirror), config.shift, random))
        generator_loss = loss_of_generator(config.loss, fake_score)
        update(generator_adam, generator_loss)
        discriminator.requires_grad_(True)
        follow(averaged, generator, config.average)
        step += 1

        report = Report(discriminator_loss.item(), generator_loss.item(), accuracy)
        text = f"D {report.discriminator_loss:.3f}  G {report.generator_loss:.3f}  accuracy {accuracy:.2f}"
        clock.tick(
            step,
            text,
            lambda fraction, line, report=report: progress(fraction, line, report),  # type: ignore[misc]
            None if picture is None else lambda path: picture(averaged, path),
        )
    return averaged


def main(arguments: list[str]) -> None:
    """The command line: train on the voxels that `python -m backend.training.chair_views` wrote."""
    from .export import built, export, write_progress_picture

    parser = runs.options(
        "gan3d", __doc__, data="backend/training/chair_views.py", out="model",
        published="the rates and the losses of the paper, at 32³",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = replace(published(), side=32, mirror=True) if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    voxels = load_voxels(options.data, range(chair_views.NUM_TRAIN))

    def picture(generator: Generator, path: Path) -> None:
        write_progress_picture(built(config, generator), path)

    generator = train(config, options.out, voxels, progress=runs.say, picture=picture)
    export(
        built(config, generator), options.out / "model", label="Chairs (3D-GAN)",
        description="Chairs as voxels, 32³", card="Trained by `backend/training/gan3d.py`.",
    )  # fmt: skip
    sys.stdout.write(f"{options.out / 'model'}\n")
