"""Task `invert`: the latent of a photograph, and a model of its own where weights were tuned."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch
from numpy.typing import NDArray

from addon.wire import payload
from addon.wire.errors import InvalidRequest, Remedy
from addon.wire.messages import CodeBlob, InvertRequest, InvertResult

from ..editing.inversion.invert import Inverted, check_invertible
from ..editing.inversion.invert import invert as run_inversion
from ..editing.inversion.perceptual import PerceptualNetwork
from ..editing.inversion.photograph import prepare
from ..editing.inversion.viewpoint import Viewpoint
from ..folders import user_models
from ..generators.layers.encoder_image import read_image
from ..models import card as cards
from ..models import store
from ..progress import Progress, part
from .render import image8
from .workspace import Workspace


def invert(
    request: InvertRequest, progress: Progress, workspace: Workspace, perceptual: PerceptualNetwork | None = None
) -> InvertResult:
    """Fit the model to the uploaded photograph, store the latent under its sha256 and tuned weights as a model.

    Nothing is written until all is found.

    Raises:
        InvalidRequest: mask or crop do not fit, or the name belongs to a model that was not made this way.
        UnreadableFile: an upload is no image, is tiny or shows nothing.
        NotSupported: the model has no latent or no colour. OutOfMemory, Diverged, Cancelled.
    """
    started = time.perf_counter()
    _check_free(request)
    model = workspace.generator(request.model, progress)
    check_invertible(model)
    pixels = read_image(workspace.blobs.read(request.picture), "photograph")
    mask = None if not request.mask else _mask_of(workspace.blobs.read(request.mask))
    photograph = prepare(pixels, model.info.image_size, mask=mask, crop=request.crop)
    view = None if request.view is None else Viewpoint(*request.view)
    found = run_inversion(
        model, photograph, request.options, view=view, perceptual=perceptual, progress=part(progress, 0.02, 0.98)
    )
    ws = found.ws.float().cpu().numpy()
    shown = found.tuned or model
    with torch.no_grad():
        image = shown.synthesize(found.ws).render(found.view.camera(model.info, model.info.image_size, model.device))
    made = image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]
    if found.tuned is not None:
        progress(0.98, "Storing the model")
        _save(request, workspace, found, perceptual)
    code = workspace.blobs.put(payload.pack(CodeBlob(ws)), keep=True)
    progress(1.0, "Done")
    return InvertResult(
        ws, code, request.name if found.tuned is not None else request.model,
        (found.view.azimuth, found.view.elevation), image8(photograph.over(1.0).numpy()), image8(made.cpu().numpy()),
        found.psnr, found.projected_psnr, found.notes, time.perf_counter() - started,
    )  # fmt: skip


def _mask_of(data: bytes) -> NDArray[np.uint8]:
    """Return a mask [H, W] of an image file: its brightness where it is opaque, 0 elsewhere. Raises UnreadableFile."""
    pixels = read_image(data, "mask").astype(np.float32)
    return (pixels[..., :3].mean(-1) * pixels[..., 3] / 255 + 0.5).astype(np.uint8)


def _check_free(request: InvertRequest) -> None:
    """Raise InvalidRequest where storing the tuned model would replace one that was not made this way."""
    folder = store.find_models().get(request.name) if request.options.tuning_steps else None
    if folder is not None and not cards.read_card(folder).parent:
        raise InvalidRequest(
            f"There is a model named {request.name!r} already that was not tuned to a photograph. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )


def _save(request: InvertRequest, workspace: Workspace, found: Inverted, perceptual: PerceptualNetwork | None) -> None:
    """Store the tuned model: the weights of the model that was given, with those that changed, and its card."""
    given, folder = workspace.card(request.model), workspace.folder(request.model)
    changed = found.tuned.network.state_dict()  # type: ignore[union-attr]
    tensors = store.read_tensors(folder / "model.safetensors", "cpu")
    options = request.options
    network = "none" if perceptual is None else perceptual.name
    text = (
        f"{given.label}, tuned to one photograph (pivotal tuning, arxiv.org/abs/2106.05744): {options.steps} steps of "
        f"the latent, {options.tuning_steps} of the weights at {options.tuning_rate:g}, "
        f"{'with' if options.locality else 'without'} locality, seed {options.seed}. Perceptual network: {network}. "
        f"Image of the latent: {found.projected_psnr:.1f} dB before, {found.psnr:.1f} dB after.\n\n"
        f"Weights of sha256 {given.weights_sha256}, whose card says:\n\n{given.card}"
    )
    card = dataclasses.replace(
        given, label=request.name, description=f"{given.label}, tuned to a photograph", source="trained",
        card=text, parent=request.model,
    )  # fmt: skip
    store.save_model(
        user_models() / request.name, card, {name: changed.get(name, value) for name, value in tensors.items()}
    )
