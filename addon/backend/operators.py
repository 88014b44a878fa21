"""Operators of the Backend panel."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty

from ..link.session import session
from ..preferences import preferences
from ..ui.common import LatheOperator
from ..wire.errors import InvalidRequest
from . import actions


class LATHE_OT_set_up(LatheOperator, bpy.types.Operator):
    """Download PyTorch and the other packages of the backend into a folder of this extension. An interrupted
    installation is resumed"""

    bl_idname = "lathe.set_up"
    bl_label = "Set Up"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_set_up(context)

    def run(self, context: Any) -> None:
        actions.set_up(context)


class LATHE_OT_start_backend(LatheOperator, bpy.types.Operator):
    """Start the backend process"""

    bl_idname = "lathe.start_backend"
    bl_label = "Start"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_start(context)

    def run(self, context: Any) -> None:
        actions.start_backend(context)


class LATHE_OT_stop_backend(LatheOperator, bpy.types.Operator):
    """Stop the backend process and free its memory. Running jobs are cancelled"""

    bl_idname = "lathe.stop_backend"
    bl_label = "Stop"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.state in ("ready", "starting") else "The backend is not running"

    def run(self, context: Any) -> None:
        actions.stop_backend(context)


class LATHE_OT_restart_backend(LatheOperator, bpy.types.Operator):
    """Stop the backend process if it is running, and start it"""

    bl_idname = "lathe.restart_backend"
    bl_label = "Restart"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_python(context)

    def run(self, context: Any) -> None:
        actions.restart_backend(context)


class LATHE_OT_doctor(LatheOperator, bpy.types.Operator):
    """Check Python, PyTorch, device, disk space, permissions and versions, and suggest a fix for each fault"""

    bl_idname = "lathe.doctor"
    bl_label = "Check"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "The check is running" if session.jobs.find("doctor") else ""

    def run(self, context: Any) -> None:
        actions.check(context)


class LATHE_OT_choose_python(LatheOperator, bpy.types.Operator):
    """Use an existing Python that has the backend's packages instead of the one that Set Up installs"""

    bl_idname = "lathe.choose_python"
    bl_label = "Choose Python"

    filepath: StringProperty(name="Python", description="The Python executable", subtype="FILE_PATH")

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = preferences(context).python
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        if not Path(bpy.path.abspath(self.filepath)).is_file():
            raise InvalidRequest(f"There is no file {self.filepath}: choose the Python executable itself")
        preferences(context).python = self.filepath


class LATHE_OT_open_log(LatheOperator, bpy.types.Operator):
    """Show the end of the log in Blender's text editor, as the text 'Lathe Log'"""

    bl_idname = "lathe.open_log"
    bl_label = "Open Log"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if actions.log_files(context) else "There is no log yet: it is written when the backend starts"

    def run(self, context: Any) -> None:
        actions.open_log(context)
        self.report({"INFO"}, "The log is in the text 'Lathe Log'")


class LATHE_OT_dismiss_findings(LatheOperator, bpy.types.Operator):
    """Hide the results of the check"""

    bl_idname = "lathe.dismiss_findings"
    bl_label = "Dismiss"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.findings else "There is nothing to hide"

    def run(self, context: Any) -> None:
        session.findings = []


CLASSES = (
    LATHE_OT_set_up,
    LATHE_OT_start_backend,
    LATHE_OT_stop_backend,
    LATHE_OT_restart_backend,
    LATHE_OT_doctor,
    LATHE_OT_choose_python,
    LATHE_OT_open_log,
    LATHE_OT_dismiss_findings,
)
