"""COLMAP in a process of its own: its memory is returned, cancelling is immediate, and a crash ends nothing else.

The parent (`colmap_process`) names a file with the task and keeps stdin open; when that closes, the parent is gone and
the child ends. The child reports on stdout, one line of JSON each, its stage and how many cameras are placed, and
leaves the models in `folder`/models/0, 1, …
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
START = "import sys; sys.path.insert(0, sys.argv[1]); from backend.nerf.sfm.solver import child; child()"

STAGES = ("features", "matches", "cameras")


@dataclass(frozen=True)
class Work:
    """Task of the child process."""

    folder: str  # holds database.db and models afterwards
    images: str
    names: list[str]  # of the images, relative to `images`, with /
    per_folder: bool  # one camera for each folder of images, else one for all
    neighbours: bool  # match neighbours in time only, else every pair
    small: bool  # extract features finer than a pixel, too
    max_size: int
    max_features: int
    threads: int
    fewest: int

    @property
    def database(self) -> Path:
        """COLMAP's database."""
        return Path(self.folder) / "database.db"

    def text(self) -> str:
        """Return the task as the JSON that the parent writes."""
        return json.dumps(asdict(self))


def child() -> None:
    """Run the child process."""
    work = Work(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    solve(work)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not through the buffer, whose lock Python wants when it ends
        pass
    os._exit(1)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def solve(work: Work) -> None:
    """Extract, match and map. Options are relaxed, so that sets with little overlap or texture are solved too."""
    import pycolmap

    pycolmap.logging.minloglevel = 2  # errors only
    pycolmap.set_random_seed(0)
    cpu = pycolmap.Device.cpu

    _say(stage="features")
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads, extraction.use_gpu, extraction.max_image_size = work.threads, False, work.max_size
    extraction.sift.max_num_features = work.max_features
    extraction.sift.first_octave = -1 if work.small else 0
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "SIMPLE_RADIAL"
    mode = pycolmap.CameraMode.PER_FOLDER if work.per_folder else pycolmap.CameraMode.SINGLE
    pycolmap.extract_features(work.database, work.images, work.names, mode, reader, extraction, cpu)

    _say(stage="matches")
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = work.threads, False
    match = pycolmap.match_sequential if work.neighbours else pycolmap.match_exhaustive
    match(work.database, matching, device=cpu)

    _say(stage="cameras", placed=0)
    mapping = pycolmap.IncrementalPipelineOptions()
    mapping.num_threads, mapping.random_seed = work.threads, 0
    mapping.min_num_matches, mapping.min_model_size = 10, work.fewest
    mapping.mapper.init_min_num_inliers, mapping.mapper.init_min_tri_angle = 40, 6.0
    mapping.mapper.abs_pose_min_num_inliers = 15
    placed = 0

    def one_more() -> None:
        nonlocal placed
        placed += 1
        _say(stage="cameras", placed=placed)

    models = Path(work.folder) / "models"
    models.mkdir()
    pycolmap.incremental_mapping(work.database, work.images, models, options=mapping, next_image_callback=one_more)
    _say(stage="done")
