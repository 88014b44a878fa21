"""Task `transfer_texture`: a shape with the texture of an image."""

from __future__ import annotations

import time

import torch

from addon.wire.errors import NotSupported
from addon.wire.messages import ImageToShapeResult, TransferTextureRequest

from ..generators.layers.encoder_image import read_image
from ..progress import Progress
from ..scenes.capabilities import TransfersTexture
from ..scenes.latents import ws_from_latent
from .image_to_shape import encoded_result
from .workspace import Workspace


def transfer_texture(request: TransferTextureRequest, progress: Progress, workspace: Workspace) -> ImageToShapeResult:
    """Read the texture code of the uploaded image, join it to the latent's shape code, and store the latent.

    Raises:
        NotSupported: the model has no texture encoder.
        UnreadableFile: the upload is not an image, or shows nothing.
    """
    started = time.perf_counter()
    model = workspace.generator(request.model, progress)
    if not isinstance(model, TransfersTexture) or "transfer_texture" not in model.info.capabilities:
        raise NotSupported(
            f"{model.info.label} has no texture encoder. Choose Visual Object Networks with a texture encoder, "
            "like von_chairs."
        )
    progress(0.1, "Reading the image")
    pixels = read_image(workspace.blobs.read(request.picture))
    progress(0.5, "Reading its texture")
    with torch.no_grad():
        ws = ws_from_latent(model, request.latent, workspace.stored_code)
    return encoded_result(model.transfer_texture(ws, pixels), progress, workspace, started)
