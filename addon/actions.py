"""What the buttons do, as plain functions: scripts and background Blender call these, the operators only forward.

Functions that take long return a `Job`; `session.jobs.wait_for(job)` waits for it where no timer runs. `problem_*`
functions return why something cannot be done now and what to do, or an empty string.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import math
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import apply, doctor, environment, frames, gather, latents, png, thumbnails
from .apply import Handle
from .client import Client
from .gather import Subject, generated_object, subject
from .groups import fill, plain
from .jobs import Job, Steps
from .preferences import PACKAGE
from .process import tail
from .session import Settings, session
from .wire import errors, payload
from .wire.messages import (
    MAX_RESOLUTION,
    CodeBlob,
    CompleteRequest,
    FitShapeRequest,
    GenerateRequest,
    Latent,
    LatentResult,
    ModelInfo,
    RenderRequest,
    SceneRef,
)

__all__ = ["generated_object", "subject"]

VIEWPORT = "viewport"
"""The supersede key of previews: the newest replaces the others."""


# --------------------------------------------------------------------------------------------------------- preferences


def preferences(context: Any) -> Any:
    """Return the add-on's preferences."""
    return context.preferences.addons[PACKAGE].preferences


def extension_root() -> Path:
    """Return the folder that holds addon/ and backend/."""
    return Path(__file__).resolve().parent.parent


def user_folder() -> Path:
    """Return the folder that this extension may write to."""
    return Path(bpy.utils.extension_path_user(PACKAGE, create=True))


def configure(context: Any) -> Settings:
    """Read the preferences into the session and return them."""
    chosen = preferences(context)
    folder = user_folder()
    made = environment.ready_python(environment.environment_folder(folder))
    python = Path(bpy.path.abspath(chosen.python)) if chosen.python else made
    session.settings = Settings(
        python,
        extension_root(),
        folder,
        Path(bpy.path.abspath(chosen.data)) if chosen.data else None,
        chosen.device.lower(),
        chosen.port,
    )
    return session.settings


def problem_python(context: Any) -> str:
    """Why the backend cannot be started at all."""
    if session.settings is None or session.settings.python is None:
        return "Set up the backend first: press Set Up, or choose an existing Python"
    return ""


def problem_start(context: Any) -> str:
    """Why Start cannot be pressed."""
    if session.state in ("starting", "ready"):
        return "The backend is running already" if session.state == "ready" else "The backend is starting"
    return problem_python(context)


def problem_set_up(context: Any) -> str:
    """Why Set Up cannot be pressed."""
    if session.jobs.find("set_up"):
        return "Set Up is running: cancel it in Jobs if you want to start over"
    if session.state in ("starting", "ready"):
        return "Stop the backend first: its files are in use"
    if not bpy.app.online_access and not preferences(context).wheels:
        return (
            "Blender may not use the internet: turn on Preferences > System > Allow Online Access, or choose a folder "
            "of wheels in the add-on's preferences"
        )
    return ""


def problem_model(context: Any) -> str:
    """Why nothing can be generated."""
    problem = problem_python(context)
    if problem:
        return problem
    if not session.models:
        return "No models are known yet: start the backend"
    chosen = subject(context)
    if not chosen.settings.model:
        return "Choose a model"
    if chosen.info is None:
        return f"The backend has no model {chosen.settings.model}: choose another or refresh the list"
    return ""


def problem_object_mode(context: Any) -> str:
    """Why objects cannot be added now."""
    return "" if context.mode == "OBJECT" else "Leave Edit Mode (Tab) first"


def problem_mesh(context: Any) -> str:
    """Why no mesh can be made."""
    problem = problem_model(context)
    if problem:
        return problem
    if session.jobs.find("field") and subject(context).settings.model == session.fitting:
        return "This field is being fitted: pause the fit first, or wait for it"
    chosen = subject(context)
    assert chosen.info is not None
    if not chosen.info.has_surface:
        return chosen.info.no_surface_reason or f"{chosen.info.label} has no surface to mesh"
    if context.scene.lathe.target == "OBJECT" and chosen.object is None:
        return "Select an object that was generated here, or switch Sliders Of to New Shape"
    return ""


def problem_preview(context: Any) -> str:
    """Why no preview can be rendered."""
    problem = problem_model(context)
    if not problem and context.scene.lathe.preview.source == "CAMERA" and context.scene.camera is None:
        return "The scene has no active camera: press Add Camera, or choose Through: Sliders"
    return problem


def problem_path(context: Any) -> str:
    """Why no path can be rendered."""
    problem = problem_model(context)
    if problem:
        return problem
    if context.scene.lathe.path.source == "CAMERA" and context.scene.camera is None:
        return "The scene has no active camera: press Add Camera and animate it, or choose Through: Sliders"
    if session.jobs.find("path"):
        return "A path is being rendered: wait for it or cancel it in Jobs"
    if not context.scene.lathe.path.directory:
        return "Choose a folder for the frames"
    return ""


