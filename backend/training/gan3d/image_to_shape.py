"""Train a 3D-VAE-GAN (Sec. 3.3 of arxiv.org/abs/1610.07584): an image becomes the shape that it shows.

An encoder E turns an image y of the shape x into a normal distribution over latents, N(mean, variance); the generator G
of a 3D-GAN turns a sample of it into voxels. The loss has three terms (Eqs. 2-5):

    adversarial      log D(x) + log(1 - D(G(z))), z ~ N(0, 1)     (hinge loss here)
    prior            KL(N(mean, variance) || N(0, 1))
    reconstruction   - log p(x | G(E(y)))                         (cross-entropy; the paper: squares)

G is trained by all three, E by the last two.

With hundreds of shapes on one CPU core this does not start to converge: the outputs of E carry no information until G
uses them, and G ignores them until they do. So for `warmup` of the steps each is trained apart on a common target.
Every shape gets a code, its principal components, scaled to variance 1 as the prior has. G learns the shape of each
code, E the code of each image. Then the three losses take over, with the code in place of the latent of every other
image, so that G does not forget shapes that no image shows.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ...generators.gan3d.model import Generator, ImageEncoder, draw_latents, mirrored
from .. import runs
from ..data import chair_views
from ..runs import Loop, State, follow, update
from .adversarial import build_discriminator, loss_of_discriminator, loss_of_generator, shifted
from .config import GanTraining, small
from .data import load_voxels
from .export import built, export, write_progress_image


@dataclass(frozen=True)
class ImageToShapeTraining:
    """One training run. Stored whole in its checkpoint."""

    gan: GanTraining
    image_size: int = 64
    encoder_channels: int = 24
    steps: int = 3000
    batch: int = 16  # images; as many latents are drawn for the adversarial loss
    rate: float = 2e-3  # Adam, of the generator
    encoder_rate: float = 1e-3
    kl_weight: float = 0.5  # α₁, relative to a reconstruction loss that is summed over the voxels
    adversarial_weight: float = 20.0
    adversarial_from: float = 0.3  # part of the steps after which the adversarial loss starts
    warmup: float = 0.6  # part of the steps
    encoder_updates: int = 4  # in a step of the warm-up: the encoder learns much more slowly than the generator
    code_noise: float = 0.2  # added to the codes in the warm-up, so that latents near a code give its shape too
    fade: float = 0.25  # over this last part of the steps both rates fall to a twentieth
    picture_shift: int = 3  # pixels that images are shifted by, at most
    seed: int = 0


def starter() -> ImageToShapeTraining:
    """The starter model, on one CPU core."""
    return ImageToShapeTraining(small())


@dataclass(frozen=True)
class Report:
    """Losses of one step: sums over voxels and latents, averaged over the batch."""

    reconstruction: float  # minus the entropy of the soft voxels, its minimum
    divergence: float  # in the warm-up - log N(code | mean, variance), then the Kullback-Leibler divergence
    discriminator_loss: float
    generator_loss: float


def train(
    config: ImageToShapeTraining,
    out: Path,
    images: Tensor,  # [num_shapes, num_views, size, size, 3] uint8, over white
    voxels: Tensor,  # [num_shapes, side, side, side] 0..1
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str, Report], None] = lambda fraction, text, report: None,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 240.0,
    draw: Callable[[Generator, ImageEncoder, Path], None] | None = None,
) -> tuple[Generator, ImageEncoder]:
    """Train, or resume from `out/checkpoint.safetensors`. Returns averaged generator and encoder, in evaluation mode.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    gan = config.gan
    codes = principal_codes(voxels, gan.z_dim).to(device)
    images, voxels = images.to(device), voxels.to(device)
    torch.manual_seed(config.seed)
    generator, discriminator = Generator(gan.z_dim, gan.channels, gan.side).to(device), build_discriminator(gan)
    encoder = ImageEncoder(gan.z_dim, config.encoder_channels, config.image_size).to(device)
    discriminator.to(device)
    averaged = copy.deepcopy(generator).eval().requires_grad_(False)
    averaged_encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    generator.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # faster on CPUs
    discriminator.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    betas = (0.9, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), config.rate, betas)
    encoder_adam = torch.optim.Adam(encoder.parameters(), config.encoder_rate, betas)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), gan.discriminator_rate, (gan.beta, 0.999))
    state = State(
        config,
        {"generator": generator, "discriminator": discriminator, "encoder": encoder}
        | {"averaged": averaged, "averaged_encoder": averaged_encoder},
        {"generator": generator_adam, "encoder": encoder_adam, "discriminator": discriminator_adam},
    )
    loop = Loop(
        state, out / "checkpoint.safetensors", config.steps, progress=progress,
        checkpoint_seconds=checkpoint_seconds, draw_seconds=draw_seconds,
        draw=None if draw is None else lambda path: draw(averaged, averaged_encoder, path),
    )  # fmt: skip
    for step in loop:
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        warming, adversarial = step < config.warmup * config.steps, step >= config.adversarial_from * config.steps
        if not warming and step - 1 < config.warmup * config.steps:
            encoder_adam.state.clear()  # the scale of its gradients changes from here on
        fading = min(1.0, max(0.05, (config.steps - step) / (config.fade * config.steps)))
        generator_adam.param_groups[0]["lr"] = fading * config.rate
        encoder_adam.param_groups[0]["lr"] = fading * config.encoder_rate

        def batch(random: torch.Generator = random) -> tuple[Tensor, Tensor]:
            """Draw shapes, by their index, and an image of each."""
            shapes = torch.randint(len(images), (config.batch,), generator=random).to(device)
            views = torch.randint(images.shape[1], (config.batch,), generator=random).to(device)
            return shapes, varied(images[shapes, views], config.picture_shift, random)

        shapes, shown = batch()
        divergence = torch.zeros((), device=device)
        noise = torch.randn(config.batch, gan.z_dim, generator=random).to(device)
        if warming:
            for _ in range(config.encoder_updates):
                shapes, shown = batch()
                mean, log_variance = encoder(shown)
                wrong = (codes[shapes] - mean).square() * (-log_variance).exp()
                divergence = 0.5 * (wrong + log_variance).sum(-1).mean()  # - log N(code | mean, variance)
                update(encoder_adam, divergence)
        else:
            mean, log_variance = encoder(shown)
            given = (torch.arange(config.batch, device=device) % 2 == 0)[:, None]
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()

        z, real = codes[shapes] + config.code_noise * noise, voxels[shapes]
        if not warming:
            z = torch.where(given, z, mean + (log_variance / 2).exp() * noise)
        if adversarial:
            z = torch.cat([z, draw_latents("normal", z.shape, random).to(device)])
        logits = generator.logits(z)
        logits = mirrored(logits) if gan.mirror else logits
        seen, drawn = logits[: config.batch], torch.sigmoid(logits[config.batch :])
        reconstruction = functional.binary_cross_entropy_with_logits(seen, real, reduction="sum") / config.batch
        loss = reconstruction if warming else reconstruction + config.kl_weight * divergence
        generator_loss = discriminator_loss = torch.zeros((), device=device)
        if adversarial:
            discriminator.requires_grad_(False)  # it only scores
            generator_loss = loss_of_generator(gan.loss, discriminator.score(shifted(drawn, gan.shift, random)))
            loss = loss + config.adversarial_weight * generator_loss
            discriminator.requires_grad_(True)
        encoder_adam.zero_grad()
        update(generator_adam, loss)
        if not warming:
            encoder_adam.step()
        if adversarial:
            both = torch.cat([shifted(real, gan.shift, random), shifted(drawn.detach(), gan.shift, random)])
            real_score, fake_score = discriminator.score(both).chunk(2)
            discriminator_loss = loss_of_discriminator(gan.loss, real_score, fake_score)
            update(discriminator_adam, discriminator_loss)
        decay = min(gan.average, 1 - 1 / (step + 1))  # the first steps are soon forgotten
        follow(averaged, generator, decay)
        follow(averaged_encoder, encoder, decay)

        least = float(entropy(real).mean())
        report = Report(
            reconstruction.item() - least, divergence.item(), discriminator_loss.item(), generator_loss.item()
        )
        loop.report(
            f"seen {report.reconstruction:.0f}  code {report.divergence:.1f}  "
            f"D {report.discriminator_loss:.3f}  G {report.generator_loss:.3f}",
            report,
        )
    return averaged, averaged_encoder


