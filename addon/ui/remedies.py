"""Actions that fix errors with one click.

An error's remedy names an action; the panel draws it as a button, which calls the handler below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from ..backend.actions import check, open_log, restart_backend, set_up, use_device
from ..field import actions as field
from ..link.session import session
from ..models.actions import refresh_models
from ..path.actions import render_path
from ..preferences import preferences
from ..preview.actions import add_camera, preview
from ..scene.gather import subject
from ..scene.settings import set_control
from ..shape.actions import generate_mesh, variants
from ..shape.scan import complete, fit_shape
from ..wire import errors
from ..wire.messages import MAX_RESOLUTION

REMEDY_LABEL = "What to Do"

Handler = Callable[[Any, str], Any]
"""(context, value): applies a remedy. The value is the remedy's, as text; empty where it has none."""


def apply_remedy(context: Any, action: str, value: str) -> None:
    """Apply an error's remedy. Raises NotSupported for an action that this version does not know."""
    handler = REMEDIES.get(action)
    if handler is None:
        raise errors.NotSupported("This version of the extension cannot do that for you: follow the sentence above")
    handler(context, value)
    session.jobs.dismiss()


def remedy_button(layout: Any, remedy: errors.Remedy | None) -> None:
    """Draw the button of an error's remedy, if there is a handler for it."""
    if remedy is not None and remedy.action in REMEDIES:
        button = layout.operator("lathe.apply_remedy", text=remedy.label or REMEDY_LABEL, icon="TOOL_SETTINGS")
        button.action = remedy.action
        button.value = "" if remedy.value is None else str(remedy.value)


# ------------------------------------------------------------------------------------------------------------- handlers


def _retry(context: Any, value: str) -> None:
    """Start the kind of job again that failed last."""
    failed = session.jobs.failed
    if failed is not None and failed.kind in RETRY:
        RETRY[failed.kind](context)


def _any_port(context: Any, value: str) -> None:
    preferences(context).port = 0
    restart_backend(context)


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
    "mesh": generate_mesh,
    "preview": preview,
    "path": render_path,
    "variants": variants,
    "complete": complete,
    "fit": fit_shape,
    "set_up": set_up,
    "start": restart_backend,
    "field": field.fit,
    "sfm": field.find_cameras,
    "capture": field.capture,
}
"""Function that starts a job again, by kind of job."""

REMEDIES: dict[str, Handler] = {
    "set_up": lambda context, value: set_up(context),
    "update_backend": lambda context, value: set_up(context),
    "restart_backend": lambda context, value: restart_backend(context),
    "refresh_models": lambda context, value: refresh_models(context),
    "doctor": lambda context, value: check(context),
    "open_log": lambda context, value: open_log(context),
    "show_log": lambda context, value: open_log(context),
    "open_folder": _in_window(lambda value: bpy.ops.wm.path_open(filepath=value)),
    "add_camera": lambda context, value: add_camera(context),
    "lower_resolution": _lower_resolution,
    "raise_resolution": _raise_resolution,
    "set_level": _set_level,
    "reset_level": lambda context, value: setattr(subject(context).settings.mesh, "use_level", False),
    "reset_control": _reset_control,
    "reset_crop": lambda context, value: field.reset_crop(context),
    "any_port": _any_port,
    "choose_port": _any_port,
    "retry": _retry,
    "upload_again": _retry,
    "use_cpu": lambda context, value: use_device(context, "CPU"),
    "use_auto_device": lambda context, value: use_device(context, "AUTO"),
    "use_cpu_build": lambda context, value: setattr(preferences(context), "torch_build", "CPU"),
    "choose_folder": _in_window(_choose_folder),
    "choose_kind": _in_window(_import_again),
    "import_again": _in_window(_import_again),
    "choose_python": _in_window(lambda value: bpy.ops.lathe.choose_python("INVOKE_DEFAULT")),
    "allow_online": _in_window(lambda value: bpy.ops.screen.userpref_show(section="SYSTEM")),
    "update_addon": _in_window(lambda value: bpy.ops.screen.userpref_show(section="EXTENSIONS")),
    "restart_fit": lambda context, value: field.fit(context),
    "resume_fit": field.continue_fit,
    "use_preset": lambda context, value: setattr(context.scene.lathe.field, "preset", value.upper()),
    "ignore_masks": lambda context, value: setattr(context.scene.lathe.field, "use_masks", False),
    "flip_axes": _flip_axes,
    "run_sfm": _run_sfm,
}
"""Handler of a remedy, by its action."""
