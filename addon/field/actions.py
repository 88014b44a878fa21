"""Capture images, estimate their cameras and fit radiance fields.

Images are rendered from the Blender scene (`capture`), are photographs whose cameras are estimated (`find_cameras`), or
are an existing data set. Each source gives a folder, which `fit` uploads; the result is a field with an object in the
scene. The backend stores a fit that was paused or interrupted until it is discarded; `continue_fit` resumes it.

A fit does not depend on the open .blend file: it continues when another file is opened.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..backend.actions import problem_python
from ..link.client import Client, error_from_info
from ..link.jobs import LATER, Job, Steps
from ..link.previews import sheets_of
from ..link.session import session
from ..path.actions import own_folder
from ..preferences import configure
from ..scene import apply, gather
from ..scene.apply import Handle, problem_object_mode
from ..scene.settings import set_model
from ..translations import translated
from ..wire import errors
from ..wire.messages import (
    DiscardFitRequest,
    FitOptions,
    FitRequest,
    FitResult,
    JobEvent,
    SfmRequest,
    SfmResult,
    SheetResult,
    StoredFit,
)
from . import data_sets
from . import objects as field_objects
from .capture import CaptureSettings, capture_steps

FIT_IMAGE = "Lathe Fit"
LOOK_SECONDS = 3.0  # between two queries whether the backend has the field yet
SENDING = 0.05  # share of a fit's progress that the upload takes
REPORT = "Lathe Cameras"  # name of the text with the report on photographs

_to_discard: set[str] = set()  # names of fits that were cancelled rather than paused


# ----------------------------------------------------------------------------------------------------- names and places


def field_name(context: Any) -> str:
    """Return the name of the next field."""
    settings = context.scene.lathe.field
    if settings.name:
        return str(settings.name)
    if settings.source == "FOLDER":
        given = Path(bpy.path.abspath(settings.folder)).name
    elif settings.source == "PHOTOS":
        given = Path(bpy.path.abspath(settings.photos)).stem
    else:
        given = Path(bpy.data.filepath).stem or "scene"
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", given).strip("_.-")[:100] or "field"


def data_set_folder(context: Any) -> Path:
    """Return the folder of the fit's images, which may not exist yet."""
    settings = context.scene.lathe.field
    if settings.source == "FOLDER":
        return Path(bpy.path.abspath(settings.folder))
    return own_folder(settings.data_sets) / field_name(context)


def stored_fits() -> list[StoredFit]:
    """Return the fits that can be resumed: those stored by the backend, and the one interrupted when it died."""
    running = session.fitting if session.jobs.find("fit") else ""
    found = [fit for fit in session.fits if fit.name != running]
    if session.fitting and not running and session.state in ("died", "failed", "starting"):
        found = [fit for fit in found if fit.name != session.fitting]
        found.insert(0, StoredFit(session.fitting, "", 0, 0.0, False))
    return found


# ------------------------------------------------------------------------------------------------------------- problems


def problem_source(context: Any) -> str:
    """Return why the source of the images is incomplete, or an empty string."""
    settings = context.scene.lathe.field
    if settings.source == "FOLDER" and not settings.folder:
        return "Choose the folder of the data set"
    if settings.source == "PHOTOS" and not settings.photos:
        return "Choose a folder of photographs, or a video"
    return ""


def problem_fit(context: Any) -> str:
    """Return why no field can be fitted, or an empty string."""
    problem = problem_python(context) or problem_source(context)
    if problem:
        return problem
    if session.jobs.find("fit"):
        return "A fit is running: pause it first"
    source = context.scene.lathe.field.source
    if source != "FOLDER" and not data_set_folder(context).is_dir():
        return "Press Capture first" if source == "SCENE" else "Press Find Cameras first"
    running = {"SCENE": "capture", "PHOTOS": "sfm"}.get(source, "")
    if running and session.jobs.find(running):
        return "The images are not ready yet: wait for them"
    return ""


def problem_continue(context: Any) -> str:
    """Return why no fit can be resumed, or an empty string."""
    if session.jobs.find("fit"):
        return "A fit is running: pause it first"
    return problem_python(context)


def problem_running(context: Any) -> str:
    """Return why no fit can be paused, or an empty string."""
    return "" if session.jobs.find("fit") else "No fit is running"


