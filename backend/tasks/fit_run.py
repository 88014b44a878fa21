"""Run of a fit: step, save on the way, render previews, evaluate on held-out views."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from addon.wire.errors import Cancelled, Diverged, Remedy
from addon.wire.messages import Camera, FitOptions

from ..camera_path import resized
from ..cameras import from_wire
from ..models.card import ModelCard
from ..nerf.cameras.alignment import aligned, moved
from ..nerf.cameras.poses import motion_of_all
from ..nerf.datasets import Dataset, Pixels, View
from ..nerf.evaluate import (
    Evaluation,
    background_of,
    color_corrected,
    composited,
    evaluate,
    photograph,
    psnr,
    stride_for,
    strided,
    strided_view,
)
from ..nerf.fit import state as fit_state
from ..nerf.fit.background_color import background_color
from ..nerf.fit.fitting import elapsed
from ..nerf.fit.state import FitState
from ..progress import Progress
from ..scenes.protocol import Image, Scene
from .render import image8, render_scene, rgba

if TYPE_CHECKING:
    from ..nerf.fit.fitting import Fit


log = logging.getLogger(__name__)

AUTOSAVE_SECONDS = float(os.environ.get("LATENT_LATHE_AUTOSAVE_SECONDS", 30.0))
FIRST_SAVE_SECONDS = 3.0
"""A new fit is saved this early, because a saved fit is a model, which a viewport can show."""
MONITOR_SHARE = 0.06  # of the time of fitting that previews and held-out views may take
MONITOR_SECONDS = 1.0  # between two of them, at least; the interval grows with the time
MONITORED_VIEWS = 4
EVALUATED_VIEWS = 8  # at the end, at full size
PREVIEW_SIZE = 160  # pixels of the longer side


@dataclass(frozen=True)
class SaveTarget:
    """Destination of a fit: its state file, and how its scene is stored."""

    name: str
    state: Path
    keep: Callable[[ModelCard, dict[str, Tensor]], None]  # stores the scene
    resume: bool = True  # continue from the state if there is one; else it stays until the first save replaces it


class FitRun:
    """A fit in progress, and its last saved step."""

    def __init__(self, made: Fit, state: FitState, dataset: Dataset, place: SaveTarget) -> None:
        self.made, self.state, self.dataset, self.place = made, state, dataset, place
        self.saved_step: int | None = made.step if made.step else None
        self._started_step, self._started_seconds = made.step, made.seconds

    def advance(self, progress: Progress, monitor: EvalMonitor) -> None:
        """Step until the seconds or steps are over. Saves on the way, at the end and when paused, not when diverged.

        Raises:
            Diverged, Cancelled: see `fit`.
        """
        made, options = self.made, self.state.options
        saved_at = time.monotonic()
        if self.saved_step is None:
            saved_at -= max(AUTOSAVE_SECONDS - FIRST_SAVE_SECONDS, 0.0)
        try:
            try:
                while (fraction := self.fraction()) < 1:
                    report = made.advance()
                    figures = {
                        "step": float(made.step), "loss": report.loss, "train_psnr": report.psnr,
                        "rays_per_second": report.rays_per_second, "seconds": made.seconds,
                        "seconds_left": self.seconds_left(),
                    }  # fmt: skip
                    preview = monitor.preview(made, lambda *_, **__: progress(fraction, "Fitting"))
                    if monitor.psnr is not None:
                        figures["psnr"] = monitor.psnr
                        self.state = replace(self.state, psnr=monitor.psnr)
                    progress(min(fraction, 1.0), "Fitting", preview, figures=figures)
                    if time.monotonic() - saved_at >= AUTOSAVE_SECONDS:
                        self.save()
                        saved_at = time.monotonic()
            except Cancelled:
                self.save()
                raise
            self.state = replace(self.state, finished=True)
            self.save()
        except Diverged as error:
            raise self.diverged() from error
        log.info("%s: %d steps, %.1f s, %s", self.place.name, made.step, made.seconds, options)

    def fraction(self) -> float:
        """Return the share of the fit that is over: by steps or by seconds, whichever is nearer to its end."""
        return elapsed(self.state.options, self.made.step, self.made.seconds, math.inf)

    def seconds_left(self) -> float:
        """Return the seconds until the end, at the speed of this run."""
        made, options = self.made, self.state.options
        left = [options.seconds - made.seconds] if options.seconds else []
        if options.steps:
            pace = (made.seconds - self._started_seconds) / max(made.step - self._started_step, 1)
            left.append((options.steps - made.step) * pace)
        return max(min(left), 0.0)

    def save(self) -> None:
        """Save the state and the scene. Raises Diverged instead of saving values that are not finite; CannotWrite."""
        started = time.perf_counter()
        made = self.made
        if made.step == 0:
            return
        self.state = replace(self.state, step=made.step, seconds=made.seconds)
        fit_state.write_state(self.place.state, self.state, made.tensors())
        self.saved_step = made.step
        self._keep(Evaluation(self.state.psnr, None, ()))
        log.info("%s: saved step %d in %.2f s", self.place.name, made.step, time.perf_counter() - started)

    def evaluate(self, progress: Progress, device: torch.device) -> Evaluation:
        """Evaluate on held-out views at full size, and store the scene with the figures."""
        progress(0.0, "Comparing with the held-out views")
        views = spread(self.dataset.split("test"), EVALUATED_VIEWS)
        refined = self.state.options.refine_poses
        if refined:
            given = torch.stack([view.camera.world_from_camera for view in self.dataset.split("train")])
            views = moved(views, motion_of_all(given, self.made.poses().detach().cpu()))
        found = evaluate(
            self.made.scene(),
            self.dataset,
            views,
            device,
            background_color=background_color(self.made.background),
            refine_poses=refined,
            appearance=self.state.options.appearance,
            progress=progress,
        )
        self._keep(found)
        progress(1.0, "Done")
        return found

    def diverged(self) -> Diverged:
        """Return the error for parameters that became NaN."""
        what = f"The fit became unstable at step {self.made.step} (a value was not finite) and was stopped. "
        if self.saved_step is None:
            return Diverged(what + "Nothing had been saved yet. Start it again, with the draft preset or another seed.",
                            remedy=Remedy("restart_fit", "Start again", self.place.name))  # fmt: skip
        return Diverged(
            what + f"What was saved at step {self.saved_step} is kept: look at it, or continue from there.",
            remedy=Remedy("resume_fit", f"Continue from step {self.saved_step}", self.place.name),
        )

    def _keep(self, found: Evaluation) -> None:
        scene: Any = self.made.scene()  # a Scene that can be stored: rendering knows nothing of that
        kind, constructor, tensors = scene.tensors()
        state, views = self.state, self.dataset.split("train")
        figures = "" if found.psnr is None else f" PSNR on held-out views {found.psnr:.2f} dB"
        figures += "" if found.ssim is None else f", SSIM {found.ssim:.4f} (mean of {len(found.views)})"
        card = ModelCard(
            kind=kind,
            label=self.place.name,
            description=f"A radiance field of {len(views)} images, fitted for {state.seconds:.0f} s",
            licence="as the images it was fitted to",
            non_commercial=False,
            constructor=constructor,
            source="trained",
            pose_prior=usual_view(views, scene),
            background=background_color(self.made.background),
            card=f"Method {state.options.method}, {state.step} steps, {state.seconds:.1f} s of fitting, preset "
            f"{state.options.preset}, seed {state.options.seed}.{figures}.\n"
            + "".join(f"- {warning}\n" for warning in self.dataset.warnings),
            offset=list(self.dataset.offset) if any(self.dataset.offset) else [],
        )
        self.place.keep(card, tensors)


class EvalMonitor:
    """Previews of a fit and its PSNR on held-out views, within a small share of its time."""

    def __init__(self, dataset: Dataset, preview: Camera | None, options: FitOptions, device: torch.device) -> None:
        """preview: the camera of previews, which alternate with held-out views. Those are compared as the options have
        the fit see its training views: with aligned cameras and corrected colours."""
        self._dataset, self._device = dataset, device
        self._views = spread(dataset.split("test"), MONITORED_VIEWS)
        self._camera = None if preview is None else from_wire(resized(preview, PREVIEW_SIZE), device)
        self._truths: dict[str, tuple[Pixels, np.ndarray, np.ndarray]] = {}
        self._align, self._appearance = options.refine_poses, options.appearance
        self._aligned: dict[str, View] = {}
        self._scores: dict[str, float] = {}
        self._count, self._spent, self._last_cost = 0, 0.0, 0.0
        self._last: float | None = None  # when, in seconds of the fit
        self._first: float | None = None

    @property
    def psnr(self) -> float | None:
        """Mean over the views of their newest PSNR, dB; None before the first."""
        return float(np.mean(list(self._scores.values()))) if self._scores else None

    def preview(self, made: Fit, progress: Progress) -> np.ndarray | None:
        """Return a render, uint8 [H, W, 4], if one is due."""
        self._first = made.seconds if self._first is None else self._first
        interval = max(MONITOR_SECONDS, 0.02 * made.seconds)
        too_early = made.seconds - (self._first if self._last is None else self._last) < interval
        too_expensive = self._spent + self._last_cost > MONITOR_SHARE * (made.seconds - self._first)
        if too_early or (too_expensive and self._count) or not (self._views or self._camera):
            return None
        started, scene = time.perf_counter(), made.scene()
        if self._camera is not None and (self._count % 2 == 0 or not self._views):
            image = render_scene(scene, self._camera, progress, quality="draft")
        else:
            number = self._count // 2 if self._camera is not None else self._count
            view = self._views[number % len(self._views)]
            image = self._compare(scene, view, background_color(made.background), progress)
        cost = time.perf_counter() - started
        if self._count:  # the first one may have compiled kernels
            self._spent, self._last_cost = self._spent + cost, cost
        self._last, self._count = made.seconds, self._count + 1
        return image8(rgba(image))

    def _compare(self, scene: Scene, view: View, background_color: str, progress: Progress) -> Image:
        stride = stride_for(view, PREVIEW_SIZE)
        if view.name not in self._truths:
            pixels = strided(self._dataset.load(view), stride)
            background = background_of(pixels, "white", background_color)
            self._truths[view.name] = pixels, photograph(pixels, background), background
        pixels, truth, background = self._truths[view.name]
        small = self._aligned.get(view.name) or strided_view(view, stride)
        if self._align:
            small = self._aligned[view.name] = aligned(scene, small, pixels, self._device, background=background)
        image = render_scene(scene, small.camera.to(self._device), progress)
        corrected = color_corrected(image, truth, background, self._appearance, pixels.mask)
        self._scores[view.name] = psnr(composited(corrected, background), truth, pixels.mask)
        return image


def spread(views: tuple[View, ...], count: int) -> tuple[View, ...]:
    """Return at most `count` views, evenly spaced."""
    if len(views) <= count:
        return views
    return tuple(views[round(index * (len(views) - 1) / (count - 1))] for index in range(count))


def usual_view(views: tuple[View, ...], scene: Scene) -> dict[str, float]:
    """Return the fields of a PosePrior at the median of the training cameras: the panel's first viewpoint."""
    low, high = (np.array(corner) for corner in scene.info.bounds)
    poses = np.stack([view.camera.world_from_camera.double().cpu().numpy() for view in views])
    offsets = poses[:, :3, 3] - (low + high) / 2
    radii = np.linalg.norm(offsets, axis=1)
    first = offsets[int(np.argsort(offsets[:, 2])[len(offsets) // 2])]  # of median height
    camera = views[0].camera
    return {
        "radius": float(np.median(radii)),
        "fov": 2 * math.atan(camera.height / 2 / float(camera.intrinsics[1, 1])),
        "default_azimuth": float(math.atan2(first[0], -first[1])),
        "default_elevation": float(math.atan2(first[2], math.hypot(first[0], first[1]))),
    }
