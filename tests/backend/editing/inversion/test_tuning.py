"""Pivotal tuning reaches the target, and locality holds the images of other latents."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.editing.inversion.tuning import Locality, image_loss, tune


def image(weights: Tensor, latent: Tensor) -> Tensor:
    """An image [1, 3, 4, 4] of a latent [1, 6], by a linear generator."""
    return (latent @ weights).view(1, 3, 4, 4)


def test_locality_holds_the_images_of_other_latents() -> None:
    torch.manual_seed(0)
    before, pivot, draws = 0.3 * torch.randn(6, 48), torch.randn(1, 6), torch.randn(300, 1, 6)
    target, others = torch.rand(1, 3, 4, 4), pivot + 2 * torch.randn(50, 6)
    changes = []
    for held in (False, True):
        weights = before.clone().requires_grad_()
        locality = Locality(
            lambda ws, _: image(before, ws),
            lambda ws, _, weights=weights: image(weights, ws),  # type: ignore[misc]
            pivot,
            lambda number: draws[number],
            distance=3.0,
        )
        steps = tune(
            [weights],
            lambda weights=weights: image_loss(image(weights, pivot), target, None),  # type: ignore[misc]
            locality=locality if held else None,
            steps=300,
            learning_rate=1e-2,
        )
        assert list(steps)[-1].l2 < 0.02
        changes.append(float((others @ (weights - before)).detach().abs().mean()))
    assert changes[1] < 0.9 * changes[0]


def test_tuning_ends_before_the_update_once_it_is_enough() -> None:
    weights = torch.zeros(6, 48, requires_grad=True)
    pivot, target = torch.ones(1, 6), torch.ones(1, 3, 4, 4)
    loss = lambda: image_loss(image(weights, pivot), target, None)  # noqa: E731
    taken = list(tune([weights], loss, steps=300, learning_rate=1e-2, enough=lambda found: found.l2.item() < 0.5))
    assert len(taken) < 300
    assert taken[-1].l2 >= 0.5
    assert loss().l2.item() < 0.5
