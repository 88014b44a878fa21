"""Actions that fix errors with one click.

An error's remedy names an action; the panel draws it as a button, which calls the handler below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..backend.actions import check, open_log, restart_backend, set_up, use_device
from ..field import actions as field
from ..image.actions import fit_views
from ..link.session import session
from ..models.actions import refresh_models
from ..models.importing import free_name, model_name
from ..path.actions import render_path
from ..preferences import preferences
from ..preview.actions import add_camera, preview
from ..scene import gather
from ..scene.gather import subject
from ..scene.settings import set_control
from ..shape.actions import generate_mesh, variants
from ..shape.scan import complete, fit_shape
from ..training import actions as training
from ..wire import errors
from ..wire.errors import Action
from ..wire.messages import MAX_IMAGE_SIDE

Handler = Callable[[Any, str], Any]
"""(context, value): applies a remedy. The value is the remedy's, as text; empty where it has none."""


def apply_remedy(context: Any, action: str, value: str) -> None:
    """Apply an error's remedy. Raises NotSupported for an action that this version does not know."""
    handler = next((handler for known, handler in REMEDIES.items() if known == action), None)
    if handler is None:
        raise errors.NotSupported("This version of the extension cannot do that for you: follow the sentence above")
    handler(context, value)
    session.jobs.dismiss()


def remedy_button(layout: Any, remedy: errors.Remedy | None) -> None:
    """Draw the button of an error's remedy, if it has one."""
    if remedy is not None:
        button = layout.operator("lathe.apply_remedy", text=remedy.label or "What to Do", icon="TOOL_SETTINGS")
        button.action = remedy.action
        button.value = "" if remedy.value is None else str(remedy.value)


# ------------------------------------------------------------------------------------------------------------- handlers


def _retry(context: Any, value: str) -> None:
    """Start the job again that failed last. Raises NotSupported for one that needs a file chosen by the user."""
    failed = session.jobs.failed
    if failed is None:
        return
    if failed.kind not in RETRY:
        raise errors.NotSupported(f"{failed.label}: choose the file again")
    RETRY[failed.kind](context)


def _any_port(context: Any, value: str) -> None:
    preferences(context).port = 0
    restart_backend(context)


def _lower_resolution(context: Any, value: str) -> None:
    kind = session.jobs.failed.kind if session.jobs.failed is not None else ""
    if kind == "preview":
        context.scene.lathe.preview.size = int(float(value))
    elif kind == "path":
        _limit_render_size(context.scene, int(float(value)))
    elif kind == "fit":
        context.scene.lathe.capture.size //= 2
    else:
        subject(context).settings.mesh.resolution = int(float(value))


def _limit_render_size(scene: Any, longest: int) -> None:
    """Scale the scene's render size down so that its longer side has at most `longest` pixels."""
    width, height = gather.render_size(scene)
    scale = min(1.0, longest / max(width, height))
    scene.render.resolution_x, scene.render.resolution_y = max(4, int(width * scale)), max(4, int(height * scale))
    scene.render.resolution_percentage = 100


def _set_value(context: Any, value: str) -> None:
    """Move an option into its range. Properties have the ranges of their options, so this is the render size.

    Raises NotSupported for any other option: a script passed it.
    """
    if value not in ("width", "height"):
        raise errors.NotSupported(f"The value of {value} is not a setting of the panel: change it in the script")
    _limit_render_size(context.scene, MAX_IMAGE_SIDE)


def _choose_name(context: Any, value: str) -> None:
    """Replace a name that is in use by a free one."""
    failed, lathe = session.jobs.failed, context.scene.lathe
    if failed is not None and failed.kind == "fit_shape":
        lathe.fit.name = free_name(lathe.fit.name or context.active_object.name)
    elif failed is not None and failed.kind == "train":
        lathe.training.name = free_name(training.training_name(context))
    elif failed is not None and failed.kind == "import":
        name = model_name(Path(session.importing))
        _in_window(lambda path: bpy.ops.lathe.import_checkpoint("INVOKE_DEFAULT", filepath=path, name=name))(
            context, session.importing
        )
    else:
        lathe.field.name = free_name(field.field_name(context))


def _mesh_setting(name: str) -> Handler:
    """Return a handler that sets a whole number of the subject's mesh settings; Blender keeps it in its range."""
    return lambda context, value: setattr(subject(context).settings.mesh, name, int(float(value)))


def _set_level(context: Any, value: str) -> None:
    mesh = subject(context).settings.mesh
    mesh.use_level, mesh.level = True, float(value)


