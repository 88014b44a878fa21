"""Train GRAF: a discriminator of patches of several scales (arxiv.org/abs/2007.02442).

`python -m backend train graf --data IMAGES --out FOLDER` runs `small()`, for a CPU; `--preset published` the paper's
recipe. The images need no poses: cameras are drawn from those of the data where it has some, else from ranges.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ...generators.graf.discriminator import PatchDiscriminator
from ...generators.graf.model import GRAF, GRAFConfig
from ...generators.graf.scene import WORLD_FROM_CANONICAL
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.random_cameras import Cameras, random_cameras
from ..data.training_images import TrainingImages
from .config import GRAFTraining, published, small, small_published
from .patches import patch_places, patches_at


def train(config: GRAFTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    torch.manual_seed(config.seed)
    generator = GRAF(network_config(config, data))
    # R3GAN's loss and penalties are for networks without normalisation
    discriminator = PatchDiscriminator(config.patch, config.discriminator_channels, config.loss == "published")
    run = AdversarialRun(
        config, out, generator, discriminator, options,
        card=lambda: card(config, data), optimizers=optimizers(config, generator, discriminator),
    )  # fmt: skip
    for step in run:
        # 1. Generate a representation of a scene: a field with a code for its shape and one for its appearance
        ws = generator.ws_from_z(step.normal(config.z_dim))

        # 2. Render a patch of it from a random camera pose
        cameras, places = random_cameras(step, data, config.poses), random_places(config, step)
        with run.precision():
            fake = render(generator, ws, cameras, places, step, config.noise_at(step.number))

        # 3. Show it to the discriminator, and the patch at the same place of a real image
        real = patches_at(step.images(data.images, step.choose(len(data.images))), places)
        real, seen = real.requires_grad_(), fake.detach().requires_grad_()
        real_scores, fake_scores = discriminator(real), discriminator(seen)
        loss_d = discriminator_loss(config.loss, real_scores, fake_scores)
        gradients = penalty(config, step.number, (real_scores, real), (fake_scores, seen))
        run.update("discriminator", loss_d + gradients)

        # 4. Back-propagate through discriminator and differentiable rendering
        again = discriminator(real.detach()) if config.loss == "r3gan" else None
        loss_g = generator_loss(config.loss, discriminator(fake), again)
        run.update("generator", loss_g)
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, real=real_scores, fake=fake_scores)
    return run


def random_places(config: GRAFTraining, step: Step) -> Tensor:
    """Return the places [batch, patch, patch, 2] of a patch of each image, −1 … 1 (section 3.2.2)."""
    smallest, largest = config.scales.smallest_at(step.number), config.scales.largest
    scale = smallest + step.uniform() * (largest - smallest)
    return patch_places(config.patch, scale, step.uniform(2) * 2 - 1)


def render(generator: GRAF, ws: Tensor, cameras: Cameras, places: Tensor, step: Step, noise: float) -> Tensor:
    """Return patches [batch, 3, patch, patch] with colours in −1 … 1, seen by world cameras at `places`.

    noise: standard deviation of the noise on raw densities.
    """
    side = generator.config.image_size
    # −1 and 1 are the centres of the outer pixels
    in_image = ((places.flatten(1, 2) + 1) / 2 * (side - 1) + 0.5) / side
    rotation = WORLD_FROM_CANONICAL.to(ws)
    origins, directions = (vectors @ rotation for vectors in cameras.rays(in_image))
    samples = (places.shape[1] * places.shape[2], generator.config.num_samples)
    jitter, density_noise = step.uniform(*samples), step.normal(*samples) * noise
    rgb = generator.render(ws, origins, directions, jitter=jitter, density_noise=density_noise).rgb
    return rgb.transpose(1, 2).unflatten(2, places.shape[1:3]) * 2 - 1


def network_config(config: GRAFTraining, data: TrainingImages) -> GRAFConfig:
    """Return the network's configuration: the depths around the unit sphere, of cameras as far as those of the data."""
    nearest, farthest = data.prior.radius, data.prior.radius
    if data.world_from_camera is not None:
        away = data.world_from_camera[:, :3, 3].norm(dim=1)
        nearest, farthest = float(away.min()), float(away.max())
    if farthest - nearest < 1e-3 * farthest:
        nearest = farthest
    return GRAFConfig(
        z_dim=config.z_dim, appearance_dim=config.appearance_dim, num_layers=config.num_layers,
        hidden_dim=config.hidden_dim, point_frequencies=config.point_frequencies, num_samples=config.num_samples,
        near=max(farthest - 1, 0.01 * farthest), far=farthest + 1, radius=(nearest, farthest),
        white_background=data.background == "white", fov_degrees=math.degrees(data.prior.fov),
        image_size=data.images.shape[-1],
    )  # fmt: skip


def optimizers(
    config: GRAFTraining, generator: GRAF, discriminator: PatchDiscriminator
) -> dict[str, torch.optim.Optimizer] | None:
    """Return RMSprop for both networks, as published; None leaves Adam to the run."""
    if config.optimizer == "adam":
        return None
    return {
        "generator": torch.optim.RMSprop(generator.parameters(), config.generator_rate),
        "discriminator": torch.optim.RMSprop(discriminator.parameters(), config.discriminator_rate),
    }


def card(config: GRAFTraining, data: TrainingImages) -> ModelCard:
    """Return the card of the model that a training gives."""
    return trained_card(
        data, "graf", "GRAF", "{what} as radiance fields with codes for shape and appearance, learned from images",
        asdict(network_config(config, data)),
        f"Trained from {len(data.images)} images of {data.images.shape[-1]}² pixels in patches of {config.patch}², "
        f"loss: {config.loss} (backend/training/graf/train.py).",
    )  # fmt: skip


RECIPE = Recipe(
    "graf", "GRAF", "A radiance field with codes for shape and appearance, trained on patches of images.",
    {"small": small, "small-published": small_published, "published": published},
    side=lambda config: config.side, train=train,
)  # fmt: skip
