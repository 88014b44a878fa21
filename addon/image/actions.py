"""Pictures to shapes, and shapes to pictures: what the buttons of both do, as plain functions.

- `image_to_shape`: a picture's shape, by models with that capability, as a mesh that carries the latent.
- `take_texture`: the texture of a picture on the shape that is there, likewise.
- `fit_views`: a radiance field of the pictures that a model makes; how a model without a surface gets one.
- `complete_depth`: the shape that fits what the active camera sees of a depth image.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal

import bpy
import numpy as np

from ..field import actions as fitting
from ..link.client import Client
from ..link.jobs import Job
from ..link.session import session
from ..models.actions import problem_model
from ..preferences import configure
from ..preview.actions import preview, problem_preview
from ..scene import apply, exr, gather
from ..scene.apply import Handle, problem_object_mode
from ..scene.gather import Subject, subject
from ..scene.groups import fill
from ..shape.actions import finisher, problem_latent
from ..shape.codes import latent_of_code, stored_codes, upload_codes, with_code
from ..wire import errors
from ..wire.messages import (
    Camera,
    CompleteRequest,
    FitRequest,
    ImageToShapeRequest,
    ImageToShapeResult,
    LatentResult,
    ScanBlob,
    SheetResult,
    TransferTextureRequest,
    ViewsRequest,
)

PICTURE_IMAGE = "Lathe Picture"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FILTER = ";".join(f"*{suffix}" for suffix in SUFFIXES)
DEPTH_FILTER = "*.exr;*.npy"
MAX_BYTES = 64 << 20  # of a picture's file
MAX_POINTS = 20_000  # of a depth image: more say nothing new of the shape
VIEWS_SHARE = 0.4  # of a fit's bar that rendering the views takes


# ------------------------------------------------------------------------------------------------------- image to shape


def problem_image_to_shape(context: Any) -> str:
    """Why no picture can become a shape."""
    return _problem_picture(context, "image_to_shape", "makes no shapes of pictures") or problem_object_mode(context)


def problem_take_texture(context: Any) -> str:
    """Why no texture can be taken from a picture."""
    return _problem_picture(context, "transfer_texture", "takes no textures of pictures")


def _problem_picture(context: Any, capability: str, otherwise: str) -> str:
    problem = problem_model(context)
    if problem:
        return problem
    info = subject(context).info
    assert info is not None
    if capability not in info.capabilities:
        return f"{info.label} {otherwise}: choose a model that can"
    if session.jobs.find("picture"):
        return "A picture is being read: wait for it or cancel it in Jobs"
    return ""


def picture_file(filepath: str) -> Path:
    """Return the file of a picture that is there and not too large. Raises UnreadableFile, TooLarge."""
    path = Path(bpy.path.abspath(filepath))
    if not path.is_file():
        raise errors.UnreadableFile(f"There is no picture {path}: choose it again")
    if path.stat().st_size > MAX_BYTES:
        raise errors.TooLarge(f"{path.name} is larger than {MAX_BYTES >> 20} MB: make it smaller first")
    return path


def image_to_shape(context: Any, filepath: str) -> Job:
    """Find the shape that a picture shows and mesh it at the 3D cursor. Result: the object's name.

    What was done to the picture is in `session.notes`, and the picture as the model saw it is 'Lathe Picture'.

    Raises:
        InvalidRequest: no such model. UnreadableFile, TooLarge: no such picture.
    """
    problem = problem_image_to_shape(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path = picture_file(filepath)
    scene, chosen = context.scene, subject(context)
    info = gather.known_model(chosen.settings.model)
    place = Subject(chosen.settings, None, gather.placed_at_cursor(scene))
    mesh = gather.mesh_request(place)
    found: dict[str, Any] = {}
    finish = finisher(place, scene, None, f"{info.label} {path.stem}", found)
    session.notes = ()

    def run(job: Job, client: Client) -> tuple[apply.PreparedMesh, apply.PreparedImage]:
        job.report(0.0, f"Sending {path.name}")
        picture = client.upload_file(path, job.check)
        answer = job.ask(client, ImageToShapeRequest(info.name, picture), start=0.05, end=0.4)
        session.notes = answer.notes
        result = job.ask(client, with_code(client, mesh, answer.ws, found), start=0.4, end=0.97)
        return apply.prepare_mesh(result), _prepare_seen(answer)

    def then(made: tuple[apply.PreparedMesh, apply.PreparedImage]) -> Any:
        apply.put_image(PICTURE_IMAGE, made[1])
        return finish(made[0])

    return session.jobs.start(
        f"Shape of {path.name}",
        lambda job: session.using(job, lambda client: run(job, client)),
        then,
        kind="picture",
    )


def take_texture(context: Any, filepath: str) -> Job:
    """Give the subject's shape the texture that a picture shows, and render the preview. Result: the code, which is the
    subject's latent from then on.

    Raises:
        InvalidRequest: no such model. UnreadableFile, TooLarge: no such picture.
    """
    problem = problem_take_texture(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path, chosen = picture_file(filepath), subject(context)
    info = gather.known_model(chosen.settings.model)
    latent, codes = gather.latent(chosen.settings, info), stored_codes(chosen)
    holder = Handle.of("objects", chosen.object) if chosen.object is not None else Handle.of("scenes", context.scene)
    session.notes = ()

    def run(job: Job, client: Client) -> tuple[dict[str, Any], apply.PreparedImage]:
        job.report(0.0, f"Sending {path.name}")
        upload_codes(client, codes)
        picture = client.upload_file(path, job.check)
        answer = job.ask(client, TransferTextureRequest(info.name, latent, picture), start=0.05)
        session.notes = answer.notes
        return latent_of_code(client, answer.ws), _prepare_seen(answer)

    def then(made: tuple[dict[str, Any], apply.PreparedImage]) -> str:
        settings = holder.get().lathe
        if settings.model != info.name:
            raise errors.LatheError("Another model was chosen while the texture was on its way")
        fill(settings.latent, made[0])
        apply.put_image(PICTURE_IMAGE, made[1])
        apply.undo_push(f"Lathe: texture of {path.name}")
        if not problem_preview(bpy.context):
            preview(bpy.context)
        return str(made[0]["code"])

    return session.jobs.start(
        f"Texture of {path.name}",
        lambda job: session.using(job, lambda client: run(job, client)),
        then,
        kind="picture",
    )


def _prepare_seen(answer: ImageToShapeResult) -> apply.PreparedImage:
    """Return the picture as the model was shown it."""
    opaque = np.full((*answer.seen.shape[:2], 1), 255, np.uint8)
    return apply.prepare_sheet(SheetResult(np.concatenate((answer.seen, opaque), -1)[None]))


# ------------------------------------------------------------------------------------------------- a field of its views


def views_name(chosen: Subject) -> str:
    """Return the name of the field that is fitted to the subject's views."""
    seed = chosen.settings.latent.seed_a
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{chosen.settings.model}_{seed}_views")[:100]


