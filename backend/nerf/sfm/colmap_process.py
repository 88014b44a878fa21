"""The solver's process: start, progress, end."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

from addon.wire.errors import UnusableDataset
from meshing.images import open_image

from ...progress import Progress
from ..datasets import colmap
from . import solver
from .options import MIN_IMAGES, SfmOptions

log = logging.getLogger(__name__)

SMALL = 800  # pixels of the longer side, below which features finer than a pixel are extracted, too
NEIGHBOURS = 20  # pairs for each frame, about, where neighbours in time are matched
EXHAUSTIVE = 100  # frames of a video up to which every pair is matched; beyond, neighbours in time

SHARES = {"features": (0.0, 0.4), "matches": (0.4, 0.7), "cameras": (0.7, 1.0), "done": (1.0, 1.0)}  # of the time
TEXTS = {"features": "Finding features", "matches": "Matching images", "cameras": "Placing cameras"}
TEXTS["done"] = TEXTS["cameras"]


def solve(
    work: Path, images: Path, options: SfmOptions, video: bool, progress: Progress, names: list[str]
) -> list[colmap.Model]:
    """Run COLMAP in a process of its own (`solver`); return its models, the one with most images first.

    Raises:
        UnusableDataset: no cameras were found, or the process ended early.
    """
    with open_image(images / names[0]) as first:
        small = max(first.size) < SMALL
    task = solver.Work(
        folder=str(work),
        images=str(images),
        names=names,
        per_folder=any("/" in name for name in names),
        neighbours=video and len(names) > EXHAUSTIVE,
        small=small,
        max_size=options.max_size,
        max_features=options.max_features,
        threads=options.threads,
        fewest=MIN_IMAGES,
    )
    pairs = len(names) * NEIGHBOURS if task.neighbours else len(names) * (len(names) - 1) / 2
    (work / "task.json").write_text(task.text(), encoding="utf-8")
    state: dict[str, Any] = {"stage": "features"}
    done = {
        "features": lambda: _rows(task.database, "keypoints") / len(names),
        "matches": lambda: _rows(task.database, "matches") / pairs,
        "cameras": lambda: state.get("placed", 0) / len(names),
        "done": lambda: 1.0,
    }
    with (
        open(work / "log.txt", "wb") as errors,
        subprocess.Popen(
            [sys.executable, "-I", "-c", solver.START, str(solver.ROOT), str(work / "task.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process,
    ):
        assert process.stdout is not None
        threading.Thread(target=_listen, args=(process.stdout, state), daemon=True).start()
        best = 0.0
        try:
            while process.poll() is None:
                stage = state["stage"]
                start, end = SHARES[stage]
                best = max(best, start + (end - start) * min(done[stage](), 1.0))  # the next stage may begin meanwhile
                progress(best, TEXTS[stage])
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            process.kill()  # of no effect where it has ended
    if process.returncode != 0:
        last = (work / "log.txt").read_bytes()[-2000:].decode(errors="replace")
        log.warning("COLMAP ended with %s: %s", process.returncode, last)
        raise UnusableDataset(
            f"{TEXTS[state['stage']]} ended early (code {process.returncode}): there may be too "
            "little memory. Choose a smaller image size or fewer images; the log has the details."
        )
    models = [colmap.read_model(path) for path in sorted((work / "models").iterdir()) if path.is_dir()]
    models.sort(key=lambda model: -len(model.images))
    if not models or len(models[0].images) < MIN_IMAGES:
        raise UnusableDataset(
            f"No cameras could be found from {len(names)} images: they have too little in common, or too little "
            "texture. Move round the object in steps of at most 15°, so that images overlap by two thirds; keep the "
            "scene still and matt, with something patterned (a newspaper) under a plain object."
        )
    return models


def _listen(stdout: IO[bytes], state: dict[str, Any]) -> None:
    """Keep the last message of the child."""
    for line in stdout:
        with suppress(ValueError):
            state.update(json.loads(line))


def _rows(database: Path, table: str) -> int:
    """Return how many rows COLMAP has written so far, for progress; 0 while that cannot be read.

    Safe only because COLMAP is another process: two SQLite libraries in one process break each other's locks.
    """
    if not database.is_file():
        return 0
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=0.1)) as reader,
    ):
        return int(reader.execute(f"select count(*) from {table}").fetchone()[0])
    return 0
