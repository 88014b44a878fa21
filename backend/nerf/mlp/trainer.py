"""Training of vanilla NeRF on a data set (Sec. 5.3 and appendix A of arxiv.org/abs/2003.08934).

Every step draws rays from all training views, renders them coarse and fine, and lowers the squared error of both
passes (Eq. 6) with Adam, whose rate decays exponentially from 5e-4 to 5e-5. What the paper leaves to each data set is
found from the cameras: center and size of the scene, near and far.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from addon.wire.errors import Diverged
from addon.wire.messages import FitOptions

from ...cameras import Rays
from ...kernels.compositing import CompositedRays
from ...optimizers import optimizer_tensors, restore_optimizer
from ...progress import Progress, silent
from ...rendering.color import srgb_from_linear
from ...rendering.compositing import distortion, interval_lengths, unpremultiply
from ...scenes.protocol import FieldInfo
from ...scenes.trace import RayColors
from ..cameras.poses import PoseRefinement
from ..datasets import Dataset
from ..evaluate import decibels
from ..fit.background_color import find_background_color
from ..fit.fitting import StepReport, elapsed
from ..fit.photometric_loss import PhotometricLoss
from ..fit.rays import TrainingRays
from ..fit.scene_bounds import scene_bounds_of
from .encodings import feature_weights
from .network import EncodingWeights, NeRF, NetworkConfig, PassColors, RayPasses, RenderConfig
from .scene import ISO_LEVEL, NeRFPlacement, NeRFScene

OBJECT_RADIUS = 1.44
"""Radius of what a camera of the paper's synthetic scenes sees at the center, in the networks' unit: 4 · tan(20°)."""


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
    steps: int = 20_000  # span of the decay, where the options give neither steps nor seconds


def small() -> NeRFTraining:
    """Return a quarter of the depth-times-width, for a CPU: 4 × 128, 32 + 32 samples, 512 rays a step."""
    network = NetworkConfig(depth=4, width=128, bottleneck=128, view_width=64, skips=(2,))
    return NeRFTraining(network, coarse_samples=32, fine_samples=32, rays_per_step=512, steps=5_000)


def training_of(options: FitOptions) -> NeRFTraining:
    """Return the training of the options' preset."""
    return small() if options.preset == "draft" else NeRFTraining()