def problem_complete(context: Any) -> str:
    """Why no scan can be completed."""
    problem = problem_model(context)
    if problem:
        return problem
    info = subject(context).info
    assert info is not None
    if "complete" not in info.capabilities:
        return f"{info.label} cannot complete scans: choose a model that can"
    active = context.active_object
    if active is None or active.type != "MESH":
        return "Select a mesh object whose points are the scan"
    return ""


def problem_fit(context: Any) -> str:
    """Why no mesh can be fitted."""
    problem = problem_python(context)
    if problem:
        return problem
    if session.jobs.find("fit"):
        return "A fit is running: wait for it or cancel it in Jobs"
    active = context.active_object
    if active is None or active.type != "MESH":
        return "Select a mesh object"
    return ""


def problem_export(context: Any) -> str:
    """Why nothing can be exported."""
    if not exported_objects(context):
        return "Select an object that was generated here"
    return problem_object_mode(context)


# -------------------------------------------------------------------------------------------------------------- backend


def start_backend(context: Any) -> Job:
    """Start the backend, unless it runs, and read its models. Result: the ServerInfo."""
    configure(context)

    def work(job: Job) -> Any:
        session.connect(job)
        return session.server

    return session.jobs.start("Start backend", work, models_known, kind="start", survives_load=True)


def device_changed(context: Any) -> bool:
    """Whether the running backend was started for another device than the preferences name."""
    return session.state == "ready" and session.device != preferences(context).device.lower()


def _use_device(context: Any, device: str) -> None:
    preferences(context).device = device
    restart_backend(context)


def restart_backend(context: Any) -> Job:
    """End the backend if it runs, and start it."""
    configure(context)

    def work(job: Job) -> Any:
        session.stop()
        session.connect(job)
        return session.server

    return session.jobs.start("Restart backend", work, models_known, kind="start", survives_load=True)


def stop_backend(context: Any) -> Job:
    """End the backend."""
    session.jobs.cancel_all()
    return session.jobs.start("Stop backend", lambda job: session.stop(), kind="stop", quiet=True, survives_load=True)


def refresh_models(context: Any) -> Job:
    """Read the list of models again."""
    configure(context)
    return session.jobs.start(
        "Read models",
        lambda job: session.using(job, session.refresh_models),
        models_known,
        kind="models",
        quiet=True,
        survives_load=True,
    )


def models_known(result: Any = None) -> Any:
    """Give scenes without a model a starter model, so that a new user can press Generate at once."""
    if session.models:
        known = list(session.models.values())
        first = next((info for info in known if info.source == "starter"), known[0])
        for scene in bpy.data.scenes:
            if not scene.lathe.model:
                set_model(scene.lathe, first)
    return result


def set_up(context: Any) -> Job:
    """Make the backend's environment, or go on making it. Result: the path of its Python."""
    problem = problem_set_up(context)
    if problem:
        raise errors.SetUpFailed(problem)
    settings, chosen = configure(context), preferences(context)
    device = environment.detect_device() if chosen.torch_build == "AUTO" else chosen.torch_build.lower()
    run = environment.SetUp(
        environment.environment_folder(settings.folder),
        settings.root,
        settings.folder / "logs" / "set_up.log",
        base_python=Path(sys.executable),
        device=device,
        index_url=chosen.index_url,
        wheels=Path(bpy.path.abspath(chosen.wheels)) if chosen.wheels else None,
    )

    def work(job: Job) -> str:
        job.when_cancelled(run.cancel)
        return str(run.run(job.report))

    def then(python: str) -> str:
        preferences(bpy.context).python = ""
        configure(bpy.context)
        return python

    return session.jobs.start("Set up", work, then, kind="set_up", survives_load=True)


def check(context: Any) -> Job:
    """Have the doctor look. Result: the findings, also in `session.findings`."""
    settings = configure(context)
    online = bpy.app.online_access
    running = session.pid

    def work(job: Job) -> list[doctor.Finding]:
        found = doctor.examine(
            settings.python,
            settings.root,
            settings.folder,
            settings.data,
            port=0 if running else settings.port,
            online=online,
            device=settings.device,
            report=job.report,
        )
        if session.state in ("died", "failed") and session.reason:
            found.append(doctor.Finding("Backend", "fault", session.reason.message, session.reason.remedy))
        elif session.server:
            found.append(doctor.Finding("Backend", "ok", f"Version {session.server.version}, {session.line}"))
        session.findings = found
        return found

    return session.jobs.start("Check", work, kind="doctor", survives_load=True)


def log_files(context: Any) -> list[Path]:
    """Return the logs there are, newest last."""
    settings = session.settings or configure(context)
    files = [path for path in (settings.folder / "logs").glob("*.log") if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime)


def open_log(context: Any) -> str:
    """Put the end of the newest log into the text 'Lathe Log', and into a text editor if one is open."""
    path = log_files(context)[-1]
    text = bpy.data.texts.get("Lathe Log") or bpy.data.texts.new("Lathe Log")
    text.from_string(f"{path}\n{tail(path, 1 << 16)}")
    for area in context.screen.areas if context.screen else ():
        if area.type == "TEXT_EDITOR":
            area.spaces.active.text = text
    return text.name


