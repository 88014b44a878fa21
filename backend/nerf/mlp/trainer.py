"""Fitting NeRF as published to a data set (Sec. 5.3 and appendix A of arxiv.org/abs/2003.08934).

Every step draws rays from all training views, renders them coarse and fine, and lowers the squared error of both
pictures (Eq. 6) with Adam, whose rate decays exponentially from 5e-4 to 5e-5. What the paper leaves to each data set is
found from the cameras: the middle of the scene, its size, near and far.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from addon.wire.errors import Diverged
from addon.wire.messages import FitOptions

from ...kernels.compositing import Pixels
from ...optimizers import optimizer_tensors, restore_optimizer
from ...progress import Progress, silent
from ...rendering.compositing import distortion, interval_lengths
from ...scenes.protocol import FieldInfo
from ..cameras.poses import PoseRefinement
from ..datasets import Dataset
from ..fit.background_color import find_backdrop
from ..fit.fitting import StepReport, elapsed
from ..fit.photometric_loss import PhotometricLoss
from ..fit.rays import TrainingRays
from ..fit.scene_bounds import scene_bounds_of
from .encodings import opened_encoding
from .network import ISO_LEVEL, NeRF, NetworkConfig, Opened, Placement, RayColors, RenderConfig
from .scene import NeRFScene

OBJECT_RADIUS = 1.44
"""Of what a camera of the paper's synthetic scenes sees at the middle, in the networks' unit: 4 · tan(20°)."""


@dataclass(frozen=True)
class NeRFTraining:
    """The network and its training. The defaults are the paper's, but for the number of steps (it takes 100,000 to
    300,000): the decay spans the fit's own length."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    coarse_samples: int = 64
    fine_samples: int = 128
    rays_per_step: int = 1024
    rate: float = 5e-4
    final_rate: float = 5e-5
    steps: int = 20_000  # that the decay of the rate spans, where the options give neither steps nor seconds


def small() -> NeRFTraining:
    """A quarter of the depth-times-width, for a CPU: 4 × 128, 32 + 32 samples, 512 rays a step."""
    network = NetworkConfig(depth=4, width=128, bottleneck=128, view_width=64, skips=(2,))
    return NeRFTraining(network, coarse_samples=32, fine_samples=32, rays_per_step=512, steps=5_000)


def training_of(options: FitOptions) -> NeRFTraining:
    """The training that a preset stands for."""
    return small() if options.preset == "draft" else NeRFTraining()


