"""Training of a hash-grid radiance field (arxiv.org/abs/2201.05989), fast enough to watch on a CPU.

What makes it fast. The visual hull of images with alpha restricts the occupancy grid from the first step. The table's
finest cell and the step of a ray follow from the size of a pixel on the object (`placement`). Each step draws as many
rays as fill a fixed number of samples. Samples behind what is already opaque are found with the density network alone
and left out of the rest. The table's gradient is added up sparsely, apart from autograd.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from addon.wire.errors import Diverged
from addon.wire.messages import FitOptions

from ...cameras import Rays
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.sparse_adam import AdamState, sparse_adam
from ...kernels.warm_up import warm_up
from ...optimizers import optimizer_tensors, restore_optimizer
from ...progress import Progress, part, silent
from ...scenes.trace import RayColors
from ..cameras.poses import PoseRefinement
from ..datasets import Dataset
from ..evaluate import decibels
from ..fit.background_color import find_background_color
from ..fit.fitting import StepReport, elapsed
from ..fit.photometric_loss import PhotometricLoss
from ..fit.rays import RayBatch, TrainingRays
from ..fit.scene_bounds import scene_bounds_of
from .camera_recovery import recover_lost_cameras
from .field import HashField, TracedRays
from .placement import place_field
from .presets import PRESETS, Training
from .scene import HashScene, ray_colors
from .surface_extent import RAYS_PER_FACE, SurfaceExtent

EXTENT_AFTER = 1.5
"""The surface extent is found again whenever the number of steps has grown by this factor, and at the end."""

COARSEST = 1 / 6
"""First step length of rays while the place of the scene is unknown, field units."""

OCCUPIED_TOO = 8
"""Occupied cells evaluated in an occupancy update for each other one, while the place of the scene is unknown."""

RAYS_AT_ONCE = 1 << 13
"""Rays in a batch that finds the surface extent."""

OCCLUDED = 1e-2
"""Transmittance behind which samples are left out of a training step."""


class _KnownFeatures(torch.autograd.Function):
    """`hash_encode` where the features are known already. Its backward pass appends the gradient of the features and
    the points to `gradients`, for a sparse update of the table, in place of a dense gradient of the table."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        table: Tensor,
        features: Tensor,
        spec: HashSpec,
        gradients: list[tuple[Tensor, Tensor]],
    ) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.spec, ctx.gradients = spec, gradients
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *of_outputs: Any) -> Any:
        points, table = ctx.saved_tensors
        gradient, to_points = of_outputs[0].contiguous(), None
        if len(points):
            ctx.gradients.append((gradient, points.detach()))
        if ctx.needs_input_grad[0]:
            with torch.enable_grad():
                points = points.detach().requires_grad_()
                features = hash_encode(points, table.detach(), ctx.spec)
            (to_points,) = torch.autograd.grad(features, points, gradient)
        return to_points, None, None, None, None


