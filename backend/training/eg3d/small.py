"""The small recipe's loop: the raw image at half its side, then whole, then its superresolution too.

The discriminator sees the opacity beside the colours where the training images have alpha. The weight γ of its gradient
penalties follows its loss: a discriminator that wins gets a larger one, one that is fooled a smaller one.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.eg3d.model import EG3D
from ...generators.layers.stylegan2 import ToImage
from ...kernels.triplane_rendering import Impl
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.processes import Processes
from ..adversarial.run import AdversarialRun, RunOptions
from ..data.training_images import TrainingImages
from .common import canonical_cameras, card, follow_w, network_config
from .config import SmallEG3DTraining
from .discriminator import POSE_NUMBERS, GrowingDiscriminator, pose_numbers
from .rendering import render_features

FIRST_COLORS = 0.25
"""Factor on the decoder's first weights of colours: objects begin grey, not mottled."""
GAMMA_RANGE = (0.01, 100.0)


def train_small(
    config: SmallEG3DTraining, data: TrainingImages, out: Path | None, options: RunOptions, *, impl: Impl = "auto"
) -> AdversarialRun:
    """Train, or resume. impl: engine of the renderer. Raises: see AdversarialRun."""
    torch.manual_seed(config.seed)
    network = network_config(config, data)
    generator = EG3D(network)
    for layer in generator.superresolution.modules():
        if isinstance(layer, ToImage):
            torch.nn.init.zeros_(layer.weight)  # it adds nothing yet: the image is the raw one, doubled
    with torch.no_grad():
        generator.decoder.out.weight[1:] *= FIRST_COLORS
    rays = network.rendering.neural_resolution
    discriminator = GrowingDiscriminator(config.discriminator, rays, opacity=data.alpha is not None)
    gamma = torch.tensor(config.gamma)  # of the whole raw image
    run = AdversarialRun(
        config, out, generator, discriminator, options, card=lambda: card(config, data, network),
        tensors={"gamma": gamma},
    )  # fmt: skip
    poses, lenses = canonical_cameras(data, options.device)
    for step in run:
        doublings = config.doublings_at(step.number)
        upscales, side = doublings > 0, rays // 2 if doublings < 0 else rays
        index = step.choose(len(data.images))
        image, pose, lens = step.images(data.images, index), poses[index], lenses[index]
        seen_image = image if data.alpha is None else torch.cat([image, step.images(data.alpha, index)], dim=1)
        real = [F.avg_pool2d(seen_image, image.shape[-1] // side), *([image] if upscales else [])]

        # 1. Generate a representation of a scene: three planes of features
        ws = generator.mapping(step.normal(config.generator.z_dim), None)
        follow_w(generator, ws, options.processes)
        planes = generator.backbone(ws)

        # 2. Render it from a random camera pose: that of a training image
        jitter = step.uniform(1, 1, 1)  # of the whole image: few samples, each ray with its own jitter, are noise
        rendered = render_features(
            generator, planes, pose, lens, side, jitter=jitter, features=None if upscales else 3, impl=impl
        )
        fake = [rendered.features[:, :3]]
        if data.alpha is not None:
            fake[0] = torch.cat([fake[0], rendered.alpha * 2 - 1], dim=1)
        if upscales:
            fake.append(rendered.over_white(generator.superresolution(rendered.features, ws)))

        # 3. Show the image to the discriminator, with its pose
        seen = pose_numbers(pose) + config.discriminator.pose_noise * step.normal(POSE_NUMBERS)
        real, shown = [x.requires_grad_() for x in real], [x.detach().requires_grad_() for x in fake]
        real_scores, fake_scores = discriminator(seen, *real), discriminator(seen, *shown)
        loss_d = discriminator_loss(config.loss, real_scores, fake_scores)
        weight = float(gamma) * config.doubled_gamma**doublings
        gradients = penalty(config, step.number, (real_scores, real), (fake_scores, shown), weight)
        run.update("discriminator", loss_d + gradients)
        adapt(gamma, config, loss_d, options.processes)

        # 4. Back-propagate through discriminator and differentiable rendering
        with torch.no_grad():
            again = discriminator(seen, *real) if config.loss == "r3gan" else None
        loss_g = generator_loss(config.loss, discriminator(seen, *fake), again)
        run.update("generator", loss_g)
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, gamma=weight, real=real_scores, fake=fake_scores)
    return run


def adapt(gamma: Tensor, config: SmallEG3DTraining, loss_d: Tensor, processes: Processes) -> None:
    """Change γ in place towards the loss of the discriminator that the configuration aims at."""
    if config.discriminator_target is None:
        return
    loss = loss_d.detach().reshape(1).clone()
    processes.average([loss])
    gamma.mul_(math.exp(config.gamma_rate * (config.discriminator_target - float(loss)))).clamp_(*GAMMA_RANGE)
