"""Operators of the Preview panel."""

import bpy

from ..models.actions import problem_model
from ..scene.apply import problem_object_mode
from ..scene.gather import subject
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_preview(LatheOperator, bpy.types.Operator):
    """Render the shape through sliders, camera or viewport into the image 'Lathe Preview'"""

    bl_idname = "lathe.preview"
    bl_label = "Render Preview"

    @classmethod
    def problem(cls, context):
        return actions.problem_preview(context)

    def run(self, context):
        actions.preview(context)


class LATHE_OT_add_camera(LatheOperator, bpy.types.Operator):
    """Add a camera where the sliders of the view look from, which is how the model was trained unless they were moved,
    and make it the active one"""

    bl_idname = "lathe.add_camera"
    bl_label = "Add Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return problem_model(context) or problem_object_mode(context)

    def run(self, context):
        actions.add_camera(context)


class LATHE_OT_reset_view(LatheOperator, bpy.types.Operator):
    """Look at the model as it was trained to be seen"""

    bl_idname = "lathe.reset_view"
    bl_label = "Reset View"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return problem_model(context)

    def run(self, context):
        chosen = subject(context)
        view = chosen.settings.view
        view.yaw = view.pitch = view.roll = 0.0
        view.fov = chosen.info.pose_prior.fov


CLASSES = (
    LATHE_OT_preview,
    LATHE_OT_add_camera,
    LATHE_OT_reset_view,
)