class HashTrainer:
    """A `Fit` of a `HashField`."""

    def __init__(
        self,
        dataset: Dataset,
        options: FitOptions,
        device: torch.device,
        progress: Progress = silent,
        training: Training | None = None,
    ) -> None:
        """training: None is the preset of the options.

        Raises:
            UnreadableFile, UnusableDataset: see `Dataset.to_fit`, `Dataset.load` and `scene_bounds_of`.
        """
        self.step, self.seconds = 0, 0.0
        self.options, self.device = options, device
        self.training = PRESETS[options.preset] if training is None else training
        if not options.use_masks:
            dataset = dataset.without_masks()
        if not options.depth_weight:
            dataset = dataset.without_depth()
        self.views = dataset.to_fit()
        images = dataset.load_all(self.views, part(progress, 0.0, 0.3))
        self.rays = TrainingRays(self.views, images, device)
        self._generator = torch.Generator().manual_seed(options.seed)
        plain: str | None = None  # the one colour behind the object
        if options.background in ("white", "black"):
            plain = options.background
        elif not (self.rays.has_alpha or any(view.lens.model == "fisheye" for view in self.views)):
            plain = find_background_color(images)  # the black around a fisheye's circle is not a background
        unbounded = options.unbounded == "yes"
        if options.unbounded == "auto":  # masks in a data set that knows the object's box leave that object
            object_alone = self.rays.has_alpha or plain is not None
            unbounded = not (object_alone or (dataset.bounds is not None and not bool(self.rays.usable.all())))
        placed = place_field(
            dataset, self.views, self.rays, options, self.training, part(progress, 0.3, 0.95), unbounded=unbounded
        )
        config, self.occupancy = placed.config, placed.occupancy
        self._searching = not placed.carved  # the place of the scene in the box is unknown
        warm_up(config.table, config.networks, device, part(progress, 0.95, 1.0))
        spec = config.table
        table = (torch.rand(spec.num_entries, spec.num_features, generator=self._generator) * 2 - 1) * 1e-4
        self._networks = torch.nn.Parameter(config.networks.initial(self._generator).to(device))
        self.field = HashField(config, table.to(device), self._networks, self.occupancy.bits.occupied)
        self._table = self.field.table.detach().requires_grad_()  # the same memory
        self._adam = AdamState.zeros(self.field.table)
        self._table_gradients: list[tuple[Tensor, Tensor]] = []  # of features, with their points in the unit cube
        self.background: str = options.background
        if self.background == "auto":
            self.background = "random" if self.rays.has_alpha else plain or "black"
        # over random colours the background cannot stand in for content: then colours tell all that alpha does
        difference, alpha = partial(smooth_l1_loss, beta=0.1), self.rays.has_alpha and self.background != "random"
        self._photometric = PhotometricLoss(options, self.rays, self.background, difference, alpha=alpha)
        groups = [{"params": [self._networks], "lr": self.training.network_rate}]
        groups += self._photometric.appearance.groups()
        self._optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)
        self._refinement: PoseRefinement | None = None
        if options.refine_poses:
            self._refinement = PoseRefinement.about(self.rays.poses, scene_bounds_of(dataset, self.views).center)
            # a camera's gradient is the mean over the few rays that are its own: too few, and it walks at random
            self.training = replace(self.training, samples_per_step=max(self.training.samples_per_step, 1 << 14))
        self._rays_per_step = 2048
        self._stride = COARSEST if self._searching else self.field.config.step
        self._known_bounds, self._extent_step = dataset.bounds is not None, -1
        self._prepared_step = -1
        self._smoothed = math.nan

    # ------------------------------------------------------------------------------------------------ training steps

    def advance(self) -> StepReport:
        """Take one step of the photometric loss on rays of the training images.

        Raises:
            Diverged: the loss is NaN or infinite; the parameters are those before this step.
        """
        started = time.perf_counter()
        self._prepare()
        batch = self.rays.draw(self._rays_per_step, self._generator)
        loss, error, samples = self.learn(batch, self._scheduled_rate())
        self.step += 1
        spent = time.perf_counter() - started
        self.seconds += spent
        self._smoothed = error if math.isnan(self._smoothed) else 0.95 * self._smoothed + 0.05 * error
        report = StepReport(
            step=self.step,
            loss=loss,
            psnr=decibels(self._smoothed),
            rays_per_second=self._rays_per_step / spent,
            samples_per_ray=samples / self._rays_per_step,
        )
        self._adapt_stride(samples, self._rays_per_step)
        wanted = self._rays_per_step * self.training.samples_per_step / max(samples, 1)
        self._rays_per_step = int(min(max(0.9 * self._rays_per_step + 0.1 * wanted, 256), 1 << 16))
        return report

    def render(self, rays: Rays) -> RayColors:
        """See Fit.render. Samples are jittered, and pruned, as in a step of `advance`."""
        started = time.perf_counter()
        self._prepare()
        shape = rays.origins.shape[:-1]
        origins, directions = (x.reshape(-1, 3).to(self._table) for x in (rays.origins, rays.directions))
        traced = self._trace(self.field.from_world(origins), directions)
        self._adapt_stride(traced.num_samples, len(origins))
        self.seconds += time.perf_counter() - started
        return ray_colors(traced, self.field.config).reshape(*shape)

    def apply(self, loss: Tensor) -> None:
        """See Fit.apply."""
        started = time.perf_counter()
        self._descend(loss, self._scheduled_rate())
        self.step += 1
        self.seconds += time.perf_counter() - started

    def replace_image(self, view_index: int, image: Tensor | np.ndarray) -> None:
        """See Fit.replace_image. What the first alpha carved away stays empty."""
        self.rays.replace_image(view_index, image)

    def learn(self, batch: RayBatch, rate: float) -> tuple[float, float, int]:
        """Lower the photometric loss of these rays; return it, the mean squared error of the colours, and the number
        of samples."""
        refinement, model = self._refinement, self.field
        origins, directions = batch.in_world(self.rays.poses if refinement is None else refinement.cameras())
        directions = directions / directions.detach().norm(dim=-1, keepdim=True)
        traced = self._trace(model.from_world(origins), directions)
        sky = traced.sky
        background = self._photometric.background_colors(len(origins), self._generator) if sky is None else sky
        loss, error = self._photometric.loss(
            batch, traced.pixels, background, model.config.side, background_in_image=sky is not None
        )
        self._descend(loss, rate)
        return float(loss.detach()), float(error), traced.num_samples

    def _prepare(self) -> None:
        """Update the occupancy, and recover lost cameras, once before each step at which that is due."""
        if self._prepared_step == self.step:
            return
        self._prepared_step = self.step
        if self.step % self.training.update_every == 0:
            self._update_occupancy()
        refinement = self._refinement
        if refinement is not None and refinement.recovery_due(self._elapsed()):
            recover_lost_cameras(HashScene(self.field), self.views, self.rays, refinement, self.background)

    def _trace(self, origins: Tensor, directions: Tensor) -> TracedRays:
        """Render rays [R, 3] of the field frame, with jittered samples, from coarse to fine while cameras are refined;
        the table's gradient goes to `_table_gradients`."""
        jitter = torch.rand(len(origins), generator=self._generator).to(self.device)
        level_mask, step = self._coarse_to_fine()

        def encode(points: Tensor, features: Tensor | None) -> Tensor:
            spec = self.field.config.table
            if features is None:
                with torch.no_grad():
                    features = hash_encode(points.detach(), self.field.table, spec)
            known: Tensor = _KnownFeatures.apply(points, self._table, features, spec, self._table_gradients)
            return known if level_mask is None else known * level_mask

        step = max(step, self._stride)
        return self.field.trace(
            origins, directions, jitter, step=step, threshold=OCCLUDED, encode=encode, networks=self._networks
        )

    def _descend(self, loss: Tensor, rate: float) -> None:
        """Take one step of every optimiser down the gradient of a loss; rate: of the table."""
        diverged = f"The fit diverged in step {self.step}"
        if not math.isfinite(float(loss.detach())):
            raise Diverged(f"{diverged}: the loss became NaN or infinite.")
        self._optimizer.zero_grad()
        self._table_gradients.clear()
        refinement = self._refinement
        if refinement is not None:
            refinement.zero_grad()
        loss.backward()
        gradient = self._networks.grad
        if gradient is not None and not bool(gradient.isfinite().all()):
            raise Diverged(f"{diverged}: the gradient became NaN or infinite.")
        if self._table_gradients:
            if refinement is not None:
                refinement.advance(self.step, self._elapsed())
            for of_features, points in self._table_gradients:
                self._add_table_gradient(of_features, points)
            sparse_adam(self.field.table.detach(), self._adam, rate, self.step + 1)
            self._table_gradients.clear()
        self._optimizer.step()

    def _add_table_gradient(self, of_features: Tensor, points: Tensor) -> None:
        """Add the table's gradient to the sparse one, given that of the features [N, width] of points [N, 3]."""
        spec = self.field.config.table
        if self.device.type in ("cpu", "cuda"):
            from ...kernels.hash_encoding.warp_engine import add_table_gradient

            add_table_gradient(self._adam.gradient, of_features, points.contiguous(), spec, self._adam.touched)
            return
        table = self.field.table.detach().requires_grad_()
        hash_encode(points, table, spec).backward(of_features)
        assert table.grad is not None
        self._adam.gradient.add_(table.grad)
        self._adam.touched.copy_((self._adam.gradient.reshape(len(self._adam.touched), -1) != 0).any(1))

    def _scheduled_rate(self) -> float:
        """Return the learning rate of the table in this step, and set those of the other parameters."""
        training = self.training
        rate = training.rate * (training.final_rate / training.rate) ** self._elapsed()
        for group, full in zip(
            self._optimizer.param_groups, (training.network_rate, self._photometric.appearance.rate)
        ):
            group["lr"] = full * rate / training.rate
        return rate

    def _coarse_to_fine(self) -> tuple[Tensor | None, float]:
        """Return the weight of each feature [width] while cameras are refined, and steps of rays as fine as the finest
        level with a weight needs; None and 0 when all levels count in full."""
        if self._refinement is None:
            return None, 0.0
        spec = self.field.config.table
        weights = self._refinement.level_weights(spec.num_levels, self._elapsed())
        if bool((weights == 1).all()):
            return None, 0.0
        finest = spec.levels[int((weights > 0).sum()) - 1].resolution
        return weights.to(self.device).repeat_interleave(spec.num_features), 1 / finest

    def _adapt_stride(self, num_samples: int, num_rays: int) -> None:
        """While the place of the scene is unknown, adapt the step length to the wanted number of samples a ray."""
        if self._searching:
            excess = num_samples / (max(num_rays, 1) * self.training.samples_per_ray)
            self._stride = min(max(self._stride * excess**0.2, self.field.config.step), COARSEST)

    def _update_occupancy(self) -> None:
        """Evaluate the density of some cells, and skip the empty ones once the field has warmed up."""
        warm, training = self.step >= self.training.warm_up, self.training
        if warm or not self._searching:
            occupied = OCCUPIED_TOO * training.cells_per_update if self._searching else 0
            self.occupancy.update(self.field.density, training.cells_per_update, self._generator, occupied=occupied)
        if warm and self.step:
            self.occupancy.threshold(min(0.01 / self.field.config.step, 4.0))
        self.field.occupancy = self.occupancy.bits

    def _elapsed(self) -> float:
        """Return the elapsed part of the fit, 0..1."""
        return elapsed(self.options, self.step, self.seconds, self.training.steps)

    # ---------------------------------------------------------------------------------------------- scene and state

    def scene(self) -> HashScene:
        """See Fit.scene."""
        due = self._elapsed() >= 1 or self.step >= EXTENT_AFTER * self._extent_step
        if due and self.step > self._extent_step:
            self._extent_step = self.step
            self._update_surface_extent()
        return HashScene(self.field)

    def _update_surface_extent(self) -> None:
        """Find the iso level of the surface (lower than usual while the fit is soft), its bounds where the data set
        does not say them, and the cells that are solid behind it."""
        config, generator = self.field.config, torch.Generator().manual_seed(self.options.seed)
        whole = not config.unbounded or self._elapsed() >= 1  # rays through all of space take long
        batches = math.ceil(RAYS_PER_FACE * self.training.grid**2 / RAYS_AT_ONCE) if whole else 1
        extent = SurfaceExtent.of(self.field, (self._random_rays(RAYS_AT_ONCE, generator) for _ in range(batches)))
        usual = math.log(2) / config.step
        bounds = config.bounds
        if whole:
            solid = extent.solid(self.field.occupancy.occupied)
            if config.unbounded:  # no mesh is made of what lies beyond the box
                box = slice(len(solid) // 4, -(len(solid) // 4))
                within = torch.zeros_like(solid)
                within[box, box, box] = True
                solid &= within
            self.field.solid = solid
        if not (config.unbounded or self._known_bounds) and (found := extent.box) is not None:
            low = torch.tensor(config.low)
            first, last = ((low + config.side * corner).tolist() for corner in found)
            bounds = (first[0], first[1], first[2]), (last[0], last[1], last[2])
        level = min(usual, extent.level or usual) / config.side
        self.field.config = replace(config, iso_level=level, bounds=bounds)

    def _random_rays(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return random training rays in the field frame: origins and unit directions [R, 3]."""
        origins, directions = self.rays.draw(count, generator).in_world(self.poses())
        return self.field.from_world(origins), normalize(directions, dim=-1)

    def poses(self) -> Tensor:
        """See Fit.poses."""
        return self.rays.poses if self._refinement is None else self._refinement.cameras().detach()

    def tensors(self) -> dict[str, Tensor]:
        """See Fit.tensors."""
        numbers = [self.step, self.seconds, self._smoothed, self._rays_per_step, self._stride]
        return {
            "table": self.field.table.detach(),
            "table_mean": self._adam.mean,
            "table_square": self._adam.square,
            "networks": self._networks.data,
            "peak": self.occupancy.peak,
            "occupied": self.occupancy.bits.bits,
            "random": self._generator.get_state(),
            "progress": torch.tensor(numbers, dtype=torch.float64),
            "box": self._box(),
            **self._photometric.appearance.tensors(),
            **optimizer_tensors(self._optimizer),
            **({} if self._refinement is None else self._refinement.tensors()),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See Fit.restore."""
        # earlier versions did not store their box: the same if it is known, else another one
        box = tensors.get("box", self._box()) if self._known_bounds else tensors["box"]
        if bool(((box - self._box()).abs() > 1e-4 * self.field.config.side).any()):
            raise RuntimeError("its box is another one")  # the content of the table would be elsewhere
        for name, mine in (
            ("table", self.field.table.detach()),
            ("table_mean", self._adam.mean),
            ("table_square", self._adam.square),
            ("networks", self._networks.data),
            ("peak", self.occupancy.peak),
        ):
            mine.copy_(tensors[name])
        self._photometric.appearance.restore(tensors)
        self._generator.set_state(tensors["random"].cpu())
        if self._refinement is not None:
            self._refinement.restore(tensors)
        restore_optimizer(self._optimizer, tensors)
        step, self.seconds, self._smoothed, rays, *stride = tensors["progress"].tolist()
        self.step, self._rays_per_step, self._prepared_step = int(step), int(rays), -1
        self._stride = stride[0] if stride else self.field.config.step  # earlier versions had the field's own
        self.occupancy.restore(tensors["occupied"])
        self.field.occupancy = self.occupancy.bits

    def _box(self) -> Tensor:
        """Return the placement of the table's content in the world: corner, side, and kind of contraction, [5]."""
        config = self.field.config
        kind = 2 * config.unbounded + config.sky  # 1 alone is how earlier versions contracted
        return torch.tensor([*config.low, config.side, config.side * kind], dtype=torch.float64)
