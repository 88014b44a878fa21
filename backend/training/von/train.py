"""Training the texture of Visual Object Networks, the loop of the lecture (arxiv.org/abs/1812.02725, Sec. 3.3):
pictures on one side, 2.5D sketches of voxels on the other, and nothing that says which belong together.

G paints a sketch with a texture code, F sketches a picture, E reads a picture's texture code; D judges pictures, D_s
sketches. For a sketch s of a random shape and view, a random code z, and a picture x:

    adversarial     D(G(s, z)) real, D_s(F(x)) real                 least squares
    cycle           |F(G(s, z)) - s|,  |G(F(x), E(x)) - x|          the same twice over
    code            |E(G(s, z)) - z|                                the picture tells its code
    prior           KL(E(x) | N(0, 1))                              codes of pictures lie where codes are drawn

`paired` adds a term that the paper does not have, that of a conditional VAE-GAN: |G(s(x), E(x)) - x| with the sketch
of the picture's own shape and pose, where the data know it. It is 0 in the published loss.

The sketches are projections of voxels, as they will be when shapes come from a 3D-GAN: the texture network never sees
another kind of sketch than the one it is used on. The network that is kept is the running mean of G's weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import torch
from PIL import Image as Picture
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from ...generators.von.model import TextureEncoder, TextureNetwork, over_white
from ...models.store import write_atomically
from .. import runs
from ..runs import Clock, Journal, State, follow, page
from .config import VONTraining, published, small
from .data import Data, chair_data, sketches

TEXTS = ("loss_d", "loss_g", "sketch", "image", "code", "kl")


class Patches(nn.Module):
    """A discriminator that judges overlapping patches of 46 pixels: one number for each."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        widths = (inputs, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.output = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, 1, H / 8 - 1, W / 8 - 1]."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = functional.leaky_relu(functional.instance_norm(x) if i else x, 0.2)
        return self.output(x)


class Run(State):
    """The networks, their optimisers and a step of them."""

    def __init__(self, config: VONTraining) -> None:
        torch.manual_seed(config.seed)

        def painter() -> TextureNetwork:
            return TextureNetwork(config.z_dim, config.width, blocks=config.blocks)

        self.texture, self.mean = painter(), painter()
        self.encoder = TextureEncoder(config.z_dim, config.encoder_width)
        self.sketcher = TextureNetwork(0, config.sketch_width, inputs=3, outputs=2, blocks=config.blocks)
        self.judge, self.sketch_judge = Patches(3, config.discriminator_width), Patches(2, config.discriminator_width)
        self.mean.load_state_dict(self.texture.state_dict())
        networks: dict[str, nn.Module] = {
            "texture": self.texture, "mean": self.mean, "encoder": self.encoder, "sketcher": self.sketcher,
            "judge": self.judge, "sketch_judge": self.sketch_judge,
        }  # fmt: skip
        makers = chain(self.texture.parameters(), self.encoder.parameters(), self.sketcher.parameters())
        judges = chain(self.judge.parameters(), self.sketch_judge.parameters())
        self.maker_adam = torch.optim.Adam(makers, config.rate, (0.5, 0.999))
        self.judge_adam = torch.optim.Adam(judges, config.rate, (0.5, 0.999))
        super().__init__(config, networks, {"maker": self.maker_adam, "judge": self.judge_adam})

    def paint(self, sketch: Tensor, z: Tensor) -> Tensor:
        """Return images [N, 3, side, side] over white of sketches [N, 2, side, side]."""
        return over_white(self.texture(sketch[:, :1], z), (sketch[:, 1:] + 1) / 2)

    def sketch_of(self, images: Tensor) -> Tensor:
        """Return F's sketches [N, 2, side, side] of images [N, 3, side, side]."""
        found: Tensor = self.sketcher(images, images.new_zeros(len(images), 0))
        return found

    def step(self, images: Tensor, sketch: Tensor, z: Tensor, noise: Tensor, own_sketch: Tensor | None) -> list[Tensor]:
        """Take one step; return the losses of TEXTS. All batches of N; own_sketch: of the images, for `paired`."""
        config = self.config
        mean, log_variance = self.encoder(images)
        code = mean + noise * (0.5 * log_variance).exp()
        painted, sketched = self.paint(sketch, z), self.sketch_of(images)

        self.judge_adam.zero_grad()
        loss_d = told_apart(self.judge, images, painted) + told_apart(self.sketch_judge, sketch, sketched)
        loss_d.backward()
        self.judge_adam.step()

        for judge in (self.judge, self.sketch_judge):
            judge.requires_grad_(False)
        adversarial = (self.judge(painted) - 1).square().mean() + (self.sketch_judge(sketched) - 1).square().mean()
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
        self.maker_adam.zero_grad()
        loss.backward()
        self.maker_adam.step()
        for judge in (self.judge, self.sketch_judge):
            judge.requires_grad_(True)
        return [loss_d, adversarial, sketch_cycle, image_cycle, code_loss, kl]

    def follow(self, step: int) -> None:
        """Let the mean weights follow."""
        follow(self.mean, self.texture, min(self.config.mean_decay, step / (step + 10)))

    def set_rates(self, step: int) -> None:
        """Constant, then a straight fall in the last third."""
        fall = max(0.0, 3 * step / self.config.steps - 2)
        for adam in (self.maker_adam, self.judge_adam):
            adam.param_groups[0]["lr"] = self.config.rate * (1 - fall * (1 - self.config.final_rate))


