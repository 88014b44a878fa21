"""Refine perturbed cameras while the scene is fitted: the experiment of BARF (arxiv.org/abs/2104.06405).

`python -m backend train pose-refinement DATASET --out FOLDER` rotates every training camera of a data set about a
random axis, moves it by a part of its distance in a random direction, and fits three times: with the true cameras, with
the perturbed ones, and with the perturbed ones refined. The folder gets `poses.png` (the cameras before and after),
`views.png` (a held-out view: ground truth and the three fits) and `figures.json`. The fits are saved there every
hundred steps, and the same command resumes from them.

Cameras are compared after the similarity transform that aligns them best, which images cannot determine. The cameras of
held-out views are moved by it, and then each is aligned with its own image, with the scene fixed (Sec. 4.1 of BARF);
the figures give both, and with the true cameras too.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from addon.wire.messages import FitOptions

from ...nerf.cameras.alignment import at_pose, moved
from ...nerf.cameras.pose_plot import plot_poses
from ...nerf.cameras.poses import perturbed, pose_errors
from ...nerf.datasets import Dataset, View, open_dataset
from ...nerf.datasets.smaller import smaller
from ...nerf.evaluate import evaluate, photograph
from ...nerf.fit.scene_bounds import scene_bounds_of
from ...nerf.fit.state import fingerprint
from ...nerf.methods import FITS
from ...scenes.protocol import Scene
from ..images import labelled_row
from ..runs import device_of, log, options
from .saved_fit import SavedFit

CPU = torch.device("cpu")

EVERY = 100
"""Steps between saves and progress reports."""


@dataclass(frozen=True)
class Perturbation:
    """Size of the perturbation of the cameras."""

    degrees: float = 3.0
    percent: float = 5.0  # of the distance to the scene
    seed: int = 1


def demonstrate(
    dataset: Dataset,
    options: FitOptions,
    wrong: Perturbation,
    out: Path,
    report: Callable[[str], None] = lambda text: None,
    *,
    num_views: int = 8,
    device: torch.device = CPU,
) -> dict[str, float]:
    """Fit three times; write the images and return the figures: degrees, percent of the distance, dB."""
    out.mkdir(parents=True, exist_ok=True)
    train = dataset.split("train")
    truth = torch.stack([view.camera.world_from_camera for view in train]).float()
    center = torch.tensor(scene_bounds_of(dataset, train).center).float()
    distance = float((truth[:, :3, 3] - center).norm(dim=-1).median())
    before = perturbed(truth, math.radians(wrong.degrees), wrong.percent / 100 * distance, wrong.seed)
    perturbed_set = with_poses(dataset, before)
    views = dataset.split("test")[:num_views]
    seen = {"truth": photograph(dataset.load(views[0]), 1.0)}
    figures: dict[str, float] = {}
    views_of = fingerprint(dataset)

    def measure(name: str, scene: Scene, placed: Sequence[View]) -> None:
        shown: list[np.ndarray] = []
        for what, refine in (("", False), ("_aligned", True)):
            shown.clear()
            found = evaluate(
                scene, dataset, placed, device, refine_poses=refine, show=lambda v, got, _: shown.append(got)
            )
            assert found.psnr is not None
            figures[f"psnr_{name}{what}"] = round(found.psnr, 2)
        seen[f"{name}, {found.psnr:.1f} dB"] = shown[0]

    for name, data in (("true", dataset), ("wrong", perturbed_set), ("refined", perturbed_set)):
        fit = FITS["hash"](data, replace(options, refine_poses=name == "refined"), device)
        saved = SavedFit(
            out / f"{name}.safetensors", {"options": asdict(options), "wrong": asdict(wrong), "views": views_of}
        )
        saved.restore(fit)
        while fit.step < options.steps:
            now = fit.advance()
            if fit.step % EVERY == 0 or fit.step == options.steps:
                saved.save(fit)
                errors = pose_errors(fit.poses().detach().cpu(), truth)
                report(
                    f"{name}: step {fit.step}/{options.steps}, {now.psnr:.2f} dB, {fit.seconds:.0f} s, "
                    f"{math.degrees(errors.rotation.mean()):.3f}°, "
                    f"{100 * float(errors.position.mean()) / distance:.3f} %"
                )
        errors = pose_errors(fit.poses().detach().cpu(), truth)
        for what, values in (
            ("degrees", errors.rotation * 180 / math.pi),
            ("percent", 100 * errors.position / distance),
        ):
            figures[f"{what}_{name}_mean"] = round(float(values.mean()), 4)
            figures[f"{what}_{name}_max"] = round(float(values.max()), 4)
        figures[f"seconds_{name}"] = round(fit.seconds, 1)
        measure(name, fit.scene(), moved(views, errors.similarity.inverse()) if name != "true" else views)
    aligned = pose_errors(before, truth).similarity.poses(before.double())
    after = errors.similarity.poses(fit.poses().detach().cpu().double())
    plot_poses(truth, aligned, after).save(out / "poses.png", optimize=True)
    panels = {label: torch.from_numpy(image) for label, image in seen.items()}
    labelled_row(panels, side=256).save(out / "views.png", optimize=True)
    (out / "figures.json").write_text(json.dumps({**figures, "steps": options.steps}, indent=1) + "\n")
    return figures


def with_poses(dataset: Dataset, world_from_camera: Tensor) -> Dataset:
    """Return the data set with other cameras [views, 4, 4] for its training views."""
    poses = iter(world_from_camera)
    views = tuple(at_pose(view, next(poses)) if view.split == "train" else view for view in dataset.views)
    return replace(dataset, views=views)


def main(arguments: list[str]) -> None:
    """Run the experiment, from the command line."""
    parser = options("pose-refinement", __doc__)
    parser.add_argument("dataset", type=Path, help="folder with images and their true cameras")
    parser.add_argument("--out", type=Path, required=True, help="folder for the images and the figures")
    parser.add_argument("--size", type=int, default=128, help="pixels of the longer side of the images")
    parser.add_argument("--steps", type=int, default=2000, help="training steps of each fit")
    parser.add_argument("--preset", choices=["draft", "standard", "fine"], default="draft", help="size of the field")
    parser.add_argument("--degrees", type=float, default=3.0, help="angle by which each camera is rotated")
    parser.add_argument("--percent", type=float, default=5.0, help="part of its distance by which each camera is moved")
    parser.add_argument("--seed", type=int, default=1, help="seed of the perturbation")
    given = parser.parse_args(arguments)
    figures = demonstrate(
        smaller(open_dataset(given.dataset), given.size),
        FitOptions(steps=given.steps, preset=given.preset),
        Perturbation(given.degrees, given.percent, given.seed),
        given.out,
        log,
        device=device_of(given.device),
    )
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
