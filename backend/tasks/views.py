"""Task `views`: renders of a scene over the range of training viewpoints, as a data set for `fit`.

An image-space model gets a surface this way, as good as its views are consistent (`nerf.consistency` measures that).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from addon.wire.errors import NotSupported
from addon.wire.messages import Camera, ModelInfo, ViewsRequest, ViewsResult

from ..cameras import from_wire, orbit
from ..files import cannot_write, temporary_folder
from ..folders import data_folder
from ..nerf.datasets.transforms import write_transforms
from ..nerf.datasets.views import View, with_splits
from ..progress import Progress, part
from .memory import check_image_memory
from .render import image8, render_scene, rgba
from .workspace import Workspace

HIGHEST = math.radians(75.0)
"""Largest elevation of a viewpoint, up and down, where a model states no range."""

SPREAD = ((math.sqrt(5) - 1) / 2, math.sqrt(2) - 1)
"""Steps of a low-discrepancy sequence (a Kronecker sequence of two irrational numbers): its first n points cover the
square evenly, for every n."""


@dataclass(frozen=True)
class WrittenViews:
    """A data set on disk, and the background that a fit needs."""

    views: tuple[View, ...]
    background: Literal["auto", "white", "black"]


def views(request: ViewsRequest, progress: Progress, workspace: Workspace) -> ViewsResult:
    """Render the views and keep their files as uploads, so that `fit` needs no second upload.

    Raises:
        NotSupported: the model holds one fitted scene.
    """
    started = time.perf_counter()
    place = data_folder() / "views"
    try:
        with temporary_folder(place, "views") as folder:
            written = render_views(request, folder, progress, workspace)
            files = {
                path.relative_to(folder).as_posix(): workspace.blobs.put(path.read_bytes())
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
    except OSError as error:
        raise cannot_write("The views", place, error) from error
    poses = np.stack([view.camera.world_from_camera.numpy() for view in written.views]).astype(np.float32)
    return ViewsResult(files, poses, written.background, time.perf_counter() - started)


def render_views(request: ViewsRequest, folder: Path, progress: Progress, workspace: Workspace) -> WrittenViews:
    """Write images/0000.png … and transforms.json into a folder, in the scene's own frame. Every 8th is held out."""
    progress(0.0, "Loading the model")
    generator = workspace.generator(request.scene.model, progress)
    info, size = generator.info, request.size or generator.info.image_size
    if info.num_ws == 0:
        raise NotSupported(f"{info.label} is one fitted scene, made of views already: choose a generator.")
    check_image_memory(workspace, info.kind, size, size)
    scene = workspace.scene(request.scene, part(progress, 0.0, 0.05), placed=False)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    made: list[View] = []
    opaque = True

    progress = part(progress, 0.05, 1.0)
    for number, wire in enumerate(viewpoints(info, request.count, size, request.seed)):
        step = part(progress, number / request.count, (number + 1) / request.count)
        camera = from_wire(wire, workspace.device)
        pixels = image8(rgba(render_scene(scene, camera, step)))
        step(0.9, f"View {number + 1} of {request.count}", pixels)
        path = folder / "images" / f"{number:04d}.png"
        transparent = bool((pixels[..., 3] < 255).any())
        opaque = opaque and not transparent
        Image.fromarray(pixels if transparent else pixels[..., :3]).save(path, format="PNG")
        made.append(View(path.relative_to(folder).as_posix(), camera.to("cpu"), path, appearance=number))
    split = tuple(with_splits(made))
    write_transforms(folder, split, bounds=info.bounds)
    background = workspace.card(request.scene.model).background if opaque else ""
    return WrittenViews(split, "white" if background == "white" else "black" if background == "black" else "auto")


def viewpoints(info: ModelInfo, count: int, size: int, seed: int = 0) -> list[Camera]:
    """Return cameras spread evenly over the part of the sphere of the model's training viewpoints."""
    start = np.random.default_rng(seed).random(2)
    low, high = (math.sin(max(-HIGHEST, min(HIGHEST, angle))) for angle in info.pose_prior.elevation)
    cameras = []
    for number in range(count):
        u, v = (start + number * np.array(SPREAD)) % 1
        azimuth = info.pose_prior.azimuth[0] + float(u) * (info.pose_prior.azimuth[1] - info.pose_prior.azimuth[0])
        cameras.append(orbit(info, size, azimuth=azimuth, elevation=math.asin(low + float(v) * (high - low))))
    return cameras
