"""All figures of a generator in one table: distances of features, poses, view consistency, variety, copies, shapes.

A `Judge` holds what belongs to the data: real images, a feature network, perhaps a pose regressor and held-out
shapes. Called with a generator, it returns `Judged`: figures for JSON, rows for people, and image sheets. Every model
is judged through `Generator` and `Scene` alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from addon.wire.errors import LatheError, UnusableDataset

from ...nerf.consistency import measure, neighbours, pairs_page, pooled
from ...progress import Progress, part, silent
from ...scenes.generator import Generator
from ..data.training_images import TrainingImages
from ..images import image_grid, to_pil
from ..runs import log
from .distances import (
    frechet_distance,
    kernel_distance,
    kernel_distance_error,
    nearest_neighbours,
    share_of_copies,
    spread,
)
from .feature_networks import FeatureNetwork, small_images
from .figures import Judged, rounded
from .pose_regressor import PoseRegressor, turning
from .sampling import Poses, cameras_of, generate, in_range, like_poses, prior_poses, scene_of
from .shapes import Array, compare_shapes, generated_points

LEAST_IMAGES = 16


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How much is generated and compared."""

    images: int = 256  # generated, and as many real ones
    neighbours_among: int = 12_000  # training images that copies are looked for in
    consistency_seeds: int = 8
    consistency_pairs: int = 4  # of neighbouring views, for each seed
    consistency_step: float = math.radians(10.0)  # of azimuth, between neighbours
    shapes: int = 32
    shape_resolution: int = 48  # cells
    training_shapes: int = 2000  # that copies are looked for in
    first_seed: int = 0


def quick() -> JudgeSettings:
    """Return the settings for judging during a training: distances of 128 images, and no shapes."""
    return JudgeSettings(images=128, neighbours_among=2000, consistency_seeds=2, shapes=0)


@dataclass(frozen=True)
class _Real:
    """The real images that a generator is compared with, at its image size."""

    poses: Poses  # of `images`, or drawn from the model's range
    images: Tensor  # [n, 3, size, size] uint8
    features: Tensor
    others: Tensor  # features of as many other real images
    objects: Tensor | None
    posed: bool


@dataclass
class _Case:
    """One generator on trial: its images, their features, and the sheets drawn so far."""

    generator: Generator
    real: _Real
    made: Tensor  # [n, 3, size, size] uint8, at the poses of the real images
    features: Tensor
    sheets: dict[str, Image.Image]
    progress: Progress

    @property
    def size(self) -> int:
        return self.made.shape[-1]


class _LeftOut(Exception):
    """Raised where a measure does not apply, with the reason."""


