"""Task `image_to_shape`: the latent of the shape in an image."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from addon.wire import payload
from addon.wire.errors import CannotWrite, InvalidRequest, NotSupported, UnreadableFile
from addon.wire.messages import CodeBlob, ImageToShapeRequest, ImageToShapeResult
from meshing.images import NotAnImage, open_regular, reason

from ..generators.layers.encoder_image import read_image
from ..progress import Progress
from ..scenes.capabilities import EncodedImage, EncodesImages, HasVoxels
from ..scenes.protocol import Scene
from .workspace import Workspace


def image_to_shape(request: ImageToShapeRequest, progress: Progress, workspace: Workspace) -> ImageToShapeResult:
    """Encode the uploaded image and store the latent under its sha256.

    Raises:
        NotSupported: the model has no image encoder.
        UnreadableFile: the upload is not an image, or shows nothing.
    """
    started = time.perf_counter()
    model = workspace.generator(request.model, progress)
    if not isinstance(model, EncodesImages) or "image_to_shape" not in model.info.capabilities:
        raise NotSupported(
            f"{model.info.label} has no image encoder. Choose a 3D-GAN with an image encoder, like gan3d_chairs."
        )
    progress(0.1, "Reading the image")
    pixels = read_image(workspace.blobs.read(request.picture))
    progress(0.5, "Encoding the image")
    return encoded_result(model.encode_image(pixels), progress, workspace, started)


def encoded_result(found: EncodedImage, progress: Progress, workspace: Workspace, started: float) -> ImageToShapeResult:
    """Keep the latent of an image under its sha256 and return the task's result. started: `time.perf_counter()`."""
    ws = found.ws.float().cpu().numpy()
    code = workspace.blobs.put(payload.pack(CodeBlob(ws)), keep=True)
    seen = (found.seen.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    progress(1.0, "Done")
    return ImageToShapeResult(ws, code, seen, found.notes, time.perf_counter() - started)


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file. Raises UnreadableFile."""
    try:
        with open_regular(path) as file:
            return file.read()
    except (OSError, NotAnImage) as error:
        raise UnreadableFile(f"The image {path} cannot be read: {reason(error)}.") from error


def write_voxels(scene: Scene, path: Path) -> str:
    """Write the voxels of a scene that is made of them to a .npy file, float32 [D, H, W], and return its name.

    Raises:
        InvalidRequest: another ending, or a scene without voxels.
        CannotWrite: the file cannot be written.
    """
    if path.suffix.lower() != ".npy":
        raise InvalidRequest(f"--voxels must end in .npy, got {path.name!r}.")
    if not isinstance(scene, HasVoxels):
        raise InvalidRequest("This model makes no voxels: leave --voxels out.")
    try:
        np.save(path, scene.values.float().cpu().numpy())
    except OSError as error:
        raise CannotWrite(f"The voxels could not be written to {path}: {error.strerror or error}.") from error
    return str(path)
