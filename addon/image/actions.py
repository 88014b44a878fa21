"""From images to shapes, and from shapes to images.

- `image_to_shape`: the shape in an image, as a mesh that carries the latent. For models with that capability.
- `take_texture`: the texture of the object in an image, transferred to the subject. For models with that capability.
- `fit_views`: a radiance field fitted to renders of a model, which gives a model without a surface one.
- `complete_depth`: the shape that fits a depth image seen from the active camera.
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
from ..models.actions import problem_capability
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

SOURCE_IMAGE = "Lathe Picture"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FILTER = ";".join(f"*{suffix}" for suffix in SUFFIXES)
DEPTH_FILTER = "*.exr;*.npy"
MAX_BYTES = 64 << 20  # of an image file
MAX_POINTS = 20_000  # of a depth image; more do not constrain the shape further
VIEWS_SHARE = 0.4  # share of a fit's progress that rendering the views takes


# ------------------------------------------------------------------------------------------------------- image to shape


def problem_image_to_shape(context: Any) -> str:
    """Return why no image can be turned into a shape, or an empty string."""
    return _problem_image(context, "image_to_shape") or problem_object_mode(context)


def problem_take_texture(context: Any) -> str:
    """Return why no texture can be taken from an image, or an empty string."""
    return _problem_image(context, "transfer_texture")


def _problem_image(context: Any, capability: str) -> str:
    problem = problem_capability(context, capability)
    if not problem and session.jobs.find("image"):
        return "An image is being processed: wait for it or cancel it at the top"
    return problem


def image_file(filepath: str) -> Path:
    """Return the path of an image, which exists and is not too large. Raises UnreadableFile, TooLarge."""
    path = Path(bpy.path.abspath(filepath))
    if not path.is_file():
        raise errors.UnreadableFile(f"There is no image {path}: choose it again")
    if path.stat().st_size > MAX_BYTES:
        raise errors.TooLarge(f"{path.name} is larger than {MAX_BYTES >> 20} MB: reduce its size first")
    return path


def image_to_shape(context: Any, filepath: str) -> Job:
    """Find the shape in an image and mesh it at the 3D cursor. Result: the object's name.

    `session.notes` lists how the image was prepared; the prepared image is 'Lathe Picture'.

    Raises:
        InvalidRequest: the model cannot do it. UnreadableFile, TooLarge: of the image.
    """
    problem = problem_image_to_shape(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path = image_file(filepath)
    scene, chosen = context.scene, subject(context)
    info = chosen.model
    place = Subject(chosen.settings, None, gather.placed_at_cursor(scene))
    mesh = gather.mesh_request(place)
    found: dict[str, Any] = {}
    finish = finisher(place, scene, None, f"{info.label} {path.stem}", found, stand=True)
    session.notes = ()

    def run(job: Job, client: Client) -> tuple[apply.PreparedMesh, apply.PreparedImage]:
        job.report(0.0, f"Sending {path.name}")
        image = client.upload_file(path, job.check)
        answer = job.ask(client, ImageToShapeRequest(info.name, image), start=0.05, end=0.4)
        session.notes = answer.notes
        result = job.ask(client, with_code(client, mesh, answer.ws, found), start=0.4, end=0.97)
        return apply.prepare_mesh(result), _prepare_seen(answer)

    def then(made: tuple[apply.PreparedMesh, apply.PreparedImage]) -> Any:
        apply.put_image(SOURCE_IMAGE, made[1])
        return finish(made[0])

    return session.start(
        f"Shape of {path.name}",
        run,
        then,
        kind="image",
    )


def take_texture(context: Any, filepath: str) -> Job:
    """Transfer the texture of the object in an image to the subject and render the preview.

    Result: the code, which becomes the subject's latent.

    Raises:
        InvalidRequest: the model cannot do it. UnreadableFile, TooLarge: of the image.
    """
    problem = problem_take_texture(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path, chosen = image_file(filepath), subject(context)
    info = chosen.model
    latent, codes = gather.latent(chosen.settings, info), stored_codes(chosen)
    holder = Handle.of("objects", chosen.object) if chosen.object is not None else Handle.of("scenes", context.scene)
    session.notes = ()

    def run(job: Job, client: Client) -> tuple[dict[str, Any], apply.PreparedImage]:
        job.report(0.0, f"Sending {path.name}")
        upload_codes(client, codes)
        image = client.upload_file(path, job.check)
        answer = job.ask(client, TransferTextureRequest(info.name, latent, image), start=0.05)
        session.notes = answer.notes
        return latent_of_code(client, answer.ws), _prepare_seen(answer)

    def then(made: tuple[dict[str, Any], apply.PreparedImage]) -> str:
        settings = holder.get().lathe
        if settings.model != info.name:
            raise errors.LatheError("Another model was chosen while the texture was computed")
        fill(settings.latent, made[0])
        apply.put_image(SOURCE_IMAGE, made[1])
        apply.undo_push(f"Lathe: texture of {path.name}")
        if not problem_preview(bpy.context):
            preview(bpy.context)
        return str(made[0]["code"])

    return session.start(
        f"Texture of {path.name}",
        run,
        then,
        kind="image",
    )


def _prepare_seen(answer: ImageToShapeResult) -> apply.PreparedImage:
    """Return the prepared image that the model was given."""
    opaque = np.full((*answer.seen.shape[:2], 1), 255, np.uint8)
    return apply.prepare_sheet(SheetResult(np.concatenate((answer.seen, opaque), -1)[None]))


# -------------------------------------------------------------------------------------------- field fitted to its views


def views_name(chosen: Subject) -> str:
    """Return the name of the field fitted to the subject's views."""
    seed = chosen.settings.latent.seed_a
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{chosen.settings.model}_{seed}_views")[:100]


