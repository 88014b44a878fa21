"""Fitting NeRF as published to a data set (Sec. 5.3 and appendix A of arxiv.org/abs/2003.08934).

Every step draws rays from all training views, renders them coarse and fine, and lowers the squared error of both
pictures (Eq. 6) with Adam, whose rate decays exponentially from 5e-4 to 5e-5. What the paper leaves to each data set is
found from the cameras: the middle of the scene, its size, near and far.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from addon.wire.errors import Diverged, InvalidRequest, Remedy
from addon.wire.messages import FitOptions

from ..progress import Progress, silent
from ..scene import FieldInfo
from .datasets import Dataset
from .fitting import StepReport, elapsed, optimizer_tensors, restore_optimizer
from .published import ISO_LEVEL, NeRF, NetworkConfig, Placement, PublishedScene, RenderConfig
from .rays import TrainingRays
from .region import region_of

OBJECT_RADIUS = 1.44
"""Of what a camera of the paper's synthetic scenes sees at the middle, in the networks' unit: 4 · tan(20°)."""


@dataclass(frozen=True)
class PublishedTraining:
    """The network and its training. The defaults are the paper's, but for the number of steps (it takes 100,000 to
    300,000): the decay spans the fit's own length."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    coarse_samples: int = 64
    fine_samples: int = 128
    rays_per_step: int = 1024
    rate: float = 5e-4
    final_rate: float = 5e-5
    steps: int = 20_000  # that the decay of the rate spans, where the options give neither steps nor seconds


def small() -> PublishedTraining:
    """A quarter of the depth-times-width, for a CPU: 4 × 128, 32 + 32 samples, 512 rays a step."""
    network = NetworkConfig(depth=4, width=128, bottleneck=128, view_width=64, skips=(2,))
    return PublishedTraining(network, coarse_samples=32, fine_samples=32, rays_per_step=512, steps=5_000)


def training_of(options: FitOptions) -> PublishedTraining:
    """The training that a preset stands for."""
    return small() if options.preset == "draft" else PublishedTraining()


def check_options(options: FitOptions) -> None:
    """Refuse what the published method has no place for. Raises InvalidRequest with what to do."""
    asked = {
        "the refinement of cameras": options.refine_poses,
        "linear light": options.color_space == "linear",
        "exposures": options.exposure,
        "depth images": options.depth_weight > 0,
        "the distortion weight": options.distortion_weight > 0,
        "the opacity weight": options.opacity_weight > 0,
    }
    if missing := [name for name, wanted in asked.items() if wanted]:
        raise InvalidRequest(
            f"NeRF as published knows nothing of {', '.join(missing)}: use the fast engine, or do without.",
            remedy=Remedy("set_value", "Use the fast engine", "hash"),
        )


