"""Inversion of a generator: from a photograph to latent, camera and, if wanted, tuned weights.

1. The images nearest to the photograph, among those of the first seeds from around the given view.
2. Projection at 32² from the nearest ones, the best of which goes on: the latent (in w where the model has one w for
   all rows) with PTI's noise and ramps, and the camera by Gauss–Newton steps in between.
3. Projection at the model's size, first in w, then in w+.
4. Pivotal tuning: the weights, with the images of other latents held.

After Zhu et al. (arxiv.org/abs/1609.03552), StyleGAN2 (arxiv.org/abs/1912.04958, supplement D) and PTI
(arxiv.org/abs/2106.05744); latents are in units of their own spread, so that one schedule serves all generators.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import Diverged, NotSupported
from addon.wire.messages import InversionOptions

from ...progress import Progress, silent
from ...scenes.generator import Generator
from ...scenes.protocol import Scene
from .comparison import Comparison
from .latent_space import LatentSpace, latent_space
from .perceptual import PerceptualNetwork
from .photograph import Photograph
from .projection import project
from .schedules import pti_schedule
from .tuning import ImageLoss, Locality, tune
from .viewpoint import Viewpoint, default_viewpoint, improved, pyramid

PEAK = 0.05
"""Largest learning rate of the projection, spreads of the latent."""

SMALL_SHARE, SHARED_SHARE = 0.75, 0.1
"""Of the projection's steps: those at 32², and those at the model's size that still keep one w for all rows, where the
model has one. Unseen sides are those of a w that the model knows; in w+ they follow the seen ones less."""

STARTS = 3
"""Seeds that the projection starts from, each for a sixth of the small steps; the best one goes on."""

CAMERA_EVERY = 8  # steps
NEARBY = (0.0, -0.2, 0.2)  # radians of azimuth: where the first seeds are looked at from, about the given view
SHOWN_EVERY = 10  # steps: a progress picture

UNLIKE_PSNR, UNLIKE_OVERLAP = 20.0, 0.75
"""dB and intersection over union: photographs whose projection is below are unlike what the model makes. Images of
other seeds of the starter chairs came to 32 dB and 0.97 and more (`bench editing`)."""

LOCALITY_DISTANCE = 0.7
"""From the pivot to the latents whose images are held, over the spread of all numbers of ws."""


@dataclass(frozen=True)
class Inverted:
    """What was found. ws: [num_ws, w_dim]. tuned: the generator with adapted weights, None where they were left.
    projected_psnr: dB of the image before they were adapted."""

    ws: Tensor
    view: Viewpoint
    tuned: Generator | None
    psnr: float
    projected_psnr: float
    overlap: float | None
    notes: tuple[str, ...]


def check_invertible(generator: Generator) -> None:
    """Raise NotSupported for a model that has no latent or no colour."""
    info = generator.info
    if not info.num_ws or not info.has_color:
        lacks = "no latent: it is one scene" if not info.num_ws else "no colour"
        raise NotSupported(
            f"{info.label} cannot be fitted to a photograph: it has {lacks}. Choose a generator of images."
        )


def invert(
    generator: Generator,
    photograph: Photograph,
    options: InversionOptions,
    *,
    view: Viewpoint | None = None,
    perceptual: PerceptualNetwork | None = None,
    progress: Progress = silent,
) -> Inverted:
    """Find latent, camera and weights of a photograph.

    Args:
        view: to start from; None: the view that the panel opens with.
        perceptual: adds its distance to the loss at the model's size.
    Raises:
        NotSupported: see `check_invertible`. Diverged: the loss became NaN. Cancelled, through `progress`.
    """
    check_invertible(generator)
    view = (view or default_viewpoint(generator.info)).within(generator.info)
    comparison = Comparison(generator, photograph, view, options.seed)
    run = _Run(generator, comparison, options, perceptual, progress)
    progress(0.0, "Comparing with the model's own images")
    space = latent_space(generator)
    small, whole = (round(options.steps * share) for share in (SMALL_SHARE, SHARED_SHARE))
    x, view = run.best_projected(space, run.nearest_seeds(space, view), small)
    if space.shared and whole:
        x, view = run.projected(space, x, view, Stage(whole, "Refining the latent", whole=True, done=small))
        small += whole
    last = Stage(options.steps - small, "Refining the latent by rows", whole=True, noise=0.0, done=small)
    x, view = run.projected(space, x.expand_as(space.mean), view, last)
    ws = space.ws(x)
    scene = generator.synthesize(ws)
    psnr, overlap = comparison.psnr(scene, view), comparison.overlap(scene, view)
    tuned, projected = None, psnr
    notes = (*photograph.notes, *_unlike(generator, projected, overlap))
    if options.tuning_steps:
        tuned = run.tuned(space, ws, view)
        psnr = comparison.psnr(tuned.synthesize(ws), view)
        if psnr <= projected:
            tuned, psnr = None, projected
            notes += ("Tuning did not come nearer to the photograph and was dropped: use a smaller tuning rate.",)
    progress(1.0, "Done")
    return Inverted(ws, view, tuned, psnr, projected, overlap, notes)


@dataclass(frozen=True)
class Stage:
    """A part of the projection. steps: how many. text: for the user. whole: by images of the model's size and what a
    network sees of them, else by small ones. noise: of PTI's schedule. done: steps of earlier stages."""

    steps: int
    text: str = "Finding shape and camera"
    whole: bool = False
    noise: float = 0.05
    done: int = 0


