"""Fitting a hash-grid radiance field (arxiv.org/abs/2201.05989), fast enough to watch on a processor.

What makes it fast. Pictures with alpha carve their visual hull first, so that rays meet nothing but the object's
neighbourhood from the first step. The table's finest cell and the step of a ray follow from the size of a pixel on the
object: finer ones cost time and show nowhere. Each step draws as many rays as fill a fixed number of samples. Samples
behind what is already opaque are found with the density network alone and left out of the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from addon.wire.errors import Diverged
from addon.wire.messages import Bounds, FitOptions

from ...kernels.compositing import composite_packed
from ...kernels.hash_encoding import HashSpec, hash_encode
from ...kernels.radiance_mlp import radiance_mlp
from ...kernels.sparse_adam import AdamState, sparse_adam
from ...kernels.spherical_harmonics import spherical_harmonics
from ...kernels.visible_samples import visible_samples
from ...kernels.warm_up import warm_up
from ...optimizers import optimizer_tensors, restore_optimizer
from ...progress import Progress, part, silent
from ..cameras.alignment import at_pose, photometric_error, relocalize
from ..cameras.poses import UNCERTAINTY, PoseRefinement
from ..datasets import Dataset
from ..evaluate import behind_of
from ..fit.background_color import background_color, find_backdrop
from ..fit.fitting import StepReport, elapsed
from ..fit.photometric_loss import PhotometricLoss
from ..fit.rays import RayBatch, TrainingRays
from ..fit.scene_bounds import scene_bounds_of
from ..fit.surface_extent import RAYS_PER_FACE, Survey
from .field import HashField, HashFieldConfig, at_infinity
from .occupancy import Occupancy, Silhouette, carve, fewest_views
from .scene import HashScene

HULL_RESOLUTION = 128
"""Of the first carving, which finds the object's bounds."""

SURVEY_AFTER = 1.5
"""The surface is looked for again when the fit has taken so many times the steps; and at its end."""

COARSEST = 1 / 6
"""Field units: the first steps of rays while nothing is known of where the scene is."""

OCCUPIED_TOO = 8
"""While it is not known where the scene is, so many times more cells are looked at among those taken for occupied."""

RAYS_AT_ONCE = 1 << 13
"""Of a survey."""

DIM = 1e-3
"""Rays with less light left are not told what is behind everything."""

OCCLUDED = 1e-2
"""Samples behind this much of the light being left are not evaluated in full."""


@dataclass(frozen=True)
class Training:
    """How a fit is run."""

    log2_size: int = 17
    num_levels: int = 12
    finest: int | None = None  # cells along an axis; None: as the pictures show
    samples_per_step: int = 1 << 13  # after pruning, about
    rate: float = 3e-2
    final_rate: float = 1e-3
    network_rate: float = 2e-3
    steps: int = 10_000  # that the decay spans, where the options give neither steps nor seconds
    grid: int = 128
    warm_up: int = 100  # steps before cells are taken for empty
    look_every: int = 16
    look_at: int = 1 << 15  # cells
    samples_per_ray: int = 10  # about, while it is not known where the scene is: steps are as long as that needs


PRESETS = {
    "draft": Training(log2_size=15, num_levels=10, samples_per_step=1 << 14),
    "standard": Training(),
    "fine": Training(log2_size=19, num_levels=16),
}


