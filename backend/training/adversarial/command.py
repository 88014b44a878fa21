"""Recipes of adversarial trainings, and their command line: python -m backend train MODEL --data FOLDER --out DIR.

A model's loop `backend/training/<model>/train.py` holds its `RECIPE`; `TRAININGS` of
`backend/generators/<model>/recipe.py` names that module, and so the command line and the panel find it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from addon.wire.errors import Cancelled, InvalidRequest

from ...device import best_device, device_of
from ...generators import trainings
from ..data.image_folder import read_images
from ..data.training_images import TrainingImages
from ..judging.feature_networks import package_network
from ..judging.judge import Judge, quick, record
from ..runs import log, say
from .config import AdversarialTraining, Loss
from .processes import Processes, joined, own_device, start, started_by_torchrun
from .run import RunOptions

Config = TypeVar("Config", bound=AdversarialTraining)


@dataclass(frozen=True)
class Recipe(Generic[Config]):
    """A model's training: presets of its configuration, what it needs of the data, and its loop."""

    name: str  # in `train NAME`
    label: str  # for people, such as "EG3D"
    description: str  # one sentence
    presets: Mapping[str, Callable[[], Config]]  # "small" for a CPU, "published", …; the first is the default
    side: Callable[[Config], int]  # of the training images, pixels
    train: Callable[[Config, TrainingImages, Path, RunOptions], Any]  # the folder is that of the run
    needs_poses: bool = False

    def configuration(
        self,
        preset: str | None = None,
        *,
        steps: int | None = None,
        loss: Loss | None = None,
        batch: int | None = None,
        seed: int | None = None,
    ) -> Config:
        """Return a preset's configuration, the first's by default, with what is given in place of its own values.

        Raises:
            InvalidRequest: there is no such preset, or a number is out of range.
        """
        preset = preset or next(iter(self.presets))
        if preset not in self.presets:
            raise InvalidRequest(f"{self.label} has no preset {preset!r}: choose {' or '.join(self.presets)}.")
        given: dict[str, Any] = {"steps": steps, "loss": loss, "batch": batch, "seed": seed}
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0)):
            value = given[name]
            if isinstance(value, int) and value < least:
                raise InvalidRequest(f"{name} is {value}: give {least} or more.")
        return replace(self.presets[preset](), **{k: v for k, v in given.items() if v is not None})


def recipe(name: str) -> Recipe[Any]:
    """Return the recipe of a registered adversarial training. Raises InvalidRequest, naming those there are."""
    known = trainings()
    if name not in known:
        raise InvalidRequest(f"There is no training of {name!r}: choose {', '.join(known) or 'another version'}.")
    return cast("Recipe[Any]", importlib.import_module(known[name]).RECIPE)


def run_recipe(recipe: Recipe[Any], arguments: list[str]) -> None:
    """Train by a recipe, from the command line.

    Raises:
        InvalidRequest: an argument is out of range; see also `AdversarialRun`.
        UnreadableFile, UnusableDataset: see `read_images`.
        Diverged, CannotWrite: see `AdversarialRun`.
        Cancelled: Ctrl-C was pressed; the step is finished and saved.
    """
    given = _parser(recipe).parse_args(arguments)
    config = recipe.configuration(
        given.preset, steps=given.steps, loss=given.loss, batch=given.batch, seed=given.seed
    )  # fmt: skip
    for name in ("hours", "watch_minutes"):
        value = getattr(given, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InvalidRequest(f"--{name.replace('_', '-')} is {value:g}: give a number above 0.")
    if given.out.exists() and not given.out.is_dir():
        raise InvalidRequest(f"{given.out} is a file: give a folder as --out.")
    if given.processes != 1 and not started_by_torchrun():
        if status := start(["train", recipe.name, *arguments], given.processes):
            sys.exit(status)
        return
    device = own_device(device_of(given.device or best_device()))
    with joined(device) as processes:
        images = read_images(given.data, side=recipe.side(config), needs_poses=recipe.needs_poses)
        if processes.leads:
            log(str(images.report))
        judge = None
        if given.judge is not None and processes.leads:
            judge = record(Judge(images, package_network(given.judge), settings=quick()), given.out / "figures.jsonl")
        options = RunOptions(
            judge=judge, device=device, processes=processes, hours=given.hours, resume=given.resume, progress=say,
            watch_seconds=60 * given.watch_minutes,
        )  # fmt: skip
        with _interruptible(given.out, processes) as each_step:
            recipe.train(config, images, given.out, replace(options, each_step=each_step))


@contextlib.contextmanager
def _interruptible(out: Path, processes: Processes) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Have Ctrl-C end the training after its step, with a checkpoint; a second one ends it at once.

    Yields what a run is to call after each step. Several processes are ended by torchrun, at their last checkpoint.
    """
    asked = False
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    def check(step: int, losses: Mapping[str, float]) -> None:
        if asked:
            raise Cancelled(f"Stopped after step {step}; the same command with --resume goes on from {out}.")

    if processes.count == 1:
        signal.signal(signal.SIGINT, ask)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _parser(recipe: Recipe[Any]) -> argparse.ArgumentParser:
    """Return the parser of a recipe's command line."""
    parser = argparse.ArgumentParser(prog=f"python -m backend train {recipe.name}", description=recipe.description)
    poses = "with poses (transforms.json or dataset.json)" if recipe.needs_poses else "with or without poses"
    parser.add_argument("--data", type=Path, required=True, help=f"folder of images, {poses}")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, losses, sheets and model/")
    parser.add_argument("--hours", type=float, help="stop after this time; --resume goes on")
    parser.add_argument("--steps", type=int, help="training steps; the preset's own if left out")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    parser.add_argument("--processes", type=int, default=1, help="processes, one a GPU or CPU core (torchrun)")
    parser.add_argument("--preset", choices=list(recipe.presets), default=next(iter(recipe.presets)))
    parser.add_argument("--loss", choices=("published", "r3gan"), help="adversarial loss; the preset's if left out")
    parser.add_argument("--batch", type=int, help="images a step, of all processes together; the preset's if left out")
    parser.add_argument("--seed", type=int, help="seed of weights and random numbers; the preset's if left out")
    parser.add_argument(
        "--judge",
        type=Path,
        metavar="PACKAGE",
        help="measure the model at each sheet, by the npm package nsfwjs (see judge)",
    )
    parser.add_argument("--watch-minutes", type=float, default=10.0, help="time between sheets")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps; the fastest if left out")
    return parser
