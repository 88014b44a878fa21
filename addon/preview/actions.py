"""Render the preview, and add the model's own camera."""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..link.jobs import Job
from ..link.session import session
from ..models.actions import problem_model
from ..preferences import configure
from ..scene import apply, frames, gather, thumbnails
from ..scene.gather import subject
from ..shape import latents
from ..shape.codes import ask_with_codes, stored_codes
from ..wire.messages import RenderRequest

VIEWPORT = "viewport"
"""Supersede key of previews: the backend drops an unfinished preview when a newer one arrives."""


def problem_preview(context: Any) -> str:
    """Return why no preview can be rendered, or an empty string."""
    problem = problem_model(context)
    if not problem and context.scene.lathe.preview.source == "CAMERA" and context.scene.camera is None:
        return "The scene has no active camera: press Add Camera, or choose Through: Sliders"
    return problem


def preview(context: Any, *, draft: bool = False, quiet: bool = False) -> Job:
    """Render the subject into the image 'Lathe Preview'. Result: the image's name.

    draft: half the size and fewer samples, without an entry in the history. quiet: not listed in the Jobs panel.
    """
    configure(context)
    chosen = subject(context)
    settings = context.scene.lathe.preview
    show = settings.show
    ref, camera = gather.seen_by_preview(context, chosen, max(16, settings.size // 2) if draft else settings.size)
    request = RenderRequest(ref, camera, "draft" if draft else "full", with_normal=show == "NORMAL")
    codes = stored_codes(chosen)
    remember = None if draft else latents.rememberer(context, chosen)

    sketch = (apply.DEPTH_IMAGE, "DEPTH"), (apply.SILHOUETTE_IMAGE, "SILHOUETTE")
    shown = ((apply.PREVIEW_IMAGE, show), *(sketch if settings.sketch else ()))

    def work(job: Job) -> tuple[dict[str, apply.PreparedImage], str, str]:
        result = ask_with_codes(job, request, codes, supersede=VIEWPORT)
        images = {name: apply.prepare_image(result, what) for name, what in shown}
        return images, thumbnails.pack(result.rgba) if remember else "", result.note

    def then(made: tuple[dict[str, apply.PreparedImage], str, str]) -> str:
        images, thumbnail, session.preview_note = made
        if remember:
            remember(thumbnail)
        names = [apply.put_image(name, image) for name, image in images.items()]
        return names[0]

    return session.jobs.start("Preview", work, then, kind="preview", quiet=quiet)


def add_camera(context: Any) -> Any:
    """Add a camera with the view of the sliders, make it the active one and return it."""
    chosen = subject(context)
    info = chosen.model
    data = bpy.data.cameras.new("Lathe Camera")
    camera = bpy.data.objects.new("Lathe Camera", data)
    context.collection.objects.link(camera)
    context.scene.camera = camera
    width, height = gather.render_size(context.scene)
    data.sensor_fit = "HORIZONTAL" if width >= height else "VERTICAL"
    seen = gather.orbit(info, chosen.settings.view, width, height)
    data.angle = 2 * math.atan(max(width, height) / 2 / seen.intrinsics[0][0])
    pose = np.array(seen.world_from_camera)
    world = chosen.world_from_scene
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of(world) @ pose[:3, :3]
    matrix[:3, 3] = (world @ pose[:, 3])[:3]
    camera.matrix_world = Matrix((matrix @ frames.CAMERA_FLIP).tolist())
    return camera


def rotation_of(world: np.ndarray) -> np.ndarray:
    """Return the rotation [3, 3] nearest to the linear part of an affine transform [4, 4] (orthogonal Procrustes)."""
    u, _, vt = np.linalg.svd(world[:3, :3])
    rotation: np.ndarray = u @ vt
    if np.linalg.det(rotation) < 0:  # a mirrored object; no camera is mirrored
        u[:, -1] *= -1
        rotation = u @ vt
    return rotation
