"""Task `render`: one view of one scene."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from addon.wire.errors import NotSupported
from addon.wire.messages import ImageResult, RenderRequest

from ..cameras import Camera, from_wire
from ..lens import valid_pixels
from ..progress import Progress, part
from ..scenes.protocol import Image, Scene
from .memory import check_image_memory
from .workspace import Workspace


def render(request: RenderRequest, progress: Progress, workspace: Workspace) -> ImageResult:
    """Render the scene through the camera. A scene rendered before is not synthesised again."""
    started = time.perf_counter()
    check_image_memory(
        workspace, workspace.kind(request.scene.model), request.camera.width, request.camera.height,
        samples_per_ray=request.samples_per_ray, draft=request.quality == "draft",
    )  # fmt: skip
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
    """Render without gradients. samples_per_ray 0: the model's own number.

    Raises NotSupported: an image-space model and a lens.
    """
    if scene.info.image_space and not camera.lens.is_pinhole:
        raise NotSupported(
            "This model draws its images with a network that knows pinhole cameras only: render through a camera "
            "without lens distortion."
        )
    progress(0.0, "Rendering")
    with torch.no_grad():
        image = scene.render(
            camera,
            samples_per_ray=samples_per_ray or None,
            quality="draft" if quality == "draft" else "full",
            progress=progress,
        )
    valid = valid_pixels(camera)
    if valid is None:
        return image
    valid = valid.to(image.alpha.device)  # beyond the reach of the lens there is no light
    return replace(image, alpha=torch.where(valid, image.alpha, 0.0), depth=torch.where(valid, image.depth, torch.inf))


def rgba(image: Image) -> np.ndarray:
    """Return float32 [H, W, 4], sRGB, unpremultiplied."""
    return torch.cat((image.rgb, image.alpha[..., None]), -1).float().cpu().numpy()


def image8(rgba: np.ndarray) -> np.ndarray:
    """Return 0..1 floats as uint8, rounded."""
    return (rgba.clip(0, 1) * 255 + 0.5).astype(np.uint8)