class PublishedFit:
    """NeRF as published, one step at a time. A `Fit`."""

    def __init__(
        self,
        dataset: Dataset,
        options: FitOptions,
        device: torch.device,
        progress: Progress = silent,
        training: PublishedTraining | None = None,
    ) -> None:
        """training: None is what the preset of the options stands for.

        Raises:
            UnreadableFile, UnusableDataset: see `Dataset.to_fit`, `Dataset.load` and `region_of`.
            InvalidRequest: an option that only the fast engine has.
        """
        check_options(options)
        self.step, self.seconds = 0, 0.0
        self.options, self.device = options, device
        self.training = training_of(options) if training is None else training
        if not options.use_masks:
            dataset = dataset.without_masks()
        self.views = dataset.to_fit()
        self.view_names = tuple(view.name for view in self.views)
        pictures = dataset.load_all(self.views, progress)
        self._rays = TrainingRays(self.views, pictures, device)
        self.background = options.background
        if self.background == "auto":
            self.background = "white" if self._rays.has_alpha else "black"
        region = region_of(dataset, self.views)
        unit = region.radius / OBJECT_RADIUS
        self._placement = Placement(region.middle, unit)
        bounds = dataset.bounds if dataset.bounds is not None else region.bounds
        self._info = FieldInfo("density", ISO_LEVEL / unit, bounds)
        render = RenderConfig(
            min(max(region.near, options.near), 0.9 * region.far) / unit,
            region.far / unit,
            self.training.coarse_samples,
            self.training.fine_samples,
            in_disparity=options.unbounded == "yes",
            white_background=self.background == "white",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.nerf = NeRF(self.training.network, self.training.network, render)
        for network in (self.nerf.coarse, self.nerf.fine):
            # begins as thin fog: a density that is nowhere positive has no gradient, and would stay so
            torch.nn.init.constant_(network.density.bias, 0.1)
        self.nerf.to(device)
        self.optimizer = torch.optim.Adam(self.nerf.parameters(), self.training.rate)
        self._smoothed = math.nan

    def advance(self) -> StepReport:
        """Take one step.

        Raises:
            Diverged: the loss is not a number; the parameters are those before this step.
        """
        started = time.perf_counter()
        rate = self.training.rate * (self.training.final_rate / self.training.rate) ** self._elapsed()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        generator = torch.Generator(self.device).manual_seed(self.options.seed * 1_000_003 + self.step)
        on_cpu = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = self._rays.draw(self.training.rays_per_step, on_cpu)
        origins, directions = batch.in_world(self._rays.poses)
        directions = directions / batch.local[:, 2:].clamp(min=0.05)  # t is measured along the camera's z
        middle = torch.tensor(self._placement.middle, device=self.device)
        passes = self.nerf.render_rays(
            (origins - middle) / self._placement.metres_per_unit,
            directions,
            normalize(directions, dim=-1),
            generator=generator,
        )
        behind = self._behind(len(origins), on_cpu)
        target = batch.rgb * batch.alpha[:, None] + behind * (1 - batch.alpha[:, None])
        loss = torch.zeros((), device=self.device)
        for seen in (passes.coarse, passes.fine):
            rgb = seen.rgb  # with a white background in it, if that is the one
            if self.background != "white":
                rgb = rgb + (1.0 - seen.alpha[..., None]) * behind
            error = (rgb - target).square().mean()
            loss = loss + error
        if not torch.isfinite(loss):
            raise Diverged(f"The fit diverged in step {self.step}: its loss is no number any more.")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        spent = time.perf_counter() - started
        self.seconds += spent
        fine = float(error.detach())
        self._smoothed = fine if math.isnan(self._smoothed) else 0.95 * self._smoothed + 0.05 * fine
        return StepReport(
            step=self.step,
            loss=float(loss.detach()),
            psnr=-10 * math.log10(max(self._smoothed, 1e-10)),
            rays_per_second=self.training.rays_per_step / spent,
            samples_per_ray=float(2 * self.training.coarse_samples + self.training.fine_samples),
        )

    def _behind(self, count: int, generator: torch.Generator) -> Tensor:
        """The colour behind each ray [count, 3]: random where transparency is to be learnt."""
        if self.background in ("random", "transparent"):
            return torch.rand(count, 3, generator=generator).to(self.device)
        return torch.full((count, 3), 1.0 if self.background == "white" else 0.0, device=self.device)

    def _elapsed(self) -> float:
        """How much of the fit lies behind, 0..1."""
        return elapsed(self.options, self.step, self.seconds, self.training.steps)

    def scene(self) -> PublishedScene:
        """The scene as it stands; it shares the parameters of the fit."""
        return PublishedScene(self.nerf, self._info, self._placement)

    def poses(self) -> Tensor:
        """world_from_camera [views, 4, 4] of the training views, as the data set gives them."""
        return self._rays.poses

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on exactly here."""
        found = {f"nerf.{name}": value.detach() for name, value in self.nerf.state_dict().items()}
        found |= optimizer_tensors(self.optimizer)
        counts = torch.tensor([self.step, self.seconds, self._smoothed], dtype=torch.float64)
        return {name: value.clone() for name, value in found.items()} | {"progress": counts}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""
        self.nerf.load_state_dict({k.removeprefix("nerf."): v for k, v in tensors.items() if k.startswith("nerf.")})
        restore_optimizer(self.optimizer, tensors)
        step, self.seconds, self._smoothed = tensors["progress"].tolist()
        self.step = int(step)