def problem_fit_views(context: Any) -> str:
    """Return why no field can be fitted to the subject's views, or an empty string."""
    problem = problem_latent(context)
    if not problem and session.jobs.find("fit"):
        return "A fit is running: pause it first"
    return problem


def fit_views(context: Any) -> Job:
    """Render the subject from all sides and fit a radiance field to the images, with the options of the panel Fit.

    Result: the name of the field's object, which can be meshed.
    """
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
        unbounded: Literal["yes", "no"] = "yes" if options.unbounded == "yes" else "no"  # a model generates one object
        return FitRequest(name, made.files, dataclasses.replace(options, background=background, unbounded=unbounded))

    return fitting.run_fit(context, name, request, None, start=VIEWS_SHARE)


# ---------------------------------------------------------------------------------------------------------- depth image


def problem_complete_depth(context: Any) -> str:
    """Return why no depth image can be completed, or an empty string."""
    problem = problem_capability(context, "complete")
    if problem:
        return problem
    if context.scene.camera is None:
        return "The scene has no active camera: add one where the depth image was taken from"
    return problem_object_mode(context)


def read_depth(path: Path) -> np.ndarray:
    """Return a depth image [H, W]: metres along the camera's z axis, inf where nothing was seen, top row first.

    Raises:
        UnreadableFile: the file does not exist or is not a depth image.
    """
    try:
        if path.suffix.lower() == ".npy":
            depth = np.load(path, allow_pickle=False)
        else:
            channels = exr.read(path)
            name = next((name for name in channels if name.rpartition(".")[2] in ("Z", "V", "Y", "R")), "")
            if not name:
                raise ValueError(f"none of its channels {', '.join(channels)} is a depth")
            depth = channels[name]
    except (OSError, ValueError, errors.LatheError) as error:
        raise errors.UnreadableFile(f"The depth image {path} cannot be read: {error}") from error
    if depth.ndim != 2 or not depth.size:
        raise errors.UnreadableFile(f"The depth image {path.name} must be [height, width], got {list(depth.shape)}")
    return np.asarray(depth, np.float32)


def scan_of_depth(depth: np.ndarray, camera: Camera, scene_from_world: np.ndarray) -> ScanBlob:
    """Return a depth image [H, W] as points in the scene's own frame, with the origin of each point's ray.

    Raises:
        UnreadableFile: it contains no finite depth.
    """
    seen = np.isfinite(depth) & (depth > 0) & (depth < 1e9)  # Blender writes 1e10 for the sky
    rows, columns = np.nonzero(seen)
    if not len(rows):
        raise errors.UnreadableFile("The depth image is empty: no pixel holds a finite distance")
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
    """Find the shape that fits a depth image seen from the active camera, and mesh it in the subject's place.

    Result: the object's name.

    Raises:
        InvalidRequest: the model cannot do it, or there is no camera. UnreadableFile: of the depth image.
    """
    problem = problem_complete_depth(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path = Path(bpy.path.abspath(filepath))
    depth = read_depth(path)
    scene, chosen = context.scene, subject(context)
    info = chosen.model
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

    return session.start(f"Complete {path.name}", run, finish, kind="complete")