class NeRFTrainer:
    """A `Fit` of a vanilla NeRF."""

    def __init__(
        self,
        dataset: Dataset,
        options: FitOptions,
        device: torch.device,
        progress: Progress = silent,
        training: NeRFTraining | None = None,
    ) -> None:
        """training: None is the preset of the options.

        Raises:
            UnreadableFile, UnusableDataset: see `Dataset.to_fit`, `Dataset.load` and `scene_bounds_of`.
        """
        self.step, self.seconds = 0, 0.0
        self.options, self.device = options, device
        self.training = training_of(options) if training is None else training
        if not options.use_masks:
            dataset = dataset.without_masks()
        if not options.depth_weight:
            dataset = dataset.without_depth()
        self.views = dataset.to_fit()
        self.view_names = tuple(view.name for view in self.views)
        images = dataset.load_all(self.views, progress)
        self._rays = TrainingRays(self.views, images, device)
        self.background: str = options.background
        if self.background == "auto":
            self.background = "white" if self._rays.has_alpha else find_background_color(images) or "black"
        alpha = self._rays.has_alpha and self.background == "transparent"
        self._photometric = PhotometricLoss(options, self._rays, self.background, mse_loss, alpha=alpha)
        around = scene_bounds_of(dataset, self.views)
        unit = around.radius / OBJECT_RADIUS
        self._placement = NeRFPlacement(around.center, unit)
        bounds = dataset.bounds if dataset.bounds is not None else around.bounds
        self._info = FieldInfo("density", ISO_LEVEL / unit, bounds)
        self._size = max(b - a for a, b in zip(*bounds))
        render = RenderConfig(
            min(max(around.near, options.near), 0.9 * around.far) / unit,
            around.far / unit,
            self.training.coarse_samples,
            self.training.fine_samples,
            in_disparity=options.unbounded == "yes",
            white_background=self.background == "white",
            linear=options.color_space == "linear",
        )
        self._over_black = replace(render, white_background=False)  # the loss adds the background
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.nerf = NeRF(self.training.network, self.training.network, render)
        for network in (self.nerf.coarse, self.nerf.fine):
            # thin fog at the start: a density that is nowhere positive has no gradient, and would stay so
            torch.nn.init.constant_(network.density.bias, 0.1)
        self.nerf.to(device)
        groups = [{"params": [*self.nerf.parameters()]}, *self._photometric.appearance.groups()]
        self.optimizer = torch.optim.Adam(groups, self.training.rate)
        self._refinement = PoseRefinement.about(self._rays.poses, around.center) if options.refine_poses else None
        self._rendered: list[RayPasses] = []  # since the last step
        self._smoothed = math.nan

    # ------------------------------------------------------------------------------------------------ training steps

    def advance(self) -> StepReport:
        """Take one step of the photometric loss of both passes on rays of the training images.

        Raises:
            Diverged: the loss is NaN or infinite; the parameters are those before this step.
        """
        started = time.perf_counter()
        on_cpu = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = self._rays.draw(self.training.rays_per_step, on_cpu)
        refinement = self._refinement
        origins, turned = batch.in_world(self._rays.poses if refinement is None else refinement.cameras())
        directions = turned / batch.local[:, 2:].clamp(min=0.05)  # t is measured along the camera's z
        passes = self._render(origins, directions)
        background = self._photometric.background_colors(len(origins), on_cpu)
        loss = torch.zeros((), device=self.device)
        for colors, t in ((passes.coarse, passes.t_coarse), (passes.fine, passes.t_fine)):
            pixels = self._pixels(colors, t, directions.detach())
            of_pass, error = self._photometric.loss(batch, pixels, background, self._size)
            loss = loss + of_pass
        self._descend(loss)
        self.step += 1
        spent = time.perf_counter() - started
        self.seconds += spent
        fine = float(error)
        self._smoothed = fine if math.isnan(self._smoothed) else 0.95 * self._smoothed + 0.05 * fine
        return StepReport(
            step=self.step,
            loss=float(loss.detach()),
            psnr=decibels(self._smoothed),
            rays_per_second=self.training.rays_per_step / spent,
            samples_per_ray=float(2 * self.training.coarse_samples + self.training.fine_samples),
        )

    def render(self, rays: Rays) -> RayColors:
        """See Fit.render. Returns the pixels of the fine network. `apply` makes the coarse one, which a loss of these
        does not reach, follow them."""
        started, shape = time.perf_counter(), rays.origins.shape[:-1]
        origins, directions = (x.reshape(-1, 3).to(self._rays.poses) for x in (rays.origins, rays.directions))
        speed = 1.0 / rays.depth_from_distance.reshape(-1, 1).to(origins).clamp(min=0.05)
        passes = self._render(origins, directions * speed)
        if torch.is_grad_enabled():
            self._rendered.append(passes)
        rgb, alpha = passes.fine.rgb, passes.fine.alpha
        if self._over_black.linear:
            rgb = srgb_from_linear(unpremultiply(rgb, alpha)) * alpha[:, None]
        distance = passes.fine.depth * speed[:, 0] * self._placement.metres_per_unit
        self.seconds += time.perf_counter() - started
        return RayColors(rgb, alpha, distance).reshape(*shape)

    def apply(self, loss: Tensor) -> None:
        """See Fit.apply. The coarse network learns the pixels of the fine one, by their squared error."""
        started = time.perf_counter()
        for passes in self._rendered:
            coarse, fine = (torch.cat((x.rgb, x.alpha[:, None]), -1) for x in (passes.coarse, passes.fine))
            loss = loss + mse_loss(coarse, fine.detach())
        self._descend(loss)
        self.step += 1
        self.seconds += time.perf_counter() - started

    def replace_image(self, view_index: int, image: Tensor | np.ndarray) -> None:
        """See Fit.replace_image."""
        self._rays.replace_image(view_index, image)

    def _render(self, origins: Tensor, directions: Tensor) -> RayPasses:
        """Render world rays [R, 3] over black, jittered by the seed of this step; t in units of the directions."""
        generator = torch.Generator(self.device).manual_seed(self.options.seed * 1_000_003 + self.step)
        middle = torch.tensor(self._placement.middle, device=self.device)
        return self.nerf.render_rays(
            (origins - middle) / self._placement.metres_per_unit,
            directions,
            normalize(directions, dim=-1),
            generator=generator,
            config=self._over_black,
            weights=self._encoding_weights(),
        )

    def _descend(self, loss: Tensor) -> None:
        """Take one step of every optimiser down the gradient of a loss, at the scheduled rates."""
        self._rendered.clear()
        decay = (self.training.final_rate / self.training.rate) ** self._elapsed()
        for group, full in zip(self.optimizer.param_groups, (self.training.rate, self._photometric.appearance.rate)):
            group["lr"] = full * decay
        if not torch.isfinite(loss):
            raise Diverged(f"The fit diverged in step {self.step}: the loss became NaN or infinite.")
        self.optimizer.zero_grad()
        refinement = self._refinement
        if refinement is not None:
            refinement.zero_grad()
        loss.backward()
        if refinement is not None:
            refinement.advance(self.step, self._elapsed())
        self.optimizer.step()

    def _pixels(self, colors: PassColors, t: Tensor, directions: Tensor) -> CompositedRays:
        """Return the pixels of a pass at t [R, samples], with lengths in parts of the scene's size."""
        parts = directions.norm(dim=-1, keepdim=True) * (self._placement.metres_per_unit / self._size)
        lengths = interval_lengths(t, 0.0, parts)  # the length of the last one is unknown
        centers = t * parts + lengths / 2
        distance = (colors.weights * t).sum(-1) * parts[:, 0]
        spread = distortion(colors.weights, centers, lengths)
        return CompositedRays(colors.rgb, colors.alpha, distance, spread, colors.weights.detach())

    def _elapsed(self) -> float:
        """Return the elapsed part of the fit, 0..1."""
        return elapsed(self.options, self.step, self.seconds, self.training.steps)

    def _encoding_weights(self) -> EncodingWeights | None:
        """Return the weights of the encodings, coarse to fine while cameras are refined (Eq. 14 of BARF); None where
        all are 1. The octaves with full weight from the beginning are those below the first there, which has a factor
        π."""
        if self._refinement is None:
            return None
        config, done = self.training.network, self._elapsed()
        counts = config.position_frequencies, config.view_frequencies
        weights = [self._refinement.level_weights(count, done).to(self.device) for count in counts]
        if all(bool((each == 1).all()) for each in weights):
            return None
        return EncodingWeights(*(feature_weights(each) for each in weights))

    # ---------------------------------------------------------------------------------------------- scene and state

    def scene(self) -> NeRFScene:
        """See Fit.scene. While the fit goes coarse to fine the scene is a copy."""
        weights = self._encoding_weights()
        return NeRFScene(self.nerf if weights is None else self.nerf.folded(weights), self._info, self._placement)

    def poses(self) -> Tensor:
        """See Fit.poses."""
        return self._rays.poses if self._refinement is None else self._refinement.cameras().detach()

    def tensors(self) -> dict[str, Tensor]:
        """See Fit.tensors."""
        found = {f"nerf.{name}": value.detach() for name, value in self.nerf.state_dict().items()}
        found |= optimizer_tensors(self.optimizer) | self._photometric.appearance.tensors()
        if self._refinement is not None:
            found |= self._refinement.tensors()
        counts = torch.tensor([self.step, self.seconds, self._smoothed], dtype=torch.float64)
        return {name: value.clone() for name, value in found.items()} | {"progress": counts}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See Fit.restore."""
        self.nerf.load_state_dict({k.removeprefix("nerf."): v for k, v in tensors.items() if k.startswith("nerf.")})
        restore_optimizer(self.optimizer, tensors)
        self._photometric.appearance.restore(tensors)
        if self._refinement is not None:
            self._refinement.restore(tensors)
        step, self.seconds, self._smoothed = tensors["progress"].tolist()
        self.step = int(step)
