"""Training a 3D-VAE-GAN (Sec. 3.3 of arxiv.org/abs/1610.07584): a picture becomes the shape that it shows.

An encoder E turns a picture y of the shape x into a cloud of latents, N(mean, variance); the generator G of a 3D-GAN
turns one of them into voxels. Three losses are added (Eqs. 2-5):

    D tells x from G(z), z ~ N(0, 1)      log D(x) + log(1 - D(G(z)))        (adversarial; hinge here)
    the cloud is like those that G knows   KL(N(mean, variance) || N(0, 1))
    what was seen comes back               - log p(x | G(E(y)))               (cross-entropy; the paper: squares)

G learns from all three, E from the last two.

With hundreds of shapes and one core of a processor this does not get going: E says nothing as long as G does not
listen. So for `warmup` of the steps each learns apart what the other will want. Every shape is given a code, its
principal components, scaled to variance 1, which is the prior's. G learns to make the shape of the code, E the code of
the picture. Then the three losses take over, with the code still in place of every other picture's latent, so that G
does not forget what no picture shows.
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
from ..runs import Clock, State, follow
from .adversarial import build_discriminator, loss_of_discriminator, loss_of_generator, shifted, update
from .config import GanTraining, small
from .data import load_voxels


@dataclass(frozen=True)
class ImageToShapeTraining:
    """One training run. Stored whole in its checkpoint."""

    gan: GanTraining
    image_size: int = 64
    encoder_channels: int = 24
    steps: int = 3000
    batch: int = 16  # pictures; as many latents are drawn for the adversarial loss
    rate: float = 2e-3  # Adam, of the generator
    encoder_rate: float = 1e-3
    kl_weight: float = 0.5  # α₁, against a reconstruction that is summed over the voxels
    adversarial_weight: float = 20.0
    adversarial_from: float = 0.3  # of the steps
    warmup: float = 0.6  # of the steps
    encoder_updates: int = 4  # in a step of the warm-up: it learns much slower than the generator does
    code_noise: float = 0.2  # on the codes in the warm-up, so that what lies around one is the shape too
    fade: float = 0.25  # over this last part of the steps both rates fall to a twentieth
    picture_shift: int = 3  # pixels that pictures are moved by, at most
    seed: int = 0


def starter() -> ImageToShapeTraining:
    """The starter model, on one core of a processor."""
    return ImageToShapeTraining(small())


@dataclass(frozen=True)
class Report:
    """What a step found. Sums over voxels and latents, averaged over the batch."""

    reconstruction: float  # above what soft voxels cost at the best
    divergence: float  # in the warm-up - log N(code | mean, variance), then the Kullback-Leibler divergence
    discriminator_loss: float
    generator_loss: float


def train(
    config: ImageToShapeTraining,
    out: Path,
    images: Tensor,  # [num_shapes, num_views, size, size, 3] uint8, over white
    voxels: Tensor,  # [num_shapes, side, side, side] 0..1
    *,
    progress: Callable[[float, str, Report], None] = lambda fraction, text, report: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 240.0,
    picture: Callable[[Generator, ImageEncoder, Path], None] | None = None,
) -> tuple[Generator, ImageEncoder]:
    """Train, or go on from `out/checkpoint.safetensors`. Returns averaged generator and encoder, in evaluation mode.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    gan = config.gan
    torch.manual_seed(config.seed)
    generator, discriminator = Generator(gan.z_dim, gan.channels, gan.side), build_discriminator(gan)
    encoder = ImageEncoder(gan.z_dim, config.encoder_channels, config.image_size)
    averaged = copy.deepcopy(generator).eval().requires_grad_(False)
    averaged_encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    betas = (0.9, 0.999)
    generator_adam = torch.optim.Adam(generator.parameters(), config.rate, betas)
    encoder_adam = torch.optim.Adam(encoder.parameters(), config.encoder_rate, betas)
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), gan.discriminator_rate, (gan.beta, 0.999))
    codes = principal_codes(voxels, gan.z_dim)
    state = State(
        config,
        {"generator": generator, "discriminator": discriminator, "encoder": encoder}
        | {"averaged": averaged, "averaged_encoder": averaged_encoder},
        {"generator": generator_adam, "encoder": encoder_adam, "discriminator": discriminator_adam},
    )
    step = state.load(out / "checkpoint.safetensors")
    clock = Clock(out, state, step, checkpoint_seconds=checkpoint_seconds, picture_seconds=picture_seconds)
    generator.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # faster on processors
    discriminator.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    while step < config.steps:
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        warming, adversarial = step < config.warmup * config.steps, step >= config.adversarial_from * config.steps
        if not warming and step - 1 < config.warmup * config.steps:
            encoder_adam.state.clear()  # its gradients are of another size from here on
        fading = min(1.0, max(0.05, (config.steps - step) / (config.fade * config.steps)))
        generator_adam.param_groups[0]["lr"] = fading * config.rate
        encoder_adam.param_groups[0]["lr"] = fading * config.encoder_rate

        def batch(random: torch.Generator = random) -> tuple[Tensor, Tensor]:
            """Numbers of shapes, and a picture of each."""
            shapes = torch.randint(len(images), (config.batch,), generator=random)
            views = torch.randint(images.shape[1], (config.batch,), generator=random)
            return shapes, varied(images[shapes, views], config.picture_shift, random)

        shapes, pictures = batch()
        divergence = torch.zeros(())
        noise = torch.randn(config.batch, gan.z_dim, generator=random)
        if warming:
            for _ in range(config.encoder_updates):
                shapes, pictures = batch()
                mean, log_variance = encoder(pictures)
                wrong = (codes[shapes] - mean).square() * (-log_variance).exp()
                divergence = 0.5 * (wrong + log_variance).sum(-1).mean()  # - log N(code | mean, variance)
                update(encoder_adam, divergence)
        else:
            mean, log_variance = encoder(pictures)
            given = (torch.arange(config.batch) % 2 == 0)[:, None]
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()

        z, real = codes[shapes] + config.code_noise * noise, voxels[shapes]
        if not warming:
            z = torch.where(given, z, mean + (log_variance / 2).exp() * noise)
        if adversarial:
            z = torch.cat([z, draw_latents("normal", z.shape, random)])
        logits = generator.logits(z)
        logits = mirrored(logits) if gan.mirror else logits
        seen, drawn = logits[: config.batch], torch.sigmoid(logits[config.batch :])
        reconstruction = functional.binary_cross_entropy_with_logits(seen, real, reduction="sum") / config.batch
        loss = reconstruction if warming else reconstruction + config.kl_weight * divergence
        generator_loss, discriminator_loss = torch.zeros(()), torch.zeros(())
        if adversarial:
            discriminator.requires_grad_(False)  # it only judges
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
        share = min(gan.average, 1 - 1 / (step + 1))  # the first steps are soon forgotten
        follow(averaged, generator, share)
        follow(averaged_encoder, encoder, share)
        step += 1

        least = float(entropy(real).mean())
        report = Report(
            reconstruction.item() - least, divergence.item(), discriminator_loss.item(), generator_loss.item()
        )
        text = (
            f"seen {report.reconstruction:.0f}  code {report.divergence:.1f}  "
            f"D {report.discriminator_loss:.3f}  G {report.generator_loss:.3f}"
        )
        clock.tick(
            step,
            text,
            lambda fraction, line, report=report: progress(fraction, line, report),  # type: ignore[misc]
            None if picture is None else lambda path: picture(averaged, averaged_encoder, path),
        )
    return averaged, averaged_encoder


