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
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..generators.gan3d.model import Discriminator, Generator, draw_latents, mirrored
from . import chair_views, runs
from .runs import Clock, State, follow


@dataclass(frozen=True)
class GanTraining:
    """One training run. Stored whole in its checkpoint."""

    z_dim: int = 200
    channels: int = 64
    discriminator_channels: int = 64
    side: int = 64
    prior: Literal["uniform", "normal"] = "uniform"  # of z: U[0, 1], or N(0, 1)
    mirror: bool = False  # every shape is symmetric in x: a generated one is averaged with its mirror image
    loss: Literal["cross_entropy", "hinge"] = "cross_entropy"
    normalise: Literal["batch", "spectral"] = "batch"  # in the discriminator
    steps: int = 20_000
    batch: int = 100
    generator_rate: float = 2.5e-3  # Adam
    discriminator_rate: float = 1e-5
    beta: float = 0.5
    accuracy_gate: float = 0.8  # a batch told apart better than this does not teach the discriminator
    shift: int = 0  # voxels that the discriminator's shapes are moved by at random, at most
    average: float = 0.0  # share that the averaged generator keeps of itself in a step; 0: it is the generator
    seed: int = 0


def published() -> GanTraining:
    """Sec. 3.1 of the paper: 64³, for an accelerator and thousands of shapes."""
    return GanTraining()


def small() -> GanTraining:
    """32³ and an eighth of the weights, for a processor and hundreds of shapes."""
    return GanTraining(
        z_dim=32, channels=32, discriminator_channels=16, side=32, prior="normal", mirror=True, loss="hinge",
        normalise="spectral", steps=3000, batch=16, generator_rate=1e-3, discriminator_rate=1e-3, accuracy_gate=1.0,
        shift=2, average=0.99,
    )  # fmt: skip


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


GROWTH = 0.3
"""Voxels by which every surface is moved outwards: bars of these chairs are thinner than a voxel, and would be lost."""


def soft_occupancy(distances: Tensor, cube_half: float) -> Tensor:
    """Occupancy 0..1 of signed distances [..., side, side, side] in a cube: it falls from 1 to 0 over two voxels about
    the surface, so that the level one half between the voxels is as smooth as the surface is."""
    voxel = 2 * cube_half / distances.shape[-1]
    return (0.5 - (distances.float() / voxel - GROWTH) / 2).clamp(0, 1)


def load_voxels(views: Path, seeds: range) -> Tensor:
    """Occupancy of chairs that chair_views.py wrote. [num_shapes, 32, 32, 32], indexed z, y, x"""
    distances = chair_views.load_views(views, seeds, ("distances",))["distances"]
    return soft_occupancy(torch.from_numpy(distances), chair_views.CUBE_HALF)


def build_discriminator(config: GanTraining) -> Discriminator:
    """The discriminator of a run."""
    return Discriminator(config.discriminator_channels, config.side, config.normalise)


def generate(generator: Generator, z: Tensor, mirror: bool) -> Tensor:
    """Occupancy [N, side, side, side] of z [N, z_dim], made symmetric in x if the shapes are."""
    logits = generator.logits(z)
    return torch.sigmoid(mirrored(logits) if mirror else logits)


def shifted(voxels: Tensor, most: int, random: torch.Generator) -> Tensor:
    """Each of the voxel cubes [N, S, S, S] moved by its own whole number of voxels along each axis, at most `most`."""
    if most == 0:
        return voxels
    side = voxels.shape[-1]
    padded = functional.pad(voxels, (most,) * 6)
    moves = torch.randint(2 * most + 1, (len(voxels), 3), generator=random).tolist()
    return torch.stack(
        [cube[i : i + side, j : j + side, k : k + side] for cube, (i, j, k) in zip(padded, moves, strict=True)]
    )


def loss_of_discriminator(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises, of its scores [N, 1]."""
    if loss == "hinge":
        return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def loss_of_generator(loss: str, fake: Tensor) -> Tensor:
    """What the generator minimises; for cross-entropy the form with gradients where it is losing, -log D(G(z))."""
    return -fake.mean() if loss == "hinge" else functional.softplus(-fake).mean()


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def main(arguments: list[str]) -> None:
    """The command line: train on the voxels that `python -m backend.training.chair_views` wrote."""
    from .gan3d_export import built, export, write_progress_picture

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