@dataclass(frozen=True)
class _Sky:
    """What is behind rays. rays int64 [N]: those that are told; points [N, 3] of the unit cube and features [N, width]
    there, whose gradient is the table's; colors [R, 3] of all, sRGB."""

    rays: Tensor
    points: Tensor
    features: Tensor
    colors: Tensor


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
        """training: None is what the preset of the options stands for.

        Raises:
            UnreadableFile, UnusableDataset: see `Dataset.to_fit`, `Dataset.load` and `scene_bounds_of`.
        """
        self.step, self.seconds = 0, 0.0
        self.options, self.device = options, device
        self.training = PRESETS[options.preset] if training is None else training
        if not options.use_masks:
            dataset = dataset.without_masks()
        self.views = dataset.to_fit()
        pictures = dataset.load_all(self.views, part(progress, 0.0, 0.3))
        self.rays = TrainingRays(self.views, pictures, device)
        self._generator = torch.Generator().manual_seed(options.seed)
        pinholes = all(view.lens.model == "pinhole" for view in self.views)
        backdrop: str | None = None
        if options.background in ("white", "black"):
            backdrop = options.background
        elif not (self.rays.has_alpha or any(view.lens.model == "fisheye" for view in self.views)):
            backdrop = find_backdrop(pictures)  # around what a fisheye sees there is black, which is none
        unbounded = options.unbounded == "yes"
        if options.unbounded == "auto":  # masks in a data set that knows the object's box leave that object
            object_alone = self.rays.has_alpha or backdrop is not None
            unbounded = not (object_alone or (dataset.bounds is not None and not bool(self.rays.usable.all())))
        silhouettes = self._silhouettes()
        outlines = silhouettes if pinholes and not unbounded else []
        low, side, bounds = self._place(dataset, outlines, part(progress, 0.3, 0.5))
        pixels = side / self._pixel_size(low, side)
        in_cube = 2 * pixels if unbounded else pixels  # the box is the middle half of the cube
        finest = self.training.finest or 2 ** math.ceil(math.log2(max(64.0, min(2048.0, 1.5 * in_cube))))
        step = max(1 / 1024, min(1 / 64, 1 / pixels))
        config = HashFieldConfig(
            low=low,
            side=side,
            table=HashSpec(self.training.num_levels, 2, self.training.log2_size, 16, finest),
            step=step,
            unbounded=unbounded,
            sky=unbounded and not self.rays.has_alpha,
            linear=options.color_space == "linear",
            bounds=bounds,
        )
        warm_up(config.table, config.networks, device, part(progress, 0.95, 1.0))
        spec = config.table
        table = (torch.rand(spec.num_entries, spec.num_features, generator=self._generator) * 2 - 1) * 1e-4
        networks = config.networks.initial(self._generator)
        self.occupancy = Occupancy(self.training.grid, device)
        self._searching = not outlines  # nothing says where the scene is
        if not self._searching:
            hull = carve(outlines, torch.tensor(low), side, self.training.grid, part(progress, 0.5, 0.95))
            self.occupancy.restrict(hull.to(device))
        if unbounded and pinholes:
            self._leave_out_what_few_see(low, side)
        self._keep_clear(low, side, unbounded)
        self._draw_where_something_is(silhouettes)
        self.field = HashField(config, table.to(device), networks.to(device), self.occupancy.bits.occupied)
        self._adam = AdamState.zeros(self.field.table)
        self._mlp = torch.nn.Parameter(self.field.networks)
        self.field.networks = self._mlp.data
        self.background: str = options.background
        if self.background == "auto":
            self.background = "random" if self.rays.has_alpha else backdrop or "black"
        # over random colours what is behind cannot stand in for what is there: then colours say all that alpha does
        difference, alpha = partial(smooth_l1_loss, beta=0.1), self.rays.has_alpha and self.background != "random"
        self._comparison = PhotometricLoss(options, self.rays, self.background, difference, alpha=alpha)
        groups = [{"params": [self._mlp], "lr": self.training.network_rate}, *self._comparison.appearance.groups()]
        self._optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)
        self._refinement: PoseRefinement | None = None
        if options.refine_poses:
            self._refinement = PoseRefinement.about(self.rays.poses, scene_bounds_of(dataset, self.views).middle)
            # a camera's gradient is the mean of the few rays that are its own: too few, and it walks at random
            self.training = replace(self.training, samples_per_step=max(self.training.samples_per_step, 1 << 14))
        self._rays_per_step = 2048
        self._stride = COARSEST if self._searching else self.field.config.step
        self._known_bounds, self._surveyed = dataset.bounds is not None, -1
        self._smoothed = math.nan

    # ------------------------------------------------------------------------------------------------ where it is

    def _silhouettes(self) -> list[Silhouette]:
        """Of pictures with alpha; otherwise none. What a mask hides may be there."""
        if not self.rays.has_alpha:
            return []
        found = []
        for number, view in enumerate(self.views):
            part = slice(int(self.rays.starts[number]), int(self.rays.starts[number + 1]))
            seen = (self.rays.rgba[part, 3] > 0) | ~self.rays.usable[part]
            silhouette = Silhouette.of(view.camera, seen.reshape(view.camera.height, view.camera.width))
            if self.options.refine_poses:  # a camera that is wrong by this much must not carve what is there
                swollen = math.ceil(UNCERTAINTY * float(view.camera.intrinsics[0, 0]))
                silhouette = Silhouette.of(view.camera, silhouette.near(swollen))
            found.append(silhouette)
        return found

    def _place(
        self, dataset: Dataset, silhouettes: Sequence[Silhouette], progress: Progress
    ) -> tuple[tuple[float, float, float], float, Bounds | None]:
        """Return the box (low, side), and the bounds of what it holds."""
        bounds = dataset.bounds
        region = scene_bounds_of(dataset, self.views)
        if bounds is None and silhouettes:
            cube = torch.tensor(region.bounds[0])
            edge = region.bounds[1][0] - region.bounds[0][0]
            hull = carve(silhouettes, cube, edge, HULL_RESOLUTION, progress)
            if hull.any():
                cells = hull.nonzero()
                first, last = cells.amin(0), cells.amax(0) + 1
                low = (cube + (first - 0.5) * edge / HULL_RESOLUTION).tolist()
                high = (cube + (last + 0.5) * edge / HULL_RESOLUTION).tolist()
                bounds = (low[0], low[1], low[2]), (high[0], high[1], high[2])
        box = region.bounds if bounds is None else bounds
        side = max(b - a for a, b in zip(*box)) * 1.02
        middle = [(a + b) / 2 for a, b in zip(*box)]
        corner = (middle[0] - side / 2, middle[1] - side / 2, middle[2] - side / 2)
        return corner, side, bounds

    def _pixel_size(self, low: tuple[float, float, float], side: float) -> float:
        """Metres that a pixel covers in the middle of the box, the median over the views."""
        middle = torch.tensor(low) + side / 2
        sizes = []
        for view in self.views:
            distance = (view.camera.world_from_camera[:3, 3].cpu() - middle).norm().clamp(min=side / 4)
            sizes.append(float(distance / view.camera.intrinsics[0, 0]))
        return float(torch.tensor(sizes).median())

    def _cells(self, low: tuple[float, float, float], side: float, unbounded: bool) -> Tensor:
        """Middles of the grid's cells in world, [n³, 3]."""
        n = self.training.grid
        line = (torch.arange(n, device=self.device) + 0.5) / n
        cells = torch.cartesian_prod(line, line, line)
        if unbounded:  # the inverse of `contract`
            centred = 4 * cells - 2
            size = centred.abs().amax(-1, keepdim=True)
            cells = torch.where(size > 1, centred / (size * (2 - size)), centred) / 2 + 0.5
        return cells * side + torch.tensor(low, device=self.device)

    def _leave_out_what_few_see(self, low: tuple[float, float, float], side: float) -> None:
        """What hardly any camera has in its frame cannot be fitted, and is where fog forms before the others."""
        n = self.training.grid // 2
        cells = self._cells(low, side, True).cpu().reshape(n, 2, n, 2, n, 2, 3).mean((1, 3, 5)).reshape(-1, 3)
        count = torch.zeros(len(cells), dtype=torch.int32)
        for view in self.views:
            camera = view.camera
            pose, k = camera.world_from_camera.float(), camera.intrinsics.float()
            local = (cells - pose[:3, 3]) @ pose[:3, :3]
            pixel = local @ k.T
            depth = pixel[:, 2]
            count += (
                (depth > 0)
                & (pixel[:, 0] >= 0)
                & (pixel[:, 0] <= camera.width * depth)
                & (pixel[:, 1] >= 0)
                & (pixel[:, 1] <= camera.height * depth)
            )
        seen = (count >= fewest_views(len(self.views))).reshape(n, n, n)
        for axis in range(3):
            seen = seen.repeat_interleave(2, axis)
        self.occupancy.restrict(seen.to(self.device))

    def _keep_clear(self, low: tuple[float, float, float], side: float, unbounded: bool) -> None:
        """Nothing is nearer to a training camera than `options.near`."""
        if not self.options.near:
            return
        cells = self._cells(low, side, unbounded)
        clear = torch.zeros(len(cells), dtype=torch.bool, device=self.device)
        for pose in self.rays.poses:
            clear |= (cells - pose[:3, 3]).square().sum(-1) < self.options.near**2
        self.occupancy.restrict(~clear.reshape((self.training.grid,) * 3))

    def _draw_where_something_is(self, silhouettes: Sequence[Silhouette]) -> None:
        """Of pictures with alpha, leave out pixels with nothing in them or near them: no ray there meets the hull."""
        if silhouettes:
            size = max(max(view.camera.width, view.camera.height) for view in self.views)
            margin = max(2, math.ceil(3 * size / self.training.grid))
            self.rays.prefer(torch.cat([silhouette.near(margin).reshape(-1) for silhouette in silhouettes]))

    # -------------------------------------------------------------------------------------------------- the steps

    def advance(self) -> StepReport:
        """Take one step.

        Raises:
            Diverged: the loss is not a number; the parameters are those before this step.
        """
        started = time.perf_counter()
        if self.step % self.training.look_every == 0:
            self._look()
        if self._refinement is not None and self._refinement.looks_now(self._elapsed()):
            self._find_lost_cameras(self._refinement)
        batch = self.rays.draw(self._rays_per_step, self._generator)
        rate = self.training.rate * (self.training.final_rate / self.training.rate) ** self._elapsed()
        for group, full in zip(
            self._optimizer.param_groups, (self.training.network_rate, self._comparison.appearance.rate)
        ):
            group["lr"] = full * rate / self.training.rate
        loss, error, samples = self.learn(batch, rate)
        self.step += 1
        spent = time.perf_counter() - started
        self.seconds += spent
        self._smoothed = error if math.isnan(self._smoothed) else 0.95 * self._smoothed + 0.05 * error
        report = StepReport(
            step=self.step,
            loss=loss,
            psnr=-10 * math.log10(max(self._smoothed, 1e-10)),
            rays_per_second=self._rays_per_step / spent,
            samples_per_ray=samples / self._rays_per_step,
        )
        if self._searching:
            off = samples / (self._rays_per_step * self.training.samples_per_ray)
            self._stride = min(max(self._stride * off**0.2, self.field.config.step), COARSEST)
        wanted = self._rays_per_step * self.training.samples_per_step / max(samples, 1)
        self._rays_per_step = int(min(max(0.9 * self._rays_per_step + 0.1 * wanted, 256), 1 << 16))
        return report

    def learn(self, batch: RayBatch, rate: float) -> tuple[float, float, int]:
        """Lower the loss on these rays; return it, the squared error of the colours, and the number of samples."""
        model, spec = self.field, self.field.config.networks
        count = len(batch.views)
        refinement = self._refinement
        rays = batch.in_world(self.rays.poses if refinement is None else refinement.cameras())
        rays = model.from_world(rays[0]), rays[1] / rays[1].detach().norm(dim=-1, keepdim=True)
        origins, directions = (ray.detach() for ray in rays)
        jitter = torch.rand(count, generator=self._generator).to(self.device)
        opened, step = self._coarse_to_fine()
        step = max(step, self._stride)
        samples = model.march(origins, directions, jitter, step=step)
        samples, features = visible_samples(samples, model.table, model.networks, model.config.table, spec, OCCLUDED)
        if opened is not None:
            features = features * opened
        features.requires_grad_()
        directions.requires_grad_(refinement is not None)
        view = spherical_harmonics(directions)
        raw = radiance_mlp(features, view, samples.rays, self._mlp, spec)
        pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets)
        sky = self._sky(view, directions, 1 - pixels.alpha.detach(), opened) if model.config.sky else None
        behind = self._comparison.behind(count, self._generator) if sky is None else sky.colors
        size = model.config.side
        loss, error = self._comparison.loss(batch, pixels, behind, size, photographed=sky is not None)
        if not math.isfinite(value := float(loss.detach())):
            raise Diverged(f"The fit diverged in step {self.step}: its loss is no number any more.")
        self._optimizer.zero_grad()
        loss.backward()
        if self._mlp.grad is not None and not bool(self._mlp.grad.isfinite().all()):
            raise Diverged(f"The fit diverged in step {self.step}: its gradient is no number any more.")
        gradient, points = features.grad, samples.points
        if gradient is not None and sky is not None and sky.features.grad is not None:
            gradient, points = torch.cat((gradient, sky.features.grad)), torch.cat((points, sky.points))
        if gradient is not None and len(points):
            if opened is not None:
                gradient = gradient * opened
            if refinement is not None:
                index = samples.rays.long()
                moved = model.unit(rays[0][index] + samples.t[:, None] * rays[1][index])
                if sky is not None:
                    moved = torch.cat((moved, at_infinity(rays[1][sky.rays])))
                self._move_cameras(refinement, (moved, rays[1]), (points, directions.grad), gradient)
            self._move_table(gradient, points, rate)
        self._optimizer.step()
        return value, float(error), len(samples.t)

    def _sky(self, view: Tensor, directions: Tensor, light: Tensor, opened: Tensor | None) -> _Sky:
        """What is behind rays with so much light left [R]."""
        model, lit = self.field, (light > DIM).nonzero(as_tuple=True)[0]
        points = at_infinity(directions.detach()[lit])
        features = hash_encode(points, model.table, model.config.table)
        if opened is not None:
            features = features * opened
        features.requires_grad_()
        raw = radiance_mlp(features, view, lit.int(), self._mlp, model.config.networks)
        colors = raw.new_zeros(len(view), 3).index_copy(0, lit, torch.sigmoid(raw[:, 1:]))
        return _Sky(lit, points, features, colors)

    def _coarse_to_fine(self) -> tuple[Tensor | None, float]:
        """While cameras are refined: how far each feature is open, and steps of rays as fine as what is open needs."""
        if self._refinement is None:
            return None, 0.0
        spec = self.field.config.table
        weights = self._refinement.opened(spec.num_levels, self._elapsed())
        if bool((weights == 1).all()):
            return None, 0.0
        finest = spec.levels[int((weights > 0).sum()) - 1].resolution
        opened = weights.to(self.device).repeat_interleave(spec.num_features)
        return opened, 1 / finest

    def _move_cameras(
        self,
        refinement: PoseRefinement,
        moved: tuple[Tensor, Tensor],
        known: tuple[Tensor, Tensor | None],
        gradient: Tensor,
    ) -> None:
        """Follow the gradient of the features [N, width] through their points to the cameras.

        moved: points [N, 3] and directions [R, 3] as they follow from the cameras. known: the same points alone, and
        the gradient of the directions.
        """
        model = self.field
        points = known[0].detach().requires_grad_()
        features = hash_encode(points, model.table, model.config.table)
        (to_points,) = torch.autograd.grad(features, points, gradient)
        to_directions = torch.zeros_like(moved[1]) if known[1] is None else known[1]
        refinement.advance(moved, (to_points, to_directions), self.step, self._elapsed())

    def _find_lost_cameras(self, refinement: PoseRefinement) -> None:
        """Look for cameras that see something else than their pictures around where they were given."""
        scene, cameras = HashScene(self.field), self.poses()
        pictures = [self.rays.picture(number) for number in range(len(self.views))]
        behind = [behind_of(picture, "black", background_color(self.background)) for picture in pictures]

        def far(number: int, pose: Tensor) -> float:
            view = at_pose(self.views[number], pose)
            return photometric_error(scene, view, pictures[number], self.device, behind=behind[number])

        differences = torch.tensor([far(number, pose) for number, pose in enumerate(cameras)])
        lost = (differences > refinement.lost * differences.nanmedian()).nonzero()[:, 0].tolist()
        for number in sorted(lost, key=lambda n: -differences[n])[: max(1, len(self.views) // 10)]:
            view = at_pose(self.views[number], refinement.given(number))
            again = relocalize(
                scene, view, pictures[number], self.device, reach=UNCERTAINTY / 2, behind=behind[number]
            ).camera.world_from_camera
            if far(number, again) < differences[number] / 2:
                refinement.place(number, again)

    def _move_table(self, gradient: Tensor, points: Tensor, rate: float) -> None:
        if self.device.type in ("cpu", "cuda"):
            from ...kernels.hash_encoding.warp_engine import add_table_gradient

            add_table_gradient(self._adam.gradient, gradient, points, self.field.config.table, self._adam.touched)
        else:
            table = self.field.table.detach().requires_grad_()
            hash_encode(points, table, self.field.config.table).backward(gradient)
            assert table.grad is not None
            self._adam.gradient.add_(table.grad)
            self._adam.touched.copy_((self._adam.gradient.reshape(len(self._adam.touched), -1) != 0).any(1))
        sparse_adam(self.field.table, self._adam, rate, self.step + 1)

    def _look(self) -> None:
        """Find out where the field is empty."""
        settled = self.step >= self.training.warm_up
        if settled or not self._searching:
            occupied = OCCUPIED_TOO * self.training.look_at if self._searching else 0
            self.occupancy.update(self.field.density, self.training.look_at, self._generator, occupied=occupied)
        if settled and self.step:
            self.occupancy.threshold(min(0.01 / self.field.config.step, 4.0))
        self.field.occupancy = self.occupancy.bits

    def _elapsed(self) -> float:
        """How much of the fit lies behind, 0..1."""
        return elapsed(self.options, self.step, self.seconds, self.training.steps)

    # ------------------------------------------------------------------------------------------------- what it is

    def scene(self) -> HashScene:
        """The scene as it stands; it shares the parameters of the fit."""
        due = self._elapsed() >= 1 or self.step >= SURVEY_AFTER * self._surveyed
        if due and self.step > self._surveyed:
            self._surveyed = self.step
            self._survey()
        return HashScene(self.field)

    def _survey(self) -> None:
        """Find out where the surface is: its level (a fit that is still soft has it at less than usual), its box where
        nobody knows one, and what is solid behind it."""
        config, generator = self.field.config, torch.Generator().manual_seed(self.options.seed)
        whole = not config.unbounded or self._elapsed() >= 1  # rays through all of space take long
        batches = math.ceil(RAYS_PER_FACE * self.training.grid**2 / RAYS_AT_ONCE) if whole else 1
        survey = Survey.of(self.field, (self._some_rays(RAYS_AT_ONCE, generator) for _ in range(batches)))
        usual = math.log(2) / config.step
        bounds = config.bounds
        if whole:
            solid = survey.solid(self.field.occupancy.occupied)
            if config.unbounded:  # of what lies beyond the box no mesh is made
                box = slice(len(solid) // 4, -(len(solid) // 4))
                within = torch.zeros_like(solid)
                within[box, box, box] = True
                solid &= within
            self.field.solid = solid
        if not (config.unbounded or self._known_bounds) and (found := survey.box) is not None:
            low = torch.tensor(config.low)
            first, last = ((low + config.side * corner).tolist() for corner in found)
            bounds = (first[0], first[1], first[2]), (last[0], last[1], last[2])
        level = min(usual, survey.level or usual) / config.side
        self.field.config = replace(config, iso_level=level, bounds=bounds)

    def _some_rays(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        origins, directions = self.rays.draw(count, generator).in_world(self.poses())
        return self.field.from_world(origins), normalize(directions, dim=-1)

    def poses(self) -> Tensor:
        """world_from_camera [views, 4, 4] of the training views, refined where that was asked for."""
        return self.rays.poses if self._refinement is None else self._refinement.cameras().detach()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on exactly here."""
        numbers = [self.step, self.seconds, self._smoothed, self._rays_per_step, self._stride]
        return {
            "table": self.field.table,
            "table_mean": self._adam.mean,
            "table_square": self._adam.square,
            "networks": self._mlp.data,
            "peak": self.occupancy.peak,
            "occupied": self.occupancy.bits.bits,
            "random": self._generator.get_state(),
            "progress": torch.tensor(numbers, dtype=torch.float64),
            "box": self._box(),
            **self._comparison.appearance.tensors(),
            **optimizer_tensors(self._optimizer),
            **({} if self._refinement is None else self._refinement.tensors()),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""
        # earlier versions did not say where their box is: the same if it is known, else another one
        box = tensors.get("box", self._box()) if self._known_bounds else tensors["box"]
        if bool(((box - self._box()).abs() > 1e-4 * self.field.config.side).any()):
            raise RuntimeError("its box is another one")  # what the table holds would stand elsewhere
        for name, mine in (
            ("table", self.field.table),
            ("table_mean", self._adam.mean),
            ("table_square", self._adam.square),
            ("networks", self._mlp.data),
            ("peak", self.occupancy.peak),
        ):
            mine.copy_(tensors[name])
        self._comparison.appearance.restore(tensors)
        self._generator.set_state(tensors["random"].cpu())
        if self._refinement is not None:
            self._refinement.restore(tensors)
        restore_optimizer(self._optimizer, tensors)
        step, self.seconds, self._smoothed, rays, *stride = tensors["progress"].tolist()
        self.step, self._rays_per_step = int(step), int(rays)
        self._stride = stride[0] if stride else self.field.config.step  # earlier versions had the field's own
        self.occupancy.restore(tensors["occupied"])
        self.field.occupancy = self.occupancy.bits

    def _box(self) -> Tensor:
        """What places the table's content in the world: corner, side, and how space is contracted, [5]."""
        config = self.field.config
        kind = 2 * config.unbounded + config.sky  # 1 alone is how earlier versions contracted
        return torch.tensor([*config.low, config.side, config.side * kind], dtype=torch.float64)
