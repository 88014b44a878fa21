"""Operators of the Camera Path panel."""

from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ..translations import translated
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_render_path(LatheOperator, bpy.types.Operator):
    """Render the scene's frame range into PNG files with alpha, through the active camera or the sliders"""

    bl_idname = "lathe.render_path"
    bl_label = "Render Path"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_path(context)

    def run(self, context: Any) -> None:
        actions.render_path(context)
        self.report({"INFO"}, translated("The frames are written to {folder}", folder=actions.path_folder(context)))


class LATHE_OT_choose_folder(LatheOperator, bpy.types.Operator):
    """Choose the folder for frames or data sets"""

    bl_idname = "lathe.choose_folder"
    bl_label = "Choose Folder"

    directory: StringProperty(name="Folder", description="Folder for the files", subtype="DIR_PATH")
    what: EnumProperty(
        name="Purpose",
        description="Files that the folder is for",
        items=(
            ("PATH", "Camera Path", "Frames of the camera path"),
            ("DATA_SETS", "Data Sets", "Captures and photographs"),
        ),
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def invoke(self, context: Any, event: Any) -> set[str]:
        directory = context.scene.lathe.field.data_sets
        self.directory = str(actions.path_folder(context) if self.what == "PATH" else actions.own_folder(directory))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        if self.what == "PATH":
            context.scene.lathe.path.directory = self.directory
        else:
            context.scene.lathe.field.data_sets = self.directory


CLASSES = (
    LATHE_OT_render_path,
    LATHE_OT_choose_folder,
)
