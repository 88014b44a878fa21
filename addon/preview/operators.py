"""Operators of the Preview panel."""

from typing import Any

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
    def problem(cls, context: Any) -> str:
        return actions.problem_preview(context)

    def run(self, context: Any) -> None:
        actions.preview(context)


class LATHE_OT_add_camera(LatheOperator, bpy.types.Operator):
    """Add a camera with the view of the sliders and make it the active one. At their defaults the sliders show the
    model's training view"""

    bl_idname = "lathe.add_camera"
    bl_label = "Add Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_model(context) or problem_object_mode(context)

    def run(self, context: Any) -> None:
        actions.add_camera(context)


class LATHE_OT_reset_view(LatheOperator, bpy.types.Operator):
    """Reset the view to the one that the model was trained on"""

    bl_idname = "lathe.reset_view"
    bl_label = "Reset View"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_model(context)

    def run(self, context: Any) -> None:
        chosen = subject(context)
        view = chosen.settings.view
        view.yaw = view.pitch = view.roll = 0.0
        view.fov = chosen.model.pose_prior.fov


CLASSES = (
    LATHE_OT_preview,
    LATHE_OT_add_camera,
    LATHE_OT_reset_view,
)
