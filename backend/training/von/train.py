"""Train the texture of Visual Object Networks (arxiv.org/abs/1812.02725, Sec. 3.3) from unpaired images and sketches.

G paints a 2.5D sketch with a texture code, F sketches an image, E encodes an image's texture; the discriminators are D
for images and D_s for sketches. For a sketch s of a random shape and view, a random code z, and an image x:

    adversarial     D(G(s, z)) real, D_s(F(x)) real                 least squares
    cycle           |F(G(s, z)) - s|,  |G(F(x), E(x)) - x|          both directions
    code            |E(G(s, z)) - z|                                the code is recovered from the painted image
    prior           KL(E(x) | N(0, 1))                              codes of images follow the prior

`paired` adds a term that the paper does not have, that of a conditional VAE-GAN: |G(s(x), E(x)) - x| with the sketch
of the image's own shape and pose, if the data have it. Its weight is 0 in the published loss.

The sketches are projections of voxels, as they are when shapes come from a 3D-GAN: the texture network is trained on
the kind of sketch that it is used with. The result is the running mean of G's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import torch
from PIL import Image as PIL
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from ...files import write_atomically
from ...generators.von.model import TextureEncoder, TextureNetwork, over_white
from .. import runs
from ..images import enlarged
from ..runs import Journal, Loop, State, follow, update
from .config import VONTraining, published, small
from .data import Data, chair_data, sketches

LOSSES = ("loss_d", "loss_g", "sketch", "image", "code", "kl")


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


class Run(State):
    """Networks and optimisers of a run, and one training step."""

    def __init__(self, config: VONTraining, device: torch.device | str = "cpu") -> None:
        torch.manual_seed(config.seed)

        def texture_network() -> TextureNetwork:
            return TextureNetwork(config.z_dim, config.width, blocks=config.blocks)

        self.texture, self.mean = texture_network(), texture_network()
        self.encoder = TextureEncoder(config.z_dim, config.encoder_width)
        self.sketcher = TextureNetwork(0, config.sketch_width, inputs=3, outputs=2, blocks=config.blocks)
        self.discriminator = Patches(3, config.discriminator_width)
        self.sketch_discriminator = Patches(2, config.discriminator_width)
        self.mean.load_state_dict(self.texture.state_dict())
        networks: dict[str, nn.Module] = {
            "texture": self.texture, "mean": self.mean, "encoder": self.encoder, "sketcher": self.sketcher,
            "judge": self.discriminator, "sketch_judge": self.sketch_discriminator,  # as checkpoints name them
        }  # fmt: skip
        for network in networks.values():
            network.to(device)
        generators = chain(self.texture.parameters(), self.encoder.parameters(), self.sketcher.parameters())
        discriminators = chain(self.discriminator.parameters(), self.sketch_discriminator.parameters())
        self.generator_adam = torch.optim.Adam(generators, config.rate, (0.5, 0.999))
        self.discriminator_adam = torch.optim.Adam(discriminators, config.rate, (0.5, 0.999))
        super().__init__(config, networks, {"maker": self.generator_adam, "judge": self.discriminator_adam})

    def paint(self, sketch: Tensor, z: Tensor) -> Tensor:
        """Paint sketches [N, 2, side, side]: images [N, 3, side, side] over white."""
        return over_white(self.texture(sketch[:, :1], z), (sketch[:, 1:] + 1) / 2)

    def sketch_of(self, images: Tensor) -> Tensor:
        """Sketch images [N, 3, side, side] by F: [N, 2, side, side]."""
        found: Tensor = self.sketcher(images, images.new_zeros(len(images), 0))
        return found

    def step(self, images: Tensor, sketch: Tensor, z: Tensor, noise: Tensor, own_sketch: Tensor | None) -> list[Tensor]:
        """Take one step and return its LOSSES. All batches have N items; own_sketch: of the images, for `paired`."""
        config = self.config
        mean, log_variance = self.encoder(images)
        code = mean + noise * (0.5 * log_variance).exp()
        painted, sketched = self.paint(sketch, z), self.sketch_of(images)

        loss_d = discriminator_loss(self.discriminator, images, painted)
        loss_d = loss_d + discriminator_loss(self.sketch_discriminator, sketch, sketched)
        update(self.discriminator_adam, loss_d)

        for discriminator in (self.discriminator, self.sketch_discriminator):
            discriminator.requires_grad_(False)
        adversarial = (self.discriminator(painted) - 1).square().mean()
        adversarial = adversarial + (self.sketch_discriminator(sketched) - 1).square().mean()
        sketch_cycle = functional.l1_loss(self.sketch_of(painted), sketch)
        image_cycle = functional.l1_loss(self.paint(sketched, code), images)
        code_loss = functional.l1_loss(self.encoder(painted)[0], z)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1).mean()
        loss = (
            adversarial
            + config.sketch_cycle * sketch_cycle
            + config.image_cycle * image_cycle
            + config.code * code_loss
            + config.prior * kl
        )
        if own_sketch is not None:
            loss = loss + config.paired * functional.l1_loss(self.paint(own_sketch, code), images)
        update(self.generator_adam, loss)
        for discriminator in (self.discriminator, self.sketch_discriminator):
            discriminator.requires_grad_(True)
        return [loss_d, adversarial, sketch_cycle, image_cycle, code_loss, kl]

    def follow(self, step: int) -> None:
        """Update the running mean of the weights."""
        follow(self.mean, self.texture, min(self.config.mean_decay, step / (step + 10)))

    def set_rates(self, step: int) -> None:
        """Set the learning rates: constant, then a linear decay in the last third."""
        fall = max(0.0, 3 * step / self.config.steps - 2)
        for adam in (self.generator_adam, self.discriminator_adam):
            adam.param_groups[0]["lr"] = self.config.rate * (1 - fall * (1 - self.config.final_rate))


def discriminator_loss(discriminator: nn.Module, real: Tensor, generated: Tensor) -> Tensor:
    """Return the least-squares loss of a discriminator."""
    return (discriminator(real) - 1).square().mean() + discriminator(generated.detach()).square().mean()


def train(
    config: VONTraining,
    out: Path,
    data: Data,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 180.0,
    snapshot_steps: int = 250,
) -> Run:
    """Train, or resume from `out/checkpoint.safetensors`.

    A killed run loses at most `checkpoint_seconds`. Beside the checkpoint lie `progress.png`, `losses.jsonl`, and in
    `snapshots/` the mean weights every `snapshot_steps`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    data = data.to(device)
    run = Run(config, device)
    loop = Loop(
        run, out / "checkpoint.safetensors", config.steps, progress=progress, report_steps=25,
        checkpoint_seconds=checkpoint_seconds, draw_seconds=draw_seconds,
        draw=lambda path: contact_sheet(run, data).save(path),
    )  # fmt: skip
    (out / "snapshots").mkdir(parents=True, exist_ok=True)
    journal = Journal(out, LOSSES, 0.97)
    for step in loop:
        run.set_rates(step)
        journal.add(run.step(*draw(config, data, step)))
        run.follow(step + 1)
        loop.report(journal)
        if (step + 1) % snapshot_steps == 0 or step + 1 == config.steps:
            weights = {name: value.cpu() for name, value in run.mean.state_dict().items()}
            write_atomically(out / "snapshots" / f"step{step + 1:06d}.safetensors", save(weights))
    return run


