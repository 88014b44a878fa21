"""NeRF with and without positional encoding on one scene, the ablation of Table 2 in arxiv.org/abs/2003.08934.

`python -m backend train positional-encoding DATASET --out FOLDER` fits the same networks to the same rays twice: once
with L = 10 frequencies for positions and 4 for directions, once with none. DATASET is a folder with pictures and
cameras in any known format. The folder gets `positional_encoding.png` (views that were held back: the truth, without,
with) and `figures.json`.

A killed run goes on from its last autosave when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from addon.wire.messages import FitOptions

from ...models.store import write_atomically
from ...nerf.datasets import Dataset, open_dataset
from ...nerf.datasets.smaller import smaller
from ...nerf.evaluate import camera_of, composited, photograph, psnr
from ...nerf.mlp.trainer import NeRFTrainer, NeRFTraining, small
from .demonstration import labelled_row

AUTOSAVE_SECONDS = 30.0


def fitted(
    dataset: Dataset, training: NeRFTraining, options: FitOptions, state: Path, report: Callable[[str], None]
) -> NeRFTrainer:
    """Fit, or go on from `state`."""
    fit = NeRFTrainer(dataset, options, torch.device("cpu"), training=training)
    if state.exists():
        fit.restore(load_file(state))
    saved = time.monotonic()
    while fit.step < options.steps:
        now = fit.advance()
        if fit.step % 50 == 0:
            frequencies = training.network.position_frequencies
            report(f"L {frequencies}: step {now.step}/{options.steps}, {now.psnr:.2f} dB, {fit.seconds:.0f} s")
        if time.monotonic() - saved > AUTOSAVE_SECONDS or fit.step == options.steps:
            write_atomically(state, save(fit.tensors()))
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
) -> dict[str, float]:
    """Fit without and with the encoding; write the picture and return the figures: mean PSNR (dB) of `num_views` views
    that were held back, and seconds of fitting."""
    out.mkdir(parents=True, exist_ok=True)
    views = dataset.split("test")[:num_views]
    truth = [torch.from_numpy(photograph(dataset.load(view), 1.0)) for view in views]
    panels: dict[str, list[Tensor]] = {"held-back views": truth}
    figures: dict[str, float] = {}
    plain = replace(training.network, position_frequencies=0, view_frequencies=0)
    for name, network in (("without", plain), ("with", training.network)):
        one = replace(training, network=network)
        fit = fitted(dataset, one, options, out / f"{name}.safetensors", report)
        scene = fit.scene()
        seen = [torch.from_numpy(composited(scene.render(camera_of(view)), 1.0)) for view in views]
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
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backend train positional-encoding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder with pictures and cameras")
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture and the figures")
    parser.add_argument("--size", type=int, default=64, help="pixels of the longer side")
    parser.add_argument("--steps", type=int, default=1000, help="of each fit")
    parser.add_argument("--full", action="store_true", help="the 8 × 256 network and samples of the paper, for a GPU")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    def report(text: str) -> None:
        sys.stderr.write(text + "\n")

    dataset = smaller(open_dataset(options.dataset), options.size)
    training = NeRFTraining() if options.full else small()
    fit_options = FitOptions(method="nerf", steps=options.steps, seed=options.seed)
    figures = demonstrate(dataset, training, fit_options, options.out, report)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
