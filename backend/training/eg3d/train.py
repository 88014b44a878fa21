"""Training of EG3D (arxiv.org/abs/2112.07945)."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...generators.eg3d.model import EG3D
from ...generators.eg3d.scene import WORLD_FROM_CANONICAL
from ...models.card import ModelCard
from ..adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from ..adversarial.run import AdversarialRun, RunOptions
from .config import EG3DTraining
from .discriminator import POSE_NUMBERS, FoldedDiscriminator, pose_numbers
from .rendering import render_features

MEAN_W_DECAY = 0.998


def train_small(config: EG3DTraining, data, out: Path | None, options: RunOptions, *, licence: str = "") -> EG3D:
    """Train the raw image of the renderer, without superresolution."""
    torch.manual_seed(config.seed)
    side = config.generator.rendering.neural_resolution
    generator, discriminator = EG3D(config.generator), FoldedDiscriminator(config.discriminator, side)
    generator.superresolution.requires_grad_(False)
    poses, intrinsics = canonical_poses(data.world_from_camera).to(options.device), data.intrinsics.to(options.device)
    run = AdversarialRun(config, out, generator, discriminator, options, card=lambda: card(config, data))
    for step in run:
        index = step.choose(len(data.images))
        real = step.images(data.images, index)
        camera, lens = poses[index], intrinsics[index]

        # 1. Generate a representation of a scene.
        ws = generator.mapping(step.normal(config.generator.z_dim), None)
        with torch.no_grad():
            generator.mapping_network.w_mean.lerp_(ws[:, 0].mean(dim=0), 1 - MEAN_W_DECAY)
        planes = generator.backbone(ws)

        # 2. Render it from a random camera pose: one of the training images.
        jitter = step.uniform(side**2, 1, 1)
        fake = render_features(generator, planes, camera, lens, side, jitter=jitter, features=3)

        # 3. Show the image to the discriminator, with its pose.
        seen = pose_numbers(camera) + config.discriminator.pose_noise * step.normal(POSE_NUMBERS)
        shown_real, shown_fake = real.requires_grad_(True), fake.detach().requires_grad_(True)
        real_score, fake_score = discriminator(shown_real, seen), discriminator(shown_fake, seen)
        loss_d = discriminator_loss(config.loss, real_score, fake_score)
        r1, r2 = gradient_penalty(real_score, shown_real), gradient_penalty(fake_score, shown_fake)
        run.update("discriminator", loss_d + config.gamma_at(step.number) / 2 * (r1 + r2))

        # 4. Back-propagate through discriminator and differentiable rendering.
        with torch.no_grad():
            real_score = discriminator(real, seen)
        loss_g = generator_loss(config.loss, discriminator(fake, seen), real_score)
        run.update("generator", loss_g)
        run.report(loss_d=loss_d, loss_g=loss_g, r1=r1, r2=r2)
    return run.mean


def canonical_poses(world_from_camera: Tensor) -> Tensor:
    """Return poses [n, 4, 4] in EG3D's canonical frame of those in the world."""
    return torch.tensor(WORLD_FROM_CANONICAL).T @ world_from_camera


def card(config: EG3DTraining, data) -> ModelCard:
    """Return the card of a trained model."""
    prior = data.prior
    return ModelCard(
        kind="eg3d", label="EG3D", description="", licence="", non_commercial=False,
        constructor=asdict(config.generator),
        pose_prior={"azimuth": list(prior.azimuth), "elevation": list(prior.elevation), "radius": prior.radius, "fov": prior.fov},
    )  # fmt: skip
