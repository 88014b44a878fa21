"""Operators of the Camera Path panel."""

import bpy
from bpy.props import EnumProperty, StringProperty

from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_render_path(LatheOperator, bpy.types.Operator):
    """Render the shape over the scene's frame range into PNG files with alpha, through the active camera or the
    sliders"""

    bl_idname = "lathe.render_path"
    bl_label = "Render Path"

    @classmethod
    def problem(cls, context):
        return actions.problem_path(context)

    def run(self, context):
        actions.render_path(context)
        self.report({"INFO"}, f"The frames are written to {actions.path_folder(context)}")


class LATHE_OT_choose_folder(bpy.types.Operator):
    """Choose the folder that frames or data sets are written to"""

    bl_idname = "lathe.choose_folder"
    bl_label = "Choose Folder"

    directory: StringProperty(name="Folder", description="Where the files are written", subtype="DIR_PATH")
    what: EnumProperty(
        name="What",
        description="Which folder",
        items=(("PATH", "Camera Path", "Of the camera path's frames"), ("DATA_SETS", "Data Sets", "Of captures")),
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def invoke(self, context, event):
        directory = context.scene.lathe.field.data_sets
        self.directory = str(actions.path_folder(context) if self.what == "PATH" else actions.own_folder(directory))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        if self.what == "PATH":
            context.scene.lathe.path.directory = self.directory
        else:
            context.scene.lathe.field.data_sets = self.directory
        return {"FINISHED"}


CLASSES = (
    LATHE_OT_render_path,
    LATHE_OT_choose_folder,
)
