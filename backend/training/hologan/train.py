"""Train HoloGAN: a generator that learns from images without poses.

Each step draws a random code z and view, renders, and trains a discriminator against real images
(arxiv.org/abs/1904.01326, Sec. 3). The real images have no pose labels: the generator learns that rotating its feature
volume rotates the object, because a rigid rotation is all that a view changes. Three losses:

    discriminator   softplus(-D(x)) + softplus(D(G(z, view)))           non-saturating GAN loss
    generator       softplus(-D(G(z, view)))
    identity, both  |F(G(z, view)) - z|²                                the code is recovered from every view (Sec. 3.4)

The result is the running mean of the generator's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image as PIL
from safetensors.torch import save
from torch import Tensor

from ...files import write_atomically
from ...generators.hologan.model import Discriminator, Generator
from .. import runs
from ..images import enlarged
from ..runs import Journal, Loop, State, follow, update
from .config import HoloGANTraining, official, small
from .data import random_views, real_images, views_at

LOSSES = ("loss_d", "loss_g", "identity", "real", "fake")
"""Names in losses.jsonl: the losses, and the discriminator's mean probabilities of real and generated images."""


def train(
    config: HoloGANTraining,
    out: Path,
    images: Tensor,  # [num_images, 3, side, side] uint8
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 180.0,
    snapshot_steps: int = 200,
    report_steps: int = 50,
) -> Generator:
    """Train, or resume from `out/checkpoint.safetensors`. Returns the generator with the mean weights.

    A killed run loses at most `checkpoint_seconds`. Beside the checkpoint lie `progress.png` (rows: one z each;
    columns: azimuths), `losses.jsonl`, and in `snapshots/` the mean weights every `snapshot_steps`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    images = images.to(device)
    torch.manual_seed(config.seed)
    generator, mean = Generator(config.generator).to(device), Generator(config.generator).to(device)
    mean.load_state_dict(generator.state_dict())
    discriminator = Discriminator(config.discriminator_channels, 4, config.generator.z_dim, config.generator.side)
    discriminator.to(device)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, (0.5, 0.999))
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), config.discriminator_rate, (0.5, 0.999))
    state = State(
        config,
        {"generator": generator, "mean": mean, "discriminator": discriminator},
        {"generator": generator_adam, "discriminator": discriminator_adam},
    )
    loop = Loop(
        state, out / "checkpoint.safetensors", config.steps, progress=progress, report_steps=report_steps,
        checkpoint_seconds=checkpoint_seconds, draw_seconds=draw_seconds,
        draw=lambda path: contact_sheet(mean, config).save(path),
    )  # fmt: skip
    (out / "snapshots").mkdir(parents=True, exist_ok=True)
    journal = Journal(out, LOSSES, 0.98)
    for step in loop:
        falling = 1 - max(0.0, 4 * step / config.steps - 3) * (1 - config.final_rate)  # in the last quarter
        generator_adam.param_groups[0]["lr"] = falling * config.generator_rate
        discriminator_adam.param_groups[0]["lr"] = falling * config.discriminator_rate
        real, z, view = draw(config, images, step)

        fake = generator(z, view)
        discriminator.requires_grad_(True)
        real_logit, _ = discriminator(real)
        fake_logit, guess = discriminator(fake.detach())
        loss_d = F.softplus(-real_logit).mean() + F.softplus(fake_logit).mean()
        update(discriminator_adam, loss_d + config.identity * F.mse_loss(guess, z))

        discriminator.requires_grad_(False)
        logit, guess = discriminator(fake)
        loss_g, identity = F.softplus(-logit).mean(), F.mse_loss(guess, z)
        update(generator_adam, loss_g + config.identity * identity)
        follow(mean, generator, min(config.mean_decay, (step + 1) / (step + 11)))

        journal.add((loss_d, loss_g, identity, real_logit.sigmoid().mean(), fake_logit.sigmoid().mean()))
        loop.report(journal)
        if (step + 1) % snapshot_steps == 0:
            weights = {name: value.cpu() for name, value in mean.state_dict().items()}
            write_atomically(out / "snapshots" / f"step{step + 1:06d}.safetensors", save(weights))
    return mean


def draw(config: HoloGANTraining, images: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return one step's real images in -1..1, and z and view of as many to generate, on the device of the images."""
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = torch.randint(len(images), (config.batch,), generator=random)
    z = torch.rand(config.batch, config.generator.z_dim, generator=random) * 2 - 1
    views = random_views(config, config.batch, random)
    device = images.device
    return images[chosen.to(device)] / 127.5 - 1, z.to(device), views.to(device)


@torch.no_grad()
def contact_sheet(
    generator: Generator, config: HoloGANTraining, rows: int = 8, columns: int = 9, scale: int = 2
) -> PIL.Image:
    """Return an image: each row one z, rotated from one end of the trained azimuths to the other."""
    random = torch.Generator().manual_seed(0)
    z = torch.rand(rows, config.generator.z_dim, generator=random) * 2 - 1
    azimuth = torch.linspace(-config.azimuth, config.azimuth, columns)
    elevation = torch.full((columns,), sum(config.elevation) / 2)
    device = generator.constant.device
    views = views_at(azimuth, elevation).to(device)
    strips = [torch.cat(list(generator(row.expand(columns, -1), views)), -1) for row in z.to(device)]
    return enlarged(torch.cat(strips, 1), scale)


def main(arguments: list[str]) -> None:
    """Train on the images that `python -m backend.training.data.chair_views` wrote."""
    parser = runs.recipe_options(
        "hologan", __doc__, data="backend.training.data.chair_views", out="snapshots",
        published="the network of the paper, for a GPU",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    images = real_images(options.data, config.azimuth)
    train(config, options.out, images, device=runs.device_of(options.device), progress=runs.say)
