"""The head of the tab: one button for the next step, or to cancel what runs; progress, obstacle and error below it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import bpy

from ..backend.actions import problem_set_up
from ..link.jobs import Job
from ..link.session import session
from ..preview.actions import problem_preview
from ..scene.apply import problem_object_mode
from ..scene.gather import field_object, subject
from ..shape.actions import problem_mesh
from .jobs import draw_error, draw_progress
from .layout import LathePanel, text_lines

ALLOW_ONLINE = "extensions.userpref_allow_online"
CHOOSE_MODEL = "wm.call_menu"
PAUSES = {"fit": "lathe.pause_fit", "train": "lathe.pause_training"}
"""Operator that ends a job of these kinds so that it can be continued."""
ICONS = {
    ALLOW_ONLINE: "INTERNET",
    "lathe.set_up": "IMPORT",
    "lathe.choose_python": "FILE_FOLDER",
    "lathe.start_backend": "PLAY",
    "lathe.restart_backend": "FILE_REFRESH",
    "lathe.import_checkpoint": "IMPORT",
    "lathe.new_shape": "ADD",
    "lathe.preview": "RENDER_STILL",
    "lathe.variants": "IMGDISPLAY",
    "lathe.add_camera": "CAMERA_DATA",
    "lathe.generate_mesh": "MESH_MONKEY",
}
DOUBLE_CLICK_SECONDS = 0.5


class Step(NamedTuple):
    """The operator that leads on, and why it is this one, if that needs saying."""

    operator: str
    reason: str = ""


def next_step(context: Any) -> Step:
    """Return the next step towards a shape while nothing is running. Its operator is always enabled."""
    if session.state == "not_set_up":
        return _set_up(context)
    if session.state in ("died", "failed"):
        return Step("lathe.restart_backend")
    if session.state != "ready":
        return Step("lathe.start_backend")
    if not session.models:
        return Step("lathe.import_checkpoint", "The backend has no models yet")
    problem = problem_mesh(context)
    if not problem:
        return Step("lathe.generate_mesh")
    info = subject(context).info
    if info is None:
        return Step("lathe.new_shape" if field_object(context) is not None else CHOOSE_MODEL, problem)
    if not problem_preview(context):
        return Step("lathe.preview", problem)
    return Step("lathe.variants" if problem_object_mode(context) else "lathe.add_camera", problem_preview(context))


def _set_up(context: Any) -> Step:
    if not problem_set_up(context):
        return Step(
            "lathe.set_up", "Installs PyTorch into this extension's own folder and leaves Blender's Python alone"
        )
    if bpy.app.online_access_override:
        return Step(
            "lathe.choose_python",
            "Blender was started without access to the internet: choose a Python that has the backend's packages, or a "
            "folder of wheels in the panel Set Up",
        )
    return Step(ALLOW_ONLINE, "Set Up downloads PyTorch, and Blender may not use the internet yet")


def current() -> Job | None:
    """Return the job that the button at the top cancels: the newest, fits and trainings last."""
    active = session.jobs.active
    return next(reversed([job for job in active if job.kind not in PAUSES] or active), None)


class LATHE_PT_next_step(LathePanel, bpy.types.Panel):
    """The next step, or what is running"""

    bl_label = "Next Step"
    bl_options = {"HIDE_HEADER"}

    def draw(self, context: Any) -> None:
        layout, job = self.layout, current()
        column = layout.column(align=True)
        row = column.row(align=True)
        row.scale_y = 2.0
        if job is not None:
            row.enabled = not job.cancelling and time.monotonic() - job.started > DOUBLE_CLICK_SECONDS
            if job.kind in PAUSES:
                row.operator(PAUSES[job.kind], icon="PAUSE")
            else:
                row.operator("lathe.cancel_job", icon="X").number = job.number
            draw_progress(column, job)
            draw_error(layout)
            return
        step = next_step(context)
        if step.operator == ALLOW_ONLINE:
            row.operator(ALLOW_ONLINE, text="Allow Online Access", icon=ICONS[ALLOW_ONLINE])
        elif step.operator == CHOOSE_MODEL:
            row.operator(CHOOSE_MODEL, text="Choose Model", icon="NETWORK_DRIVE").name = "LATHE_MT_model"
        elif step.operator == "lathe.generate_mesh" and subject(context).object is not None:
            row.operator("lathe.generate_mesh", text="Mesh Again", icon=ICONS[step.operator])
        else:
            row.operator(step.operator, icon=ICONS[step.operator])
        self.draw_last(column)
        if step.reason:
            text_lines(layout, step.reason, "INFO")
        draw_error(layout)

    def draw_last(self, layout: Any) -> None:
        """Draw the last job as one line in the place of the progress bar, so that nothing below moves."""
        last = next((job for job in reversed(session.jobs.all) if job.ended and not job.quiet), None)
        if last is None:
            layout.label(text="Nothing is running")
        else:
            icon = "CHECKMARK" if last.state == "done" else "X"
            layout.label(text=f"{last.label} ({last.seconds:.1f} s)", icon=icon, translate=False)
