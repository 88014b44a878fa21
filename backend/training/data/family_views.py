"""Renders of a procedural family from random poses: training sets of the 3D-aware GANs.

`python -m backend.training.data.family_views chairs OUT` writes `OUT/transforms.json` (images, cameras, and the
distribution that they were drawn from) and then the images that are missing, so it resumes where it was stopped.
`--part 0 --parts 2` makes every second object, for several processes. About 1.3 s an object of 8 views of 128² on one
core. `--first 100000` starts at another seed: objects that no model was trained on.

World of the cameras: Z up, the object centred and inside the unit sphere, its front along −Y. `transform_matrix` is
world from camera with OpenGL's axes, as NeRF tools read it. Images are RGBA.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ...cameras import look_at
from .families import FAMILIES
from .families.solids import Array
from .mesh_views import MeshViews, bake_light

RADIUS = 3.8
"""Distance of the camera from the origin."""
FOV = 30.0
"""Degrees; the unit sphere just fills the image."""
ELEVATIONS = (-10.0, 45.0)
"""Degrees, drawn uniformly; azimuths are uniform over the circle, stratified over the views of an object."""
VIEWS = 8
SIDE = 128

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def camera_pose(azimuth: float, elevation: float) -> Array:
    """Return world from camera [4, 4], OpenCV axes. Radians; azimuth 0 sees the front, π/2 the +X side."""
    level = RADIUS * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), RADIUS * math.sin(elevation))
    return np.asarray(look_at(eye, (0.0, 0.0, 0.0)), np.float32)


def object_poses(seed: int, views: int) -> list[Array]:
    """Return the poses [4, 4] of an object's views. They depend on the seed only."""
    random = np.random.default_rng((seed, 1))
    azimuths = (np.arange(views) + random.random(views)) / views * 2 * math.pi - math.pi
    elevations = np.radians(random.uniform(*ELEVATIONS, views))
    return [camera_pose(*angles) for angles in zip(azimuths, elevations, strict=True)]


def image_path(seed: int, view: int) -> str:
    """Return the path of an image in the folder of the set."""
    return f"images/{seed:06d}_{view:02d}.png"


def transforms(family: str, seeds: range, views: int, side: int) -> dict[str, object]:
    """Return the contents of transforms.json."""
    focal = side / 2 / math.tan(math.radians(FOV) / 2)
    frames = [
        {
            "file_path": image_path(seed, view),
            "transform_matrix": (pose @ OPENGL_FROM_OPENCV).round(6).tolist(),
            "object": seed,
        }
        for seed in seeds
        for view, pose in enumerate(object_poses(seed, views))
    ]
    return {
        "camera_angle_x": math.radians(FOV),
        "fl_x": focal,
        "fl_y": focal,
        "cx": side / 2,
        "cy": side / 2,
        "w": side,
        "h": side,
        "distribution": {
            "family": family,
            "seeds": [seeds.start, seeds.stop],
            "views": views,
            "radius": RADIUS,
            "fov_degrees": FOV,
            "azimuth_degrees": [-180.0, 180.0],
            "elevation_degrees": list(ELEVATIONS),
            "light": "fixed to the object",
        },
        "frames": frames,
    }


def write_object(family: str, seed: int, out: Path, views: int, side: int) -> None:
    """Render the images of an object that are missing."""
    paths = [out / image_path(seed, view) for view in range(views)]
    if all(path.exists() for path in paths):
        return
    mesh = FAMILIES[family].make(seed)
    renderer = MeshViews(mesh, bake_light(mesh, FAMILIES[family].least_light))
    focal = 0.5 / math.tan(math.radians(FOV) / 2)
    for path, pose in zip(paths, object_poses(seed, views), strict=True):
        rgba = renderer.render(pose, focal, side)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        Image.fromarray((rgba * 255 + 0.5).astype(np.uint8)).save(partial, "PNG")
        os.replace(partial, path)


def main(arguments: list[str]) -> None:
    """Render a family, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("out", type=Path, help="folder of the training set")
    parser.add_argument("--objects", type=int, default=1200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first object")
    parser.add_argument("--views", type=int, default=VIEWS, help="images of each object")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels")
    parser.add_argument("--part", type=int, default=0, help="number of this part, for several processes")
    parser.add_argument("--parts", type=int, default=1, help="number of parts")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.objects)
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    if options.part == 0:
        text = json.dumps(transforms(options.family, seeds, options.views, options.side))
        (options.out / "transforms.json").write_text(text, encoding="utf-8")
    for seed in seeds[options.part :: options.parts]:
        started = time.perf_counter()
        write_object(options.family, seed, options.out, options.views, options.side)
        print(f"object {seed}: {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
