"""Train EG3D: tri-planes, a dual discriminator, cameras (arxiv.org/abs/2112.07945).

`python -m backend train eg3d --data IMAGES --out FOLDER` runs `small()`, for a CPU (small.py); `--preset published` the
paper's recipe, which is this file. The images need poses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...generators.eg3d.discriminator import DualDiscriminator, resized
from ...generators.eg3d.model import EG3D
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions
from ..data.training_images import TrainingImages
from .common import canonical_cameras, card, follow_w, network_config
from .config import EG3DTraining, SmallEG3DTraining, published, small, small_published
from .losses import DENSITY_POINTS, blurred, density_variation, swapped
from .rendering import render_features
from .small import train_small


def train(
    config: EG3DTraining | SmallEG3DTraining, data: TrainingImages, out: Path | None, options: RunOptions
) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    if isinstance(config, SmallEG3DTraining):
        return train_small(config, data, out, options)
    torch.manual_seed(config.seed)
    network = network_config(config, data)
    generator, discriminator = EG3D(network), DualDiscriminator(config.discriminator)
    run = AdversarialRun(
        config, out, generator, discriminator, options,
        card=lambda: card(config, data, network), optimizers=optimizers(config, generator, discriminator),
    )  # fmt: skip
    poses, lenses = canonical_cameras(data, options.device)
    cameras = torch.cat([poses.flatten(1), lenses.flatten(1)], dim=1)
    spread = cameras.std(dim=0)
    rendering = config.generator.rendering
    for step in run:
        rays, sigma = config.neural_resolution_at(step.images_seen), config.blur_at(step.images_seen)
        chance = config.swap_chance_at(step.images_seen)
        index, random_camera = step.choose(len(data.images)), (step.uniform() * len(data.images)).long()
        real, camera, pose = step.images(data.images, index), cameras[random_camera], poses[random_camera]
        other = cameras[(step.uniform() * len(data.images)).long()]

        # 1. Generate a representation of a scene: three planes of features
        z = step.normal(config.generator.z_dim)
        conditioned = config.generator.condition_dim > 0
        with run.precision():
            ws = generator.mapping(z, swapped(camera, other, chance, step.uniform(1)) if conditioned else None)
            planes = generator.backbone(ws)
        follow_w(generator, ws, options.processes)

        # 2. Render it from a random camera pose, and upscale the image
        jitter = step.uniform(rays**2, rendering.depth_resolution, 1)
        u = step.uniform(rays**2, rendering.depth_resolution_importance)
        features = render_features(
            generator, planes.float(), pose, lenses[random_camera], rays, jitter=jitter, u=u
        ).features
        with run.precision():
            fake = [generator.superresolution(features, ws).float(), features[:, :3]]

        # 3. Show both images to the discriminator, with the camera
        def score(images: list[Tensor], camera: Tensor, sigma: float = sigma) -> Tensor:
            with run.precision():
                scores: Tensor = discriminator(blurred(images[0], sigma), images[1], camera)
            return scores.float()

        noise = [config.pose_noise * spread * step.normal(cameras.shape[1]) for _ in range(2)]
        seen_real, seen_fake = cameras[index] + noise[0], camera + noise[1]
        shown_real = [x.requires_grad_() for x in (real, blurred(resized(real, rays), sigma))]
        shown_fake = [x.detach().requires_grad_() for x in fake]
        real_scores, fake_scores = score(shown_real, seen_real), score(shown_fake, seen_fake)
        loss_d = discriminator_loss(config.loss, real_scores, fake_scores)
        gradients = penalty(config, step.number, (real_scores, shown_real), (fake_scores, shown_fake))
        run.update("discriminator", loss_d + gradients)

        # 4. Back-propagate through discriminator and differentiable rendering
        again = score(shown_real, seen_real).detach() if config.loss == "r3gan" else None
        loss_g = generator_loss(config.loss, score(fake, seen_fake), again)
        run.update("generator", loss_g)

        if step.number % config.density_every == 0:
            places, offsets = step.uniform(DENSITY_POINTS, 3), step.normal(DENSITY_POINTS, 3)
            one = torch.rand((), generator=step.random).to(camera)  # for the whole batch
            ws = generator.mapping(z, swapped(camera, other, chance, one) if conditioned else None)
            variation = density_variation(generator, generator.backbone(ws), places, offsets * config.density_distance)
            run.update("generator", config.density_every * config.density_weight * variation)
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, real=real_scores, fake=fake_scores)
    return run


def optimizers(
    config: EG3DTraining, generator: EG3D, discriminator: DualDiscriminator
) -> dict[str, torch.optim.Optimizer]:
    """Return Adam for both networks. Terms that come every k steps of their own make it k + 1 updates in k steps, for
    which rate and memory are those of k (appendix B of arxiv.org/abs/1912.04958)."""
    found: dict[str, torch.optim.Optimizer] = {}
    for name, network, rate, every in (
        ("generator", generator, config.generator_rate, config.density_every),
        ("discriminator", discriminator, config.discriminator_rate, config.regularise_every),
    ):
        share = every / (every + 1)
        betas = (config.betas[0] ** share, config.betas[1] ** share)
        found[name] = torch.optim.Adam(network.parameters(), rate * share, betas, eps=1e-8)
    return found


RECIPE: Recipe[Any] = Recipe(
    "eg3d", "EG3D", "Tri-planes of features, volume-rendered and upscaled, trained on images with poses.",
    {"small": small, "small-published": small_published, "published": published},
    side=lambda config: config.side, train=train, needs_poses=True,
)  # fmt: skip
