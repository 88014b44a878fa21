"""Train π-GAN: a field of sine layers, and a discriminator that grows with the images (arxiv.org/abs/2012.00926).

`python -m backend train pigan --data IMAGES --out FOLDER` runs `small()`, for a CPU; `--preset published` the paper's
recipe. The images need no poses: cameras are drawn from those of the data where it has some, else from ranges.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import InvalidRequest

from ...generators.pigan.discriminator import WIDTHS, Judgement, ProgressiveDiscriminator
from ...generators.pigan.model import PiGAN, PiGANConfig
from ...generators.pigan.scene import WORLD_FROM_CANONICAL
from ...models.card import ModelCard
from ...rendering import sampling
from ...scenes.volume import even_around
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.processes import Processes
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.random_cameras import Cameras, pixel_centers, random_cameras
from ..data.training_images import TrainingImages
from .config import PiGANTraining, published, small, small_published


def train(config: PiGANTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    check_batches(config, options.processes)
    torch.manual_seed(config.seed)
    generator = PiGAN(network_config(config, data))
    discriminator = growing_discriminator(config)
    run = AdversarialRun(
        config, out, generator, discriminator, options, card=lambda: card(config, data), clip=config.clip
    )
    for step in run:
        stage, fade = config.stage_at(step.number), config.fade_at(step.number)
        run.set_rate("generator", stage.generator_rate)
        run.set_rate("discriminator", stage.discriminator_rate)

        # 1. Generate a representation of a scene: frequencies and phases of the field's sine layers
        ws = generator.mapping_network(step.normal(config.z_dim))

        # 2. Render it from a random camera pose
        cameras = random_cameras(step, data, config.poses)
        with run.precision():
            fake = render(generator, ws, cameras, stage.side, step, config.noise_at(step.number))
        pose = pitch_and_yaw(cameras)

        # 3. Show the images to the discriminator, and real ones of the same size
        real = resized(step.images(data.images, step.choose(len(data.images))), stage.side).requires_grad_()
        seen = fake.detach().requires_grad_()
        of_real, of_fake = discriminator(real, fade), discriminator(seen, fade)
        loss_d = discriminator_loss(config.loss, of_real.score, of_fake.score)
        gradients = penalty(config, step.number, (of_real.score, real), (of_fake.score, seen))
        pose_d = pose_loss(config, of_fake, pose)
        run.update("discriminator", loss_d + gradients + pose_d)

        # 4. Back-propagate through discriminator and differentiable rendering, for the images that look most real
        judged, again = discriminator(fake, fade), None
        if config.loss == "r3gan":
            again = discriminator(real.detach(), fade).score
        best = config.top_k_at(step.number)
        scores = torch.where(among_best(judged.score, best, options.processes), judged.score, torch.inf)  # no loss at ∞
        loss_g = generator_loss(config.loss, scores, again) * (step.batch / best)
        run.update("generator", loss_g + pose_loss(config, judged, pose))
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, pose=pose_d, side=stage.side, fade=fade)
    return run


def render(generator: PiGAN, ws: Tensor, cameras: Cameras, side: int, step: Step, noise: float) -> Tensor:
    """Return images [batch, 3, side, side] with colours in −1 … 1, of world cameras.

    Pixels are seen through their centres, so that the field of view is that of the real images at every size.
    noise: standard deviation of the noise on raw densities.
    """
    config = generator.config
    origins, directions = canonical_rays(cameras, side, config.half_depth)
    t = even_around(origins.norm(dim=-1, keepdim=True), config.half_depth, config.num_steps)
    shape = (side * side, config.num_steps)
    t = sampling.jittered(t, step.uniform(*shape))
    u = step.uniform(*shape)
    merged = (shape[0], shape[1] * (2 if config.hierarchical else 1))
    density_noise = (step.normal(*shape) * noise, step.normal(*merged) * noise)
    rgb = generator.render(ws, origins, directions, t, u=u, density_noise=density_noise).rgb
    return rgb.transpose(1, 2).unflatten(2, (side, side)) * 2 - 1


def canonical_rays(cameras: Cameras, side: int, radius: float) -> tuple[Tensor, Tensor]:
    """Return origins and unit directions [batch, side², 3] of world cameras in π-GAN's own frame, where the unit sphere
    of the data has this radius, so that the cameras' median distance is one."""
    rotation = WORLD_FROM_CANONICAL.to(cameras.intrinsics)
    origins, directions = cameras.rays(pixel_centers(side).to(rotation))
    return (origins @ rotation) * radius, F.normalize(directions @ rotation, dim=-1)


