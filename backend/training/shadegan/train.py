"""Train ShadeGAN: π-GAN whose colours are albedo, seen under random lights (arxiv.org/abs/2110.15678).

An image must look real under every light of the prior: the discriminator then judges the normals, and with them the
shape. `python -m backend train shadegan --data IMAGES --out FOLDER` runs `small()`, for a CPU.

Normals make each sample dear. So a small network learns from the rendered depths where the surface is, and later steps
take few samples around it (section 3.3).
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.shadegan.model import Rendering, ShadeGAN, ShadeGANConfig, tracked_t
from ...models.card import ModelCard
from ...rendering import sampling
from ...scenes.volume import even_around
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.random_cameras import Cameras, random_cameras
from ..data.training_images import TrainingImages
from ..pigan.train import (
    among_best,
    canonical_rays,
    check_batches,
    growing_discriminator,
    pitch_and_yaw,
    pose_loss,
    resized,
)
from .config import LightPrior, ShadeGANTraining, published, small, small_published

LEAST_OPACITY = 0.5
"""Opacity below which a pixel's depth teaches the surface network nothing."""


def train(config: ShadeGANTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    check_batches(config, options.processes)
    torch.manual_seed(config.seed)
    generator = ShadeGAN(network_config(config, data)).to(options.device)
    run = AdversarialRun(
        config, out, generator, growing_discriminator(config), options,
        card=lambda: card(config, data, run.number), clip=config.clip, optimizers=optimizers(generator, config),
    )  # fmt: skip
    discriminator = run.discriminator
    for step in run:
        stage, fade = config.stage_at(step.number), config.fade_at(step.number)
        run.set_rate("generator", stage.generator_rate)
        run.set_rate("discriminator", stage.discriminator_rate)

        # 1. Generate a representation of a scene, and a light: the same for every view of the scene
        ws = generator.mapping_network(step.normal(config.z_dim))
        light = random_lights(step, config.light)

        # 2. Render it from a random camera pose: albedo, shaded with the normals of the density
        cameras = random_cameras(step, data, config.poses)
        pose = pitch_and_yaw(cameras)
        with run.precision():
            rendering = render(generator, config, ws, light, cameras, stage.side, step)
        fake = rendering.rgb.transpose(1, 2).unflatten(2, (stage.side, stage.side)) * 2 - 1

        # 3. Show the images to the discriminator, and real ones of the same size
        real = resized(step.images(data.images, step.choose(len(data.images))), stage.side).requires_grad_()
        seen = fake.detach().requires_grad_()
        of_real, of_fake = discriminator(real, fade), discriminator(seen, fade)
        loss_d = discriminator_loss(config.loss, of_real.score, of_fake.score)
        gradients = penalty(config, step.number, (of_real.score, real), (of_fake.score, seen))
        run.update("discriminator", loss_d + gradients + pose_loss(config, of_fake, pose))

        # 4. Back-propagate through discriminator, shading and rendering, for the images that look most real
        judged, again = discriminator(fake, fade), None
        if config.loss == "r3gan":
            again = discriminator(real.detach(), fade).score
        best = config.top_k_at(step.number)
        scores = torch.where(among_best(judged.score, best, options.processes), judged.score, torch.inf)  # no loss at ∞
        loss_g = generator_loss(config.loss, scores, again) * (step.batch / best)
        run.update("generator", loss_g + pose_loss(config, judged, pose))

        # The surface network follows the rendered depths
        surface = torch.zeros((), device=options.device)
        if config.surface is not None:
            surface = surface_loss(generator, ws.detach(), pose, rendering)
            run.update("surface", surface)
        run.report(
            loss_d=loss_d, loss_g=loss_g, penalty=gradients, surface=surface, side=stage.side, fade=fade,
            tracked=config.tracked_part(step.number),
        )  # fmt: skip
    return run


def optimizers(generator: ShadeGAN, config: ShadeGANTraining) -> dict[str, torch.optim.Optimizer]:
    """Return Adam for the field and its mapping, "generator", and for the surface network, "surface"."""
    parameters = dict(generator.named_parameters())
    surface = [value for name, value in parameters.items() if name.startswith("surface.")]
    field = [value for name, value in parameters.items() if not name.startswith("surface.")]
    found: dict[str, torch.optim.Optimizer] = {
        "generator": torch.optim.Adam(field, config.generator_rate, config.betas)
    }
    if surface:
        found["surface"] = torch.optim.Adam(surface, config.surface_rate)
    return found


def random_lights(step: Step, prior: LightPrior) -> Tensor:
    """Return lights [batch, 4] of a prior: ambient and diffuse in −1..1, and the slopes x and y."""
    draws = step.normal(4)
    lights = draws.new_tensor(prior.mean) + draws.new_tensor(prior.deviation) * draws
    return torch.cat((lights[:, :2].clamp(-1, 1), lights[:, 2:]), -1)


def render(
    generator: ShadeGAN,
    config: ShadeGANTraining,
    ws: Tensor,
    light: Tensor,
    cameras: Cameras,
    side: int,
    step: Step,
) -> Rendering:
    """Render and shade images of side² pixels, row by row, of world cameras.

    Coarse samples cover the volume, or once tracking has begun, a part of the ray around the predicted surface.
    """
    network = generator.config
    part, num_steps = config.tracked_part(step.number), config.steps_at(step.number)
    origins, directions = canonical_rays(cameras, side, network.half_depth)
    if part < 1:
        with torch.no_grad():
            predicted = generator.predicted_t(ws, pitch_and_yaw(cameras))
        t = tracked_t(predicted, side, num_steps, part * 2 * network.half_depth)
    else:
        t = even_around(origins.norm(dim=-1, keepdim=True), network.half_depth, num_steps)
    shape = (side * side, num_steps)
    t = sampling.jittered(t, step.uniform(*shape))
    u, deviation = step.uniform(*shape), config.noise_at(step.number)
    noise = (step.normal(*shape) * deviation, step.normal(shape[0], 2 * num_steps) * deviation) if deviation else None
    return generator.render(ws, light, origins, directions, t, u=u, density_noise=noise)


def surface_loss(generator: ShadeGAN, ws: Tensor, pose: Tensor, rendering: Rendering) -> Tensor:
    """Return the mean |predicted − rendered| depth of opaque pixels, as a share of the ray (section 3.3).

    ws: [batch, num_ws, w_dim], pose: [batch, 2], of the images of a rendering.
    """
    config = generator.config
    side = math.isqrt(rendering.distance.shape[1])
    rendered = (rendering.distance.detach() - config.ray_start) / (config.ray_end - config.ray_start)
    opaque = (rendering.alpha.detach() > LEAST_OPACITY).to(rendered)
    predicted = F.interpolate(generator.surface(ws, pose)[:, None], size=(side, side), mode="area").flatten(1)
    return ((predicted - rendered.clamp(0, 1)).abs() * opaque).mean()


def network_config(config: ShadeGANTraining, data: TrainingImages, step: int | None = None) -> ShadeGANConfig:
    """Return the network's configuration: cameras on the unit sphere, the data's unit sphere inside its cube.

    Samples around the surface are those of a step, None the last: where tracking has not begun, all of the ray.
    """
    radius = 1 / data.prior.radius
    step = config.steps if step is None else step
    surface = config.surface
    if surface is not None:
        surface = replace(surface, num_steps=config.steps_at(step), delta=config.tracked_part(step) * 2 * radius)
    return ShadeGANConfig(
        z_dim=config.z_dim, hidden_dim=config.hidden_dim, mapping_dim=config.mapping_dim, num_layers=config.num_layers,
        box_side=2 * radius, view_condition=config.view_condition, light_condition=config.light_condition,
        surface=surface, ray_start=1 - radius, ray_end=1 + radius, fov_degrees=math.degrees(data.prior.fov),
        num_steps=config.num_steps, white_back=data.background == "white", image_size=config.side,
    )  # fmt: skip


def card(config: ShadeGANTraining, data: TrainingImages, step: int | None = None) -> ModelCard:
    """Return the card of the model that a training gives at a step, None: the last."""
    sides = " → ".join(f"{stage.side}²" for stage in config.stages)
    return trained_card(
        data, "shadegan", "ShadeGAN", "{what} as radiance fields of albedo that can be lit anew, learned from images",
        asdict(network_config(config, data, step)),
        f"Trained from {len(data.images)} images of {sides} pixels under random lights, loss: {config.loss} "
        "(backend/training/shadegan/train.py).",
        data_units_per_unit=data.prior.radius,
    )  # fmt: skip


RECIPE = Recipe(
    "shadegan", "ShadeGAN", "A field of albedo under random lights, whose shading shapes the surface.",
    {"small": small, "small-published": small_published, "published": published},
    side=lambda config: config.side, train=train,
)  # fmt: skip
