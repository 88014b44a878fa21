"""Training HoloGAN, the loop of the lecture: a generator that has only ever seen pictures, and none of their poses.

Each step draws a code z and a view at random, renders, and lets a discriminator compare with real pictures
(arxiv.org/abs/1904.01326, Sec. 3). Nothing says where a real picture was taken: that turning the volume must turn the
object is found because it is the only use that rigid motion has. Three losses:

    discriminator   softplus(-D(x)) + softplus(D(G(z, view)))           is it real (the non-saturating GAN loss)
    generator       softplus(-D(G(z, view)))
    identity, both  |F(G(z, view)) - z|²                                the code can be read off every view (Sec. 3.4)

The network that is kept is the running mean of the generator's weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..checkpoints.store import write_atomically
from ..generators.hologan.model import Discriminator, Generator, HoloGANConfig
from . import chair_views

TEXTS = ("loss_d", "loss_g", "identity", "real", "fake")
"""What is written to losses.jsonl: means of the losses and of the discriminator's probabilities."""


@dataclass(frozen=True)
class HoloGANTraining:
    """One training run. Stored whole in its checkpoint."""

    generator: HoloGANConfig = field(default_factory=HoloGANConfig)
    discriminator_channels: int = 64
    azimuth: float = math.pi  # views are drawn from ± this, radians …
    elevation: tuple[float, float] = chair_views.ELEVATIONS  # … and from this
    steps: int = 100_000
    batch: int = 32
    generator_rate: float = 1e-4  # Adam, betas 0.5 and 0.999
    discriminator_rate: float = 1e-4
    final_rate: float = 0.1  # both fall to this fraction in the last quarter
    identity: float = 1.0  # weight of the identity loss
    mean_decay: float = 0.999  # of the running mean of the weights, in a step
    seed: int = 0


def official() -> HoloGANTraining:
    """The network and the rates of the paper at side 64, all round the object; for an accelerator."""
    return HoloGANTraining()


def small() -> HoloGANTraining:
    """The starter model: a network of 25 million multiplications an image, an hour on one CPU core.

    The front third of the views only, and higher rates: both buy sharper pictures for few steps.
    """
    return HoloGANTraining(
        HoloGANConfig(
            z_dim=16, constant_channels=64, volume_channels=(32, 16), projected=64, image_channels=(32, 16), slope=0.2
        ),
        discriminator_channels=16,
        azimuth=math.radians(60.0),
        steps=1_800,
        batch=16,
        generator_rate=8e-4,
        discriminator_rate=4e-4,
        identity=4.0,
        mean_decay=0.995,
    )


