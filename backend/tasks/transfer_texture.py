"""Task `transfer_texture`: the texture that a picture shows, on another shape."""

from __future__ import annotations

import time

import numpy as np
import torch

from addon.wire import payload
from addon.wire.errors import NotSupported
from addon.wire.messages import CodeBlob, ImageToShapeResult, TransferTextureRequest

from ..generators.gan3d.pictures import prepare, read_picture
from ..generators.von.scene import VON
from ..progress import Progress
from ..scenes.latents import ws_from_latent
from .workspace import Workspace


def transfer_texture(request: TransferTextureRequest, progress: Progress, workspace: Workspace) -> ImageToShapeResult:
    """Read the texture code of the uploaded picture, join it to the latent's shape code, keep both under their sha256.

    Raises:
        NotSupported: the model reads no textures.
        UnreadableFile: the upload is no picture, or shows nothing.
    """
    started = time.perf_counter()
    model = workspace.generator(request.model, progress)
    if not isinstance(model, VON) or model.encoder is None:
        raise NotSupported(
            f"{model.info.label} takes no textures of pictures. Choose Visual Object Networks with a texture encoder, "
            "like von_chairs."
        )
    progress(0.1, "Reading the picture")
    prepared = prepare(read_picture(workspace.blobs.read(request.picture)), model.config.image_size)
    progress(0.5, "Reading its texture")
    with torch.no_grad():
        ws = ws_from_latent(model, request.latent, workspace.stored_code)
        z_texture = model.texture_code(prepared.picture[None])[0]
        ws = model.rows(ws[0, : model.config.shape_dim], z_texture)
    array = ws.float().cpu().numpy()
    kept = workspace.blobs.put(payload.pack(CodeBlob(array)), keep=True)
    seen = (prepared.picture.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    progress(1.0, "Done")
    return ImageToShapeResult(array, kept, seen, prepared.notes, time.perf_counter() - started)
