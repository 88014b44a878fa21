"""Task `image_to_shape`: the latent of the shape that a picture shows."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from addon.wire import payload
from addon.wire.errors import CannotWrite, InvalidRequest, NotSupported, UnreadableFile
from addon.wire.messages import CodeBlob, ImageToShapeRequest, ImageToShapeResult

from ..generators.gan3d.pictures import prepare, read_picture
from ..generators.gan3d.scene import GAN3D
from ..progress import Progress
from ..scenes.protocol import Scene
from ..scenes.voxels import VoxelScene
from .workspace import Workspace


def image_to_shape(request: ImageToShapeRequest, progress: Progress, workspace: Workspace) -> ImageToShapeResult:
    """Encode the uploaded picture and keep the latent under its sha256.

    Raises:
        NotSupported: the model understands no pictures.
        UnreadableFile: the upload is no picture, or shows nothing.
    """
    started = time.perf_counter()
    model = workspace.generator(request.model, progress)
    if not isinstance(model, GAN3D) or model.encoder is None:
        raise NotSupported(
            f"{model.info.label} makes no shapes of pictures. Choose a 3D-GAN with an image encoder, like gan3d_chairs."
        )
    progress(0.1, "Reading the picture")
    pixels = read_picture(workspace.blobs.read(request.picture))
    prepared = prepare(pixels, model.encoder.size)
    progress(0.5, "Encoding the picture")
    with torch.no_grad():
        ws = model.encode(prepared.picture[None])[0]
    array = ws.float().cpu().numpy()
    code = workspace.blobs.put(payload.pack(CodeBlob(array)), keep=True)
    seen = (prepared.picture.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    progress(1.0, "Done")
    return ImageToShapeResult(array, code, seen, prepared.notes, time.perf_counter() - started)


def read_file(path: Path) -> bytes:
    """Return the bytes of a picture's file. Raises UnreadableFile."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"The picture {path} cannot be read: {error.strerror or error}.") from error


def write_voxels(scene: Scene, path: Path) -> str:
    """Write the voxels of a scene that is made of them to a .npy file, float32 [D, H, W], and return its name.

    Raises:
        InvalidRequest: another ending, or a scene without voxels.
        CannotWrite: the file cannot be written.
    """
    if path.suffix.lower() != ".npy":
        raise InvalidRequest(f"--voxels must end in .npy, got {path.name!r}.")
    if not isinstance(scene, VoxelScene):
        raise InvalidRequest("This model makes no voxels: leave --voxels out.")
    try:
        np.save(path, scene.values.float().cpu().numpy())
    except OSError as error:
        raise CannotWrite(f"The voxels could not be written to {path}: {error.strerror or error}.") from error
    return str(path)
