"""Task `generate`: a grid of small renders, one for each latent, to choose from."""

from __future__ import annotations

import time

import numpy as np

from addon.wire.messages import GenerateRequest, SceneRef, SheetResult

from ..cameras import from_wire, orbit
from ..progress import Progress, part
from .memory import check_image_memory
from .render import image8, render_scene, rgba
from .workspace import Workspace


def generate(request: GenerateRequest, progress: Progress, workspace: Workspace) -> SheetResult:
    """Render each latent from the same view; the last finished one is shown as a preview."""
    started = time.perf_counter()
    info = workspace.generator(request.model, progress).info
    camera = request.camera or orbit(info, request.size)
    check_image_memory(
        workspace, info.kind, camera.width, camera.height,
        draft=request.quality == "draft", images=len(request.latents),
    )  # fmt: skip
    view = from_wire(camera, workspace.device)
    images: list[np.ndarray] = []
    for number, latent in enumerate(request.latents, 1):
        text = f"Image {number} of {len(request.latents)}"
        start, end = (number - 1) / len(request.latents), number / len(request.latents)
        progress(start, text, images[-1] if images else None)
        scene = workspace.scene(SceneRef(request.model, latent, request.controls), part(progress, start, start))
        images.append(image8(rgba(render_scene(scene, view, part(progress, start, end), quality=request.quality))))
    return SheetResult(np.stack(images), time.perf_counter() - started)
