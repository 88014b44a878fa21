"""Train HoloGAN: a generator that learns to turn objects from images alone (arxiv.org/abs/1904.01326).

`python -m backend train hologan --data IMAGES --out FOLDER` runs `small()`, for a CPU; `--preset published` the paper's
recipe. The images need no poses: a rigid rotation of its features is all that a view changes, so the generator learns
that it turns the object (Sec. 3). Where images have poses, `told_view` lets the discriminator see them, which fixes the
front, the direction and the amount of each turn. The discriminator also guesses the code of each generated image from
every view, so that a code keeps its identity (Sec. 3.4).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...generators.hologan.model import Discriminator, Generator
from ...generators.hologan.scene import Facing
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.folded_discriminator import FoldedDiscriminator, angles_condition
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions
from ..data.random_cameras import random_cameras
from ..data.training_images import TrainingImages
from .config import HoloGANTraining, published, small

FACING = Facing(0.0, -1.0)
"""The network's azimuths are the negative of the world's: with growing azimuth the near side of its volume moves to the
right, as if the camera moved to the left. With the same sign, azimuth and elevation would turn it as nothing turns."""


def train(config: HoloGANTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    torch.manual_seed(config.seed)
    generator, discriminator = Generator(config.generator), new_discriminator(config)
    real_angles = data.angles() if config.told_view and data.world_from_camera is not None else None
    run = AdversarialRun(config, out, generator, discriminator, options, card=lambda: card(config, data))
    for step in run:
        # 1. Generate a representation of a scene: a volume of features
        z = 2 * step.uniform(config.generator.z_dim) - 1

        # 2. Show it from a random viewpoint: rotate the volume, and project it to an image
        angles = random_cameras(step, data, config.poses).angles().to(z)
        with run.precision():
            fake = generator(z, views_at(angles)).float()
        index = step.choose(len(data.images))
        real = step.images(data.images, index).requires_grad_()
        told: tuple[Tensor, ...] = ()
        told_real: tuple[Tensor, ...] = ()
        if real_angles is not None:
            told, told_real = (angles_condition(angles),), (angles_condition(real_angles[index.cpu()].to(z)),)

        # 3. Show the image to the discriminator, which also guesses the code
        seen = fake.detach().requires_grad_()
        (of_real, _), (of_fake, guess) = discriminator(real, *told_real), discriminator(seen, *told)
        loss_d = discriminator_loss(config.loss, of_real, of_fake)
        gradients = penalty(config, step.number, (of_real, real), (of_fake, seen)) if config.gamma else 0.0
        run.update("discriminator", loss_d + gradients + config.identity * F.mse_loss(guess, z))

        # 4. Back-propagate through discriminator, projection and rotation
        score, guess = discriminator(fake, *told)
        paired = discriminator(real.detach(), *told_real)[0] if config.loss == "r3gan" else None
        loss_g, identity = generator_loss(config.loss, score, paired), F.mse_loss(guess, z)
        run.update("generator", loss_g + config.identity * identity)
        run.report(loss_d=loss_d, loss_g=loss_g, identity=identity, penalty=gradients)
    return run


def new_discriminator(config: HoloGANTraining) -> nn.Module:
    """Return the published discriminator, or a folded one; both give scores and a guess of z."""
    shape = config.generator
    if config.discriminator_widths:
        condition = 4 if config.told_view else 0
        return FoldedDiscriminator(
            shape.side, config.discriminator_widths, condition_dim=condition, outputs=shape.z_dim
        )
    return Discriminator(config.discriminator_channels, 4, shape.z_dim, shape.side)


def views_at(angles: Tensor) -> Tensor:
    """Return the network's views [n, 6], unscaled, of azimuths and elevations [n, 2] in the world, radians."""
    view = angles.new_zeros(len(angles), 6)
    view[:, 0], view[:, 1], view[:, 2] = FACING.front + FACING.direction * angles[:, 0], angles[:, 1], 1.0
    return view


def card(config: HoloGANTraining, data: TrainingImages) -> ModelCard:
    """Return the card of the model that a training gives."""
    return trained_card(
        data, "hologan", "HoloGAN", "Images of {what} from features that are rotated in 3D, without a surface",
        {"network": asdict(config.generator), "facing": asdict(FACING)},
        f"Trained from {len(data.images)} images of {config.generator.side} pixels, loss: {config.loss}, the "
        f"discriminator {'was told' if config.told_view else 'did not know'} the view "
        "(backend/training/hologan/train.py).",
    )  # fmt: skip


RECIPE = Recipe(
    name="hologan",
    label="HoloGAN",
    description="Train HoloGAN: images of objects that it can turn, from images without poses or with them.",
    presets={"small": small, "published": published},
    side=lambda config: config.generator.side,
    train=train,
)