def train(
    config: HoloGANTraining,
    out: Path,
    images: Tensor,  # [num_images, 3, side, side] uint8
    *,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    checkpoint_seconds: float = 60.0,
    picture_seconds: float = 180.0,
    snapshot_steps: int = 200,
    report_steps: int = 50,
) -> Generator:
    """Train, or go on from `out/checkpoint.safetensors`. Returns the generator with the mean weights.

    A killed run loses at most `checkpoint_seconds`; every step draws from a generator seeded by its number. Beside the
    checkpoint lie `progress.png` (rows: one z each; columns: azimuths), `losses.jsonl`, and in `snapshots/` the mean
    weights every `snapshot_steps`.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration.
    """
    torch.manual_seed(config.seed)
    generator, mean = Generator(config.generator), Generator(config.generator)
    mean.load_state_dict(generator.state_dict())
    discriminator = Discriminator(config.discriminator_channels, 4, config.generator.z_dim, config.generator.side)
    run = _Run(config, generator, mean, discriminator)
    checkpoint = out / "checkpoint.safetensors"
    step = run.load(checkpoint) if checkpoint.exists() else 0
    (out / "snapshots").mkdir(parents=True, exist_ok=True)

    first, started = step, time.monotonic()
    saved = pictured = started
    means = dict.fromkeys(TEXTS, math.nan)
    while step < config.steps:
        run.set_rates(step)
        real, z, view = draw(config, images, step)

        fake = generator(z, view)
        discriminator.requires_grad_(True)
        real_logit, _ = discriminator(real)
        fake_logit, guess = discriminator(fake.detach())
        loss_d = F.softplus(-real_logit).mean() + F.softplus(fake_logit).mean()
        run.discriminator_adam.zero_grad()
        (loss_d + config.identity * F.mse_loss(guess, z)).backward()
        run.discriminator_adam.step()

        discriminator.requires_grad_(False)
        logit, guess = discriminator(fake)
        loss_g, identity = F.softplus(-logit).mean(), F.mse_loss(guess, z)
        run.generator_adam.zero_grad()
        (loss_g + config.identity * identity).backward()
        run.generator_adam.step()

        step += 1
        decay = min(config.mean_decay, step / (step + 10))
        with torch.no_grad():
            for kept, now in zip(mean.parameters(), generator.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)

        found = (loss_d, loss_g, identity, real_logit.sigmoid().mean(), fake_logit.sigmoid().mean())
        for name, value in zip(TEXTS, found, strict=True):
            means[name] = value.item() if math.isnan(means[name]) else 0.98 * means[name] + 0.02 * value.item()
        clock, last = time.monotonic(), step == config.steps
        if step % report_steps == 0 or last:
            left = (clock - started) / (step - first) * (config.steps - step)
            text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            progress(step / config.steps, f"step {step}/{config.steps}  {text}  {left / 60:.0f} min left")
            with (out / "losses.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step} | {k: round(v, 4) for k, v in means.items()}) + "\n")
        if clock - saved > checkpoint_seconds or last:
            run.save(checkpoint, step)
            saved = time.monotonic()
        if step % snapshot_steps == 0:
            write_atomically(out / "snapshots" / f"step{step:06d}.safetensors", save(mean.state_dict()))
        if clock - pictured > picture_seconds or last:
            contact_sheet(mean, config).save(out / "progress.png")
            pictured = time.monotonic()
    return mean


def draw(config: HoloGANTraining, images: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return one step's real images in -1..1, and z and view of as many to generate."""
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    chosen = torch.randint(len(images), (config.batch,), generator=random)
    z = torch.rand(config.batch, config.generator.z_dim, generator=random) * 2 - 1
    return images[chosen] / 127.5 - 1, z, random_views(config, config.batch, random)


def random_views(config: HoloGANTraining, count: int, random: torch.Generator) -> Tensor:
    """Return views [count, 6], uniform in the trained range."""
    u, v = torch.rand(2, count, generator=random)
    low, high = config.elevation
    return views_at((2 * u - 1) * config.azimuth, low + v * (high - low))


def views_at(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Return views [n, 6] without scaling or translation, angles [n] in radians as the network takes them."""
    view = torch.zeros(len(azimuth), 6)
    view[:, 0], view[:, 1], view[:, 2] = azimuth, elevation, 1.0
    return view


class _Run:
    """What a checkpoint holds: networks and their optimisers."""

    def __init__(
        self, config: HoloGANTraining, generator: Generator, mean: Generator, discriminator: Discriminator
    ) -> None:
        self.config = config
        self.modules = {"generator": generator, "mean": mean, "discriminator": discriminator}
        self.generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, (0.5, 0.999))
        self.discriminator_adam = torch.optim.Adam(discriminator.parameters(), config.discriminator_rate, (0.5, 0.999))

    def set_rates(self, step: int) -> None:
        """Constant, then a straight fall in the last quarter."""
        fall = max(0.0, 4 * step / self.config.steps - 3)
        factor = 1 - fall * (1 - self.config.final_rate)
        self.generator_adam.param_groups[0]["lr"] = factor * self.config.generator_rate
        self.discriminator_adam.param_groups[0]["lr"] = factor * self.config.discriminator_rate

    def _adams(self) -> Iterator[tuple[str, torch.optim.Adam]]:
        return iter((("adam_g", self.generator_adam), ("adam_d", self.discriminator_adam)))

    def save(self, path: Path, step: int) -> None:
        """Write everything in one atomic step."""
        named = chain.from_iterable(
            ((f"{name}.{key}", value) for key, value in module.state_dict().items())
            for name, module in self.modules.items()
        )
        tensors = dict(named)
        for name, adam in self._adams():
            for index, state in adam.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
        metadata = {"config": json.dumps(asdict(self.config)), "step": str(step)}
        write_atomically(path, save({k: v.detach().clone() for k, v in tensors.items()}, metadata=metadata))

    def load(self, path: Path) -> int:
        """Take up a checkpoint and return its step. Raises ValueError for another configuration."""
        with safe_open(path, "pt") as file:
            stored, wanted = json.loads(file.metadata()["config"]), json.loads(json.dumps(asdict(self.config)))
            changed = [key for key in wanted if key != "steps" and stored.get(key) != wanted[key]]
            if changed:
                raise ValueError(
                    f"{path} was trained with another configuration ({', '.join(changed)}); give an empty folder"
                )
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, module in self.modules.items():
            prefix = f"{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, adam in self._adams():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"{name}."):
                    _, index, part = key.split(".")
                    state.setdefault(int(index), {})[part] = value
            adam.load_state_dict({"state": state, "param_groups": adam.state_dict()["param_groups"]})
        return step


@torch.no_grad()
def contact_sheet(
    generator: Generator, config: HoloGANTraining, rows: int = 8, columns: int = 9, scale: int = 2
) -> Picture.Image:
    """Return a picture: each row one z, turned from one end of the trained azimuths to the other."""
    random = torch.Generator().manual_seed(0)
    z = torch.rand(rows, config.generator.z_dim, generator=random) * 2 - 1
    azimuth = torch.linspace(-config.azimuth, config.azimuth, columns)
    elevation = torch.full((columns,), sum(config.elevation) / 2)
    views = views_at(azimuth, elevation)
    strips = []
    for row in z:
        pictures = generator(row.expand(columns, -1), views)
        strips.append(torch.cat(list(pictures), -1))
    page = ((torch.cat(strips, 1) * 0.5 + 0.5).clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    made = Picture.fromarray(page)
    return made.resize((made.width * scale, made.height * scale), Picture.Resampling.LANCZOS)


def real_images(folder: Path, azimuth: float = math.pi, seeds: range = range(chair_views.NUM_TRAIN)) -> Tensor:
    """Return the pictures of chairs [n, 3, 64, 64] uint8 that were taken within ± azimuth (radians) of the front."""
    views = chair_views.load_views(folder, seeds, ("images", "azimuths"))
    turned = np.abs((views["azimuths"] + math.pi) % (2 * math.pi) - math.pi)
    return torch.from_numpy(views["images"][turned <= azimuth]).permute(0, 3, 1, 2).contiguous()


def main(arguments: list[str]) -> None:
    """The command line: train on the pictures that `python -m backend.training.chair_views` made."""
    parser = argparse.ArgumentParser(
        prog="python -m backend train hologan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="the folder that backend/training/chair_views.py filled")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, picture and snapshots")
    parser.add_argument("--published", action="store_true", help="the network of the paper, for an accelerator")
    parser.add_argument("--steps", type=int, help="training steps; the recipe's own if left out")
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    if options.steps is not None:
        config = replace(config, steps=options.steps)

    def progress(fraction: float, text: str) -> None:
        sys.stderr.write(text + "\n")

    train(config, options.out, real_images(options.data, config.azimuth), progress=progress)