class _Run:
    """The stages of one inversion."""

    def __init__(
        self,
        generator: Generator,
        comparison: Comparison,
        options: InversionOptions,
        perceptual: PerceptualNetwork | None,
        progress: Progress,
    ) -> None:
        self.generator, self.comparison, self.options = generator, comparison, options
        self.perceptual, self.progress = perceptual, progress
        self.random = torch.Generator().manual_seed(options.seed)
        self.total = options.candidates + options.steps + 3 * options.tuning_steps  # tuning steps take longer

    @torch.no_grad()
    def nearest_seeds(self, space: LatentSpace, view: Viewpoint) -> list[tuple[Tensor, Viewpoint]]:
        """Return the latents of the first seeds whose small images are the nearest, and from where."""
        found: list[tuple[float, Tensor, Viewpoint]] = []
        for number, ws in enumerate(space.seeds[: self.options.candidates]):
            scene, errors = self.generator.synthesize(ws), {}
            for turn in NEARBY if self.options.solve_camera else NEARBY[:1]:
                turned = view.moved(turn).within(self.generator.info)
                errors[turned] = self._small_error(scene, turned)
            nearest = min(errors, key=errors.__getitem__)
            found.append((errors[nearest], space.x(ws), nearest))
            self.progress(number / self.total, "Comparing with the model's own images")
        return [(x, at) for _, x, at in sorted(found, key=lambda entry: entry[0])[:STARTS]]

    def best_projected(
        self, space: LatentSpace, starts: list[tuple[Tensor, Viewpoint]], steps: int
    ) -> tuple[Tensor, Viewpoint]:
        """Project at 32² from each start for some steps, and from the best for the rest. Return latent and view."""
        each = max(steps // (2 * STARTS), 1)
        tried = [
            self.projected(space, x, view, Stage(each, done=number * each)) for number, (x, view) in enumerate(starts)
        ]
        errors = [self._small_error(self.generator.synthesize(space.ws(x)), view) for x, view in tried]
        x, view = tried[errors.index(min(errors))]
        done = each * len(tried)
        return self.projected(space, x, view, Stage(max(steps - done, 1), done=done))

    @torch.no_grad()
    def _small_error(self, scene: Scene, view: Viewpoint) -> float:
        return float(self.comparison.small_difference(self.comparison.small(scene, view)).square().mean())

    def projected(self, space: LatentSpace, start: Tensor, view: Viewpoint, stage: Stage) -> tuple[Tensor, Viewpoint]:
        """Return latent and view after a stage."""
        x = start.clone().requires_grad_()
        comparison = self.comparison

        def draw(_: int) -> Tensor:
            return math.sqrt(x.shape[-1]) * torch.randn(x.shape, generator=self.random).to(x)

        def distance(moved: Tensor) -> Tensor:
            scene = self.generator.synthesize(space.ws(moved), differentiable=True)
            if not stage.whole:
                return pyramid(comparison.small_difference(comparison.small(scene, view))).square().mean()
            loss = comparison.difference(scene, view, comparison.pixels(scene)).square().mean()
            if self.perceptual is not None:
                loss = loss + self.perceptual.weight * self._seen(scene, view)
            return loss

        schedule = pti_schedule(stage.steps, peak=PEAK, noise=stage.noise)
        for number, loss in enumerate(project(x, distance, schedule, draw), 1):
            if not math.isfinite(loss):
                raise Diverged("The projection became NaN. Try another start view, or fewer steps.")
            done = self.options.candidates + stage.done + number
            turns = number % CAMERA_EVERY == 0 and self.options.solve_camera
            shown = done % SHOWN_EVERY == 0
            scene = self.generator.synthesize(space.ws(x.detach())) if turns or shown else None
            if turns and scene is not None:
                view = self.improved(scene, view, stage.whole)
            self._report(done, stage.text, scene if shown else None, view, loss)
        return x.detach(), view

    def improved(self, scene: Scene, view: Viewpoint, whole: bool) -> Viewpoint:
        """Return the viewpoint after one step towards the photograph."""
        comparison = self.comparison
        pixels = comparison.pixels(scene) if whole else None

        def difference(at: Viewpoint) -> Tensor:
            if whole:
                return comparison.difference(scene, at, pixels)
            return comparison.small_difference(comparison.small(scene, at))

        return improved(view, difference, self.generator.info, reframed=comparison.photograph.reframed)

    def tuned(self, space: LatentSpace, pivot: Tensor, view: Viewpoint) -> Generator:
        """Return a copy of the generator with its weights tuned to the photograph."""
        before, after = self.generator, copy.deepcopy(self.generator)
        weights = after.parameters_for("all")
        for weight in weights:
            weight.requires_grad_(True)
        comparison = self.comparison

        def image(generator: Generator, ws: Tensor, at: Viewpoint) -> Tensor:
            scene = generator.synthesize(ws, differentiable=generator is after)
            made = comparison.small(scene, at)
            return torch.cat((made.over(0.0), made.alpha[..., None]), -1).permute(2, 0, 1)[None]

        def loss() -> ImageLoss:
            scene = after.synthesize(pivot, differentiable=True)
            difference = comparison.difference(scene, view, comparison.pixels(scene))
            l2 = 4 * difference.square().mean()  # of images in −1..1, as published
            seen = torch.zeros_like(l2) if self.perceptual is None else self.perceptual.weight * self._seen(scene, view)
            return ImageLoss(l2, seen)

        held = self._held_views(space, view)
        locality = Locality(
            lambda ws, number: image(before, ws, held[number][1]),
            lambda ws, number: image(after, ws, held[number][1]),
            pivot,
            lambda number: held[number][0],
            distance=LOCALITY_DISTANCE * float(space.deviation.square().sum().sqrt()),
        )
        steps = tune(
            weights, loss, locality=locality if self.options.locality else None, steps=self.options.tuning_steps,
            learning_rate=self.options.tuning_rate,
        )  # fmt: skip
        for number, step in enumerate(steps, 1):
            if not math.isfinite(step.total):
                raise Diverged("The tuning became NaN. Use a smaller learning rate, or no tuning.")
            done = self.options.candidates + self.options.steps + 3 * number
            scene = after.synthesize(pivot) if number % SHOWN_EVERY == 0 else None
            self._report(done, "Tuning the weights", scene, view, step.total)
        for weight in weights:
            weight.requires_grad_(False)
        return after

    def _held_views(self, space: LatentSpace, view: Viewpoint) -> Sequence[tuple[Tensor, Viewpoint]]:
        """Return latents of other seeds, and views around the object, one of each for a step of the tuning."""
        prior = self.generator.info.pose_prior
        places = torch.rand(self.options.tuning_steps, 2, generator=self.random).tolist()
        seeds = torch.randint(len(space.seeds), (self.options.tuning_steps,), generator=self.random).tolist()
        low, high = prior.azimuth
        lowest, highest = prior.elevation
        return [
            (
                space.mean.lerp(space.seeds[seed], 0.5),
                replace(view, azimuth=low + a * (high - low), elevation=lowest + b * (highest - lowest)),
            )
            for seed, (a, b) in zip(seeds, places, strict=True)
        ]

    def _seen(self, scene: Scene, view: Viewpoint) -> Tensor:
        """Return the perceptual distance of the scene's whole image to the photograph."""
        assert self.perceptual is not None
        camera = view.camera(self.generator.info, self.comparison.side, self.generator.device)
        return self.perceptual(self.comparison.over_white(scene.image(camera)), self.comparison.wanted_over_white)

    def _report(self, done: int, text: str, scene: Scene | None, view: Viewpoint, loss: float) -> None:
        preview = None if scene is None else self._picture(scene, view)
        self.progress(min(done / self.total, 1.0), text, preview, figures={"loss": loss})

    @torch.no_grad()
    def _picture(self, scene: Scene, view: Viewpoint) -> np.ndarray:
        """Return photograph and image side by side, uint8 [2, n, n, 4]."""
        comparison = self.comparison
        made = scene.render(view.camera(self.generator.info, comparison.side, self.generator.device), quality="draft")
        images = [comparison.wanted_over_white[0].permute(1, 2, 0) / 2 + 0.5]
        images.append(made.rgb * made.alpha[..., None] + 1 - made.alpha[..., None])
        shown = F.pad(torch.stack(images), (0, 1), value=1.0)
        return (shown.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()


def _unlike(generator: Generator, psnr: float, overlap: float | None) -> tuple[str, ...]:
    """Return a note where the photograph is unlike everything that the model makes."""
    if psnr >= UNLIKE_PSNR and (overlap is None or overlap >= UNLIKE_OVERLAP):
        return ()
    silhouettes = "" if overlap is None else f", and its silhouette covers {overlap:.0%} of the photograph's"
    return (
        f"The photograph is unlike what {generator.info.label} makes: its nearest image is {psnr:.1f} dB from it"
        f"{silhouettes}. It may show another class of object, or the start view is far off.",
    )
