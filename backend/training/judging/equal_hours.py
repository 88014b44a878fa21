"""Compare recipes at equal CPU time: train each for some minutes on one family, measure KID against held-out images.

`python -m backend.training.judging.equal_hours DATA HELD_OUT --features PACKAGE --minutes 8 --out FOLDER` prints a
table and keeps its rows in `FOLDER/rows.jsonl`; rows that are there are not trained again. Each recipe begins as for
its whole schedule and is stopped by the CPU time of the training alone (reading, sheets and judging are not counted).
Images are compared at 32² pixels, which is about what the recipes train in their first minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from addon.wire.errors import Cancelled

from ...models.library import load_model
from ..adversarial.command import recipe
from ..adversarial.run import RunOptions
from ..data.image_folder import read_images
from ..data.training_images import TrainingImages
from ..runs import log
from .feature_networks import package_network
from .judge import Judge, JudgeSettings

SIDE = 32


@dataclass(frozen=True)
class Contender:
    """A recipe, perhaps without one of its parts."""

    model: str
    preset: str
    without: str = ""  # what is changed, for people
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the configuration
    opacity: bool = True  # whether the training sees the opacity of the images

    @property
    def name(self) -> str:
        return f"{self.model} {self.preset}" + (f", {self.without}" if self.without else "")


CONTENDERS = (
    Contender("graf", "small-published"),
    Contender("pigan", "small-published"),
    Contender("eg3d", "small-published"),
    Contender("eg3d", "small"),
    Contender("eg3d", "small", "opacity not shown", opacity=False),
    Contender("eg3d", "small", "64² from the start", {"half_until": 0.0}),
    Contender("pigan", "small"),
    Contender("graf", "small"),
)


@functools.cache
def images_of(folder: Path, side: int, needs_poses: bool) -> TrainingImages:
    """Return the images of a folder, which several contenders take at the same size. Raises: see `read_images`."""
    return read_images(folder, side, needs_poses)


def train_for(contender: Contender, folder: Path, seconds: float, out: Path) -> tuple[float, int]:
    """Train for so many seconds of CPU time; return those used and the number of images seen.

    Raises: see `run_recipe`.
    """
    found = recipe(contender.model)
    config = replace(found.configuration(contender.preset), **contender.changes)
    data = images_of(folder, found.side(config), found.needs_poses)
    if not contender.opacity:
        data = replace(data, alpha=None)
    started, last = time.process_time(), (0.0, 0)

    def ended(step: int, means: Mapping[str, float]) -> None:
        nonlocal last
        last = (time.process_time() - started, config.images_before(step))
        if last[0] > seconds:
            raise Cancelled("The time is over.")

    options = RunOptions(progress=lambda *_: None, watch_seconds=1e9, checkpoint_seconds=1e9, each_step=ended)
    with contextlib.suppress(Cancelled):
        found.train(config, data, out, options)
    return last


def main() -> None:
    """Train and judge all contenders that have no row yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="the npm package nsfwjs")
    parser.add_argument("--minutes", type=float, default=8.0, help="of CPU time, for each recipe")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="contenders whose names contain this")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows_file = given.out / "rows.jsonl"
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()] if rows_file.exists() else []
    data, held_out = (images_of(folder, SIDE, True) for folder in (given.data, given.held_out))
    settings = JudgeSettings(neighbours_among=1000, consistency_seeds=2, shapes=0)
    judge = Judge(data, package_network(given.features), held_out=held_out, settings=settings)
    for contender in CONTENDERS:
        if any(row["name"] == contender.name for row in rows) or (given.only and given.only not in contender.name):
            continue
        out = given.out / contender.name.replace(", ", "-").replace(" ", "-")
        seconds, images = train_for(contender, given.data, 60 * given.minutes, out)
        judged = judge(load_model(out / "model"))
        judged.sheets["samples"].save(out / "judged.png")
        distances, variety = judged.figures["distances"], judged.figures["variety"]
        rows.append(
            {"name": contender.name, "minutes": round(seconds / 60, 1), "kimg": round(images / 1000, 1)}
            | {key: distances[key] for key in ("kid_x1000", "kid_x1000_error", "frechet")}
            | {"variety": variety["ratio"]}
        )
        rows_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        log(json.dumps(rows[-1]))
    print("| recipe | CPU minutes | thousand images | KID × 1000 | Fréchet | variety |\n|---|---|---|---|---|---|")
    for row in rows:
        numbers = (row[key] for key in ("minutes", "kimg", "kid_x1000", "frechet", "variety"))
        print(f"| {row['name']} | " + " | ".join(f"{n:.3g}" for n in numbers) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