class NeRFTrainer:
    """NeRF as published, one step at a time. A `Fit`."""

    def __init__(
        self,
        dataset: Dataset,
        options: FitOptions,
        device: torch.device,
        progress: Progress = silent,
        training: NeRFTraining | None = None,
    ) -> None:
        """training: None is what the preset of the options stands for.

        Raises:
            UnreadableFile, UnusableDataset: see `Dataset.to_fit`, `Dataset.load` and `scene_bounds_of`.
        """
        self.step, self.seconds = 0, 0.0
        self.options, self.device = options, device
        self.training = training_of(options) if training is None else training
        if not options.use_masks:
            dataset = dataset.without_masks()
        self.views = dataset.to_fit()
        self.view_names = tuple(view.name for view in self.views)
        pictures = dataset.load_all(self.views, progress)
        self._rays = TrainingRays(self.views, pictures, device)
        self.background: str = options.background
        if self.background == "auto":
            self.background = "white" if self._rays.has_alpha else find_backdrop(pictures) or "black"
        alpha = self._rays.has_alpha and self.background == "transparent"
        self._comparison = PhotometricLoss(options, self._rays, self.background, mse_loss, alpha=alpha)
        region = scene_bounds_of(dataset, self.views)
        unit = region.radius / OBJECT_RADIUS
        self._placement = Placement(region.middle, unit)
        bounds = dataset.bounds if dataset.bounds is not None else region.bounds
        self._info = FieldInfo("density", ISO_LEVEL / unit, bounds)
        self._size = max(b - a for a, b in zip(*bounds))
        render = RenderConfig(
            min(max(region.near, options.near), 0.9 * region.far) / unit,
            region.far / unit,
            self.training.coarse_samples,
            self.training.fine_samples,
            in_disparity=options.unbounded == "yes",
            white_background=self.background == "white",
            linear=options.color_space == "linear",
        )
        self._over_nothing = replace(render, white_background=False)  # the comparison puts in what is behind
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.nerf = NeRF(self.training.network, self.training.network, render)
        for network in (self.nerf.coarse, self.nerf.fine):
            # begins as thin fog: a density that is nowhere positive has no gradient, and would stay so
            torch.nn.init.constant_(network.density.bias, 0.1)
        self.nerf.to(device)
        groups = [{"params": [*self.nerf.parameters()]}, *self._comparison.appearance.groups()]
        self.optimizer = torch.optim.Adam(groups, self.training.rate)
        self._refinement = PoseRefinement.about(self._rays.poses, region.middle) if options.refine_poses else None
        self._smoothed = math.nan

    def advance(self) -> StepReport:
        """Take one step.

        Raises:
            Diverged: the loss is not a number; the parameters are those before this step.
        """
        started = time.perf_counter()
        decay = (self.training.final_rate / self.training.rate) ** self._elapsed()
        for group, full in zip(self.optimizer.param_groups, (self.training.rate, self._comparison.appearance.rate)):
            group["lr"] = full * decay
        generator = torch.Generator(self.device).manual_seed(self.options.seed * 1_000_003 + self.step)
        on_cpu = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = self._rays.draw(self.training.rays_per_step, on_cpu)
        refinement = self._refinement
        rays = batch.in_world(self._rays.poses if refinement is None else refinement.cameras())
        origins, turned = (ray.detach().requires_grad_(refinement is not None) for ray in rays)
        directions = turned / batch.local[:, 2:].clamp(min=0.05)  # t is measured along the camera's z
        middle = torch.tensor(self._placement.middle, device=self.device)
        passes = self.nerf.render_rays(
            (origins - middle) / self._placement.metres_per_unit,
            directions,
            normalize(directions, dim=-1),
            generator=generator,
            config=self._over_nothing,
            opened=self._opened(),
        )
        behind = self._comparison.behind(len(origins), on_cpu)
        loss = torch.zeros((), device=self.device)
        for seen, t in ((passes.coarse, passes.t_coarse), (passes.fine, passes.t_fine)):
            pixels = self._pixels(seen, t, directions.detach())
            missed, error = self._comparison.loss(batch, pixels, behind, self._size)
            loss = loss + missed
        if not torch.isfinite(loss):
            raise Diverged(f"The fit diverged in step {self.step}: its loss is no number any more.")
        self.optimizer.zero_grad()
        loss.backward()
        if refinement is not None:
            assert origins.grad is not None and turned.grad is not None
            refinement.advance(rays, (origins.grad, turned.grad), self.step, self._elapsed())
        self.optimizer.step()
        self.step += 1
        spent = time.perf_counter() - started
        self.seconds += spent
        fine = float(error)
        self._smoothed = fine if math.isnan(self._smoothed) else 0.95 * self._smoothed + 0.05 * fine
        return StepReport(
            step=self.step,
            loss=float(loss.detach()),
            psnr=-10 * math.log10(max(self._smoothed, 1e-10)),
            rays_per_second=self.training.rays_per_step / spent,
            samples_per_ray=float(2 * self.training.coarse_samples + self.training.fine_samples),
        )

    def _pixels(self, seen: RayColors, t: Tensor, directions: Tensor) -> Pixels:
        """What a pass saw at t [R, samples], with lengths in parts of the scene's size."""
        parts = directions.norm(dim=-1, keepdim=True) * (self._placement.metres_per_unit / self._size)
        lengths = interval_lengths(t, 0.0, parts)  # nothing is known of how deep the last one is
        middles = t * parts + lengths / 2
        away = (seen.weights * t).sum(-1) * parts[:, 0]
        return Pixels(seen.rgb, seen.alpha, away, distortion(seen.weights, middles, lengths), seen.weights.detach())

    def _elapsed(self) -> float:
        """How much of the fit lies behind, 0..1."""
        return elapsed(self.options, self.step, self.seconds, self.training.steps)

    def _opened(self) -> Opened | None:
        """How far the encodings are open; None: wholly. Coarse to fine while cameras are refined (Eq. 14 of BARF); the
        octaves open from the beginning are those below the first there, which has a factor π."""
        if self._refinement is None:
            return None
        config, done = self.training.network, self._elapsed()
        counts = config.position_frequencies, config.view_frequencies
        weights = [self._refinement.opened(count, done).to(self.device) for count in counts]
        if all(bool((each == 1).all()) for each in weights):
            return None
        return Opened(*(opened_encoding(each) for each in weights))

    def scene(self) -> NeRFScene:
        """The scene as it stands; it shares the parameters of the fit, or is a copy while that goes coarse to fine."""
        opened = self._opened()
        return NeRFScene(self.nerf if opened is None else self.nerf.folded(opened), self._info, self._placement)

    def poses(self) -> Tensor:
        """world_from_camera [views, 4, 4] of the training views, refined where that was asked for."""
        return self._rays.poses if self._refinement is None else self._refinement.cameras().detach()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on exactly here."""
        found = {f"nerf.{name}": value.detach() for name, value in self.nerf.state_dict().items()}
        found |= optimizer_tensors(self.optimizer) | self._comparison.appearance.tensors()
        if self._refinement is not None:
            found |= self._refinement.tensors()
        counts = torch.tensor([self.step, self.seconds, self._smoothed], dtype=torch.float64)
        return {name: value.clone() for name, value in found.items()} | {"progress": counts}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""
        self.nerf.load_state_dict({k.removeprefix("nerf."): v for k, v in tensors.items() if k.startswith("nerf.")})
        restore_optimizer(self.optimizer, tensors)
        self._comparison.appearance.restore(tensors)
        if self._refinement is not None:
            self._refinement.restore(tensors)
        step, self.seconds, self._smoothed = tensors["progress"].tolist()
        self.step = int(step)