def problem_stored() -> str:
    """Return why there is no stored fit, or an empty string."""
    return "" if stored_fits() else "There is no fit to continue"


def problem_add_field(context: Any) -> str:
    """Return why no field can be added to the scene, or an empty string."""
    if not gather.is_field(session.models.get(context.scene.lathe.model)):
        return "Choose a radiance field as the model of new shapes first"
    if field_objects.fields_of(context.scene, context.scene.lathe.model):
        return "This field is already in the scene: duplicate its box for another copy"
    return problem_object_mode(context)


def problem_find_cameras(context: Any) -> str:
    """Return why no cameras can be estimated, or an empty string."""
    problem = problem_python(context) or problem_source(context)
    if not problem and session.jobs.find("sfm"):
        return "Cameras are being estimated: wait for it or cancel it at the top"
    return problem


def problem_capture(context: Any) -> str:
    """Return why nothing can be captured, or an empty string."""
    if session.jobs.find("capture"):
        return "A capture is running: wait for it or press Esc"
    if context.scene.lathe.capture.target == "SELECTED" and not context.selected_objects:
        return "Select the objects to capture, or choose Target: Whole Scene"
    return problem_object_mode(context)


# -------------------------------------------------------------------------------------------------------------- capture


def capture_settings(context: Any) -> CaptureSettings:
    """Return the panel's capture settings. The images have the aspect of the scene's renders."""
    settings = context.scene.lathe.capture
    width, height = gather.fitted(*gather.render_size(context.scene), settings.size)
    return CaptureSettings(
        rig=settings.rig.lower(),
        count=settings.count,
        test=settings.test,
        width=width,
        height=height,
        seed=settings.seed,
        target=settings.target.lower(),
        elevation=settings.elevation,
        fill=settings.fill,
        transparent=settings.transparent,
        depth=settings.depth,
        normal=settings.normal,
        mask=settings.mask,
        overwrite=settings.overwrite,
    )


def capture(context: Any) -> Job:
    """Render the scene from all sides with the scene's engine, one image each tick. Result: the folder.

    A capture that was cancelled is resumed by the next one. Raises InvalidRequest.
    """
    problem = problem_capture(context)
    if problem:
        raise errors.InvalidRequest(problem)
    folder = data_set_folder(context)
    captured = capture_steps(context.scene, capture_settings(context), folder)
    jobs: list[Job] = []

    def steps() -> Steps:
        with contextlib.closing(captured):
            for step in captured:
                jobs[0].fraction, jobs[0].text = step.fraction, step.text
                yield LATER

    jobs.append(session.jobs.start(f"Capture {folder.name}", lambda job: str(folder), kind="capture", prepare=steps()))
    return jobs[0]


# ------------------------------------------------------------------------------------------------------------------ fit


def fit_options(context: Any) -> FitOptions:
    """Return the panel's options of a fit."""
    return FitOptions(**gather.option_values(FitOptions, context.scene.lathe.field))