# ---------------------------------------------------------------------------------------------------------------- model


def choose_model(context: Any, name: str) -> None:
    """Give the tab's subject this model, with the model's own controls at their defaults. A field stays what it is: the
    model is then that of new shapes. Raises InvalidRequest."""
    chosen = context.scene.lathe if gather.field_object(context) else subject(context).settings
    info = gather.known_model(name)
    set_model(chosen, info)
    suit_view(context.scene, info)


def suit_view(scene: Any, info: ModelInfo) -> None:
    """Have the preview look through the sliders for a model that was trained from one side, a face say: a viewport
    seldom looks from there. Of a model that paints a shape, the shape's sketch is shown beside the picture."""
    if info.code_names:
        scene.lathe.preview.sketch = True
    low, high = info.pose_prior.azimuth
    if high - low < np.pi and scene.lathe.preview.source == "VIEWPORT":
        scene.lathe.preview.source = "SLIDERS"


def set_model(settings: Any, info: ModelInfo) -> None:
    """Write a model into a LatheScene or LatheObject."""
    previous = session.models.get(settings.model)
    settings.model = info.name
    latent = settings.latent
    latent.code = latent.code_data = ""
    before = {item.name: (item.unit, getattr(item, gather.property_of(item.unit))) for item in latent.controls}
    latent.controls.clear()
    for control in info.controls:
        item = latent.controls.add()
        item.name, item.label, item.unit = control.name, control.label, control.unit
        item.minimum, item.maximum = control.minimum, control.maximum
        set_control(item, control.default)
        unit, value = before.get(control.name, ("", None))
        if value is not None and unit == control.unit:
            setattr(item, gather.property_of(unit), value)
    latent.style_layers = [False] * gather.MAX_LAYERS
    if info.code_names:  # each seed is one code alone
        latent.mix_geometry, latent.mix_appearance = 0.0, 1.0
    elif previous is not None and previous.code_names:
        latent.mix_geometry = latent.mix_appearance = 0.0
    settings.view.fov = info.pose_prior.fov
    settings.mesh.use_level = False
    settings.mesh.level = info.iso_level


def set_control(item: Any, value: float) -> None:
    """Give a LatheControl a value of the wire."""
    item.value = value
    name = gather.property_of(item.unit)
    if name != "value":
        setattr(item, name, type(getattr(item, name))(round(value) if name == "number" else value))


def randomize_seeds(context: Any) -> None:
    """Roll both seeds of the subject."""
    latent = subject(context).settings.latent
    latent.seed_a, latent.seed_b = random.randrange(100_000), random.randrange(100_000)
    latent.code = latent.code_data = ""


def take_latent(context: Any) -> None:
    """Copy model, latent and mesh settings of the active generated object to the scene."""
    item = generated_object(context)
    copy_settings(item.lathe, context.scene.lathe)


def copy_settings(source: Any, target: Any) -> None:
    """Copy model, latent, view and mesh settings between a LatheScene and a LatheObject."""
    target.model = source.model
    for name, values in _groups(source).items():
        fill(getattr(target, name), values)


def _groups(settings: Any) -> dict[str, dict[str, Any]]:
    """Return latent, view and mesh settings as plain data."""
    groups = {name: plain(getattr(settings, name)) for name in ("latent", "view", "mesh")}
    if not settings.view.is_property_set("fov"):
        del groups["view"]["fov"]  # of a file older than the sliders: the model's own stays
    return groups


def draw_card(layout: Any, context: Any) -> None:
    """Draw the model's card into a popup."""
    info = subject(context).info
    if info is None:
        return
    column = layout.column(align=True)
    column.label(text=info.label, icon="INFO")
    column.label(text=f"Licence: {info.licence}" + (" (non-commercial)" if info.non_commercial else ""))
    column.separator()
    for line in (info.description + "\n\n" + info.card).splitlines():
        for piece in wrapped(line, 90):
            column.label(text=piece)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most about `width` characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


# ------------------------------------------------------------------------------------------------------- image and mesh


