"""A GAN of a few numbers that trains in milliseconds; run by torchrun as `toy.py OUT`, it trains in two processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.training.adversarial.command import Recipe
from backend.training.adversarial.config import AdversarialTraining
from backend.training.adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from backend.training.adversarial.processes import joined
from backend.training.adversarial.run import AdversarialRun, RunOptions, Step
from backend.training.data.training_images import TrainingImages

CONFIG = AdversarialTraining(
    steps=12, batch=8, loss="r3gan", gamma=0.5, generator_rate=1e-2, discriminator_rate=1e-2, final_rate=0.5,
    mean_kimg=0.02,
)  # fmt: skip


def data() -> Tensor:
    """Images [20, 3, 4, 4] of two colours."""
    random = torch.Generator().manual_seed(3)
    bright = (torch.rand(20, 1, 1, 1, generator=random) > 0.5) * 120 + 60
    return (bright + torch.randint(20, (20, 3, 4, 4), generator=random)).to(torch.uint8)


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 48), nn.Unflatten(1, (3, 4, 4)))
    return generator, nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Softplus(), nn.Linear(16, 1))


def one_step(run: AdversarialRun, step: Step, images: Tensor) -> None:
    real = step.images(images, step.choose(len(images))).requires_grad_()
    fake = run.generator(step.normal(5))
    seen = fake.detach().requires_grad_()
    scores, fake_scores = run.discriminator(real), run.discriminator(seen)
    penalty = gradient_penalty(scores, real) + gradient_penalty(fake_scores, seen)
    loss_d = discriminator_loss(run.config.loss, scores, fake_scores)
    run.update("discriminator", loss_d + run.config.gamma_at(step.number) / 2 * penalty)
    loss_g = generator_loss(run.config.loss, run.discriminator(fake), run.discriminator(real))
    run.update("generator", loss_g)
    run.report(loss_d=loss_d, loss_g=loss_g)


def _of_images(config: AdversarialTraining, images: TrainingImages, out: Path, options: RunOptions) -> None:
    run = AdversarialRun(config, out, *networks(), replace(options, report_steps=1))
    for step in run:
        one_step(run, step, images.images)


RECIPE = Recipe(
    "toy", "Toy", "Images of one colour.", {"small": lambda: CONFIG, "large": lambda: replace(CONFIG, batch=16)},
    side=lambda config: 4, train=_of_images,
)  # fmt: skip


def train(out: Path | None, options: RunOptions, config: AdversarialTraining = CONFIG) -> AdversarialRun:
    run = AdversarialRun(config, out, *networks(), options)
    images = data()
    for step in run:
        one_step(run, step, images)
    return run


if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        train(Path(sys.argv[1]), RunOptions(processes=processes, report_steps=1))
