"""Training steps of EG3D's small recipe (64² rays): the fused renderer against plain PyTorch, in one run.

Both engines train the same networks on the same images, some steps each in turn. Peak memory is that of a process of
its own for each engine. `python -m backend.bench.eg3d_training ENGINE` prints it, MB.
"""

from __future__ import annotations

import itertools
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from addon.wire.messages import PosePrior

from ..kernels.triplane_rendering import Impl
from ..training.adversarial.run import RunOptions
from ..training.data.random_cameras import cameras_at
from ..training.data.training_images import TrainingImages
from ..training.eg3d.config import SmallEG3DTraining, small
from ..training.eg3d.small import train_small
from .peak import peak_bytes
from .row import Row

ENGINES: tuple[Impl, ...] = ("reference", "fused")
NAMES = {"reference": "plain PyTorch", "fused": "fused renderer"}
ROUNDS = 3
STEPS = 3
"""Of a round; the first is not counted."""
TARGET_SPEEDUP = 2.0


def rows() -> list[Row]:
    """Images a second of each engine, their ratio, peak memory of each."""
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    ratios = []
    for number in range(ROUNDS + 1):  # the first round compiles
        found = {engine: statistics.median(step_seconds(engine, STEPS)) for engine in ENGINES}
        if number:
            ratios.append(found["reference"] / found["fused"])
            for engine, seconds in found.items():
                times[engine].append(seconds)
    batch = small().batch
    result = [
        Row(f"training step, {NAMES[engine]}", batch / statistics.median(times[engine]), "images/s")
        for engine in ENGINES
    ]
    ratio = statistics.median(ratios)
    result.append(Row("training step, speed-up", ratio, "×", TARGET_SPEEDUP, ratio >= TARGET_SPEEDUP))
    peaks = {engine: _peak_of(engine) for engine in ENGINES}
    result.append(Row(f"peak memory, {NAMES['reference']}", peaks["reference"], "MB"))
    fits = peaks["fused"] <= peaks["reference"]
    result.append(Row(f"peak memory, {NAMES['fused']}", peaks["fused"], "MB", round(peaks["reference"], 1), fits))
    return result


def step_seconds(engine: Impl, steps: int, config: SmallEG3DTraining | None = None) -> list[float]:
    """Return the wall times of steps of the recipe at the raw image's whole side, without the first one."""
    config = replace(config or small(), steps=steps, half_until=0.0, superresolve_from=1.0)
    ends: list[float] = []

    def note(step: int, means: Mapping[str, float]) -> None:
        ends.append(time.perf_counter())

    options = RunOptions(progress=lambda *_: None, each_step=note)
    train_small(config, random_images(config.side), None, options, impl=engine)
    return [after - before for before, after in itertools.pairwise(ends)]


def random_images(side: int, count: int = 64) -> TrainingImages:
    """Return noise seen by cameras around the object: a step takes as long as with real images."""
    random = torch.Generator().manual_seed(0)
    prior = PosePrior(radius=3.8, fov=math.radians(30))
    angles = torch.rand(count, 2, generator=random) * torch.tensor([2 * math.pi, 0.8])
    cameras = cameras_at(angles, prior)
    images = torch.randint(0, 256, (count, 3, side, side), generator=random, dtype=torch.uint8)
    return TrainingImages(images, prior, cameras.world_from_camera, cameras.intrinsics)


def _peak_of(engine: Impl) -> float:
    command = [sys.executable, "-m", "backend.bench.eg3d_training", engine]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(arguments: list[str]) -> None:
    """Train two steps, and print the peak."""
    (engine,) = (engine for engine in ENGINES if engine == arguments[0])
    step_seconds(engine, 2)
    sys.stdout.write(f"{peak_bytes() / 2**20:.1f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
