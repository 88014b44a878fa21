"""Train StyleNeRF: a field of styles, volume-rendered small and upsampled (arxiv.org/abs/2110.08985).

`python -m backend train stylenerf --data IMAGES --out FOLDER` runs `small()`, for a CPU; `--preset published` the
paper's recipe. The images need no poses: cameras are drawn from those of the data where it has some, else from ranges.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.stylenerf.discriminator import Discriminator, DiscriminatorConfig
from ...generators.stylenerf.model import (
    CameraConfig,
    FieldConfig,
    MappingConfig,
    RendererConfig,
    Rendering,
    RenderNoise,
    StyleNeRF,
    StyleNeRFConfig,
    UpsamplerConfig,
)
from ...generators.stylenerf.scene import WORLD_FROM_CANONICAL
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.random_cameras import Cameras, pixel_centers, random_cameras
from ..data.training_images import TrainingImages
from .config import StyleNeRFTraining, published, small
from .losses import grid_places, growth, path_consistency, path_lengths

LENGTH_DECAY = 0.01
"""Share of a step's mean path length in the running mean."""


def train(config: StyleNeRFTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun."""
    torch.manual_seed(config.seed)
    generator = StyleNeRF(network_config(config, data)).train()
    discriminator = Discriminator(DiscriminatorConfig(config.side, config.discriminator_channels, group_size=4))
    mean_length = torch.zeros((), device=options.device)
    run = AdversarialRun(
        config, out, generator, discriminator, options, card=lambda: card(config, data),
        tensors={"path_length": mean_length},
    )  # fmt: skip
    for step in run:
        alpha = growth(step.images_seen, *(1000 * kimg for kimg in config.growth))
        _, side, blend = generator.stage(alpha)

        # 1. Generate a representation of a scene: the styles of the field's layers, and a code of its background
        ws = generator.mapping(step.normal(config.z_dim))
        follow_mean(run, ws, config.w_decay)
        code = step.normal(config.z_dim // 4) if config.background else None

        # 2. Render it from a random camera pose, and upsample; single rays through some of the pixels beside it
        cameras = random_cameras(step, data, config.poses)
        with run.precision():
            fake, path = render(config, generator, ws, code, cameras, step, alpha)

        # 3. Show the images to the discriminator, and real ones of the same size
        shown = blend if config.fade else 1.0
        real = resized(step.images(data.images, step.choose(len(data.images))), side).requires_grad_()
        seen = fake.detach().requires_grad_()
        of_real, of_fake = discriminator(real, shown), discriminator(seen, shown)
        loss_d = discriminator_loss(config.loss, of_real, of_fake)
        gradients = penalty(config, step.number, (of_real, real), (of_fake, seen))
        run.update("discriminator", loss_d + gradients)

        # 4. Back-propagate through discriminator, upsampler and differentiable rendering
        paired = discriminator(real.detach(), shown) if config.loss == "r3gan" else None
        loss_g = generator_loss(config.loss, discriminator(fake, shown), paired)
        lengths = fake.new_zeros(())
        if config.length_every and step.number % config.length_every == 0:
            lengths = config.length_every * length_penalty(run, mean_length, fake, ws, step)
        run.update("generator", loss_g + config.path_weight * path + config.length_weight * lengths)
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, path=path, side=side, alpha=alpha)
    return run


def render(
    config: StyleNeRFTraining,
    generator: StyleNeRF,
    ws: Tensor,
    code: Tensor | None,
    cameras: Cameras,
    step: Step,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    """Return images [batch, 3, side, side] with colours in −1 … 1, of world cameras, and the path regulariser []."""
    rays, side, _ = generator.stage(alpha)
    places = pixel_centers(rays).to(ws)
    image, _ = generator.upsampled(rendering(config, generator, ws, code, cameras, places, step), ws, alpha)
    if side == rays or not config.path_weight:
        return image.float(), ws.new_zeros(())
    pixels = grid_places(step.uniform(2), side, min(config.path_grid, side))
    single = rendering(config, generator, ws, code, cameras, (pixels.flip(-1) + 0.5) / side, step)
    colors = generator.colors_of_rays(single, ws, side)
    return image.float(), path_consistency(image, colors, pixels).mean()


def rendering(
    config: StyleNeRFTraining,
    generator: StyleNeRF,
    ws: Tensor,
    code: Tensor | None,
    cameras: Cameras,
    places: Tensor,
    step: Step,
) -> Rendering:
    """Volume-render the rays at places [batch or 1, n, 2] (x, y) in units of the image side, with jitter and noise."""
    rotation = torch.tensor(WORLD_FROM_CANONICAL)[:3, :3].to(ws)
    origins, directions = cameras.rays(places)
    radius = generator.config.camera.far - 1  # of the data's unit sphere, in canonical units
    shape, around = (places.shape[1], config.num_samples), (places.shape[1], config.num_background_samples)
    random = RenderNoise(
        step.uniform(*shape),
        step.normal(*shape) * config.density_noise,
        step.uniform(*shape),
        step.normal(*shape) * config.density_noise,
        step.uniform(*around) if code is not None else None,
        step.normal(*around) * config.density_noise if code is not None else None,
    )
    return generator.render(ws, origins @ rotation * radius, directions @ rotation, (None, code), random=random)


def resized(images: Tensor, side: int) -> Tensor:
    """Return images [batch, 3, side, side], resampled bilinearly as officially."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)


def length_penalty(run: AdversarialRun, mean: Tensor, image: Tensor, ws: Tensor, step: Step) -> Tensor:
    """Return the path length regulariser [] of the first half of the batch, and update the running mean length []."""
    half = max(len(image) // 2, 1)
    noise = step.normal(*image.shape[1:])[:half]
    lengths = path_lengths(image[:half], ws, noise)
    average = [lengths.detach().mean().reshape(1)]
    run.options.processes.average(average)
    mean.lerp_(average[0][0], LENGTH_DECAY)
    return (lengths - mean).square().mean()


@torch.no_grad()
def follow_mean(run: AdversarialRun, ws: Tensor, decay: float) -> None:
    """Update the running mean of w [w_dim], towards which truncation goes, by ws [batch, num_ws, w_dim]."""
    average = [ws[:, 0].float().mean(0)]
    run.options.processes.average(average)
    mean = run.generator.get_buffer("mapping_network.w_mean")
    mean.lerp_(average[0], 1 - decay)


def network_config(config: StyleNeRFTraining, data: TrainingImages) -> StyleNeRFConfig:
    """Return the network's configuration: cameras on the unit sphere, the data's unit sphere between near and far."""
    radius, prior = 1 / data.prior.radius, data.prior
    low, high = prior.elevation

    def field(z_dim: int, layers: int, hidden: int, inverse_sphere: bool = False) -> FieldConfig:
        return FieldConfig(
            z_dim=z_dim, feature_dim=config.features, hidden=hidden, num_layers=layers,
            num_frequencies=config.frequencies, position_scale=1.0 if config.background else radius,
            inverse_sphere=inverse_sphere,
        )  # fmt: skip

    return StyleNeRFConfig(
        z_dim=config.z_dim,
        w_dim=config.w_dim,
        foreground=field(0, config.field_layers, config.field_hidden),
        background=field(config.z_dim // 4, 4, config.field_hidden // 2, inverse_sphere=True)
        if config.background
        else None,
        mapping=MappingConfig(num_layers=config.mapping_layers),
        camera=CameraConfig(
            azimuth=prior.azimuth,
            polar=(math.pi / 2 - high, math.pi / 2 - low),
            radius=1.0,
            near=1 - radius,
            far=1 + radius,
            fov_degrees=math.degrees(prior.fov),
        ),
        renderer=RendererConfig(
            num_samples=config.num_samples,
            num_background_samples=config.num_background_samples,
            resolution=config.rays,
        ),
        upsampler=UpsamplerConfig(
            resolutions=tuple(config.rays << i for i in range(1, len(config.upsampler_channels) + 1)),
            channels=config.upsampler_channels,
        ),
        start_resolution=config.start,
    )


def card(config: StyleNeRFTraining, data: TrainingImages) -> ModelCard:
    """Return the card of the model that a training gives."""
    return trained_card(
        data, "stylenerf", "StyleNeRF", "{what} as small radiance fields of styles, upsampled",
        asdict(network_config(config, data)),
        f"Trained from {len(data.images)} images of {config.side} pixels, loss: {config.loss} "
        "(backend/training/stylenerf/train.py).",
        data_units_per_unit=data.prior.radius,
    )  # fmt: skip


RECIPE = Recipe(
    name="stylenerf",
    label="StyleNeRF",
    description="Train StyleNeRF: small radiance fields of styles with an upsampler, from images.",
    presets={"small": small, "published": published},
    side=lambda config: config.side,
    train=train,
)
