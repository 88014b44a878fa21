"""Training HoloGAN, the loop of the lecture: a generator that has only ever seen pictures, and none of their poses.

Each step draws a code z and a view at random, renders, and lets a discriminator compare with real pictures
(arxiv.org/abs/1904.01326, Sec. 3). Nothing says where a real picture was taken: that turning the volume must turn the
object is found because it is the only use that rigid motion has. Three losses:

    discriminator   softplus(-D(x)) + softplus(D(G(z, view)))           is it real (the non-saturating GAN loss)
    generator       softplus(-D(G(z, view)))
    identity, both  |F(G(z, view)) - z|²                                the code can be read off every view (Sec. 3.4)

The network that is kept is the running mean of the generator's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image as Picture
from safetensors.torch import save
from torch import Tensor

from ...generators.hologan.model import Discriminator, Generator
from ...models.store import write_atomically
from .. import runs
from ..runs import Clock, Journal, State, follow, page
from .config import HoloGANTraining, official, small
from .data import real_images
from .views import random_views, views_at

TEXTS = ("loss_d", "loss_g", "identity", "real", "fake")
"""What is written to losses.jsonl: means of the losses and of the discriminator's probabilities."""


def train(
    config: HoloGANTraining,
    out: Path,
    images: Tensor,  # [num_images, 3, side, side] uint8
    *,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 180.0,
    snapshot_steps: int = 200,
    report_steps: int = 50,
) -> Generator:
    """Train, or go on from `out/checkpoint.safetensors`. Returns the generator with the mean weights.

    A killed run loses at most `checkpoint_seconds`; every step draws from a generator seeded by its number. Beside the
    checkpoint lie `progress.png` (rows: one z each; columns: azimuths), `losses.jsonl`, and in `snapshots/` the mean
    weights every `snapshot_steps`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    torch.manual_seed(config.seed)
    generator, mean = Generator(config.generator), Generator(config.generator)
    mean.load_state_dict(generator.state_dict())
    discriminator = Discriminator(config.discriminator_channels, 4, config.generator.z_dim, config.generator.side)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, (0.5, 0.999))
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), config.discriminator_rate, (0.5, 0.999))
    state = State(
        config,
        {"generator": generator, "mean": mean, "discriminator": discriminator},
        {"generator": generator_adam, "discriminator": discriminator_adam},
    )
    step = state.load(out / "checkpoint.safetensors")
    (out / "snapshots").mkdir(parents=True, exist_ok=True)
    clock = Clock(
        out, state, step, checkpoint_seconds=checkpoint_seconds, picture_seconds=picture_seconds,
        report_steps=report_steps,
    )  # fmt: skip
    journal = Journal(out, TEXTS, 0.98)
    while step < config.steps:
        falling = 1 - max(0.0, 4 * step / config.steps - 3) * (1 - config.final_rate)  # in the last quarter
        generator_adam.param_groups[0]["lr"] = falling * config.generator_rate
        discriminator_adam.param_groups[0]["lr"] = falling * config.discriminator_rate
        real, z, view = draw(config, images, step)

        fake = generator(z, view)
        discriminator.requires_grad_(True)
        real_logit, _ = discriminator(real)
        fake_logit, guess = discriminator(fake.detach())
        loss_d = F.softplus(-real_logit).mean() + F.softplus(fake_logit).mean()
        discriminator_adam.zero_grad()
        (loss_d + config.identity * F.mse_loss(guess, z)).backward()
        discriminator_adam.step()

        discriminator.requires_grad_(False)
        logit, guess = discriminator(fake)
        loss_g, identity = F.softplus(-logit).mean(), F.mse_loss(guess, z)
        generator_adam.zero_grad()
        (loss_g + config.identity * identity).backward()
        generator_adam.step()

        step += 1
        follow(mean, generator, min(config.mean_decay, step / (step + 10)))

        journal.add((loss_d, loss_g, identity, real_logit.sigmoid().mean(), fake_logit.sigmoid().mean()))
        clock.tick(step, journal, progress, lambda path: contact_sheet(mean, config).save(path))
        if step % snapshot_steps == 0:
            write_atomically(out / "snapshots" / f"step{step:06d}.safetensors", save(mean.state_dict()))
    return mean


def draw(config: HoloGANTraining, images: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return one step's real images in -1..1, and z and view of as many to generate."""
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = torch.randint(len(images), (config.batch,), generator=random)
    z = torch.rand(config.batch, config.generator.z_dim, generator=random) * 2 - 1
    return images[chosen] / 127.5 - 1, z, random_views(config, config.batch, random)


@torch.no_grad()
def contact_sheet(
    generator: Generator, config: HoloGANTraining, rows: int = 8, columns: int = 9, scale: int = 2
) -> Picture.Image:
    """Return a picture: each row one z, turned from one end of the trained azimuths to the other."""
    random = torch.Generator().manual_seed(0)
    z = torch.rand(rows, config.generator.z_dim, generator=random) * 2 - 1
    azimuth = torch.linspace(-config.azimuth, config.azimuth, columns)
    elevation = torch.full((columns,), sum(config.elevation) / 2)
    views = views_at(azimuth, elevation)
    strips = []
    for row in z:
        pictures = generator(row.expand(columns, -1), views)
        strips.append(torch.cat(list(pictures), -1))
    return page(torch.cat(strips, 1), scale)


def main(arguments: list[str]) -> None:
    """The command line: train on the pictures that `python -m backend.training.chair_views` made."""
    parser = runs.options(
        "hologan", __doc__, data="backend/training/chair_views.py", out="snapshots",
        published="the network of the paper, for an accelerator",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    train(config, options.out, real_images(options.data, config.azimuth), progress=runs.say)