class Judge:
    """Judge of generators of one family; see the module. Features of real images are computed once."""

    def __init__(
        self,
        data: TrainingImages,
        network: FeatureNetwork,
        *,
        held_out: TrainingImages | None = None,
        regressor: PoseRegressor | None = None,
        shapes: Sequence[Array] = (),
        training_shapes: Sequence[Array] = (),
        settings: JudgeSettings | None = None,
    ) -> None:
        """data: the images of the training. held_out: images of other objects, that generated ones are compared with
        in place of those of the training. shapes, training_shapes: points of held-out and of training shapes
        (`shapes.read_shapes`)."""
        self.data, self.network, self.held_out = data, network, held_out
        self.regressor, self.settings = regressor, settings or JudgeSettings()
        self.shapes, self.training_shapes = shapes, training_shapes
        self._real: dict[tuple[Any, ...], _Real] = {}
        self._training: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, generator: Generator, progress: Progress = silent) -> Judged:
        """Judge a generator. Raises UnusableDataset: fewer than 16 images lie in the range of its poses."""
        info, started = generator.info, time.perf_counter()
        size = min(info.image_size, self.data.images.shape[-1])
        real = self._real_images(generator, size)
        seeds = range(self.settings.first_seed, self.settings.first_seed + len(real.images))
        white, report = self.data.background != "black", part(progress, 0.1, 0.6)
        cameras = cameras_of(info, real.poses, info.image_size)
        made = small_images(generate(generator, cameras, seeds, white=white, progress=report), size)
        case = _Case(generator, real, made, self.network(made), {}, progress)
        case.sheets["samples"] = paired_rows(made, real.images)
        figures: dict[str, Any] = {
            "model": info.name, "kind": info.kind, "features": self.network.name, "images": len(made), "size": size,
            "held_out": self.held_out is not None, "seconds": {"images": round(time.perf_counter() - started, 1)},
            "left_out": {},
        }  # fmt: skip
        for name, measure_one in (
            ("distances", self._distances),
            ("variety", self._variety),
            ("copies", self._copies),
            ("poses", self._poses),
            ("consistency", self._consistency),
            ("shapes", self._shapes),
        ):
            started = time.perf_counter()
            try:
                figures[name] = rounded(measure_one(case))
            except _LeftOut as reason:
                figures["left_out"][name] = str(reason)
            figures["seconds"][name] = round(time.perf_counter() - started, 1)
        progress(1.0, "Judged")
        return Judged(figures, case.sheets)

    # ---- measures: each returns figures, or raises _LeftOut

    def _distances(self, case: _Case) -> dict[str, Any]:
        real = case.real
        return {
            "kid_x1000": 1000 * kernel_distance(case.features, real.features),
            "kid_x1000_error": 1000 * kernel_distance_error(case.features, real.features),
            "kid_x1000_real": 1000 * kernel_distance(real.others, real.features),
            "frechet": frechet_distance(case.features, real.features),
            "frechet_real": frechet_distance(real.others, real.features),
        }

    def _variety(self, case: _Case) -> dict[str, Any]:
        real = case.real
        pairs = like_poses(real.poses.angles, real.objects) if real.posed else all_pairs(len(case.made))
        if not len(pairs):
            raise _LeftOut("no two images of different objects have like poses")
        made, wanted = spread(case.features, pairs), spread(real.features, pairs)
        return {"generated": made, "real": wanted, "ratio": made / wanted, "pairs": len(pairs)}

    def _copies(self, case: _Case) -> dict[str, Any]:
        real = case.real
        index, training = self._training_features(case.size)
        nearest = nearest_neighbours(case.features, training)
        worst = nearest.distance.argsort()[:24]
        case.sheets["neighbours"] = self._neighbours_sheet(case, worst, index[nearest.index[worst]])
        found: dict[str, Any] = {"nearest_median": float(nearest.distance.median()), "among": len(index)}
        same = None
        if self.held_out is None:
            if self.data.objects is None or real.objects is None:
                return found  # an image of the data is nearest to one of the same object
            same = real.objects[:, None] == self.data.objects[index]
        distances = nearest_neighbours(real.features, training, same).distance
        share = share_of_copies(nearest.distance, distances)
        return found | {"share": share, "nearest_median_real": float(distances.median())}

    def _poses(self, case: _Case) -> dict[str, Any]:
        if self.regressor is None or not case.real.posed:
            raise _LeftOut("the data has no poses, or there is no pose regressor")
        found = turning(self.regressor(case.made), case.real.poses.angles)
        return {"generated": asdict(found), "real": asdict(self.regressor.held_out)}

    def _consistency(self, case: _Case) -> dict[str, Any]:
        settings, info = self.settings, case.generator.info
        if not info.has_surface:
            raise _LeftOut("the model has no depth: `consistency --depth fitted` measures it")
        wires = neighbours(info, settings.consistency_pairs, case.size, settings.consistency_step)
        found = []
        for number in range(settings.consistency_seeds):
            scene = scene_of(case.generator, settings.first_seed + number)
            report = part(case.progress, 0.6 + 0.2 * number / settings.consistency_seeds, 0.8)
            with torch.no_grad():
                found += measure(wires, scene.render, scene.render, case.generator.device, report)
        total = pooled([pair.agreement for pair in found])
        if not total.pixels:
            raise _LeftOut("no pixel is seen from two neighbouring views")
        case.sheets["consistency"] = to_pil(pairs_page(found[:: -(-len(found) // 8)]))
        return {
            "psnr": total.psnr, "psnr_not_reprojected": total.psnr_unmoved, "pairs": len(found),
            "step_degrees": math.degrees(settings.consistency_step),
        }  # fmt: skip

    def _shapes(self, case: _Case) -> dict[str, Any]:
        settings = self.settings
        if not (case.generator.info.has_surface and len(self.shapes) > 1 and settings.shapes):
            raise _LeftOut("the model has no surface, or there are no shapes to compare with")
        seeds = range(settings.first_seed, settings.first_seed + settings.shapes)
        report = part(case.progress, 0.8, 1.0)
        clouds, failed = generated_points(case.generator, seeds, settings.shape_resolution, report)
        if len(clouds) < 2:
            raise _LeftOut(f"{failed} of {settings.shapes} seeds have no surface")
        return asdict(compare_shapes(clouds, self.shapes, self.training_shapes, failed))

    def _neighbours_sheet(self, case: _Case, seeds: Tensor, nearest: Tensor) -> Image.Image:
        """Return the generated images that are nearest to a training image above that image, from its camera if it is
        known."""
        data, info = self.data, case.generator.info
        made = case.made[seeds]
        if data.world_from_camera is not None and data.intrinsics is not None:
            poses = Poses(data.world_from_camera, data.intrinsics)
            numbers = [self.settings.first_seed + int(seed) for seed in seeds]
            cameras = cameras_of(info, poses, info.image_size, nearest)
            made = small_images(generate(case.generator, cameras, numbers, white=data.background != "black"), case.size)
        return paired_rows(made, small_images(data.images[nearest], case.size), columns=8)

    # ---- real images

    def _real_images(self, generator: Generator, size: int) -> _Real:
        info = generator.info
        key = (size, info.pose_prior.azimuth, info.pose_prior.elevation)
        if key not in self._real:
            self._real[key] = self._choose(generator, size)
        return self._real[key]

    def _choose(self, generator: Generator, size: int) -> _Real:
        random = torch.Generator().manual_seed(0)
        source = self.held_out or self.data

        def usable(data: TrainingImages) -> Tensor:
            if data.world_from_camera is None:
                inside = torch.arange(len(data.images))
            else:
                inside = in_range(generator.info, data.angles()).nonzero()[:, 0]
            return inside[torch.randperm(len(inside), generator=random)]

        index, rest = usable(source), usable(self.data)
        count = min(self.settings.images, len(index), len(rest))
        if self.held_out is None:
            count = min(self.settings.images, len(index) // 2)
            rest = index[count:]
        if count < LEAST_IMAGES:
            raise UnusableDataset(
                f"{len(index)} images lie in the range of poses that {generator.info.label} was trained on; judging "
                f"needs at least {2 * LEAST_IMAGES}."
            )
        index = index[:count]
        images, others = small_images(source.images[index], size), small_images(self.data.images[rest[:count]], size)
        posed = source.world_from_camera is not None and source.intrinsics is not None
        if source.world_from_camera is not None and source.intrinsics is not None:
            poses = Poses(source.world_from_camera[index], source.intrinsics[index])
        else:
            poses = prior_poses(generator.info, count)
        objects = None if source.objects is None else source.objects[index]
        return _Real(poses, images, self.network(images), self.network(others), objects, posed)

    def _training_features(self, size: int) -> tuple[Tensor, Tensor]:
        """Return which training images copies are looked for in [m], and their features [m, d]."""
        if size not in self._training:
            random = torch.Generator().manual_seed(1)
            index = torch.randperm(len(self.data.images), generator=random)[: self.settings.neighbours_among]
            parts = index.split(256)
            features = torch.cat([self.network(small_images(self.data.images[i], size)) for i in parts])
            self._training[size] = index, features
        return self._training[size]


def record(judge: Judge, path: Path) -> Callable[[Generator, int], None]:
    """Return a function that judges a generator after a step of its training and appends the figures to a file, one
    line of JSON each. What cannot be measured yet is logged, and no reason to stop the training."""

    def one(generator: Generator, step: int) -> None:
        try:
            figures = judge(generator).figures
        except LatheError as error:
            log(f"Step {step} was not judged: {error.message}")
            return
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}, ensure_ascii=False) + "\n")
        found = figures["distances"]
        log(f"Step {step}: KID-like × 1000 {found['kid_x1000']:.3g} (real {found['kid_x1000_real']:.3g})")

    return one


def all_pairs(count: int) -> Tensor:
    """Return all pairs [p, 2] of so many images."""
    return torch.ones(count, count).triu(1).nonzero()


def paired_rows(upper: Tensor, lower: Tensor, columns: int = 12, rows: int = 3) -> Image.Image:
    """Return a sheet of images [n, 3, size, size] uint8: rows of the first, each above a row of the second."""
    cells = []
    for number in range(min(rows, -(-len(upper) // columns))):
        chosen = slice(number * columns, (number + 1) * columns)
        for images in (upper[chosen], lower[chosen]):
            row = [to_pil(image.permute(1, 2, 0) / 255) for image in images]
            cells += row + [Image.new("RGB", row[0].size, "white")] * (columns - len(row))
    return image_grid(cells, columns)
