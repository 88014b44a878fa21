"""Task `render`: one view of one scene."""

from __future__ import annotations

import time

import numpy as np
import torch

from addon.wire.messages import ImageResult, RenderRequest

from ..cameras import Camera, from_wire
from ..progress import Progress, part
from ..scene import Image, Scene
from .workspace import Workspace

RENDER_BYTES_PER_PIXEL = 128  # rgb, alpha, depth, normal and rays in float32, and the packed copy


def render(request: RenderRequest, progress: Progress, workspace: Workspace) -> ImageResult:
    """Render the scene through the camera. A scene rendered before is not synthesised again."""
    started = time.perf_counter()
    check_image_memory(workspace, request.camera.width, request.camera.height)
    scene = workspace.scene(request.scene, progress)
    camera = from_wire(request.camera, workspace.device)
    image = render_scene(
        scene, camera, part(progress, 0.05, 1.0), quality=request.quality, samples_per_ray=request.samples_per_ray
    )
    normal = image.normal.float().cpu().numpy() if request.with_normal and image.normal is not None else None
    depth = image.depth.float().cpu().numpy()
    return ImageResult(rgba(image), depth, normal, time.perf_counter() - started, image.note)


def render_scene(
    scene: Scene, camera: Camera, progress: Progress, *, quality: str = "full", samples_per_ray: int = 0
) -> Image:
    """Return the image, without gradients. samples_per_ray 0: the model's own number."""
    progress(0.0, "Rendering")
    with torch.no_grad():
        return scene.render(
            camera,
            samples_per_ray=samples_per_ray or None,
            quality="draft" if quality == "draft" else "full",
            progress=progress,
        )


def rgba(image: Image) -> np.ndarray:
    """Return float32 [H, W, 4], sRGB, straight alpha."""
    return torch.cat((image.rgb, image.alpha[..., None]), -1).float().cpu().numpy()


def image8(rgba: np.ndarray) -> np.ndarray:
    """Return 0..1 floats as uint8, rounded."""
    return (rgba.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def check_image_memory(workspace: Workspace, width: int, height: int) -> None:
    """Raises OutOfMemory where an image of this size could not even be held."""
    side, sizes = max(width, height), []
    for halvings in range(6):
        smaller = max(side >> halvings, 1)
        sizes.append((smaller, int(width * height * (smaller / side) ** 2) * RENDER_BYTES_PER_PIXEL))
    workspace.check_memory("An image side of", side, sizes)
