"""The Jobs panel: progress, cancelling, the last error and its remedy."""

from typing import Any

import bpy
from bpy.props import IntProperty, StringProperty

from ..link.session import session
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

    def draw(self, context: Any) -> None:
        layout = self.layout
        failed = session.jobs.failed
        if failed is not None and failed.error is not None:
            box = layout.box()
            row = box.row()
            row.alert = True
            row.label(text=failed.label, icon="ERROR", translate=False)
            row.operator("lathe.dismiss_error", text="", icon="X", emboss=False)
            text_lines(box, failed.error.message).alert = True
            remedy_button(box, failed.error.remedy)
        active = session.jobs.active
        for job in active:
            column = layout.column(align=True)
            row = column.row(align=True)
            text = "Cancelling …" if job.cancelling else job.text or job.label
            row.progress(factor=job.fraction, type="BAR", text=text)
            row.operator("lathe.cancel_job", text="", icon="X").number = job.number
        if len(active) > 1:
            layout.operator("lathe.cancel_all", icon="CANCEL")
        if active or failed is not None:
            return
        # One line in place of the bar, so that the buttons below stay where they are.
        last = next((job for job in reversed(session.jobs.all) if job.ended and not job.quiet), None)
        if last is None:
            layout.label(text="Nothing is running")
        else:
            icon = "CHECKMARK" if last.state == "done" else "X"
            layout.label(text=f"{last.label} ({last.seconds:.1f} s)", icon=icon, translate=False)


OPERATORS = (
    LATHE_OT_cancel_job,
    LATHE_OT_cancel_all,
    LATHE_OT_dismiss_error,
    LATHE_OT_apply_remedy,
)