def principal_codes(voxels: Tensor, z_dim: int) -> Tensor:
    """Return codes [num_shapes, z_dim] of voxels [num_shapes, …]: their principal components, each of variance 1, in
    order; 0 beyond the number of shapes."""
    values = voxels.flatten(1)
    left, _, _ = torch.linalg.svd(values - values.mean(0), full_matrices=False)
    codes = left[:, :z_dim] * (len(values) - 1) ** 0.5
    sign = torch.where(codes.gather(0, codes.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)  # arbitrary, so fixed
    return functional.pad(codes * sign, (0, z_dim - codes.shape[1]))


def entropy(voxels: Tensor) -> Tensor:
    """Return the entropy of soft voxels [N, …], summed over each: the minimum of the reconstruction loss. [N]"""
    soft = voxels.flatten(1).clamp(1e-6, 1 - 1e-6)
    return -(soft * soft.log() + (1 - soft) * (1 - soft).log()).sum(-1)


def varied(images: Tensor, limit: int, random: torch.Generator) -> Tensor:
    """Augment images [N, size, size, 3] uint8; return [N, 3, size, size], 0..1.

    Random mirroring, shifts by up to `limit` pixels, permuted colour channels, and gamma. The mirror image of a
    symmetric shape shows the same shape from the other side.
    """
    count, size, device = len(images), images.shape[1], images.device
    x = images.permute(0, 3, 1, 2).float() / 255
    flip = (torch.rand(count, generator=random) < 0.5).to(device)
    x = torch.where(flip[:, None, None, None], x.flip(-1), x)
    order = torch.rand(count, 3, generator=random).argsort(-1).to(device)  # of the colour channels: white stays white
    x = x.gather(1, order[:, :, None, None].expand_as(x))
    power = 0.7 + 0.7 * torch.rand(count, 1, 1, 1, generator=random).to(device)
    padded = functional.pad(x**power, (limit,) * 4, value=1.0)
    moves = torch.randint(2 * limit + 1, (count, 2), generator=random).tolist()
    return torch.stack([p[:, i : i + size, j : j + size] for p, (i, j) in zip(padded, moves, strict=True)])


def main(arguments: list[str]) -> None:
    """Train on the images and voxels that `python -m backend.training.data.chair_views` wrote."""
    parser = runs.recipe_options("image-to-shape", __doc__, data="backend.training.data.chair_views", out="model")
    options = parser.parse_args(arguments)
    config = starter() if options.steps is None else replace(starter(), steps=options.steps)
    seeds = range(chair_views.NUM_TRAIN)
    images = torch.from_numpy(chair_views.load_views(options.data, seeds)["images"])
    voxels = load_voxels(options.data, seeds)
    shown = torch.arange(8) * len(seeds) // 8
    seen = images[shown, shown % images.shape[1]], voxels[shown]

    def draw(generator: Generator, encoder: ImageEncoder, path: Path) -> None:
        write_progress_image(built(config.gan, generator, encoder), path, seen)

    generator, encoder = train(
        config, options.out, images, voxels, device=runs.device_of(options.device), progress=runs.say, draw=draw
    )
    codes = principal_codes(voxels, config.gan.z_dim)
    export(
        built(config.gan, generator, encoder, codes), options.out / "model", label="Chairs (3D-GAN)",
        description="Chairs as voxels, 32³; reconstructs one from an image, too",
        card="Trained by `backend/training/gan3d/image_to_shape.py`.",
    )  # fmt: skip
    sys.stdout.write(f"{options.out / 'model'}\n")