def growing_discriminator(config: PiGANTraining) -> ProgressiveDiscriminator:
    """Return the discriminator of a configuration, for its largest images."""
    widths = {2 ** (1 + i): width for i, width in enumerate(config.channels)} or WIDTHS
    return ProgressiveDiscriminator(config.side, config.blocks, config.z_dim if config.encoder else 0, widths)


def check_batches(config: PiGANTraining, processes: Processes) -> None:
    """Raise InvalidRequest where the batch of a stage cannot be divided over the processes."""
    count = processes.count
    batches = [config.batch_at(stage.first_step) for stage in config.stages]
    if any(batch % count for batch in batches):
        raise InvalidRequest(
            f"The batches of the stages, {', '.join(map(str, batches))} images, cannot all be divided over {count} "
            "processes: give a number of processes that divides them, or another batch."
        )


def resized(images: Tensor, side: int) -> Tensor:
    """Return images [batch, 3, side, side]: means of the areas of their pixels."""
    return images if images.shape[-1] == side else F.interpolate(images, size=(side, side), mode="area")


def pitch_and_yaw(cameras: Cameras) -> Tensor:
    """Return the pose [batch, 2] that an encoding discriminator guesses: pitch from +y and yaw from +x of the model's
    own frame, radians."""
    return math.pi / 2 - cameras.angles().flip(-1)


def pose_loss(config: PiGANTraining, judged: Judgement, pose: Tensor) -> Tensor:
    """Return the weighted squared error of the guessed poses."""
    if judged.pose is None or not config.pose_weight:
        return judged.score.new_zeros(())
    return config.pose_weight * F.mse_loss(judged.pose, pose)


def among_best(scores: Tensor, count: int, processes: Processes) -> Tensor:
    """Return which of this process's scores [b] are among the `count` largest of all processes."""
    everyone = scores.new_zeros(len(scores) * processes.count)
    everyone[processes.rank :: processes.count] = scores.detach() * processes.count
    processes.average([everyone])
    best = torch.zeros_like(everyone, dtype=torch.bool)
    best[everyone.topk(count).indices] = True
    return processes.part(best)


def network_config(config: PiGANTraining, data: TrainingImages) -> PiGANConfig:
    """Return the network's configuration: cameras on the unit sphere, the data's unit sphere inside its cube."""
    radius = 1 / data.prior.radius
    return PiGANConfig(
        z_dim=config.z_dim, hidden_dim=config.hidden_dim, mapping_dim=config.mapping_dim, num_layers=config.num_layers,
        box_side=2 * radius, ray_start=1 - radius, ray_end=1 + radius, fov_degrees=math.degrees(data.prior.fov),
        num_steps=config.num_steps, hierarchical=config.hierarchical, white_back=data.background == "white",
        last_back=False, image_size=config.side,
    )  # fmt: skip


def card(config: PiGANTraining, data: TrainingImages) -> ModelCard:
    """Return the card of the model that a training gives."""
    sides = " → ".join(f"{stage.side}²" for stage in config.stages)
    return trained_card(
        data, "pigan", "π-GAN", "{what} as radiance fields of modulated sine layers, learned from images",
        asdict(network_config(config, data)),
        f"Trained from {len(data.images)} images of {sides} pixels, loss: {config.loss} "
        "(backend/training/pigan/train.py).",
        data_units_per_unit=data.prior.radius,
    )  # fmt: skip


RECIPE = Recipe(
    "pigan", "π-GAN", "A field of sine layers, trained on images that grow.",
    {"small": small, "small-published": small_published, "published": published},
    side=lambda config: config.side, train=train,
)  # fmt: skip
