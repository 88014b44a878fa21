"""Optimise a scene's parameters until it renders what scribbles ask for, and renders the rest as before.

Rays come from the painted views and from views all around. Those that the change touches are to have the pixels of the
changed field, others that meet its region keep theirs. An edit holds in its region alone (region.py): what other parts
of space become is not shown. So the field of the unedited scene along all rays is computed once, and a step evaluates
the edited field at the samples in the region, which are few.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from addon.wire.errors import Diverged, NotSupported, OutOfMemory

from ..cameras import Camera, flattened, from_wire, orbit
from ..progress import Progress, part, silent
from ..rendering import compositing
from ..scenes.generator import Generator
from ..scenes.protocol import Scene
from .layers import Layer, resolved
from .mixing import Samples, sampled
from .parameters import Parameters, choose
from .region import Kind
from .scribbles import Change, Scribble

VIEWS = 6
"""Views around the object, in which the edit is learnt, too."""
VIEW_SIDE = 64
TOUCHED_RAYS, OTHER_RAYS = 320, 96
"""Of a view, at most: rays that the change touches, and rays that meet the region and stay as they are."""
RAYS = 512
"""Rays of a step; halved where memory runs out."""
FEWEST_RAYS = 24
OPACITY = 0.3
"""Weight of the opacity of samples."""


@dataclass(frozen=True)
class Options:
    """How long and how strongly."""

    parameters: Parameters = "hybrid"
    steps: int = 300
    seconds: float = 60.0  # ends earlier, when this is over
    seed: int = 0


DEFAULT = Options()


@dataclass(frozen=True)
class Goal:
    """Rays [n] that meet the region, and the difference of their pixels that the edit is to make."""

    samples: Samples
    inside: Tensor  # bool [n, S]: samples in the region
    rgb: Tensor  # [n, 3] premultiplied
    alpha: Tensor
    density: Tensor  # [n, S] of the changed field

    def at(self, index: Tensor) -> Goal:
        """Return some of the rays."""
        return Goal(self.samples.at(index), self.inside[index], self.rgb[index], self.alpha[index], self.density[index])


@dataclass
class Result:
    """The finished edit: its layer, the loss of each step, seconds until the first step was done and altogether."""

    layer: Layer
    losses: list[float] = field(default_factory=list)
    first_seconds: float = math.nan
    seconds: float = math.nan
    rays: int = RAYS  # of the last step


def views_around(generator: Generator, count: int = VIEWS, side: int = VIEW_SIDE) -> list[Camera]:
    """Return cameras all around in the range of the model's own, at alternating elevations."""
    prior = generator.info.pose_prior
    low, high = prior.azimuth
    full = high - low > 6.28
    bottom, top = prior.elevation
    bottom, top = max(bottom, -0.3), min(top, 1.1)
    found = []
    for number in range(count):
        azimuth = low + (high - low) * (number + 0.5 * (not full)) / count
        elevation = bottom + (top - bottom) * (0.25, 0.75, 0.5)[number % 3]
        found.append(from_wire(orbit(generator.info, side, azimuth=azimuth, elevation=elevation), generator.device))
    return found


@torch.no_grad()
def goal_of(change: Change, cameras: Sequence[Camera], progress: Progress, seed: int = 0) -> Goal:
    """Return rays of some views with the differences that they are to have."""
    random, region = torch.Generator().manual_seed(seed), change.region
    parts: list[Goal] = []
    for number, camera in enumerate(cameras):
        progress(number / len(cameras), f"Looking at view {number + 1} of {len(cameras)}")
        rays = flattened(camera.rays())
        meets = torch.nonzero(region.meets(rays))[:, 0]
        order = torch.randperm(len(meets), generator=random)[: TOUCHED_RAYS + OTHER_RAYS].to(meets.device)
        if not len(order):
            continue
        samples = sampled(change.scene, rays.at(meets[order]))
        difference, touched, density = change.difference(samples)
        places = [torch.nonzero(touched)[:TOUCHED_RAYS, 0], torch.nonzero(~touched)[:OTHER_RAYS, 0]]
        rgb = difference.rgb * touched[:, None]
        inside = region.holds(samples.points)
        parts.append(Goal(samples, inside, rgb, difference.alpha * touched, density).at(torch.cat(places)))
    samples = Samples(*(torch.cat([getattr(p.samples, n) for p in parts]) for n in Samples.__dataclass_fields__))
    names = ("inside", "rgb", "alpha", "density")
    return Goal(samples, *(torch.cat([getattr(p, name) for p in parts]) for name in names))


