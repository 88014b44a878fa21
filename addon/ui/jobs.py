"""Jobs: progress, cancelling, the last error and its remedy."""

from typing import Any

import bpy
from bpy.props import IntProperty, StringProperty

from ..link.jobs import Job
from ..link.session import session
from ..translations import translated
from .common import LatheOperator
from .layout import LathePanel, text_lines
from .remedies import apply_remedy, remedy_button


class LATHE_OT_cancel_job(LatheOperator, bpy.types.Operator):
    """Cancel this job (Esc cancels all but Set Up, fits and trainings)"""

    bl_idname = "lathe.cancel_job"
    bl_label = "Cancel"

    number: IntProperty(name="Job", description="Number of the job; 0 is the newest", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.jobs.active else "No job is running"

    def run(self, context: Any) -> None:
        job = session.jobs.by_number(self.number) if self.number else session.jobs.active[-1]
        if job:
            job.cancel()


class LATHE_OT_cancel_all(LatheOperator, bpy.types.Operator):
    """Cancel every running job except Set Up, fits and trainings, which have their own buttons"""

    bl_idname = "lathe.cancel_all"
    bl_label = "Cancel All"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if any(job.kind not in session.jobs.LONG for job in session.jobs.active) else "No job is running"

    def run(self, context: Any) -> None:
        session.jobs.cancel_all(keep=session.jobs.LONG)


class LATHE_OT_dismiss_error(LatheOperator, bpy.types.Operator):
    """Hide the last error"""

    bl_idname = "lathe.dismiss_error"
    bl_label = "Dismiss"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.jobs.failed else "There is no error"

    def run(self, context: Any) -> None:
        session.jobs.dismiss()


class LATHE_OT_apply_remedy(LatheOperator, bpy.types.Operator):
    """Apply the fix that the error suggests"""

    bl_idname = "lathe.apply_remedy"
    bl_label = "Apply Remedy"

    action: StringProperty(name="Action", description="Which fix", options={"SKIP_SAVE"})
    value: StringProperty(name="Value", description="Argument of the fix", options={"SKIP_SAVE"})

    def run(self, context: Any) -> None:
        apply_remedy(context, self.action, self.value)


class LATHE_PT_jobs(LathePanel, bpy.types.Panel):
    """Running jobs. Esc cancels them"""

    bl_label = "Jobs"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return len(session.jobs.active) > 1  # one alone is at the top of the tab

    def draw(self, context: Any) -> None:
        layout = self.layout
        for job in session.jobs.active:
            row = layout.column(align=True).row(align=True)
            draw_progress(row, job)
            row.operator("lathe.cancel_job", text="", icon="X").number = job.number
        layout.operator("lathe.cancel_all", icon="CANCEL")


def draw_progress(layout: Any, job: Job) -> None:
    """Draw a job's progress bar with what it does and the time left."""
    text = "Cancelling …" if job.cancelling else job.text or job.label
    left = job.seconds_left
    if left is not None and not job.cancelling:
        minutes, seconds = divmod(round(max(left, 0)), 60)
        text = f"{text}, {translated('{minutes}:{seconds:02d} left', minutes=minutes, seconds=seconds)}"
    layout.progress(factor=job.fraction, type="BAR", text=text)


def draw_error(layout: Any) -> None:
    """Draw the error that stands now, once: of the last failed job, else why the backend ended."""
    failed, ended = session.jobs.failed, session.reason if session.state in ("died", "failed") else None
    error = failed.error if failed is not None else ended
    if error is None:
        return
    box = layout.box()
    row = box.row()
    row.alert = True
    row.label(text=failed.label if failed is not None else "Backend", icon="ERROR", translate=failed is None)
    if failed is not None:
        row.operator("lathe.dismiss_error", text="", icon="X", emboss=False)
    text_lines(box, error.message).alert = True
    if failed is not None or error.remedy is None or error.remedy.action != "restart_backend":  # the button above
        remedy_button(box, error.remedy)


OPERATORS = (
    LATHE_OT_cancel_job,
    LATHE_OT_cancel_all,
    LATHE_OT_dismiss_error,
    LATHE_OT_apply_remedy,
)