def told_apart(judge: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """Return the least-squares loss of a discriminator."""
    return (judge(real) - 1).square().mean() + judge(made.detach()).square().mean()


def train(
    config: VONTraining,
    out: Path,
    data: Data,
    *,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 180.0,
    snapshot_steps: int = 250,
) -> Run:
    """Train, or go on from `out/checkpoint.safetensors`.

    A killed run loses at most `checkpoint_seconds`; every step draws from a generator seeded by its number. Beside the
    checkpoint lie `progress.png`, `losses.jsonl`, and in `snapshots/` the mean weights every `snapshot_steps`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    run = Run(config)
    step = run.load(out / "checkpoint.safetensors")
    (out / "snapshots").mkdir(parents=True, exist_ok=True)
    clock = Clock(
        out, run, step, checkpoint_seconds=checkpoint_seconds, picture_seconds=picture_seconds, report_steps=25
    )  # fmt: skip
    journal = Journal(out, TEXTS, 0.97)
    while step < config.steps:
        run.set_rates(step)
        journal.add(run.step(*draw(config, data, step)))
        step += 1
        run.follow(step)
        clock.tick(step, journal, progress, lambda path: contact_sheet(run, data).save(path))
        if step % snapshot_steps == 0 or step == config.steps:
            write_atomically(out / "snapshots" / f"step{step:06d}.safetensors", save(run.mean.state_dict()))
    return run


def draw(config: VONTraining, data: Data, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return one step's images in -1..1, sketches of other shapes and views, codes, noise, and the images' own
    sketches if `paired` wants them."""
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = torch.randint(len(data.images), (config.batch,), generator=random)
    other = torch.randint(len(data.images), (config.batch,), generator=random)
    images = data.images[chosen] / 127.5 - 1
    side = images.shape[-1]
    sketch = sketches(data.voxels[data.shapes[other]], data.views[other], side)
    own = sketches(data.voxels[data.shapes[chosen]], data.views[chosen], side) if config.paired else None
    z, noise = torch.randn(2, config.batch, config.z_dim, generator=random)
    return images, sketch, z, noise, own


@torch.no_grad()
def contact_sheet(run: Run, data: Data, rows: int = 6, scale: int = 2) -> Picture.Image:
    """Return a picture. Each row, from the left: a sketch (depth), it painted with four codes, each the same in every
    row; a real picture, its own sketch by F, and the sketch painted with the real picture's texture."""
    random = torch.Generator().manual_seed(1)
    codes = torch.randn(4, run.config.z_dim, generator=random)
    chosen = torch.linspace(0, len(data.images) - 1, rows).long()
    other = (chosen + 7 * len(data.images) // rows) % len(data.images)
    sketch = sketches(data.voxels[data.shapes[other]], data.views[other], data.images.shape[-1])
    real = data.images[chosen] / 127.5 - 1

    def paint(z: Tensor) -> Tensor:
        return over_white(run.mean(sketch[:, :1], z), (sketch[:, 1:] + 1) / 2)

    columns = [sketch[:, :1].expand(-1, 3, -1, -1), *(paint(z.expand(rows, -1)) for z in codes)]
    columns += [real, run.sketch_of(real)[:, :1].expand(-1, 3, -1, -1), paint(run.encoder(real)[0])]
    return page(torch.cat([torch.cat(list(column), -2) for column in columns], -1), scale)


def main(arguments: list[str]) -> None:
    """The command line: train on the pictures that `python -m backend.training.chair_views` made."""
    parser = runs.options(
        "von", __doc__, data="backend/training/chair_views.py", out="snapshots",
        published="the widths of the paper, for an accelerator",
    )  # fmt: skip
    parser.add_argument("--paired", type=float, help="weight of the conditional VAE-GAN's term; 0 as published")
    options = parser.parse_args(arguments)
    config = published() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)
    if options.paired is not None:
        config = replace(config, paired=options.paired)
    train(config, options.out, chair_data(options.data), progress=runs.say)


if __name__ == "__main__":
    main(sys.argv[1:])
