"""Train StyleSDF: a signed distance field with a volume renderer first, then a decoder that grows its features.

Stage one (arxiv.org/abs/2112.11427, section 3.3). The renderer starts as a sphere. Each step

    1. generates a scene, the modulated distance field of a random code z,
    2. renders its thumbnail from a random camera,
    3. shows it to a discriminator, which also estimates the view: both networks are charged for a wrong one,
    4. back-propagates through both, and through the distance itself: it has a gradient of unit length almost
       everywhere (eikonal loss) and few zeros (minimal surface loss).

Stage two freezes the renderer. The decoder learns to make images of its features, as in StyleGAN2
(arxiv.org/abs/1912.04958): lazily regularised, with the path-length penalty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...generators.stylesdf.discriminator import Discriminator, VolumeDiscriminator
from ...generators.stylesdf.model import Rendering, StyleSDF, StyleSDFConfig
from ...generators.stylesdf.scene import WORLD_FROM_CANONICAL
from ..adversarial.command import Recipe
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.random_cameras import Cameras, pixel_centers, random_cameras
from ..data.training_images import TrainingImages
from ..runs import update
from . import losses
from .config import DecoderTraining, StyleSDFTraining, published, small, small_published
from .export import card

SMALLEST_BETA = 1e-3
"""Canonical length. The optimiser could step over zero, where density has no meaning."""


def train(config: StyleSDFTraining, data: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train both stages, or resume, in `out`, None keeps nothing. Returns the run of the last stage that began.

    Raises: see AdversarialRun.
    """
    config = replace(config, generator=seen_by(config.generator, data))
    if config.decoder is None:
        return train_renderer(config, data, out, options)[0]
    first, finished = train_renderer(config, data, None if out is None else out / "renderer", options)
    return train_decoder(config, config.decoder, first.mean, data, out, options) if finished else first


def seen_by(generator: StyleSDFConfig, data: TrainingImages) -> StyleSDFConfig:
    """Return the generator's configuration with the field of view of the images, and rays as long as the unit sphere
    of an object where there is nothing behind it."""
    half_depth = 1 / data.prior.radius if generator.white_background else generator.half_depth
    return replace(generator, fov_degrees=math.degrees(data.prior.fov), half_depth=half_depth)