def _reset_control(context: Any, value: str) -> None:
    chosen = subject(context)
    for control in chosen.info.controls if chosen.info else ():
        item = chosen.settings.latent.controls.get(control.name)
        if control.name == value and item is not None:
            set_control(item, control.default)


def _run_sfm(context: Any, value: str) -> None:
    settings = context.scene.lathe.field
    settings.source, settings.photos = "PHOTOS", settings.folder


def _flip_axes(context: Any, value: str) -> None:
    settings = context.scene.lathe.field
    settings.flip_axes = not settings.flip_axes


def _in_window(call: Callable[[str], Any]) -> Handler:
    """Return a handler that opens something in a window; background Blender has none."""
    return lambda context, value: None if bpy.app.background else call(value)


def _choose_folder(value: str) -> None:
    failed = session.jobs.failed
    what = "DATA_SETS" if failed is not None and failed.kind == "capture" else "PATH"
    bpy.ops.lathe.choose_folder("INVOKE_DEFAULT", what=what)


def _import_again(value: str) -> None:
    """Open the import's file browser at the checkpoint that was tried last."""
    bpy.ops.lathe.import_checkpoint("INVOKE_DEFAULT", filepath=session.importing)


# --------------------------------------------------------------------------------------------------------------- tables

RETRY: dict[str, Callable[[Any], Any]] = {
    "capture": field.capture,
    "complete": complete,
    "fit": field.fit,
    "fit_shape": fit_shape,
    "import": lambda context: _in_window(_import_again)(context, ""),
    "mesh": generate_mesh,
    "path": render_path,
    "preview": preview,
    "set_up": set_up,
    "sfm": field.find_cameras,
    "start": restart_backend,
    "train": training.train,
    "variants": variants,
}
"""Function that starts a job again, by kind of job."""

REMEDIES: dict[Action, Handler] = {
    # the backend and its environment
    "set_up": lambda context, value: set_up(context),
    "restart_backend": lambda context, value: restart_backend(context),
    "update_addon": _in_window(lambda value: bpy.ops.screen.userpref_show(section="EXTENSIONS")),
    "update_backend": lambda context, value: set_up(context),
    "doctor": lambda context, value: check(context),
    "open_log": lambda context, value: open_log(context),
    "open_folder": _in_window(lambda value: bpy.ops.wm.path_open(filepath=value)),
    "choose_python": _in_window(lambda value: bpy.ops.lathe.choose_python("INVOKE_DEFAULT")),
    "any_port": _any_port,
    "allow_online": _in_window(lambda value: bpy.ops.screen.userpref_show(section="SYSTEM")),
    "use_auto_device": lambda context, value: use_device(context, "AUTO"),
    "use_cpu_build": lambda context, value: setattr(preferences(context), "torch_build", "CPU"),
    # models
    "refresh_models": lambda context, value: refresh_models(context),
    "choose_model": _in_window(lambda value: bpy.ops.wm.call_menu(name="LATHE_MT_model")),
    "choose_kind": _in_window(_import_again),
    "import_again": _in_window(_import_again),
    "download_again": _in_window(_import_again),
    "choose_name": _choose_name,
    # any request
    "retry": _retry,
    "upload_again": _retry,
    "set_value": _set_value,
    "lower_resolution": _lower_resolution,
    "reset_control": _reset_control,
    # meshes
    "raise_resolution": _mesh_setting("resolution"),
    "set_resolution": _mesh_setting("resolution"),
    "set_level": _set_level,
    "lower_target_faces": _mesh_setting("target_faces"),
    "set_texture_size": _mesh_setting("texture_size"),
    "set_format": lambda context, value: setattr(context.scene.lathe.export, "format", value.upper()),
    "choose_folder": _in_window(_choose_folder),
    "fit_views": lambda context, value: fit_views(context),
    # radiance fields
    "add_camera": lambda context, value: add_camera(context),
    "run_sfm": _run_sfm,
    "flip_axes": _flip_axes,
    "ignore_masks": lambda context, value: setattr(context.scene.lathe.field, "use_masks", False),
    "use_preset": lambda context, value: setattr(context.scene.lathe.field, "preset", value.upper()),
    "restart_fit": lambda context, value: field.fit(context),
    "resume_fit": field.continue_fit,
    "reset_crop": lambda context, value: field.reset_crop(context),
    # trainings
    "restart_training": lambda context, value: training.train(context),
    "resume_training": training.resume,
}
"""Handler of each action in the register of remedies (`wire/errors.py`)."""
