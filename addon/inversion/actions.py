"""From a photograph to a latent: the subject's latent and view become those that make it."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..link.client import Client
from ..link.jobs import Job
from ..link.previews import sheets_of
from ..link.session import session
from ..models.actions import problem_model
from ..preferences import configure
from ..preview.actions import preview, problem_preview
from ..scene import apply, gather, png
from ..scene.apply import Handle
from ..scene.gather import subject
from ..scene.groups import fill
from ..scene.settings import set_model
from ..shape.codes import latent_of_code
from ..translations import translated
from ..wire import errors
from ..wire.messages import InversionOptions, InvertRequest, InvertResult, ModelInfo, SheetResult
from ..wire.options import options_of

PROGRESS_IMAGE = "Lathe Inversion"
"""Datablock of photograph and image of the latent, side by side."""


def can_invert(info: ModelInfo | None) -> bool:
    """Return whether a model can be fitted to a photograph: it has latents and colours."""
    return info is not None and info.num_ws > 0 and info.has_color


def problem_invert(context: Any) -> str:
    """Return why no photograph can be turned into a latent, or an empty string."""
    problem = problem_model(context)
    if problem:
        return problem
    chosen = subject(context)
    if not can_invert(chosen.info):
        return translated("{model} has no latents or no colours: choose a generator", model=chosen.model.label)
    if session.jobs.find("invert"):
        return "A photo is being fitted: wait for it or cancel it"
    settings = context.scene.lathe.inversion
    if settings.image is None:
        return "Choose a photo"
    for image in filter(None, (settings.image, settings.mask)):
        if not image.has_data and not image.size[0]:
            return translated("The image {name} has no pixels: load it again", name=image.name)
    if settings.mask is not None and tuple(settings.mask.size) != tuple(settings.image.size):
        return "Photo and mask must have the same size"
    return ""


def tuned_name(context: Any) -> str:
    """Return the name of the model that a tuning stores."""
    settings = context.scene.lathe.inversion
    if settings.model_name:
        return str(settings.model_name)
    photo = Path(settings.image.name).stem if settings.image is not None else ""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{subject(context).settings.model}_{photo}").strip("_.-")[:100]


def invert(context: Any) -> Job:
    """Find the latent of the photo, from the subject's view on. Result: the code, which becomes the subject's latent.

    With tuning, the subject's model becomes the tuned one. `session.notes` lists how the photo was prepared; photo and
    image are 'Lathe Inversion'.

    Raises:
        InvalidRequest: the model cannot do it, or there is no photo.
    """
    problem = problem_invert(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    settings, chosen = context.scene.lathe.inversion, subject(context)
    info, prior, at = chosen.model, chosen.model.pose_prior, chosen.settings.view
    options = InversionOptions(**{name: getattr(settings, name) for name in options_of(InversionOptions)})
    name = tuned_name(context) if options.tuning_steps else ""
    view = (
        math.remainder(prior.default_azimuth + at.yaw, 2 * math.pi),
        math.remainder(prior.default_elevation + at.pitch, 2 * math.pi),
    )
    photo = gather.image_pixels(settings.image)
    mask = None if settings.mask is None else gather.image_pixels(settings.mask)
    title = settings.image.name
    holder = Handle.of("objects", chosen.object) if chosen.object is not None else Handle.of("scenes", context.scene)
    session.notes = ()

    def run(job: Job, client: Client) -> tuple[InvertResult, dict[str, Any], apply.PreparedImage]:
        job.report(0.0, f"Sending {title}")
        sent = [_uploaded(client, image, job.check) for image in (photo, mask) if image is not None]
        request = InvertRequest(info.name, sent[0], sent[1] if mask is not None else "", None, view, name, options)
        answer: InvertResult = job.ask(client, request, start=0.02, seen=sheets_of(client, _show_sides))
        session.notes = (*answer.notes, translated("{psnr:.1f} dB from the photo", psnr=answer.psnr))
        if answer.model != info.name:
            session.refresh_models(client)
        sides = np.concatenate((answer.seen, answer.made), 1)
        return answer, latent_of_code(client, answer.ws), _prepared(sides)

    def then(made: tuple[InvertResult, dict[str, Any], apply.PreparedImage]) -> str:
        answer, latent, image = made
        found = holder.get().lathe
        if found.model != info.name:
            raise errors.LatheError("Another model was chosen while the photo was fitted")
        if answer.model != info.name:
            set_model(found, session.models[answer.model])
        fill(found.latent, latent)
        found.view.yaw = math.remainder(answer.view[0] - prior.default_azimuth, 2 * math.pi)
        found.view.pitch = answer.view[1] - prior.default_elevation
        apply.put_image(PROGRESS_IMAGE, image)
        apply.undo_push(f"Lathe: latent of {title}")
        if not problem_preview(bpy.context):
            preview(bpy.context)
        return str(latent["code"])

    return session.start(f"Latent of {title}", run, then, kind="invert")


def _uploaded(client: Client, image: np.ndarray, check: Callable[[], None]) -> str:
    """Send an image [H, W, 4] as a PNG file, and return its sha256."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        png.write(path, image)
        return client.upload_file(path, check)


def _show_sides(sheet: SheetResult) -> None:
    """Show photo and image side by side. Any thread."""
    image = _prepared(np.concatenate(tuple(sheet.images), 1)[..., :3])
    session.jobs.call(lambda: _show(image))


def _show(image: apply.PreparedImage) -> None:
    apply.put_image(PROGRESS_IMAGE, image)


def _prepared(image: np.ndarray) -> apply.PreparedImage:
    """Return an image [H, W, 3], uint8, prepared for a datablock."""
    opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
    return apply.prepare_sheet(SheetResult(np.concatenate((image, opaque), -1)[None]))


def cancel(context: Any) -> None:
    """Cancel the running inversion."""
    job = session.jobs.find("invert")
    if job is not None:
        job.cancel()