def fit(context: Any) -> Job:
    """Fit a field to the images of the source and add it to the scene. Result: the name of the field's object.

    Raises InvalidRequest.
    """
    problem = problem_fit(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    name, folder, options = field_name(context), data_set_folder(context), fit_options(context)

    def request(job: Job, client: Client) -> FitRequest:
        names = data_sets.files_of(folder)
        sent = data_sets.upload(client, folder, names, job.check, lambda part, text: job.report(part * SENDING, text))
        return FitRequest(name, sent, options)

    given = data_sets.given_cameras(folder) if options.refine_poses and folder.is_dir() else None
    return run_fit(context, name, request, given)


def continue_fit(context: Any, name: str) -> Job:
    """Resume a stored fit, or extend a finished one. Result: the name of the field's object. Raises InvalidRequest."""
    problem = problem_continue(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    more = context.scene.lathe.field.more_seconds

    def request(job: Job, client: Client) -> FitRequest:
        stored = next((fit for fit in session.fits if fit.name == name), None)
        longer = stored.seconds + more if stored is not None and stored.finished else 0.0
        return FitRequest(name, options=FitOptions(seconds=longer), resume=True)

    return run_fit(context, name, request, None)


def run_fit(
    context: Any,
    name: str,
    make: Callable[[Job, Client], FitRequest],
    given: dict[str, data_sets.GivenCamera] | None,
    start: float = SENDING,
) -> Job:
    """Start the job of a fit. Result: the name of the field's object.

    make: returns the request; called on the job's thread, for progress 0 to `start`. given: the cameras of the data set
    if they are to be refined, to be shown beside the refined ones; otherwise None.
    """
    scene = Handle.of("scenes", context.scene)

    def run(job: Job, client: Client) -> FitResult:
        request = make(job, client)
        try:
            return job.ask(client, request, start=start, seen=_watcher(client, name, scene))
        except errors.Cancelled:
            if name in _to_discard:
                client.run(DiscardFitRequest(name))
            raise
        finally:
            _to_discard.discard(name)
            with contextlib.suppress(errors.LatheError):  # a backend that died lists its fits when it is back
                session.refresh_models(client)

    def then(result: FitResult) -> Steps | str:
        session.warnings = result.warnings
        for broken in session.broken_models:
            if broken.name == name:
                raise error_from_info(broken.error)
        if scene.find() is None or name not in session.models:
            return name  # another file was opened: the field is in the list of models
        return _show_fit(scene, name, result, given)

    _to_discard.discard(name)
    session.fitting, session.warnings = name, ()
    return session.start(
        f"Fit {name}",
        run,
        then,
        kind="fit",
        survives_load=True,
    )


def _watcher(client: Client, name: str, scene: Handle) -> Callable[[JobEvent], None]:
    """Return a callback for the events of a fit, which shows its preview, and its object once there is a field."""
    asked = 0.0

    def show(sheet: SheetResult) -> None:
        image = apply.prepare_sheet(sheet)
        session.jobs.call(lambda: _show_preview(image))

    new_sheet = sheets_of(client, show)

    def seen(event: JobEvent) -> None:
        nonlocal asked
        new_sheet(event)
        if event.figures and asked < math.inf and time.monotonic() - asked > LOOK_SECONDS:
            session.refresh_models(client)
            asked = time.monotonic()
            if name in session.models:  # from the first autosave on
                asked = math.inf
                session.jobs.call(lambda: _place(scene, name))

    return seen


def _show_preview(image: apply.PreparedImage) -> None:
    apply.put_image(FIT_IMAGE, image)


def _place(scene: Handle, name: str) -> None:
    """Add the field's object to the scene in Object Mode; undo steps of other modes do not include objects."""
    place = scene.find()
    if place is not None and name in session.models and bpy.context.mode == "OBJECT":
        add_field(place, name)


def add_field(scene: Any, name: str) -> Any:
    """Return the object of a field, added and selected if the scene has none. Raises InvalidRequest."""
    info = gather.known_model(name)
    there = bool(field_objects.fields_of(scene, name))
    item = field_objects.put_field(scene, info)
    if not there:
        set_model(item.lathe, info)
        apply.select_alone(item)
        apply.undo_push(f"Lathe: {item.name}")
    return item


def _show_fit(scene: Handle, name: str, result: FitResult, given: dict[str, data_sets.GivenCamera] | None) -> Steps:
    """Add the field, and the cameras if they were refined, to the scene. Returns the object's name."""
    yield from apply.wait_for_object_mode()
    item = Handle.of("objects", add_field(scene.get(), name))
    views, after = result.view_names, result.world_from_camera
    if given is not None and views and len(after) == len(views):
        lenses = [(given[view].lens if view in given else 1.0, 0.0, 0.0) for view in views]
        if all(view in given for view in views):  # COLMAP cameras are read by the backend alone
            before = np.stack([given[view].world_from_camera for view in views])
            yield from field_objects.put_cameras(scene, f"{name} Cameras Before", before, lenses, views)
        yield from field_objects.put_cameras(scene, f"{name} Cameras After", after, lenses, views)
        apply.undo_push(f"Lathe: cameras of {name}")
    return str(item.get().name)


def pause(context: Any) -> None:
    """Stop the running fit. The backend stores its state."""
    job = session.jobs.find("fit")
    if job is not None:
        job.cancel()


def cancel(context: Any) -> None:
    """Stop the running fit and delete its state."""
    job = session.jobs.find("fit")
    if job is not None:
        _to_discard.add(session.fitting)
        job.cancel()


def discard(context: Any, name: str) -> Job:
    """Delete the state of a stored fit. The field itself stays. Result: its name."""
    configure(context)

    def run(job: Job, client: Client) -> str:
        job.ask(client, DiscardFitRequest(name))
        if session.fitting == name:
            session.fitting = ""
        session.refresh_models(client)
        return name

    return session.start(
        f"Discard {name}",
        run,
        kind="discard",
        survives_load=True,
    )


def figures_text(figures: dict[str, float]) -> list[str]:
    """Return the figures of a running fit as lines for the panel."""
    lines = []
    if "step" in figures:
        loss = figures.get("loss", float("nan"))
        lines.append(translated("Step {step:.0f}, loss {loss:.4f}", step=figures["step"], loss=loss))
    if "psnr" in figures:
        lines.append(translated("{psnr:.1f} dB on test images", psnr=figures["psnr"]))
    elif "train_psnr" in figures:
        lines.append(translated("{psnr:.1f} dB on training images", psnr=figures["train_psnr"]))
    if "rays_per_second" in figures:
        lines.append(translated("{rays:.0f} thousand rays/s", rays=figures["rays_per_second"] / 1000))
    if "seconds_left" in figures:
        minutes, seconds = divmod(round(max(figures["seconds_left"], 0)), 60)
        lines.append(translated("{minutes}:{seconds:02d} left", minutes=minutes, seconds=seconds))
    return lines


# ---------------------------------------------------------------------------------------------------------- photographs


def find_cameras(context: Any) -> Job:
    """Estimate the cameras of photographs or a video and write a data set. Result: its folder.

    The cameras and the reconstructed points are added to the scene. Raises InvalidRequest.
    """
    problem = problem_find_cameras(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    settings = context.scene.lathe.field
    name, target = field_name(context), data_set_folder(context)
    photos = Path(bpy.path.abspath(settings.photos))
    size, count = settings.max_size, settings.max_images
    scene = Handle.of("scenes", context.scene)

    def run(job: Job, client: Client) -> SfmResult:
        folder, names = data_sets.photographs(photos)
        sent = data_sets.upload(client, folder, names, job.check, lambda part, text: job.report(0.1 * part, text))
        result: SfmResult = job.ask(client, SfmRequest(sent, size, count), start=0.1, end=0.95)
        data_sets.write_posed(client, result, target, lambda part, text: job.report(0.95 + 0.05 * part, text))
        return result

    def then(result: SfmResult) -> Steps | str:
        return _show_photographs(scene, name, target, result) if scene.find() is not None else str(target)

    return session.start(
        f"Cameras of {name}",
        run,
        then,
        kind="sfm",
        survives_load=True,
    )


def _show_photographs(scene: Handle, name: str, folder: Path, result: SfmResult) -> Steps:
    text = bpy.data.texts.get(REPORT) or bpy.data.texts.new(REPORT)
    text.from_string(result.report)
    yield from apply.wait_for_object_mode()
    lenses = [
        field_objects.lens_of(matrix, int(width), int(height))
        for matrix, (width, height) in zip(result.intrinsics, result.sizes)
    ]
    yield from field_objects.put_cameras(
        scene, f"{name} Cameras", result.world_from_camera, lenses, result.names, result.points, result.colors
    )
    apply.undo_push(f"Lathe: cameras of {name}")
    return str(folder)


def report_lines() -> list[str]:
    """Return the report on the photographs as lines for the panel."""
    text = bpy.data.texts.get(REPORT)
    try:
        report = json.loads(text.as_string()) if text is not None else {}
        summary = translated(
            "{posed} of {images} images placed, {points} points, error {error:.2f} pixels",
            posed=report["posed"],
            images=report["images"],
            points=report["points"],
            error=report["mean_reprojection_error"],
        )
        return [summary, *(str(line) for line in report["advice"])]
    except (ValueError, KeyError, TypeError):
        return []


def reset_crop(context: Any) -> None:
    """Turn the subject's crop box off and reset it to the field's whole box."""
    item = gather.subject(context).object
    if item is not None:
        item.lathe.use_crop = False
        item.lathe.crop_min, item.lathe.crop_max = item.lathe.box_min, item.lathe.box_max
