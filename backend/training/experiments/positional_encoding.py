"""Fit NeRF with and without positional encoding to one scene, the ablation of Table 2 in arxiv.org/abs/2003.08934.

`python -m backend train positional-encoding DATASET --out FOLDER` fits the same networks to the same rays twice: once
with L = 10 frequencies for positions and 4 for directions, once with none. DATASET is a folder with images and
cameras in any supported format. The folder gets `positional_encoding.png` (held-out views: ground truth, without, with)
and `figures.json`.

A killed run resumes from its last autosave when it is started again with the same options.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from addon.wire.messages import FitOptions

from ...nerf.datasets import Dataset, open_dataset
from ...nerf.datasets.smaller import smaller
from ...nerf.evaluate import composited, photograph, psnr
from ...nerf.fit.state import fingerprint
from ...nerf.mlp.trainer import NeRFTrainer, NeRFTraining, small
from ..images import labelled_row
from ..runs import device_of, log, options
from .saved_fit import SavedFit

AUTOSAVE_SECONDS = 30.0
CPU = torch.device("cpu")


def fitted(
    dataset: Dataset,
    training: NeRFTraining,
    options: FitOptions,
    state: Path,
    report: Callable[[str], None],
    device: torch.device,
) -> NeRFTrainer:
    """Fit, or resume from `state`. Raises ValueError: it belongs to other settings."""
    fit = NeRFTrainer(dataset, options, device, training=training)
    settings = {"options": asdict(options), "training": asdict(training), "views": fingerprint(dataset)}
    saved_fit = SavedFit(state, settings)
    saved_fit.restore(fit)
    saved = time.monotonic()
    while fit.step < options.steps:
        now = fit.advance()
        if fit.step % 50 == 0:
            frequencies = training.network.position_frequencies
            report(f"L {frequencies}: step {now.step}/{options.steps}, {now.psnr:.2f} dB, {fit.seconds:.0f} s")
        if time.monotonic() - saved > AUTOSAVE_SECONDS or fit.step == options.steps:
            saved_fit.save(fit)
            saved = time.monotonic()
    return fit


def demonstrate(
    dataset: Dataset,
    training: NeRFTraining,
    options: FitOptions,
    out: Path,
    report: Callable[[str], None] = lambda text: None,
    *,
    num_views: int = 8,
    device: torch.device = CPU,
) -> dict[str, float]:
    """Fit without and with the encoding; write the image row and return the figures: mean PSNR (dB) of `num_views`
    held-out views, and seconds of fitting."""
    out.mkdir(parents=True, exist_ok=True)
    views = dataset.split("test")[:num_views]
    truth = [torch.from_numpy(photograph(dataset.load(view), 1.0)) for view in views]
    panels: dict[str, list[Tensor]] = {"held-out views": truth}
    figures: dict[str, float] = {}
    plain = replace(training.network, position_frequencies=0, view_frequencies=0)
    for name, network in (("without", plain), ("with", training.network)):
        one = replace(training, network=network)
        fit = fitted(dataset, one, options, out / f"{name}.safetensors", report, device)
        scene = fit.scene()
        seen = [torch.from_numpy(composited(scene.render(view.camera.to(device)), 1.0)) for view in views]
        figures[f"psnr_{name}"] = round(sum(map(psnr, seen, truth)) / len(views), 2)
        figures[f"seconds_{name}"] = round(fit.seconds, 1)
        panels[f"{name} encoding, {figures[f'psnr_{name}']:.1f} dB"] = seen
    figures["gap"] = round(figures["psnr_with"] - figures["psnr_without"], 2)
    shown = {label: torch.cat(images[:2], 0) for label, images in panels.items()}
    labelled_row(shown, side=512).save(out / "positional_encoding.png", optimize=True)
    text = json.dumps({**asdict(training), **figures, "steps": options.steps, "views": len(views)}, indent=1)
    (out / "figures.json").write_text(text + "\n")
    return figures


def main(arguments: list[str]) -> None:
    """Run the experiment, from the command line."""
    parser = options("positional-encoding", __doc__)
    parser.add_argument("dataset", type=Path, help="folder with images and cameras")
    parser.add_argument("--out", type=Path, required=True, help="folder for the image row and the figures")
    parser.add_argument("--size", type=int, default=64, help="pixels of the longer side of the images")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of each fit")
    parser.add_argument("--full", action="store_true", help="the 8 × 256 network and samples of the paper, for a GPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of initialisation and rays")
    given = parser.parse_args(arguments)
    dataset = smaller(open_dataset(given.dataset), given.size)
    training = NeRFTraining() if given.full else small()
    fit_options = FitOptions(method="nerf", steps=given.steps, seed=given.seed)
    figures = demonstrate(dataset, training, fit_options, given.out, log, device=device_of(given.device))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