def preview(context: Any, *, draft: bool = False, quiet: bool = False) -> Job:
    """Render the subject into the image 'Lathe Preview'; a newer preview replaces it. Result: the image's name."""
    configure(context)
    chosen = subject(context)
    settings = context.scene.lathe.preview
    show = settings.show
    ref, camera = gather.seen_by_preview(context, chosen, max(16, settings.size // 2) if draft else settings.size)
    request = RenderRequest(ref, camera, "draft" if draft else "full", with_normal=show == "NORMAL")
    code = code_of(chosen)
    remember = None if draft else latents.rememberer(context, chosen)

    sketch = (apply.DEPTH_IMAGE, "DEPTH"), (apply.SILHOUETTE_IMAGE, "SILHOUETTE")
    shown = ((apply.PREVIEW_IMAGE, show), *(sketch if settings.sketch else ()))

    def work(job: Job) -> tuple[dict[str, apply.PreparedImage], str, str]:
        result = _ask(job, request, code, supersede=VIEWPORT)
        images = {name: apply.prepare_image(result, what) for name, what in shown}
        return images, thumbnails.pack(result.rgba) if remember else "", result.note

    def then(made: tuple[dict[str, apply.PreparedImage], str, str]) -> str:
        images, thumbnail, session.preview_note = made
        if remember:
            remember(thumbnail)
        names = [apply.put_image(name, image) for name, image in images.items()]
        return names[0]

    return session.jobs.start("Preview", work, then, kind="preview", quiet=quiet)


def code_of(chosen: Subject) -> str:
    """Return the subject's stored code, packed, in base64; empty where seed A counts."""
    return chosen.settings.latent.code_data if chosen.settings.latent.code else ""


def _ask(job: Job, request: Any, code: str = "", *, supersede: str = "", start: float = 0.0, end: float = 1.0) -> Any:
    """Run a request whose latent may lie in the file: then it is uploaded first, if the backend lacks it."""

    def run(client: Client) -> Any:
        if code:
            client.upload(payload.unpack(base64.b64decode(code)))
        return job.ask(client, request, supersede=supersede, start=start, end=end)

    return session.using(job, run)


def variants(context: Any, count: int = 0, size: int = 128, *, more: bool = False) -> Job:
    """Render a sheet of seeds, all else as it is set, to choose from in the tab and in the image 'Lathe Variants'.
    Result: the image's name.

    count: how many; 0 as the tab says. more: go on after the last seed of the sheet that is there.
    """
    configure(context)
    chosen, scene = subject(context), context.scene
    info = gather.known_model(chosen.settings.model)
    sheet = latents.sheet(scene, chosen, count or scene.lathe.variant_count, more)
    camera = None
    if scene.lathe.preview.source == "SLIDERS":
        camera = gather.orbit(info, chosen.settings.view, size, size)
    controls = gather.controls(chosen.settings, info)
    request = GenerateRequest(info.name, sheet.latents, size, camera, controls, "draft")
    scene_handle = Handle.of("scenes", scene)
    code = code_of(chosen) if request.latents[0].code else ""

    def work(job: Job) -> tuple[apply.PreparedImage, list[str]]:
        result = _ask(job, request, code)
        return apply.prepare_sheet(result), [thumbnails.pack(image) for image in result.images]

    def then(made: tuple[apply.PreparedImage, list[str]]) -> str:
        latents.put_sheet(scene_handle.get(), sheet, made[1])
        return apply.put_image(apply.VARIANTS_IMAGE, made[0])

    return session.jobs.start(f"{len(sheet.latents)} variants of {info.label}", work, then, kind="variants")


def generate_mesh(context: Any, *, draft: bool = False, quiet: bool = False) -> Job:
    """Make the subject's mesh: a new object, or the new mesh of an old one. Result: the object's name.

    A field gets a mesh object of its own, which is replaced the next time and always put where the field is.
    draft: the bare surface, and no step of undo.
    """
    configure(context)
    chosen = subject(context)
    request = gather.mesh_request(chosen)
    if draft:
        request = dataclasses.replace(request, target_faces=0, fill_holes=False, color="none")
    info = gather.known_model(chosen.settings.model)
    code = code_of(chosen)
    scene = context.scene
    target, name = chosen.object, f"{info.label} {request.scene.latent.seed_a}"
    if target is not None and target.lathe.is_field:
        target, name = mesh_of_field(target), f"{chosen.object.name} Mesh"
    if target is not None and target.type != "MESH":
        target = None  # an empty that holds a latent
    if target is None and chosen.object is None and chosen.settings.mesh.placement == "LAST":
        last = scene.lathe.last_object
        target = last if last is not None and last.name in scene.objects and last.type == "MESH" else None
    finish = finisher(chosen, scene, target, name, undo=not draft)

    def work(job: Job) -> apply.PreparedMesh:
        result = _ask(job, request, code, end=0.95)
        job.report(0.95, "Preparing")
        return apply.prepare_mesh(result)

    return session.jobs.start(f"Mesh of {info.label}", work, finish, kind="mesh", quiet=quiet)


def mesh_of_field(field: Any) -> Any:
    """Return the mesh object that was made of a field, or None. A duplicate of either is nobody's partner."""
    made = field.lathe.partner
    linked = made is not None and made.type == "MESH" and made.users_collection  # a deleted one still has its pointer
    return made if linked and made.lathe.partner == field else None


def finisher(
    chosen: Subject, scene: Any, target: Any, name: str, found: dict[str, Any] | None = None, undo: bool = True
) -> Any:
    """Return the `then` that puts a mesh in and notes on the object what it came from, as it was when asked.

    found: properties of the latent to set on top (a code found by completing).
    """
    noted = _noted(chosen.settings)
    scene_handle = Handle.of("scenes", scene)
    target_handle = Handle.of("objects", target) if target is not None else None
    world = chosen.world_from_scene
    extra = found if found is not None else {}
    of_field = chosen.object is not None and chosen.object.lathe.is_field
    field_handle = Handle.of("objects", chosen.object) if of_field else None
    latents_count = not gather.is_field(chosen.info)

    def write(item: Any) -> None:
        item.lathe.is_generated = True
        _restore(noted, item.lathe)
        for key, value in extra.items():
            setattr(item.lathe.latent, key, value)
        place = scene_handle.find()
        if latents_count and undo and place is not None:
            latents.put_first(place.lathe.history, noted["model"], plain(item.lathe.latent))
        field = field_handle.find() if field_handle else None
        if field is not None:
            item.lathe.partner, field.lathe.partner = field, item
            item.matrix_world = Matrix(world.tolist())

    def then(prepared: apply.PreparedMesh) -> Steps:
        return apply.put_shape(
            prepared, name, scene_handle, world, target_handle, write, undo=undo, select=not of_field
        )

    return then


def _noted(settings: Any) -> dict[str, Any]:
    """Return model, latent, view and mesh settings as plain data."""
    crop = {}
    if hasattr(settings, "use_crop"):
        crop = {"use_crop": settings.use_crop, "crop_min": settings.crop_min[:], "crop_max": settings.crop_max[:]}
    return {"model": settings.model, "crop": crop, **_groups(settings)}


def _restore(noted: dict[str, Any], settings: Any) -> None:
    settings.model = noted["model"]
    for key, value in noted["crop"].items():
        setattr(settings, key, value)
    for name in ("latent", "view", "mesh"):
        fill(getattr(settings, name), noted[name])


def add_camera(context: Any) -> Any:
    """Add a camera where the sliders look from, which is the model's own view unless they were moved; make it the
    active one, and return it."""
    chosen = subject(context)
    info = gather.known_model(chosen.settings.model)
    data = bpy.data.cameras.new("Lathe Camera")
    camera = bpy.data.objects.new("Lathe Camera", data)
    context.collection.objects.link(camera)
    context.scene.camera = camera
    width, height = gather.render_size(context.scene)
    data.sensor_fit = "HORIZONTAL" if width >= height else "VERTICAL"
    seen = gather.orbit(info, chosen.settings.view, width, height)
    data.angle = 2 * math.atan(max(width, height) / 2 / seen.intrinsics[0][0])
    pose = np.array(seen.world_from_camera)
    world = chosen.world_from_scene
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of(world) @ pose[:3, :3]
    matrix[:3, 3] = (world @ pose[:, 3])[:3]
    camera.matrix_world = Matrix((matrix @ frames.CAMERA_FLIP).tolist())
    return camera


def rotation_of(world: np.ndarray) -> np.ndarray:
    """Return the rotation [3, 3] nearest to that of an affine transform [4, 4]."""
    u, _, vt = np.linalg.svd(world[:3, :3])
    rotation: np.ndarray = u @ vt
    if np.linalg.det(rotation) < 0:  # a mirrored object; no camera is mirrored
        u[:, -1] *= -1
        rotation = u @ vt
    return rotation


def use_remembered(context: Any, where: str, index: int) -> None:
    """Give the tab's subject a latent of the "history" or of the "variants", and its model. Raises InvalidRequest."""
    items = getattr(context.scene.lathe, where)
    if not 0 <= index < len(items):
        raise errors.InvalidRequest("That latent is no longer in the list")
    entry = items[index]
    info = gather.known_model(entry.model)
    settings = context.scene.lathe if gather.field_object(context) else subject(context).settings
    if settings.model != entry.model:
        set_model(settings, info)
    fill(settings.latent, plain(entry.latent))


def star(context: Any, where: str, index: int) -> None:
    """Make a latent a favourite, or no longer; one of the "variants" gets into the history by it. Raises
    InvalidRequest."""
    history, items = context.scene.lathe.history, getattr(context.scene.lathe, where)
    if not 0 <= index < len(items):
        raise errors.InvalidRequest("That latent is no longer in the list")
    if where == "variants":
        latents.put_first(history, items[index].model, plain(items[index].latent), items[index].thumbnail)
        items, index = history, 0
        history[0].starred = False
    items[index].starred = not items[index].starred


def add_latent(context: Any) -> Any:
    """Add an empty that holds the latent, its model and its view, to be keyframed, driven and copied as an object, and
    return it. For models without a surface it is what a mesh is for others."""
    chosen = subject(context)
    info = gather.known_model(chosen.settings.model)
    item = bpy.data.objects.new(f"{info.label} {chosen.settings.latent.seed_a}", None)
    item.empty_display_type = "CUBE"
    item.empty_display_size = float(np.abs(np.array(info.bounds)).max())
    item.matrix_world = Matrix(chosen.world_from_scene.tolist())
    context.collection.objects.link(item)
    item.lathe.is_generated = True
    _restore(_noted(chosen.settings), item.lathe)
    apply.select_alone(item)
    context.scene.lathe.target = "OBJECT"
    return item


def problem_latent(context: Any) -> str:
    """Why there is no latent to work with."""
    problem = problem_model(context)
    return problem or ("A radiance field has no latents" if gather.is_field(subject(context).info) else "")


def keyframe_walk(context: Any) -> tuple[int, int]:
    """Keyframe the subject's latent along the walk; return the first and the last frame. Raises InvalidRequest."""
    problem = problem_latent(context)
    if problem:
        raise errors.InvalidRequest(problem)
    return latents.keyframe_walk(context.scene, subject(context).settings)


# ---------------------------------------------------------------------------------------------------------- camera path


def render_path(context: Any) -> Job:
    """Render the animation, through the active camera or the sliders, into PNG files. Result: the folder.

    The scene is read first, a few frames a tick; after that nothing is read from it, so editing may go on. Frames whose
    file exists are skipped unless Overwrite is on.
    """
    problem = problem_path(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    scene = context.scene
    settings = scene.lathe.path
    folder = path_folder(context)
    frames = list(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    wanted = [frame for frame in frames if settings.overwrite or not frame_file(folder, frame).exists()]
    chosen = subject(context)
    requests: list[RenderRequest] = []
    reading = _read_path(
        Handle.of("scenes", scene),
        Handle.of("objects", chosen.object) if chosen.object is not None else None,
        wanted,
        settings.quality.lower(),
        requests,
        settings.source == "SLIDERS",
    )
    code = code_of(chosen)

    def work(job: Job) -> str:
        done = len(frames) - len(wanted)
        if requests:
            session.using(job, lambda client: _render_frames(job, client, code, wanted, requests, folder, done))
        return str(folder)

    return session.jobs.start(f"Camera path, {len(frames)} frames", work, kind="path", prepare=reading)


def path_folder(context: Any) -> Path:
    """Return where the frames go."""
    return own_folder(context.scene.lathe.path.directory)


def own_folder(directory: str) -> Path:
    """Return the folder that a property means. In a file that was never saved // is a folder of this extension and
    Blender run."""
    if directory.startswith("//") and not bpy.data.filepath:
        return user_folder() / "unsaved" / Path(bpy.app.tempdir).name / directory[2:]
    return Path(bpy.path.abspath(directory))


def frame_file(folder: Path, frame: int) -> Path:
    """Return the file of a frame."""
    return folder / f"{frame:04d}.png"


def _read_path(
    scene_handle: Handle,
    target: Handle | None,
    wanted: list[int],
    quality: str,
    requests: list[RenderRequest],
    sliders: bool = False,
) -> Steps:
    """Go through the frames and note what each one shows; then go back to the frame the user is in."""
    scene = scene_handle.get()
    before = scene.frame_current, scene.frame_subframe
    try:
        for frame in wanted:
            scene = scene_handle.get()
            scene.frame_set(frame)
            view_layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
            depsgraph = view_layer.depsgraph
            if target is None:
                settings, world = depsgraph.scene_eval.lathe, gather.placed_at_cursor(scene)
            else:
                item = target.get().evaluated_get(depsgraph)
                settings = item.lathe
                world = gather.world_from_field(item) if settings.is_field else np.array(item.matrix_world)
            chosen, size = Subject(settings, None, world), gather.render_size(scene)
            if sliders:
                seen = gather.seen_through_sliders(chosen, *size)
            else:
                seen = gather.scene_ref(chosen), gather.scene_camera(scene, depsgraph, *size)
            requests.append(RenderRequest(*seen, quality))
            yield
    finally:
        found = scene_handle.find()
        if found is not None:
            found.frame_set(before[0], subframe=before[1])


def _render_frames(
    job: Job, client: Client, code: str, wanted: list[int], requests: list[RenderRequest], folder: Path, done: int
) -> None:
    """Render one frame after the other, always with the next one queued, so that the backend never waits for us."""
    if code:
        client.upload(payload.unpack(base64.b64decode(code)))
    total = done + len(wanted)
    upcoming = ""
    try:
        for index, frame in enumerate(wanted):
            job.report((done + index) / total, f"Frame {done + index + 1} of {total}")
            current = upcoming or client.submit(requests[index])
            upcoming = client.submit(requests[index + 1]) if index + 1 < len(wanted) else ""
            part = (done + index) / total
            result = job.collect(client, current, start=part, end=part + 1 / total)
            png.write(frame_file(folder, frame), result.rgba)
    finally:
        if upcoming:
            with contextlib.suppress(errors.LatheError):  # a dead backend has cancelled it already
                client.cancel(upcoming)


# ----------------------------------------------------------------------------------------------------- complete and fit


def complete(context: Any) -> Job:
    """Find the shape that fits the active object's points and mesh it in the same place. Result: the object's name."""
    problem = problem_complete(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    chosen = subject(context)
    info = gather.known_model(chosen.settings.model)
    scan_object, scene = context.active_object, context.scene
    scan = gather.scan(scan_object, info)
    iterations, seed = scene.lathe.complete.iterations, scene.lathe.complete.seed
    world = np.array(scan_object.matrix_world)
    mesh = gather.mesh_request(Subject(chosen.settings, None, world))
    found: dict[str, Any] = {}
    finish = finisher(Subject(chosen.settings, None, world), scene, None, f"{scan_object.name} completed", found)

    def run(job: Job, client: Client) -> apply.PreparedMesh:
        job.report(0.0, "Sending the scan")
        blob = client.upload(scan)
        answer: LatentResult = job.ask(client, CompleteRequest(info.name, blob, iterations, seed), start=0.02, end=0.7)
        stored = CodeBlob(np.ascontiguousarray(answer.ws))
        found.update(code=client.upload(stored), code_data=base64.b64encode(payload.pack(stored)).decode())
        found.update(mix_geometry=0.0, mix_appearance=0.0)  # the code alone is the shape, seed B has no part in it
        ref = SceneRef(info.name, Latent(code=found["code"]), mesh.scene.controls, mesh.scene.world_from_scene)
        result = job.ask(client, dataclasses.replace(mesh, scene=ref), start=0.7, end=0.97)
        return apply.prepare_mesh(result)

    return session.jobs.start(
        f"Complete {scan_object.name}", lambda job: session.using(job, lambda c: run(job, c)), finish, kind="complete"
    )


def fit_shape(context: Any) -> Job:
    """Train a network on the active mesh. Result: the name of the new model, which becomes the scene's."""
    problem = problem_fit(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    item, scene = context.active_object, context.scene
    if item.mode == "EDIT":
        item.update_from_editmode()
    mesh = gather.triangles(item, context.evaluated_depsgraph_get())
    settings = scene.lathe.fit
    name = settings.name or re.sub(r"[^A-Za-z0-9_.-]+", "_", item.name).strip("_.-") or "shape"
    scene_handle = Handle.of("scenes", scene)
    steps, preset, seed = settings.steps, settings.preset.lower(), settings.seed

    def run(job: Job, client: Client) -> str:
        job.report(0.0, "Sending the mesh")
        request = FitShapeRequest(name, client.upload(mesh), steps, preset, seed)
        result = job.ask(client, request, start=0.02)
        session.refresh_models(client)
        return str(result.name)

    def then(model: str) -> str:
        found = scene_handle.find()
        if found is not None and model in session.models:
            set_model(found.lathe, session.models[model])
            apply.undo_push(f"Lathe: model {model}")
        return model

    return session.jobs.start(
        f"Fit {item.name}",
        lambda job: session.using(job, lambda client: run(job, client)),
        then,
        kind="fit",
        survives_load=True,
    )


# --------------------------------------------------------------------------------------------------------------- export


def exported_objects(context: Any) -> list[Any]:
    """Return the selected generated objects, or the active one."""
    selected = [item for item in context.view_layer.objects.selected if item.type == "MESH" and item.lathe.is_generated]
    active = generated_object(context)
    return selected or ([active] if active is not None and active.type == "MESH" else [])


def export_path(context: Any) -> str:
    """Return the file that an export writes unless the user chooses another."""
    name = bpy.path.clean_name(exported_objects(context)[0].name)
    folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
    return str(folder / f"{name}{EXTENSIONS[context.scene.lathe.export.format]}")


EXTENSIONS = {"GLB": ".glb", "OBJ": ".obj", "PLY": ".ply", "USD": ".usdc"}


def export(context: Any, filepath: str, kind: str) -> str:
    """Write the selected generated objects with Blender's own exporter and return the file's path.

    GLB and OBJ have Y up, PLY and USD keep Z up, as their readers expect. Raises CannotWrite.
    """
    path = Path(bpy.path.abspath(filepath))
    if path.suffix.lower() != EXTENSIONS[kind] and not (kind == "USD" and path.suffix.lower() in (".usd", ".usda")):
        path = path.with_name(path.name + EXTENSIONS[kind])
    chosen = exported_objects(context)
    if not chosen:
        raise errors.InvalidRequest("Select an object that was generated here")
    layer = context.view_layer
    before, active = list(layer.objects.selected), layer.objects.active
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for item in before:
            item.select_set(False)
        for item in chosen:
            item.select_set(True)
        name = str(path)
        if kind == "GLB":
            if not hasattr(bpy.types, "EXPORT_SCENE_OT_gltf"):
                raise errors.CannotWrite(
                    "Blender's glTF add-on is off: turn on Preferences > Add-ons > glTF 2.0 format, "
                    "or choose another format"
                )
            bpy.ops.export_scene.gltf(filepath=name, export_format="GLB", use_selection=True)
        elif kind == "OBJ":
            bpy.ops.wm.obj_export(filepath=name, export_selected_objects=True, export_colors=True)
        elif kind == "PLY":
            bpy.ops.wm.ply_export(filepath=name, export_selected_objects=True, export_colors="SRGB")
        else:
            bpy.ops.wm.usd_export(filepath=name, selected_objects_only=True)
    except (OSError, RuntimeError) as error:
        raise errors.CannotWrite(f"{path} cannot be written: {error}") from error
    finally:
        for item in layer.objects.selected:
            item.select_set(False)
        for item in before:
            item.select_set(True)
        layer.objects.active = active
    if not path.is_file():
        raise errors.CannotWrite(f"{path} was not written: Blender's exporter says why in the Info editor")
    return str(path)


# ------------------------------------------------------------------------------------------------------------- remedies


def apply_remedy(context: Any, action: str, value: str) -> None:
    """Do what an error's remedy says. Raises NotSupported for an action that this version does not know."""
    remedy = REMEDIES.get(action)
    if remedy is None:
        raise errors.NotSupported("This version of the extension cannot do that for you: follow the sentence above")
    remedy(context, value)
    session.jobs.dismiss()


def _lower_resolution(context: Any, value: str) -> None:
    failed = session.jobs.failed
    if failed is not None and failed.kind == "preview":
        context.scene.lathe.preview.size = int(float(value))
    elif failed is not None and failed.kind == "field":
        context.scene.lathe.capture.size //= 2
    else:
        subject(context).settings.mesh.resolution = int(float(value))


def _raise_resolution(context: Any, value: str) -> None:
    subject(context).settings.mesh.resolution = min(int(float(value)), MAX_RESOLUTION)


def _set_level(context: Any, value: str) -> None:
    mesh = subject(context).settings.mesh
    mesh.use_level, mesh.level = True, float(value)


def _reset_control(context: Any, value: str) -> None:
    chosen = subject(context)
    for control in chosen.info.controls if chosen.info else ():
        item = chosen.settings.latent.controls.get(control.name)
        if control.name == value and item is not None:
            set_control(item, control.default)


def _any_port(context: Any, value: str) -> None:
    preferences(context).port = 0
    restart_backend(context)


def _retry(context: Any, value: str) -> None:
    """Start the kind of job again that failed last."""
    failed = session.jobs.failed
    if failed is not None and failed.kind in AGAIN:
        AGAIN[failed.kind](context)


AGAIN: dict[str, Callable[[Any], Any]] = {
    "mesh": generate_mesh, "preview": preview, "path": render_path, "variants": variants, "complete": complete,
    "fit": fit_shape, "set_up": set_up, "start": restart_backend,
}  # fmt: skip
"""By kind of job, what starts it again."""


def reset_crop(context: Any, value: str = "") -> None:
    """Switch the subject's crop box off and let it be the field's whole box."""
    item = subject(context).object
    if item is not None:
        item.lathe.use_crop = False
        item.lathe.crop_min, item.lathe.crop_max = item.lathe.box_min, item.lathe.box_max


def _show(call: Callable[[], Any]) -> Callable[[Any, str], None]:
    """Return a remedy that opens something in a window; background Blender has none."""
    return lambda context, value: None if bpy.app.background else call()


def _choose_folder(context: Any, value: str) -> None:
    failed = session.jobs.failed
    what = "DATA_SETS" if failed is not None and failed.kind == "capture" else "PATH"
    _show(lambda: bpy.ops.lathe.choose_folder("INVOKE_DEFAULT", what=what))(context, value)


def _import_again(context: Any, value: str) -> None:
    """Open the import's file browser at the checkpoint that was tried last."""
    _show(lambda: bpy.ops.lathe.import_checkpoint("INVOKE_DEFAULT", filepath=session.importing))(context, value)


REMEDIES: dict[str, Callable[[Any, str], Any]] = {
    "set_up": lambda context, value: set_up(context),
    "update_backend": lambda context, value: set_up(context),
    "restart_backend": lambda context, value: restart_backend(context),
    "refresh_models": lambda context, value: refresh_models(context),
    "doctor": lambda context, value: check(context),
    "open_log": lambda context, value: open_log(context),
    "show_log": lambda context, value: open_log(context),
    "open_folder": lambda context, value: _show(lambda: bpy.ops.wm.path_open(filepath=value))(context, value),
    "add_camera": lambda context, value: add_camera(context),
    "lower_resolution": _lower_resolution,
    "raise_resolution": _raise_resolution,
    "set_level": _set_level,
    "reset_level": lambda context, value: setattr(subject(context).settings.mesh, "use_level", False),
    "reset_control": _reset_control,
    "reset_crop": reset_crop,
    "any_port": _any_port,
    "choose_port": _any_port,
    "retry": _retry,
    "upload_again": _retry,
    "use_cpu": lambda context, value: _use_device(context, "CPU"),
    "use_auto_device": lambda context, value: _use_device(context, "AUTO"),
    "use_cpu_build": lambda context, value: setattr(preferences(context), "torch_build", "CPU"),
    "choose_folder": _choose_folder,
    "choose_kind": _import_again,
    "import_again": _import_again,
    "choose_python": _show(lambda: bpy.ops.lathe.choose_python("INVOKE_DEFAULT")),
    "allow_online": _show(lambda: bpy.ops.screen.userpref_show(section="SYSTEM")),
    "update_addon": _show(lambda: bpy.ops.screen.userpref_show(section="EXTENSIONS")),
}
"""What the panel makes a button of; other remedies are in the sentence alone."""


def redraw(context: Any) -> None:
    """Have the tab drawn again."""
    apply.redraw()