def train_renderer(
    config: StyleSDFTraining, data: TrainingImages, out: Path | None, options: RunOptions
) -> tuple[AdversarialRun, bool]:
    """Train stage one. Returns the run, and whether all steps are done."""
    torch.manual_seed(config.seed)
    around, device = goes_around(data), options.device
    alone = replace(config.generator, image_size=config.generator.thumbnail_size)
    generator = StyleSDF(alone).to(device)
    renderer = generator.renderer
    if out is None or not (out / "checkpoint.safetensors").exists():
        start_as_sphere(generator, config)
    sizes = (alone.thumbnail_size // config.side_at(0)).bit_length()
    discriminator = VolumeDiscriminator(alone.thumbnail_size, config.discriminator_widths, 3 if around else 2, sizes)
    run = AdversarialRun(
        config, out, generator, discriminator, options, card=lambda: card(generator.config, data, config)
    )
    step: Step | None = None
    for step in run:
        # 1. Generate a representation of a scene: a distance field modulated by a random code
        ws = generator.mapping(step.normal(config.generator.style_dim))

        # 2. Render it from a random camera pose, one jitter a ray
        side = config.side_at(step.number)
        cameras = random_cameras(step, data, config.poses)
        rendering = render(generator, ws, cameras, side, data.prior.radius, step.uniform(side * side, 1))
        fake = thumbnail(generator.config, rendering)
        views = view_labels(cameras.angles(), around)

        # 3. Show it to the discriminator beside a real image; it estimates the view, too
        real, real_views = real_images(config, data, step, side, around)
        real, seen = real.requires_grad_(True), fake.detach().requires_grad_(True)
        of_real, of_fake = discriminator(real), discriminator(seen)
        loss_d = discriminator_loss(config.loss, of_real[0], of_fake[0])
        view_d = losses.view_loss(of_fake[1], views)
        if real_views is not None:
            view_d = (view_d + losses.view_loss(of_real[1], real_views)) / 2
        gradients = penalty(config, step.number, (of_real[0], real), (of_fake[0], seen))
        run.update("discriminator", loss_d + config.view * view_d + gradients)

        # 4. Back-propagate through discriminator and rendering; keep the field a distance with few zeros
        score, view = discriminator(fake)
        loss_g = generator_loss(config.loss, score, of_real[0])
        view_g = losses.view_loss(view, views)
        eikonal = losses.eikonal(distance_gradients(generator, ws, rendering, step.uniform(config.eikonal_points, 3)))
        surface = losses.minimal_surface(rendering.value, config.sharpness, rendering.inside)
        field_loss = config.eikonal * eikonal + config.minimal_surface * surface
        run.update("generator", loss_g + config.view * view_g + field_loss)
        with torch.no_grad():
            renderer.beta.clamp_(min=SMALLEST_BETA)
        run.report(
            loss_d=loss_d, loss_g=loss_g, penalty=gradients, view_d=view_d, view_g=view_g, eikonal=eikonal,
            surface=surface, beta=renderer.beta,
        )  # fmt: skip
    return run, step is None or step.number + 1 >= config.steps


def train_decoder(
    config: StyleSDFTraining,
    stage: DecoderTraining,
    trained: nn.Module,
    data: TrainingImages,
    out: Path | None,
    options: RunOptions,
) -> AdversarialRun:
    """Train stage two on the renderer `trained` by stage one. Returns the run."""
    torch.manual_seed(stage.seed + 1)
    device = options.device
    generator = StyleSDF(config.generator).to(device)
    generator.requires_grad_(False)
    generator.load_state_dict(trained.state_dict(), strict=False)
    decoder = generator.decoder.requires_grad_(True)
    discriminator = Discriminator(config.generator.image_size, stage.discriminator_widths).to(device)
    mean_length = torch.zeros((), device=device)
    run = AdversarialRun(
        stage, out, generator, discriminator, options,
        card=lambda: card(generator.config, data, config),
        optimizers={
            "generator": lazy_adam(decoder, stage.generator_rate, stage.betas, stage.path_every),
            "discriminator": lazy_adam(discriminator, stage.discriminator_rate, stage.betas, stage.regularise_every),
        },
        tensors={"mean_length": mean_length},
    )  # fmt: skip

    size = config.generator.thumbnail_size

    def decoded(ws: Tensor, rows: Tensor, cameras: Cameras, jitter: Tensor) -> Tensor:
        with torch.no_grad():
            features = render(generator, ws, cameras, size, data.prior.radius, jitter).features
        image: Tensor = decoder(features.transpose(1, 2).unflatten(2, (size, size)), rows)
        return image

    for step in run:
        # 1. Generate a representation of a scene, and the decoder's latent of it
        ws = generator.mapping(step.normal(config.generator.style_dim))
        rows = ws[:, config.generator.num_renderer_ws :, : config.generator.decoder_style_dim]

        # 2. Render its features from a random camera pose; the decoder makes the image of them
        cameras = random_cameras(step, data, config.poses)
        jitter = step.uniform(size * size, 1)
        fake = decoded(ws, rows, cameras, jitter)

        # 3. Show it to the discriminator beside a real image
        real = real_images(config, data, step, config.generator.image_size, False)[0].requires_grad_(True)
        seen = fake.detach().requires_grad_(True)
        real_score, fake_score = discriminator(real), discriminator(seen)
        loss_d = discriminator_loss(stage.loss, real_score, fake_score)
        gradients = penalty(stage, step.number, (real_score, real), (fake_score, seen))
        run.update("discriminator", loss_d + gradients)

        # 4. Back-propagate through discriminator and decoder; equal steps in latents change images equally
        loss_g = generator_loss(stage.loss, discriminator(fake), real_score)
        path = torch.zeros((), device=device)
        if step.number % stage.path_every == 0:
            few = max(len(rows) // stage.path_shrink, 1)
            part, some = Cameras(cameras.world_from_camera[:few], cameras.intrinsics[:few]), rows[:few]
            images = decoded(ws[:few], some, part, jitter[:few])
            lengths = losses.path_lengths(images, some, step.normal(*images.shape[1:])[:few])
            path, mean = losses.path_penalty(lengths, mean_length)
            options.processes.average([mean])
            mean_length.copy_(mean)
        run.update("generator", loss_g + stage.path * stage.path_every * path)
        run.report(loss_d=loss_d, loss_g=loss_g, penalty=gradients, path=path, length=mean_length)
    return run


@dataclass(frozen=True)
class CanonicalRays:
    """Rays of square images [batch, rays, 3], row by row, where cameras have about unit distance from the origin."""

    origins: Tensor
    directions: Tensor  # of depth one
    in_camera: Tensor  # unit directions in the frame of the camera: x right, y up, looking along −z
    near: Tensor  # [batch, 1, 1], depth
    far: Tensor


def canonical_rays(config: StyleSDFConfig, cameras: Cameras, size: int, radius: float) -> CanonicalRays:
    """Return the rays of cameras in the world of the data, whose median distance is `radius`."""
    rotation = WORLD_FROM_CANONICAL.to(cameras.intrinsics)
    origins, directions = cameras.rays(pixel_centers(size).to(rotation))
    in_camera = directions @ cameras.world_from_camera[:, :3, :3] * rotation.new_tensor([1.0, -1.0, -1.0])
    origins = origins @ rotation / radius
    center = origins[:, :1].norm(dim=-1, keepdim=True)
    near, far = center - config.half_depth, center + config.half_depth
    return CanonicalRays(origins, directions @ rotation, F.normalize(in_camera, dim=-1), near, far)


def render(generator: StyleSDF, ws: Tensor, cameras: Cameras, size: int, radius: float, jitter: Tensor) -> Rendering:
    """Volume render thumbnails [batch, size²] of random scenes; origins carry gradients, and points with them.

    ws: [batch, num_ws, w_dim]; radius: of the cameras; jitter: [batch, size², 1] in 0..1.
    """
    config = generator.config
    rays = canonical_rays(config, cameras, size, radius)
    return generator.renderer.render(
        ws,
        rays.origins.clone().requires_grad_(torch.is_grad_enabled()),
        rays.directions,
        rays.in_camera if config.static_directions else F.normalize(rays.directions, dim=-1),
        rays.near,
        rays.far,
        jitter=jitter,
        with_features=config.has_decoder,
    )


def thumbnail(config: StyleSDFConfig, rendering: Rendering) -> Tensor:
    """Return the renderer's image [batch, 3, n, n] in −1..1."""
    rgb = rendering.rgb
    if config.white_background:
        rgb = rgb + 1 - rendering.weights.sum(-1, keepdim=True)
    side = math.isqrt(rgb.shape[1])
    return rgb.transpose(1, 2).unflatten(2, (side, side)) * 2 - 1


def goes_around(data: TrainingImages) -> bool:
    """Return whether the azimuths of the cameras cover more than half a circle."""
    low, high = data.prior.azimuth
    return high - low > math.pi


def view_labels(angles: Tensor, around: bool) -> Tensor:
    """Return what a discriminator estimates of views [batch, 2] (azimuth, elevation): these, or where azimuths go
    around and would jump, sine and cosine of the azimuth, and the elevation [batch, 3]."""
    azimuth, elevation = angles.unbind(-1)
    return torch.stack((azimuth.sin(), azimuth.cos(), elevation), -1) if around else angles


def distance_gradients(generator: StyleSDF, ws: Tensor, rendering: Rendering, drawn: Tensor) -> Tensor:
    """Return ∇sdf [..., 3], differentiable: at points of the cube of half_depth, or at all samples of the rays.

    drawn: uniform in 0..1 [batch, points, 3]; without points the samples are taken.
    """
    if not drawn.shape[1]:
        return losses.distance_gradient(rendering.value, rendering.points)
    points = ((2 * drawn - 1) * generator.config.half_depth).requires_grad_(True)
    return losses.distance_gradient(generator.renderer.signed_distance(ws, points), points)


def real_images(
    config: StyleSDFTraining, data: TrainingImages, step: Step, side: int, around: bool
) -> tuple[Tensor, Tensor | None]:
    """Return a step's real images [batch, 3, side, side] in −1..1, some mirrored, and the labels of their views, None
    without poses."""
    index = step.choose(len(data.images))
    images = F.interpolate(step.images(data.images, index), size=(side, side), mode="area")
    mirrored = step.uniform() < (0.5 if config.mirror else 0.0)
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if data.world_from_camera is None:
        return images, None
    azimuth, elevation = data.angles()[index.cpu()].to(images).unbind(-1)
    return images, view_labels(torch.stack((torch.where(mirrored, -azimuth, azimuth), elevation), -1), around)


def lazy_adam(network: nn.Module, rate: float, betas: tuple[float, float], every: int) -> torch.optim.Optimizer:
    """Return Adam for a network whose regulariser is taken every few steps: rate and betas make up for the steps that
    the regulariser leaves out (appendix B of arxiv.org/abs/1912.04958)."""
    share = every / (every + 1) if every > 1 else 1.0
    return torch.optim.Adam(network.parameters(), rate * share, (betas[0] ** share, betas[1] ** share))


def start_as_sphere(generator: StyleSDF, config: StyleSDFTraining) -> None:
    """Fit the fields of random codes to a sphere of half the rays' depth, at random points of their volume.

    The optimiser then begins with one closed surface in the middle of all images. Publication takes the samples of
    rays of random cameras as points.
    """
    renderer, half_depth = generator.renderer, generator.config.half_depth
    if generator.config.use_sdf:
        renderer.beta.data.fill_(config.first_beta)
    adam = torch.optim.Adam(generator.parameters(), config.sphere_rate)
    one = replace(config, batch=config.sphere_batch)
    for number in range(config.sphere_steps):
        step = Step(-1 - number, one, RunOptions(device=renderer.distance.weight.device))
        ws = generator.mapping(step.normal(generator.config.style_dim))
        points = (2 * step.uniform(config.sphere_points, 3) - 1) * half_depth
        target = losses.sphere_distance(points, half_depth / 2)
        update(adam, F.l1_loss(renderer.signed_distance(ws, points), target))


RECIPE = Recipe(
    "stylesdf",
    "StyleSDF",
    "Signed distance fields with colours, from images: the model with the cleanest surfaces.",
    {"small": small, "small-published": small_published, "published": published},
    lambda config: config.image_size,
    train,
)