def principal_codes(voxels: Tensor, z_dim: int) -> Tensor:
    """Codes [num_shapes, z_dim] of voxels [num_shapes, …]: their first principal components, of variance 1 each. Beyond
    the number of shapes they are 0."""
    values = voxels.flatten(1)
    left, _, _ = torch.linalg.svd(values - values.mean(0), full_matrices=False)
    codes = left[:, :z_dim] * (len(values) - 1) ** 0.5
    sign = torch.where(codes.gather(0, codes.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)  # arbitrary, so fixed
    return functional.pad(codes * sign, (0, z_dim - codes.shape[1]))


def entropy(voxels: Tensor) -> Tensor:
    """The cross-entropy of voxels [N, …] with themselves, summed over each: no reconstruction costs less. [N]"""
    soft = voxels.flatten(1).clamp(1e-6, 1 - 1e-6)
    return -(soft * soft.log() + (1 - soft) * (1 - soft).log()).sum(-1)


def varied(pictures: Tensor, most: int, random: torch.Generator) -> Tensor:
    """Pictures [N, size, size, 3] uint8 as [N, 3, size, size] 0..1, each mirrored or not, moved by up to `most` pixels,
    its colours turned, and lighter or darker. A symmetric shape seen in a mirror is the same shape seen from the other
    side, in the same place."""
    count, size = len(pictures), pictures.shape[1]
    x = pictures.permute(0, 3, 1, 2).float() / 255
    flip = torch.rand(count, generator=random) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(-1), x)
    order = torch.rand(count, 3, generator=random).argsort(-1)  # of the colour channels: white stays white
    x = x.gather(1, order[:, :, None, None].expand_as(x))
    power = 0.7 + 0.7 * torch.rand(count, 1, 1, 1, generator=random)
    padded = functional.pad(x**power, (most,) * 4, value=1.0)
    moves = torch.randint(2 * most + 1, (count, 2), generator=random).tolist()
    return torch.stack([p[:, i : i + size, j : j + size] for p, (i, j) in zip(padded, moves, strict=True)])


def main(arguments: list[str]) -> None:
    """The command line: train on the pictures and voxels that `python -m backend.training.chair_views` wrote."""
    from ..data import chair_views
    from .export import built, export, write_progress_picture

    parser = runs.options("image-to-shape", __doc__, data="backend/training/chair_views.py", out="model")
    options = parser.parse_args(arguments)
    config = starter() if options.steps is None else replace(starter(), steps=options.steps)
    seeds = range(chair_views.NUM_TRAIN)
    images = torch.from_numpy(chair_views.load_views(options.data, seeds)["images"])
    voxels = load_voxels(options.data, seeds)
    shown = torch.arange(8) * len(seeds) // 8
    seen = images[shown, shown % images.shape[1]], voxels[shown]

    def picture(generator: Generator, encoder: ImageEncoder, path: Path) -> None:
        write_progress_picture(built(config.gan, generator, encoder), path, seen)

    generator, encoder = train(config, options.out, images, voxels, progress=runs.say, picture=picture)
    codes = principal_codes(voxels, config.gan.z_dim)
    export(
        built(config.gan, generator, encoder, codes), options.out / "model", label="Chairs (3D-GAN)",
        description="Chairs as voxels, 32³; makes one of a picture, too",
        card="Trained by `backend/training/image_to_shape.py`.",
    )  # fmt: skip
    sys.stdout.write(f"{options.out / 'model'}\n")