def draw(config: VONTraining, data: Data, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return one step's images in -1..1, sketches of other shapes and views, codes, noise, and the images' own
    sketches if `paired` needs them, on the device of the data."""
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    device = data.images.device
    chosen = torch.randint(len(data.images), (config.batch,), generator=random).to(device)
    other = torch.randint(len(data.images), (config.batch,), generator=random).to(device)
    images = data.images[chosen] / 127.5 - 1
    side = images.shape[-1]
    sketch = sketches(data.voxels[data.shapes[other]], data.views[other], side)
    own = sketches(data.voxels[data.shapes[chosen]], data.views[chosen], side) if config.paired else None
    z, noise = torch.randn(2, config.batch, config.z_dim, generator=random).to(device)
    return images, sketch, z, noise, own


@torch.no_grad()
def contact_sheet(run: Run, data: Data, rows: int = 6, scale: int = 2) -> PIL.Image:
    """Return an image with, in each row: a sketch (depth), the sketch painted with four codes, the same in all rows; a
    real image, its sketch by F, and the first sketch painted with the real image's texture."""
    random = torch.Generator().manual_seed(1)
    device = data.images.device
    codes = torch.randn(4, run.config.z_dim, generator=random).to(device)
    chosen = torch.linspace(0, len(data.images) - 1, rows).long().to(device)
    other = (chosen + 7 * len(data.images) // rows) % len(data.images)
    sketch = sketches(data.voxels[data.shapes[other]], data.views[other], data.images.shape[-1])
    real = data.images[chosen] / 127.5 - 1

    def paint(z: Tensor) -> Tensor:
        return over_white(run.mean(sketch[:, :1], z), (sketch[:, 1:] + 1) / 2)

    columns = [sketch[:, :1].expand(-1, 3, -1, -1), *(paint(z.expand(rows, -1)) for z in codes)]
    columns += [real, run.sketch_of(real)[:, :1].expand(-1, 3, -1, -1), paint(run.encoder(real)[0])]
    return enlarged(torch.cat([torch.cat(list(column), -2) for column in columns], -1), scale)


def main(arguments: list[str]) -> None:
    """Train on the images that `python -m backend.training.data.chair_views` wrote."""
    parser = runs.recipe_options(
        "von", __doc__, data="backend.training.data.chair_views", out="snapshots",
        published="the widths of the paper, for a GPU",
    )  # fmt: skip
    parser.add_argument("--paired", type=float, help="weight of the conditional VAE-GAN's term; 0 as published")
    options = parser.parse_args(arguments)
    config = published() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    if options.paired is not None:
        config = replace(config, paired=options.paired)
    data = chair_data(options.data)
    train(config, options.out, data, device=runs.device_of(options.device), progress=runs.say)
