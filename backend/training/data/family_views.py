"""Renders of a procedural family from random poses: training sets of the 3D-aware GANs.

`python -m backend training-set OUT --family chairs` writes `OUT/transforms.json` (images, cameras, and the distribution
that they were drawn from) and then the images that are missing, so it resumes where it was stopped. About 0.3 s an
object of 8 views of 128² on one free core. `--part 0 --parts 2` makes every second object, for two processes.
`--first 100000` starts at another seed: objects that no model was trained on.

World of the cameras: Z up, the object centred and inside the unit sphere, its front along −Y. `transform_matrix` is
world from camera with OpenGL's axes, as NeRF tools read it. Images are RGBA.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from addon.wire.errors import InvalidRequest, Remedy
from addon.wire.messages import TrainingSetRequest

from ...cameras import look_at
from ...files import replacing, write_atomically
from ...progress import Progress, silent
from .families import FAMILIES
from .families.solids import Array
from .mesh_views import MeshViews, bake_light

RADIUS = 3.8
"""Distance of the camera from the origin."""
FOV = 30.0
"""Degrees; the unit sphere just fills the image."""
LICENCE = "GPL-3.0-or-later; trained on renders of Latent Lathe's own procedural family"
"""Licence of models trained on them."""

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def camera_pose(azimuth: float, elevation: float) -> Array:
    """Return world from camera [4, 4], OpenCV axes. Radians; azimuth 0 sees the front, π/2 the +X side."""
    level = RADIUS * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), RADIUS * math.sin(elevation))
    return np.asarray(look_at(eye, (0.0, 0.0, 0.0)), np.float32)


def object_poses(request: TrainingSetRequest, seed: int) -> list[Array]:
    """Return the poses [4, 4] of an object's views: azimuths uniform in ±`turn`, stratified over the views, elevations
    uniform. They depend on the seed and the ranges only."""
    random, views = np.random.default_rng((seed, 1)), request.views
    azimuths = np.radians(((np.arange(views) + random.random(views)) / views * 2 - 1) * request.turn)
    low, high = sorted((request.lowest, request.highest))
    elevations = np.radians(random.uniform(low, high, views))
    return [camera_pose(*angles) for angles in zip(azimuths, elevations, strict=True)]


def image_path(seed: int, view: int) -> str:
    """Return the path of an image in the folder of the set."""
    return f"images/{seed:06d}_{view:02d}.png"


def transforms(request: TrainingSetRequest) -> dict[str, Any]:
    """Return the contents of transforms.json."""
    side = request.size
    focal = side / 2 / math.tan(math.radians(FOV) / 2)
    frames = [
        {
            "file_path": image_path(seed, view),
            "transform_matrix": (pose @ OPENGL_FROM_OPENCV).round(6).tolist(),
            "object": seed,
        }
        for seed in seeds_of(request)
        for view, pose in enumerate(object_poses(request, seed))
    ]
    return {
        "camera_angle_x": math.radians(FOV),
        "fl_x": focal,
        "fl_y": focal,
        "cx": side / 2,
        "cy": side / 2,
        "w": side,
        "h": side,
        "name": request.family.capitalize(),
        "licence": LICENCE,
        "distribution": {
            "family": request.family,
            "seeds": [seeds_of(request).start, seeds_of(request).stop],
            "views": request.views,
            "radius": RADIUS,
            "fov_degrees": FOV,
            "azimuth_degrees": [-request.turn, request.turn],
            "elevation_degrees": sorted((request.lowest, request.highest)),
            "light": "fixed to the object",
        },
        "frames": frames,
    }


def seeds_of(request: TrainingSetRequest) -> range:
    """Return the seeds of the objects."""
    return range(request.first, request.first + request.objects)


def write_object(request: TrainingSetRequest, seed: int, out: Path) -> int:
    """Render the images of an object that are missing, and return their number. Raises OSError."""
    missing = [
        (path, pose)
        for view, pose in enumerate(object_poses(request, seed))
        if not (path := out / image_path(seed, view)).exists()
    ]
    if not missing:
        return 0
    family = FAMILIES[request.family]
    mesh = family.make(seed)
    renderer = MeshViews(mesh, bake_light(mesh, family.least_light))
    focal = 0.5 / math.tan(math.radians(FOV) / 2)
    for path, pose in missing:
        rgba = renderer.render(pose, focal, request.size)
        with replacing(path) as partial:
            Image.fromarray((rgba * 255 + 0.5).astype(np.uint8)).save(partial, "PNG")
    return len(missing)


def write_set(
    request: TrainingSetRequest, out: Path, progress: Progress = silent, *, part: int = 0, parts: int = 1
) -> int:
    """Write transforms.json and the images that are missing, and return how many were rendered.

    part, parts: render each `parts`-th object only, from number `part` on, for several processes.

    Raises:
        InvalidRequest: the folder holds a set of other views or another family; more objects of the same are added.
        OSError: no disk space or no permission.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    wanted = transforms(request)
    path = out / "transforms.json"
    if path.exists():
        _check_same(path, wanted)
    if part == 0:
        write_atomically(path, json.dumps(wanted).encode())
    seeds = seeds_of(request)[part::parts]
    rendered = 0
    for number, seed in enumerate(seeds):
        progress(number / len(seeds), f"Object {number + 1} of {len(seeds)}")
        rendered += write_object(request, seed, out)
    return rendered


def _check_same(path: Path, wanted: dict[str, Any]) -> None:
    """Raise InvalidRequest unless the images of an existing set are also those of the wanted one, by name."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = {**stored["distribution"], "size": stored["w"]}
    except (OSError, ValueError, KeyError, TypeError):
        found = {}
    asked = {**wanted["distribution"], "size": wanted["w"]}
    different = sorted(key for key in asked if key != "seeds" and found.get(key) != asked[key])
    if different:
        raise InvalidRequest(
            f"{path.parent} holds another set (it differs in {', '.join(different)}): choose another folder.",
            remedy=Remedy("choose_folder", "Choose Another Folder"),
        )
