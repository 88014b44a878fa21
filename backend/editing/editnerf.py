"""The edits of EditNeRF (arxiv.org/abs/2105.06466) as published: colour, removal, addition, transfer.

An edit optimises few layers of the fields (section 4.2, the *hybrid* choice); neither code changes. Rays of the
scribbles are drawn from one view a step. What lies in front of the optimised layers is constant: for a removal, the
features of the shape branches and the coarse weights are computed once (the *cache*).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generators.editnerf.model import EditNeRF, Pass, along, composite

Kind = Literal["color", "removal", "addition"]

STEPS: dict[Kind, int] = {"color": 100, "removal": 100, "addition": 10_000}
LEARNING_RATE = 1e-3
WEIGHT_CHANGE = 10.0
"""Of the mean squared change of each matrix of the fine field."""
ENTROPY = 0.01
"""Of the entropy of removed rays."""
RAYS_PER_VIEW: dict[Kind, int] = {"color": 64, "removal": 8192, "addition": 8192}
RANDOM_RAYS = 8192
"""Rays of a whole view that keep a shape edit local where no scribble says what stays."""


@dataclass(frozen=True)
class EditedRays:
    """Rays of the scribbles on one view."""

    origins: Tensor  # [n, 3], canonical
    directions: Tensor  # [n, 3]
    target: Tensor  # [n, 3]: the chosen colour, white where something is removed; elsewhere the render before the edit
    edited: Tensor  # [n] 1 inside the edit, 0 where nothing may change


@dataclass(frozen=True)
class Cache:
    """What a removal keeps of the rays of a view."""

    coarse_weights: Tensor  # [n, num_samples]
    t: Tensor  # [n, num_samples + num_fine]
    points: Tensor  # [n, num_samples + num_fine, 3]
    shape_features: Tensor  # [n, num_samples + num_fine, fusion_width]


class Draws(NamedTuple):
    """Random numbers of a step, for rays in the order of the step: jitter [n, num_samples], u [n, num_fine]."""

    jitter: Tensor | None = None
    u: Tensor | None = None


EVEN = Draws()
"""Without random numbers: samples are spaced evenly."""


class Losses(NamedTuple):
    """Losses of a step: the whole, and the squared errors of the fine and (of an addition) the coarse pixels."""

    total: Tensor
    fine: Tensor
    coarse: Tensor | None
    rendered: Pass


def edited_layers(network: EditNeRF, kind: Kind) -> list[nn.Module]:
    """Return the layers that an edit optimises, as shipped.

    Colour: the last layer and the embedding of the colour code. Shape: the fusion network and density, for an addition
    those of both fields, because the coarse one must place samples where something new is.
    """
    fine, coarse = network.fine, network.coarse
    if kind == "color":
        return [fine.color, fine.embeddings[2]]
    fields = [fine] if kind == "removal" or coarse is None else [fine, coarse]
    return [layer for field in fields for layer in (field.fusion, field.density)]


@torch.no_grad()
def cached(network: EditNeRF, ws: Tensor, rays: EditedRays) -> Cache:
    """Return what a removal keeps of these rays: evenly spaced samples, and those that the coarse field places."""
    own = ws.expand(len(rays.origins), -1, -1)
    found = network.render(own, rays.origins, rays.directions)
    points, _ = along(rays.origins, rays.directions, found.fine.t)
    features = network.fine.shape_features(network.fine.embed(own).along(), points)
    return Cache(found.fine.weights if found.coarse is None else found.coarse.weights, found.fine.t, points, features)


class Edit:
    """One edit of a network, in place. `step` gives the losses, `run` optimises."""

    def __init__(self, network: EditNeRF, ws: Tensor, kind: Kind, views: Sequence[EditedRays]) -> None:
        """ws: [2, w_dim] of the edited instance. views: rays of the scribbles on each view."""
        self.network, self.ws, self.kind, self.views = network, ws, kind, views
        self.before = [weight.detach().clone() for weight in self._matrices()]
        self.parameters = [p for layer in edited_layers(network, kind) for p in layer.parameters()]
        self.caches = [cached(network, ws, rays) for rays in views] if kind == "removal" else []

    def _matrices(self) -> list[Tensor]:
        """Return the matrices of the fine field, without biases."""
        return [parameter for parameter in self.network.fine.parameters() if parameter.ndim > 1]

    def losses(self, view: int, chosen: Tensor, draws: Draws = EVEN, *, t_fine: Tensor | None = None) -> Losses:
        """Return the losses of some rays of a view.

        chosen: [n], their numbers. t_fine: samples [n, any] in place of those that the coarse field places.
        """
        rays = self.views[view]
        origins, directions, target = rays.origins[chosen], rays.directions[chosen], rays.target[chosen]
        coarse = None
        if self.caches:
            fine = self._from_cache(view, chosen, directions, t_fine)
        else:
            own = self.ws.expand(len(chosen), -1, -1)
            found = self.network.render(own, origins, directions, jitter=draws.jitter, u=draws.u, t_fine=t_fine)
            fine, coarse = found.fine, found.coarse
        error = F.mse_loss(fine.rgb, target)
        total = error + WEIGHT_CHANGE * torch.stack(
            [(now - was).square().mean() for was, now in zip(self.before, self._matrices(), strict=True)]
        ).sum()  # fmt: skip
        if self.kind == "removal":
            entropy = -(fine.weights * torch.log(fine.weights + 1e-7)).sum(-1)
            total = total + ENTROPY * (rays.edited[chosen] * entropy).mean()
        coarse_error = None
        if self.kind == "addition" and coarse is not None:
            coarse_error = F.mse_loss(coarse.rgb, target)
            total = total + coarse_error
        return Losses(total, error, coarse_error, fine)

    def _from_cache(self, view: int, chosen: Tensor, directions: Tensor, t_fine: Tensor | None) -> Pass:
        field, cache = self.network.fine, self.caches[view]
        codes = field.embed(self.ws.expand(len(chosen), -1, -1)).along()
        speed = directions.norm(dim=-1, keepdim=True)
        raw = field.radiance(codes, cache.shape_features[chosen], (directions / speed)[:, None])
        raw = field.bounded(raw, cache.points[chosen])
        t = cache.t[chosen] if t_fine is None else t_fine
        return composite(raw, t, speed, self.network.config.white_background)

    def run(
        self,
        steps: int,
        choose: Callable[[int], tuple[int, Tensor]],
        draw: Callable[[int], Draws] = lambda step: EVEN,
    ) -> Iterator[Losses]:
        """Optimise (Adam), yielding the losses of each step after its update.

        choose(step): a view and the numbers of its rays. draw(step): their random numbers.
        """
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        adam = torch.optim.Adam(self.parameters, LEARNING_RATE)
        try:
            for step in range(steps):
                found = self.losses(*choose(step), draw(step))
                adam.zero_grad(set_to_none=True)
                found.total.backward()
                adam.step()
                yield found
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(False)


def choose_at_random(views: Sequence[EditedRays], kind: Kind, seed: int = 0) -> Callable[[int], tuple[int, Tensor]]:
    """Return a choice of one random view a step, and of at most as many of its rays as published."""
    random = torch.Generator().manual_seed(seed)

    def choose(step: int) -> tuple[int, Tensor]:
        view = int(torch.randint(len(views), (), generator=random))
        return view, torch.randperm(len(views[view].origins), generator=random)[: RAYS_PER_VIEW[kind]]

    return choose


def transferred(ws: Tensor, other: Tensor, *, shape: bool = False, color: bool = False) -> Tensor:
    """Return ws [2, w_dim] with the shape or the colour code of another instance (section 4.3: transfer)."""
    return torch.stack((other[0] if shape else ws[0], other[1] if color else ws[1]))
