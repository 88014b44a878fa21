"""Adversarial losses and gradient penalties.

Scores are the discriminator's outputs before any sigmoid, [B, 1]; larger means more real.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .config import AdversarialTraining, Loss


def discriminator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss.

    published: softplus(-D(x)) + softplus(D(G(z))), the logistic loss of arxiv.org/abs/1406.2661, Eq. 1.
    r3gan: softplus(D(G(z)) - D(x)), of pairs of a real and a generated image (arxiv.org/abs/2501.05441, Eq. 1).
    """
    if loss == "r3gan":
        return softplus(fake - real).mean()
    return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(loss: Loss, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Return the generator's loss; real: scores of the real images, which only r3gan's pairs need.

    published: softplus(-D(G(z))), non-saturating. r3gan: softplus(D(x) - D(G(z))).
    """
    if loss == "r3gan":
        assert real is not None
        return softplus(real.detach() - fake).mean()
    return softplus(-fake).mean()


def gradient_penalty(scores: Tensor, images: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the mean over the batch of the squared norm of d(score)/d(image), summed over several images a sample.

    The zero-centred penalty R1 (of real images) or R2 (of generated ones), arxiv.org/abs/1801.04406, Eq. 9, without
    its factor γ/2. `images` are what `scores` were computed from, with requires_grad. Differentiable.
    """
    inputs = [images] if isinstance(images, Tensor) else list(images)
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return torch.stack([g.square().sum() / len(scores) for g in gradients]).sum()


def penalty(
    config: AdversarialTraining,
    step: int,
    real: tuple[Tensor, Tensor | Sequence[Tensor]],
    fake: tuple[Tensor, Tensor | Sequence[Tensor]],
    gamma: float | None = None,
) -> Tensor:
    """Return the penalties of a step, weighted: R1, and for r3gan R2 too; zero in the steps between them.

    real, fake: scores, and the images that they were computed from, with requires_grad. gamma: in place of the
    configuration's.
    """
    if step % config.regularise_every:
        return real[0].new_zeros(())
    found = gradient_penalty(*real)
    if config.loss == "r3gan":
        found = found + gradient_penalty(*fake)
    return (config.gamma_at(step) if gamma is None else gamma) / 2 * config.regularise_every * found
