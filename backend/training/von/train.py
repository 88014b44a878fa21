"""Train Visual Object Networks: shape, viewpoint and texture, each alone (arxiv.org/abs/1812.02725).

`python -m backend train von --data IMAGES --out FOLDER` runs `small()`, for a CPU; `--preset published` the paper's
recipe. The images have cameras, and say which object they show: its voxels are carved from its silhouettes.

G paints a 2.5D sketch with a texture code, F sketches an image, E encodes an image's texture. For a sketch s of a
random object and view, a random code z, and an image x, the published loss (Sec. 3.3) is

    adversarial     D(G(s, z)) real, D_s(F(x)) real                 least squares, of patches
    cycle           |F(G(s, z)) - s|,  |G(F(x), E(x)) - x|          both directions
    code            |E(G(s, z)) - z|                                the code is recovered from the painted image
    prior           KL(E(x) | N(0, 1))                              codes of images follow the prior

With r3gan one discriminator sees an image and the sketch of what it shows together, so neither F nor cycles are needed.
`paired` adds the term of a conditional VAE-GAN: |G(s(x), E(x)) - x| with the image's own sketch.

The shape network learns beside it, without a discriminator, to decode the principal components of the voxels
(`shapes.py`); the paper's is a 3D-GAN, which `train gan3d` trains.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...generators.von.model import TextureNetwork, over_white
from ...generators.von.projection import Sketch, surface_places
from ...generators.von.scene import VON, VONConfig
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..adversarial.command import Recipe
from ..adversarial.folded_discriminator import FoldedDiscriminator
from ..adversarial.losses import discriminator_loss, generator_loss, penalty
from ..adversarial.run import AdversarialRun, RunOptions, Step
from ..data.training_images import TrainingImages
from .config import VONTraining, published, small, small_published
from .data import UNIT, Data, carved, sketches
from .shapes import principal_codes, shape_loss


class Patches(nn.Module):
    """Patch discriminator: one score for each of the overlapping patches of 46 pixels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        widths = (inputs, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.output = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [N, 1, H / 8 - 1, W / 8 - 1] of images [N, inputs, H, W]."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = functional.leaky_relu(functional.instance_norm(x) if i else x, 0.2)
        return self.output(x)


class Networks(nn.Module):
    """What a run trains besides discriminators: the model (G, E and the shape network), and F where it is needed."""

    def __init__(self, config: VONTraining, model: VON) -> None:
        super().__init__()
        self.model = model.requires_grad_(True).train()
        cycles = config.loss == "published"
        self.sketcher = (
            TextureNetwork(0, config.sketch_width, inputs=3, outputs=2, blocks=config.blocks) if cycles else None
        )

    def paint(self, sketch: Tensor, views: Tensor, z: Tensor) -> Tensor:
        """Return images [N, 3, side, side] over white of sketches [N, 2, side, side] at views [N, 2], by G."""
        config, seen, mask = self.model.config, sketch[:, :1], (sketch[:, 1:] + 1) / 2
        if config.guided:
            depth = config.distance - config.reach * sketch[:, 0]
            seen = torch.cat((seen, surface_places(Sketch(mask[:, 0], depth), views, config.optics)), 1)
        return over_white(self.model.texture(seen, z), mask)

    def sketch_of(self, images: Tensor) -> Tensor:
        """Return sketches [N, 2, side, side] of images [N, 3, side, side], by F."""
        assert self.sketcher is not None
        found: Tensor = self.sketcher(images, images.new_zeros(len(images), 0))
        return found

    def encode(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return texture codes [N, z_dim] of images, drawn with normal `noise`, and their divergence from N(0, 1)."""
        assert self.model.encoder is not None
        mean, log_variance = self.model.encoder(images)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1).mean()
        return mean + noise * (0.5 * log_variance).exp(), kl


def train(config: VONTraining, images: TrainingImages, out: Path | None, options: RunOptions) -> AdversarialRun:
    """Train, or resume, and leave a model folder in `out`. Raises: see AdversarialRun, and `carved`."""
    data = carved(images)
    torch.manual_seed(config.seed)
    networks = Networks(config, VON(model_config(config, data)))
    discriminator = new_discriminator(config)
    textures = [p for n, p in networks.named_parameters() if not n.startswith("model.shape.")]
    codes = principal_codes(data.voxels, config.shape_dim).to(options.device)
    voxels = data.voxels.to(options.device)
    run = AdversarialRun(
        config, out, networks, discriminator, options, card=lambda: card(config, images, data),
        optimizers={
            "generator": torch.optim.Adam(textures, config.generator_rate, config.betas),
            "shape": torch.optim.Adam(networks.model.shape.parameters(), config.shape_rate, (0.9, 0.99)),
        },
        exported=lambda mean: mean.get_submodule("model"),
    )  # fmt: skip
    for step in run:
        # 1. Generate a representation of a scene: an object's voxels and a code of its texture; decode other shapes
        z = step.normal(config.z_dim)
        run.update("shape", shape_loss(networks.model, codes, voxels, step.random))

        # 2. Project it to a sketch at a random camera pose, and paint that
        own, other = step.choose(len(data.images)), (step.uniform() * len(data.images)).long()
        sketch = sketches(voxels[data.shapes[other.cpu()]], data.views[other.cpu()].to(z), config.side, data.optics)
        painted = networks.paint(sketch, data.views[other.cpu()].to(z), z)
        real = step.images(data.images, own)

        # 3. and 4. Show the images to the discriminator; back-propagate through discriminator, painting and encoder
        noise = step.normal(config.z_dim)
        own_views = data.views[own.cpu()].to(z)
        own_sketch = sketches(voxels[data.shapes[own.cpu()]], own_views, config.side, data.optics)
        play = by_pairs if config.loss == "r3gan" else by_cycles
        loss_d, adversarial, cycles = play(config, run, networks, step, real, own_sketch, painted, sketch, noise)
        code, kl = networks.encode(real, noise)
        assert networks.model.encoder is not None
        recovered = functional.l1_loss(networks.model.encoder(painted)[0], z)
        loss = adversarial + cycles + config.code * recovered + config.prior * kl
        if config.paired:
            loss = loss + config.paired * functional.l1_loss(networks.paint(own_sketch, own_views, code), real)
        run.update("generator", loss)
        run.report(loss_d=loss_d, loss_g=adversarial, cycles=cycles, code=recovered, kl=kl)
    return run


def by_pairs(
    config: VONTraining,
    run: AdversarialRun,
    networks: Networks,
    step: Step,
    real: Tensor,
    own_sketch: Tensor,
    painted: Tensor,
    sketch: Tensor,
    noise: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Update the discriminator of images with their sketches; return its loss, the generator's, and 0 for cycles."""
    shown = torch.cat((real, own_sketch), 1).requires_grad_()
    seen = torch.cat((painted.detach(), sketch), 1).requires_grad_()
    of_real, of_fake = run.discriminator(shown)[0], run.discriminator(seen)[0]
    loss_d = discriminator_loss(config.loss, of_real, of_fake)
    run.update("discriminator", loss_d + penalty(config, step.number, (of_real, shown), (of_fake, seen)))
    score = run.discriminator(torch.cat((painted, sketch), 1))[0]
    paired = run.discriminator(shown.detach())[0]
    return loss_d, generator_loss(config.loss, score, paired), score.new_zeros(())


def by_cycles(
    config: VONTraining,
    run: AdversarialRun,
    networks: Networks,
    step: Step,
    real: Tensor,
    own_sketch: Tensor,
    painted: Tensor,
    sketch: Tensor,
    noise: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Update the published discriminators; return their loss, the generators', and the weighted cycle losses."""
    assert isinstance(run.discriminator, nn.ModuleList)
    of_images, of_sketches = run.discriminator
    sketched = networks.sketch_of(real)
    loss_d = least_squares(of_images, real, painted) + least_squares(of_sketches, sketch, sketched)
    run.update("discriminator", loss_d)
    adversarial = (of_images(painted) - 1).square().mean() + (of_sketches(sketched) - 1).square().mean()
    code, _ = networks.encode(real, noise)
    views = real.new_zeros(len(real), 2)  # only a guided painter needs them, which has no cycles
    cycles = config.sketch_cycle * functional.l1_loss(networks.sketch_of(painted), sketch)
    cycles = cycles + config.image_cycle * functional.l1_loss(networks.paint(sketched, views, code), real)
    return loss_d, adversarial, cycles


def least_squares(discriminator: nn.Module, real: Tensor, generated: Tensor) -> Tensor:
    """Return the least-squares loss of a discriminator."""
    return (discriminator(real) - 1).square().mean() + discriminator(generated.detach()).square().mean()


def new_discriminator(config: VONTraining) -> nn.Module:
    """Return the published discriminators of images and sketches, or one of both together."""
    if config.discriminator_widths:
        return FoldedDiscriminator(config.side, config.discriminator_widths, channels=5)
    return nn.ModuleList((Patches(3, config.discriminator_width), Patches(2, config.discriminator_width)))


def model_config(config: VONTraining, data: Data) -> VONConfig:
    """Return the model's configuration, with the camera of the data."""
    return VONConfig(
        shape_dim=config.shape_dim, shape_widths=config.shape_widths, logit_scale=1.0, mirror=True, axes="zyx",
        texture_dim=config.z_dim, texture_width=config.width, blocks=config.blocks, guided=config.guided,
        encoder_width=config.encoder_width, image_size=config.side, crop=False, distance=data.optics.distance,
        half_width=data.optics.half_width, reach=data.optics.reach, samples_per_pixel=data.optics.samples_per_pixel,
    )  # fmt: skip


def card(config: VONTraining, images: TrainingImages, data: Data) -> ModelCard:
    """Return the card of the model that a training gives."""
    return trained_card(
        images, "von", "Visual Object Networks",
        "{what} as voxels, painted by a 2D network: separate shape, viewpoint and texture",
        {**asdict(model_config(config, data)), "half_edge": UNIT},
        f"Trained from {len(images.images)} images of {config.side} pixels of {len(data.voxels)} objects, whose "
        f"voxels were carved from their silhouettes; loss: {config.loss} (backend/training/von/train.py).",
    )  # fmt: skip


RECIPE = Recipe(
    name="von",
    label="Visual Object Networks",
    description="Train Visual Object Networks: separate shape, viewpoint and texture, from images with cameras.",
    presets={"small": small, "small-published": small_published, "published": published},
    side=lambda config: config.side,
    train=train,
    needs_poses=True,
)