def problem_fit_views(context: Any) -> str:
    """Why no field can be fitted to the subject's views."""
    problem = problem_latent(context)
    if not problem and session.jobs.find("fit"):
        return "A fit is running: pause it first"
    return problem


def fit_views(context: Any) -> Job:
    """Have the model make pictures from all sides and fit a radiance field to them, with the options of the panel Fit.
    Result: the name of the field's object, which can be meshed."""
    problem = problem_fit_views(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    chosen, name = subject(context), views_name(subject(context))
    ref, codes = gather.scene_ref(chosen), stored_codes(chosen)
    count, options = context.scene.lathe.field.views, fitting.fit_options(context)

    def request(job: Job, client: Client) -> FitRequest:
        upload_codes(client, codes)
        made = job.ask(client, ViewsRequest(ref, count), end=VIEWS_SHARE)
        background = made.background if options.background == "auto" else options.background
        unbounded: Literal["yes", "no"] = "yes" if options.unbounded == "yes" else "no"  # a model makes one object
        return FitRequest(name, made.files, dataclasses.replace(options, background=background, unbounded=unbounded))

    return fitting.run_fit(context, name, request, None, start=VIEWS_SHARE)


# ---------------------------------------------------------------------------------------------------------- depth image


def problem_complete_depth(context: Any) -> str:
    """Why no depth image can be completed."""
    problem = problem_model(context)
    if problem:
        return problem
    info = subject(context).info
    assert info is not None
    if "complete" not in info.capabilities:
        return f"{info.label} cannot complete scans: choose a model that can"
    if context.scene.camera is None:
        return "The scene has no active camera: it must stand where the depth image was seen from"
    return problem_object_mode(context)


def read_depth(path: Path) -> np.ndarray:
    """Return a depth image [H, W], metres along the camera's z, inf where nothing was seen; top row first.

    Raises:
        UnreadableFile: no such file, or no depth image.
    """
    try:
        if path.suffix.lower() == ".npy":
            depth = np.load(path, allow_pickle=False)
        else:
            channels = exr.read(path)
            name = next((name for name in channels if name.rpartition(".")[2] in ("Z", "V", "Y", "R")), "")
            if not name:
                raise ValueError(f"of its channels {', '.join(channels)} none is a depth")
            depth = channels[name]
    except (OSError, ValueError, errors.LatheError) as error:
        raise errors.UnreadableFile(f"The depth image {path} cannot be read: {error}") from error
    if depth.ndim != 2 or not depth.size:
        raise errors.UnreadableFile(f"The depth image {path.name} must be [height, width], got {list(depth.shape)}")
    return np.asarray(depth, np.float32)


def scan_of_depth(depth: np.ndarray, camera: Camera, scene_from_world: np.ndarray) -> ScanBlob:
    """Return what a depth image shows, [H, W], as points in a scene's own frame, with where they were seen from.

    Raises:
        UnreadableFile: nothing in it is near enough to be a point.
    """
    seen = np.isfinite(depth) & (depth > 0) & (depth < 1e9)  # Blender writes 1e10 for the sky
    rows, columns = np.nonzero(seen)
    if not len(rows):
        raise errors.UnreadableFile("The depth image is empty: every pixel is sky, or not a distance")
    step = -(-len(rows) // MAX_POINTS)
    rows, columns = rows[::step], columns[::step]
    z = depth[rows, columns].astype(np.float64)
    pixels = np.stack((columns + 0.5, rows + 0.5, np.ones(len(rows))), -1)
    matrix = scene_from_world @ np.array(camera.world_from_camera)
    rays = pixels @ np.linalg.inv(np.array(camera.intrinsics)).T
    local, origin = rays * z[:, None], np.zeros((len(z), 3))
    if camera.projection == "orthographic":
        local = np.concatenate((rays[:, :2], z[:, None]), -1)
        origin[:, :2] = rays[:, :2]
    points, origins = (x @ matrix[:3, :3].T + matrix[:3, 3] for x in (local, origin))
    return ScanBlob(points.astype(np.float32), None, origins.astype(np.float32))


def complete_depth(context: Any, filepath: str) -> Job:
    """Find the shape that fits a depth image, seen from the active camera, and mesh it where the shape of the sliders
    stands. Result: the object's name.

    Raises:
        InvalidRequest: no such model, no camera. UnreadableFile: no depth image.
    """
    problem = problem_complete_depth(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path = Path(bpy.path.abspath(filepath))
    depth = read_depth(path)
    scene, chosen = context.scene, subject(context)
    info = gather.known_model(chosen.settings.model)
    camera = gather.scene_camera(scene, context.evaluated_depsgraph_get(), depth.shape[1], depth.shape[0])
    place = Subject(chosen.settings, None, chosen.world_from_scene)
    scan = scan_of_depth(depth, camera, np.linalg.inv(place.world_from_scene))
    mesh = gather.mesh_request(place)
    settings = scene.lathe.complete
    iterations, seed = settings.iterations, settings.seed
    found: dict[str, Any] = {}
    finish = finisher(place, scene, None, f"{path.stem} completed", found)

    def run(job: Job, client: Client) -> apply.PreparedMesh:
        job.report(0.0, "Sending the depth image")
        sent = CompleteRequest(info.name, client.upload(scan), iterations, seed)
        answer: LatentResult = job.ask(client, sent, start=0.02, end=0.7)
        request = with_code(client, mesh, answer.ws, found)
        return apply.prepare_mesh(job.ask(client, request, start=0.7, end=0.97))

    return session.jobs.start(
        f"Complete {path.name}", lambda job: session.using(job, lambda c: run(job, c)), finish, kind="complete"
    )