def edit(
    generator: Generator,
    ws: Tensor,
    scribbles: Sequence[Scribble],
    kind: Kind,
    options: Options = DEFAULT,
    *,
    controls: dict[str, float] | None = None,
    paste: Tensor | None = None,
    below: Scene | None = None,
    progress: Progress = silent,
    look: Callable[[Scene, int], None] = lambda scene, step: None,
) -> Result:
    """Edit the scene of one ws [num_ws, w_dim] by scribbles of one kind.

    The generator's weights are optimised in place and set back: the edit is the layer that is returned.

    Args:
        paste: ws of the scene that an *add* takes its part from.
        below: the scene that the scribbles are on, where it has edits already; None: that of ws.
        look: called with the scene and the number of steps after the first step, and then after twice as many.

    Raises:
        InvalidRequest: the scribbles cannot be meant, see `Change`.
        NotSupported: a 2D network makes the image, the model has no such parameters, or they have no gradient here.
        OutOfMemory: not even few rays fit; the error says so, and nothing has changed.
        Diverged: the loss is not finite.
    """
    started = time.perf_counter()
    ws, controls = resolved(generator, ws, controls)
    chosen = choose(generator, kind, options.parameters)
    scene = generator.synthesize(ws, controls)
    if scene.info.image_space:
        raise NotSupported(
            f"The images of {generator.info.label} come out of a 2D network, which has no single rays: scribbles need "
            "a radiance field."
        )
    other = None if paste is None else generator.synthesize(paste, controls)
    with torch.no_grad():
        change = Change(below or scene, scribbles, kind, paste=other)
    random = torch.Generator().manual_seed(options.seed)
    cameras = [*(scribble.camera for scribble in scribbles), *views_around(generator)]
    goal = goal_of(change, cameras, part(progress, 0.0, 0.2), options.seed)
    before = {place: weight.detach().clone() for place, weight in chosen.weights.items()}
    offset = None if chosen.rows is None else torch.zeros_like(ws, requires_grad=True)
    adam = torch.optim.Adam(chosen.groups(offset))
    result = Result(Layer(kind, options.parameters))
    mask = None if chosen.rows is None else chosen.rows.to(ws).unsqueeze(-1)
    edited = scene
    try:
        for weight in chosen.weights.values():
            weight.requires_grad_(True)
        step = 0
        while step < options.steps and (step == 0 or time.perf_counter() - started < options.seconds):
            own = ws if offset is None or mask is None else ws + mask * offset
            try:
                edited = generator.synthesize(own, controls, differentiable=True)
                chosen_rays = torch.randint(len(goal.alpha), (result.rays,), generator=random)
                loss = _loss(edited, goal.at(chosen_rays.to(goal.alpha.device)))
                if not bool(torch.isfinite(loss)):
                    raise Diverged("The edit diverged: its loss is not finite. Paint a smaller part, or choose codes.")
                adam.zero_grad(set_to_none=True)
                loss.backward()
                if step == 0 and not any(bool(p.grad.any()) for p in _parameters(adam) if p.grad is not None):
                    raise NotSupported(
                        "Nothing under the strokes depends on these parameters, because the field is empty there: let "
                        "the strokes overlap the object, or choose other parameters."
                    )
            except (RuntimeError, MemoryError) as error:
                if not _no_memory(error):
                    raise
                adam.zero_grad(set_to_none=True)
                if result.rays // 2 < FEWEST_RAYS:
                    raise OutOfMemory(
                        "There is too little memory for this edit, even with few rays at a time. Close other programs "
                        "and try again; the model and its other edits are as they were."
                    ) from error
                result.rays //= 2  # the state is kept: the same step again
                continue
            factor = 0.5 * (1 + math.cos(math.pi * step / options.steps))
            for group, rate in zip(adam.param_groups, [g["lr"] for g in adam.param_groups], strict=True):
                group.setdefault("full", rate)
                group["lr"] = group["full"] * (0.05 + 0.95 * factor)
            adam.step()
            step += 1
            result.losses.append(loss.item())
            if step == 1:
                result.first_seconds = time.perf_counter() - started
            if step & (step - 1) == 0:
                look(edited, step)
            passed = max(step / options.steps, (time.perf_counter() - started) / options.seconds)
            progress(0.2 + 0.8 * min(passed, 1), f"Step {step}, loss {loss.item():.4f}", figures={"loss": loss.item()})
    finally:  # the weights are set back however it ends
        deltas = {place: weight.detach() - before[place] for place, weight in chosen.weights.items()}
        _set_back(chosen.weights, before)
    moved = None if offset is None or mask is None else (mask * offset).detach()
    result.layer = Layer(kind, options.parameters, region=change.region, ws=moved, weights=deltas)
    result.seconds = time.perf_counter() - started
    return result


def _loss(scene: Scene, goal: Goal) -> Tensor:
    """Return the mean squared error of the differences that the scene's field makes in the region, and that of the
    opacity of samples: where much is opaque, pixels alone have no gradient."""
    field = scene.field(*goal.samples.along(goal.inside))
    found = goal.samples.replaced(goal.inside, field.value, field.rgb)
    pixels = ((found.rgb - goal.rgb).square().sum(-1) + (found.alpha - goal.alpha).square()).mean()
    step = goal.samples.step.expand_as(goal.inside)[goal.inside]
    wanted = compositing.opacity(goal.density[goal.inside], step)
    return pixels + OPACITY * (compositing.opacity(field.value, step) - wanted).square().mean()


def _parameters(adam: torch.optim.Adam) -> list[Tensor]:
    return [parameter for group in adam.param_groups for parameter in group["params"]]


def _no_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


@torch.no_grad()
def _set_back(weights: dict[int, torch.nn.Parameter], before: dict[int, Tensor]) -> None:
    for place, weight in weights.items():
        weight.requires_grad_(False).copy_(before[place])
        weight.grad = None
